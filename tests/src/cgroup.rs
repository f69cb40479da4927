//! A control group that bounds the memory of a process under test (version 1 and 2). Making one takes root.

use std::path::{Path, PathBuf};

const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// A group; gone with the value, once its processes are.
#[derive(Debug)]
pub struct MemoryGroup {
    dir: PathBuf,
    files: Files,
}

/// What a version calls its files.
#[derive(Debug, Clone, Copy)]
struct Files {
    limit: &'static str,
    peak: &'static str,
    events: &'static str,
}

const FILES_V1: Files =
    Files { limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes", events: "memory.oom_control" };
const FILES_V2: Files = Files { limit: "memory.max", peak: "memory.peak", events: "memory.events" };

impl MemoryGroup {
    /// Puts a process under a bound.
    ///
    /// # Panics
    /// When this machine gives tests no control groups.
    #[must_use]
    pub fn of(pid: i32, bytes: u64) -> Self {
        let (parent, files) = if Path::new(V1).join(FILES_V1.limit).exists() { (V1, FILES_V1) } else { (V2, FILES_V2) };
        let dir = Path::new(parent).join(format!("authd-test-{pid}"));
        std::fs::create_dir(&dir).unwrap_or_else(|error| {
            panic!("bounding memory takes root and control groups: {}: {error}", dir.display())
        });
        let group = Self { dir, files };
        group.write(files.limit, bytes);
        group.write("cgroup.procs", u64::from(pid.unsigned_abs()));
        group
    }

    fn write(&self, file: &str, number: u64) {
        let path = self.dir.join(file);
        std::fs::write(&path, number.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.join(file)).unwrap_or_default()
    }

    /// The most memory it has used, in bytes.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.read(self.files.peak).trim().parse().expect("the kernel tells")
    }

    /// How many processes of it the kernel has ended for their memory.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn kills(&self) -> u64 {
        let text = self.read(self.files.events);
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).expect("the kernel tells");
        line.parse().expect("a number")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Its processes go back to where they came from.
        let parent = self.dir.parent().unwrap_or(Path::new(V2)).join("cgroup.procs");
        for pid in self.read("cgroup.procs").lines() {
            let _ = std::fs::write(&parent, pid);
        }
        let _ = std::fs::remove_dir(&self.dir);
    }
}
