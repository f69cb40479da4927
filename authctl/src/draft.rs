//! A file that gets its name when it is complete and durable, and is gone if it never is.

use crate::error::Error;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A file beside the one that is wanted, for its owner alone; gone when it is dropped before it is kept.
#[derive(Debug)]
pub struct Draft {
    file: File,
    path: PathBuf,
    wanted: PathBuf,
    is_renamed: bool,
}

impl Draft {
    /// Begins a file that is to have this name, in the same directory.
    ///
    /// # Errors
    /// [`Error::Exists`] when the name is taken; [`Error::Io`].
    pub fn create(wanted: &Path) -> Result<Self, Error> {
        refuse_existing(wanted)?;
        let mut name = wanted.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| at(&path, &error))?;
        Ok(Self { file, path, wanted: wanted.to_owned(), is_renamed: false })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| at(&self.path, &error))
    }

    /// Makes it durable under its name.
    ///
    /// # Errors
    /// [`Error::Exists`] when somebody has taken the name meanwhile; [`Error::Io`].
    pub fn keep(mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| at(&self.path, &error))?;
        // A link fails where the name is taken, a rename would overwrite it; some file systems have no links.
        match std::fs::hard_link(&self.path, &self.wanted) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_existing(&self.wanted)?,
            Err(_) => {
                refuse_existing(&self.wanted)?;
                std::fs::rename(&self.path, &self.wanted).map_err(|error| at(&self.wanted, &error))?;
                self.is_renamed = true;
            }
        }
        let directory = self.wanted.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| at(directory, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_renamed {
            // What cannot be removed is named `.part`.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    if path.symlink_metadata().is_ok() { Err(Error::Exists { path: path.to_owned() }) } else { Ok(()) }
}

fn at(path: &Path, error: &io::Error) -> Error {
    Error::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_complete_file_has_its_name_and_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let mut draft = Draft::create(&path).unwrap();
        draft.add(b"a").unwrap();
        draft.add(b"bc").unwrap();
        assert_ne!(names(directory.path()), ["b"], "it is not complete");
        draft.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(directory.path()), ["b"]);
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut draft = Draft::create(&directory.path().join("b")).unwrap();
        draft.add(b"a").unwrap();
        drop(draft);
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_file_that_exists_is_not_touched_even_if_it_came_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let mut draft = Draft::create(&path).unwrap();
        draft.add(b"abc").unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(Draft::create(&path), Err(Error::Exists { .. })));
        assert!(matches!(draft.keep(), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(names(directory.path()), ["b"]);
    }
}
