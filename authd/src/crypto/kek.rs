//! The key-encryption key: read from a file that only authd can read; it encrypts other keys and does nothing else.

use crate::{
    crypto::{
        aead,
        derive::{self, Key},
    },
    domain::{
        clock::{Random, random_bytes},
        secret::Secret,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use shared::hex;
use std::{
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const KEY_LEN: usize = 32;
/// Longer than any file that holds 32 bytes in base64.
const MAX_FILE_LEN: u64 = 1_024;
/// First byte of everything that is wrapped, so that the format can change.
const WRAP_VERSION: u8 = 1;

/// Why there is no key-encryption key. Every message says what to do; the daemon ends with 78.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// No such file.
    #[error(
        "the key-encryption key {} does not exist: restore it, or for a new installation make one with \
         `(umask 077; authd generate-key > {})`", .0.display(), .0.display()
    )]
    Missing(PathBuf),
    /// It is there and does not read.
    #[error("the key-encryption key {} cannot be read ({cause}): let authd's user read it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Others can read or write it.
    #[error(
        "the key-encryption key {} has mode {mode:04o}, so others can use it: run `chmod 0400 {}`",
        .path.display(), .path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not 32 bytes in base64.
    #[error(
        "{} does not hold a key-encryption key: it must be 32 bytes in base64, as `authd generate-key` prints them",
        .0.display()
    )]
    NotAKey(PathBuf),
    /// All bytes the same: a placeholder.
    #[error("the key-encryption key {} is a placeholder: make one with `authd generate-key`", .0.display())]
    Weak(PathBuf),
    /// There is one already; it is never replaced.
    #[error("a key-encryption key exists already at {}: it is not replaced", .0.display())]
    Exists(PathBuf),
    /// The file could not be made durable.
    #[error("the key-encryption key {} cannot be written ({cause}): make its directory writable", .path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Names a key-encryption key without telling anything of it; stored with what it wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekId(String);

impl KekId {
    /// `kek_` and 16 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key-encryption key. The bytes of the file are forgotten once its name and what it encrypts with are made of them.
pub struct Kek {
    id: KekId,
    wrap: Key,
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.id)
    }
}

impl Kek {
    /// The key of these 32 bytes; `None` when they are a placeholder (all the same).
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Option<Self> {
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return None;
        }
        let below = |purpose: &str| derive::hkdf(b"authd key-encryption key v1", bytes, purpose.as_bytes());
        let id = hex::encode(below("id")?.first_chunk::<8>()?);
        Some(Self { id: KekId(format!("kek_{id}")), wrap: below("key wrap")? })
    }

    /// Reads 32 bytes in base64 from `path`. A file that group or others may touch is refused, unless it lies in
    /// `credentials` (`$CREDENTIALS_DIRECTORY`, where systemd grants access by other means).
    ///
    /// # Errors
    /// [`KekError`], naming the path and what to do.
    pub fn load(path: &Path, credentials: Option<&Path>) -> Result<Self, KekError> {
        let unreadable = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => KekError::Missing(path.to_owned()),
            _ => KekError::Unreadable { path: path.to_owned(), cause },
        };
        let file = fs::File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err(KekError::NotAKey(path.to_owned()));
        }
        if about.mode() & 0o077 != 0 && !lies_in(path, credentials) {
            return Err(KekError::TooOpen { path: path.to_owned(), mode: about.mode() & 0o7777 });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(1_025));
        file.take(MAX_FILE_LEN).read_to_end(&mut text).map_err(unreadable)?;
        let bytes = decode(&text).ok_or_else(|| KekError::NotAKey(path.to_owned()))?;
        Self::from_bytes(&bytes).ok_or_else(|| KekError::Weak(path.to_owned()))
    }

    /// Makes a key and keeps it at `path`, mode 0400, durable before this returns. Only for a new installation: the
    /// caller makes sure that nothing is wrapped yet.
    ///
    /// # Errors
    /// [`KekError::Exists`] when there is one, also when another process was faster; [`KekError::NotWritten`].
    pub fn generate(path: &Path, random: &dyn Random) -> Result<Self, KekError> {
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::AlreadyExists => KekError::Exists(path.to_owned()),
            _ => KekError::NotWritten { path: path.to_owned(), cause },
        };
        let text = Self::generate_text(random);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = directory.join(format!(".kek-{:016x}", u64::from_be_bytes(random_bytes(random))));
        // Written aside and then linked: the name never stands for half a key, and linking refuses an existing one.
        let placed = write_new(&draft, text.reveal()).and_then(|()| fs::hard_link(&draft, path));
        let removed = fs::remove_file(&draft);
        placed.map_err(failed)?;
        removed.and_then(|()| fs::File::open(directory)?.sync_all()).map_err(failed)?;
        Self::load(path, None)
    }

    /// A new key as text, one line: what `authd generate-key` prints.
    #[must_use]
    pub fn generate_text(random: &dyn Random) -> Secret {
        let bytes = Zeroizing::new(random_bytes::<KEY_LEN>(random));
        Secret::new(format!("{}\n", STANDARD.encode(bytes.as_slice())))
    }

    /// The name that is stored beside what is wrapped.
    #[must_use]
    pub fn id(&self) -> &KekId {
        &self.id
    }

    /// Wraps a private key that belongs to `owner` and is used for `purpose`; it unwraps for nothing else.
    #[must_use]
    pub fn wrap(&self, owner: &str, purpose: &str, plain: &[u8], random: &dyn Random) -> Option<Vec<u8>> {
        let mut bytes = vec![WRAP_VERSION];
        bytes.extend(aead::encrypt(&self.wrap, &context(owner, purpose), plain, random)?);
        Some(bytes)
    }

    /// Unwraps; `None` when it was wrapped with another key or for another owner or purpose.
    #[must_use]
    pub fn unwrap(&self, owner: &str, purpose: &str, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&version, bytes) = wrapped.split_first()?;
        if version != WRAP_VERSION {
            return None;
        }
        aead::decrypt(&self.wrap, &context(owner, purpose), bytes)
    }
}

