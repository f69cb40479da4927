//! Finding the daemon's socket, and making sure that it is the daemon who listens there.

use crate::error::Error;
use nix::unistd::geteuid;
use shared::admin::Access;
use std::{
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tokio::net::UnixStream;

const SYSTEM_SOCKET: &str = "/run/authd/admin.sock";
const READ_SOCKET: &str = "read.sock";

/// Which sockets to try, in which order.
#[derive(Debug, Clone)]
pub struct Search {
    sockets: Vec<PathBuf>,
}

impl Search {
    /// The named socket alone, or else the system's and then the one of this user's session.
    #[must_use]
    pub fn new(named: Option<PathBuf>, runtime_directory: Option<PathBuf>) -> Self {
        let sockets = match named {
            Some(named) => vec![named],
            None => std::iter::once(PathBuf::from(SYSTEM_SOCKET))
                .chain(runtime_directory.map(|directory| directory.join("authd/admin.sock")))
                .collect(),
        };
        Self { sockets }
    }

    /// The sockets for a call: reads fall back to the read socket beside each admin socket.
    fn candidates(&self, access: Access) -> Vec<PathBuf> {
        let mut candidates: Vec<PathBuf> = Vec::new();
        for socket in &self.sockets {
            candidates.push(socket.clone());
            let beside = socket.with_file_name(READ_SOCKET);
            if matches!(access, Access::Read | Access::Any) && beside != *socket {
                candidates.push(beside);
            }
        }
        candidates
    }

    /// The socket that would be tried first among those that exist.
    #[must_use]
    pub fn likeliest(&self, access: Access) -> PathBuf {
        let candidates = self.candidates(access);
        let existing = candidates.iter().find(|path| path.exists());
        existing.or(candidates.first()).cloned().unwrap_or_else(|| PathBuf::from(SYSTEM_SOCKET))
    }

    /// Connects to the first socket that answers.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] when one exists that this user may not open, [`Error::Impostor`] when the listener is
    /// not to be trusted, [`Error::Unreachable`] with every reason otherwise.
    pub async fn connect(&self, access: Access) -> Result<UnixStream, Error> {
        let mut tried = Vec::new();
        let mut forbidden = None;
        for path in self.candidates(access) {
            match UnixStream::connect(&path).await {
                Ok(stream) => return check_listener(&path, stream),
                Err(error) => {
                    if error.kind() == ErrorKind::PermissionDenied && forbidden.is_none() {
                        forbidden = Some(path.clone());
                    }
                    tried.push(format!("{}: {}", path.display(), reason(&error)));
                }
            }
        }
        Err(match forbidden {
            Some(path) => Error::NotPermitted { path },
            None => Error::Unreachable { tried },
        })
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::ConnectionRefused => "nobody listens".to_owned(),
        _ => error.to_string(),
    }
}

/// Refuses a listener that is neither root, nor this user, nor the owner of the socket's directory: whoever can put a
/// socket where authctl looks must not be able to collect what an operator types.
fn check_listener(path: &Path, stream: UnixStream) -> Result<UnixStream, Error> {
    let listener = stream.peer_cred()?.uid();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = std::fs::metadata(directory)?.uid();
    if is_trusted(listener, geteuid().as_raw(), owner) {
        Ok(stream)
    } else {
        Err(Error::Impostor { path: path.to_owned(), uid: listener })
    }
}

fn is_trusted(listener: u32, own: u32, directory_owner: u32) -> bool {
    listener == 0 || listener == own || listener == directory_owner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(search: &Search, access: Access) -> Vec<String> {
        search.candidates(access).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn sockets_are_searched_in_the_documented_order() {
        let search = Search::new(None, Some(PathBuf::from("/run/user/7")));
        assert_eq!(names(&search, Access::Admin), ["/run/authd/admin.sock", "/run/user/7/authd/admin.sock"]);
        assert_eq!(
            names(&search, Access::Read),
            [
                "/run/authd/admin.sock",
                "/run/authd/read.sock",
                "/run/user/7/authd/admin.sock",
                "/run/user/7/authd/read.sock"
            ]
        );
        let named = Search::new(Some(PathBuf::from("/x/read.sock")), Some(PathBuf::from("/run/user/7")));
        assert_eq!(names(&named, Access::Read), ["/x/read.sock"]);
    }

    #[test]
    fn only_root_oneself_and_the_owner_of_the_directory_are_trusted() {
        assert!(is_trusted(0, 1000, 1000));
        assert!(is_trusted(1000, 1000, 0));
        assert!(is_trusted(990, 1000, 990));
        assert!(!is_trusted(1001, 1000, 0));
    }

    #[tokio::test]
    async fn a_socket_nobody_listens_on_is_unreachable_and_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Search::new(Some(path), None).connect(Access::Read).await.unwrap_err();
        assert!(matches!(&error, Error::Unreachable { tried } if tried.len() == 2), "{error:?}");
        assert!(error.to_string().contains("nobody listens") && error.to_string().contains("does not exist"));
    }
}
