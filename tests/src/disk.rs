//! A small disk in memory that a test can fill up. Mounting one takes root.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A mounted tmpfs; gone with the value.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one of this size.
    ///
    /// # Panics
    /// When this process may not mount.
    #[must_use]
    pub fn mount(kib: usize) -> Self {
        Self::mount_as(&format!("size={kib}k,mode=0755"))
    }

    /// Mounts one that holds so many files and directories, itself among them.
    ///
    /// # Panics
    /// When this process may not mount.
    #[must_use]
    pub fn of_few_files(files: usize) -> Self {
        Self::mount_as(&format!("size=1m,nr_inodes={files},mode=0755"))
    }

    fn mount_as(options: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("authd-disk-").tempdir().expect("a temporary directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(dir.path());
        let done = mount.output().expect("mount(8) can be started");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "a disk that can be filled takes root and the right to mount: {said}");
        Self { dir }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes all the room there is.
    ///
    /// # Panics
    /// When something else than a lack of room stops it.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).expect("our own disk");
        for size in [64 * 1024, 4 * 1024, 1] {
            let chunk = vec![1; size];
            while file.write_all(&chunk).is_ok() {}
        }
        let fault = file.write_all(&[1]).expect_err("it is full");
        assert_eq!(fault.kind(), std::io::ErrorKind::StorageFull, "{fault}");
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not taken.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that still holds files in it ends with its own value.
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}