fn context(owner: &str, purpose: &str) -> Zeroizing<Vec<u8>> {
    derive::frame(&[b"authd wrap v1", owner.as_bytes(), purpose.as_bytes()])
}

fn decode(text: &[u8]) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim_ascii()).ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

fn lies_in(path: &Path, directory: Option<&Path>) -> bool {
    let Some(directory) = directory.and_then(|directory| directory.canonicalize().ok()) else { return false };
    path.canonicalize().is_ok_and(|path| path.starts_with(directory))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fakes::CountedRandom;
    use std::os::unix::fs::PermissionsExt;

    fn written(directory: &Path, text: &str, mode: u32) -> PathBuf {
        let path = directory.join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_generated_key_is_private_reads_back_and_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kek");
        let random = CountedRandom::default();
        let kek = Kek::generate(&path, &random).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(Kek::load(&path, None).unwrap().id(), kek.id());
        assert!(matches!(Kek::generate(&path, &random), Err(KekError::Exists(_))));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_outside_of_the_credentials_directory() {
        let directory = tempfile::tempdir().unwrap();
        let text = Kek::generate_text(&CountedRandom::default());
        for mode in [0o440, 0o604, 0o420] {
            let path = written(directory.path(), text.reveal(), mode);
            let error = Kek::load(&path, None).unwrap_err();
            assert!(matches!(&error, KekError::TooOpen { mode: found, .. } if *found == mode), "{error}");
            assert!(error.to_string().contains("chmod 0400"), "{error}");
            assert!(Kek::load(&path, Some(directory.path())).is_ok());
            assert!(Kek::load(&path, Some(Path::new("/usr"))).is_err());
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn anything_but_thirty_two_bytes_in_base64_is_refused_with_the_path_and_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let placeholder = STANDARD.encode([0; 32]);
        for text in
            ["", "secret", &STANDARD.encode([5; 31]), &STANDARD.encode([5; 33]), &"A".repeat(4_000), &placeholder]
        {
            let error = Kek::load(&written(directory.path(), text, 0o600), None).unwrap_err().to_string();
            assert!(error.contains("generate-key") && error.contains("/key"), "{error}");
        }
        let missing = Kek::load(&directory.path().join("none"), None).unwrap_err();
        assert!(matches!(missing, KekError::Missing(_)));
    }

    #[test]
    fn what_is_wrapped_opens_for_its_owner_purpose_and_key_only() {
        let random = CountedRandom::default();
        let (kek, other) = (Kek::from_bytes(&random_bytes(&random)).unwrap(), Kek::from_bytes(&random_bytes(&random)));
        let wrapped = kek.wrap("key_1", "signing", b"private", &random).unwrap();
        assert_eq!(kek.unwrap("key_1", "signing", &wrapped).unwrap().as_slice(), b"private");
        assert!(kek.unwrap("key_2", "signing", &wrapped).is_none());
        assert!(kek.unwrap("key_1", "audit", &wrapped).is_none());
        assert!(other.unwrap().unwrap("key_1", "signing", &wrapped).is_none());
        assert!(kek.unwrap("key_1", "signing", b"").is_none());
    }

    #[test]
    fn debug_shows_the_name_alone() {
        let kek = Kek::from_bytes(&std::array::from_fn(|at| at as u8)).unwrap();
        assert_eq!(format!("{kek:?}"), format!("Kek({})", kek.id()));
    }
}
