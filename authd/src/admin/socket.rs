//! Opening the socket files: never wider open than meant, not even for a moment, and never another daemon's.

use nix::{
    sys::{
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket},
        stat::{Mode, fchmod},
    },
    unistd::{Gid, Uid, chown},
};
use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, ErrorKind},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

/// Connections the kernel keeps waiting.
const BACKLOG: i32 = 64;

/// Who may open a socket file, besides its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The group; `None`: the owner alone.
    pub group: Option<u32>,
}

/// An open socket. One that was made here is taken away again when this is dropped.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Bound {
    /// Takes over a socket that the service manager opened; its file is the manager's.
    ///
    /// # Errors
    /// [`io::Error`] when it cannot be made non-blocking.
    pub fn adopt(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, file: None })
    }

    /// Makes the socket: mode 0660, group as told, in a directory that is made (0755) where it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] when somebody listens there, [`ErrorKind::AlreadyExists`] when something else than a
    /// socket is there, and whatever the file system says.
    pub fn bind(path: &Path, entry: Entry) -> io::Result<Self> {
        make_directory(path)?;
        remove_stale(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        // Linux gives the file the mode of the socket: it is closed to all others from its first moment.
        fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        let made = fs::symlink_metadata(path)?;
        let file = File { path: path.to_owned(), device: made.dev(), inode: made.ino() };
        // From here on the file goes away again when something fails.
        let bound = Self { listener: UnixListener::from(fd), file: Some(file) };
        admit(path, entry)?;
        listen(&bound.listener, Backlog::new(BACKLOG)?)?;
        Ok(bound)
    }

    /// The listener, for the event loop of the caller.
    ///
    /// # Errors
    /// [`io::Error`] outside of an event loop or without file descriptors.
    pub fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        // A successor may have put its own socket there.
        let is_same =
            fs::symlink_metadata(&file.path).is_ok_and(|found| (found.dev(), found.ino()) == (file.device, file.inode));
        if is_same && let Err(error) = fs::remove_file(&file.path) {
            tracing::warn!(socket = %file.path.display(), %error, "the socket cannot be removed");
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))
}

/// Removes a socket nobody listens on; anything else is left and refused.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "something that is not a socket is there; remove it"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there; is authd running already?")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Opens the file to the group; without the right to give files away it stays the owner's alone.
fn admit(path: &Path, entry: Entry) -> io::Result<()> {
    if let Some(gid) = entry.group {
        let owner = Uid::effective().is_root().then_some(Uid::from_raw(0));
        match chown(path, owner, Some(Gid::from_raw(gid))) {
            Ok(()) => {}
            Err(nix::errno::Errno::EPERM) => {
                tracing::warn!(socket = %path.display(), gid, "not allowed to give the socket to this group");
                return fs::set_permissions(path, Permissions::from_mode(0o600));
            }
            Err(error) => return Err(error.into()),
        }
    }
    fs::set_permissions(path, Permissions::from_mode(0o660))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Entry = Entry { group: None };

    #[test]
    fn a_socket_is_0660_in_a_directory_everybody_can_traverse() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/authd/admin.sock");
        let bound = Bound::bind(&path, ALONE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(UnixStream::connect(&path).is_ok());
        drop(bound);
        assert!(!path.exists(), "it goes with the daemon");
    }

    #[test]
    fn a_socket_somebody_listens_on_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let _first = Bound::bind(&path, ALONE).unwrap();
        assert_eq!(Bound::bind(&path, ALONE).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        drop(Bound::bind(&path, ALONE).unwrap());
        fs::write(&path, "precious").unwrap();
        assert_eq!(Bound::bind(&path, ALONE).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_socket_of_a_successor_survives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = Bound::bind(&path, ALONE).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Bound::bind(&path, ALONE).unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn an_adopted_socket_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(Bound::adopt(UnixListener::bind(&path).unwrap()).unwrap());
        assert!(path.exists());
    }
}
