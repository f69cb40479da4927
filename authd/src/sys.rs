//! The system calls that need `unsafe`: the groups of a socket's peer, file descriptors from the service manager,
//! advice about memory, and the scheduling of a thread.
#![expect(unsafe_code, reason = "no safe wrapper exists; each block says why it is sound")]

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// More groups than a process can have (NGROUPS_MAX).
const GROUPS_MAX: usize = 65_536;

/// The supplementary groups the peer of a Unix socket had when it connected; its primary group is not among them.
///
/// # Errors
/// Whatever the kernel says; a caller must refuse the peer then.
pub fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut length =
            libc::socklen_t::try_from(std::mem::size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the file descriptor is open as long as `socket` is borrowed; pointer and `length` describe `groups`,
        // of which the kernel writes at most `length` bytes (whole group ids) before it updates `length`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE: `length` now says how much room is needed.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS_MAX {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// Takes over an open file descriptor that the service manager passed.
///
/// # Errors
/// When it is not open.
///
/// The caller must be the only one to adopt this number: [`crate::lifecycle::inherited`] does so once per process.
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads the flags of a number and touches no memory.
    if number <= 2 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is open and above the standard streams; the service manager passed it to this process to own,
    // and nothing else in the process knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// As `sched_setattr(2)` takes it.
#[repr(C)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// How long a turn of a thread is that has stepped back, in nanoseconds: a bit longer than those of ordinary threads.
const TURN_NS: u64 = 5_000_000;

/// Puts the calling thread behind all others: a niceness, and turns longer than theirs, so that whoever wakes up need
/// not wait for the end of this thread's turn. Linux knows the length of turns since 6.12; before, and where a sandbox
/// forbids to set it, only the niceness counts.
///
/// # Errors
/// Whatever the kernel says; the thread then stays as it is.
pub(crate) fn step_back(nice: i32) -> io::Result<()> {
    let attributes = SchedulingAttributes {
        size: u32::try_from(size_of::<SchedulingAttributes>()).map_err(io::Error::other)?,
        policy: libc::SCHED_BATCH.unsigned_abs(),
        flags: 0,
        nice,
        priority: 0,
        runtime_ns: TURN_NS,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: 0 is the calling thread; the kernel reads `size` bytes of `attributes` and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Ok(rustix::process::setpriority_process(None, nice)?) }
}

/// A huge page of the common processors.
const HUGE_PAGE: usize = 2 << 20;

/// Asks for huge pages under memory that is not used yet: what jumps about in megabytes then seldom waits for the
/// translation of an address. Where the kernel has none to give, nothing changes.
pub(crate) fn prefer_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    let begin = memory.as_mut_ptr().cast::<u8>();
    let skipped = begin.align_offset(HUGE_PAGE);
    let whole = size_of_val(memory).saturating_sub(skipped) / HUGE_PAGE * HUGE_PAGE;
    if whole > 0 {
        // SAFETY: the range lies within `memory`, which is borrowed exclusively; this advice changes neither what the
        // range holds nor who may use it, only how the kernel backs it.
        let _no_matter = unsafe { libc::madvise(begin.wrapping_add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::{fd::IntoRawFd, unix::net::UnixStream};

    #[test]
    fn the_groups_of_a_peer_are_those_of_its_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let mut mine: Vec<u32> = line.split_whitespace().map(|group| group.parse().unwrap()).collect();
        let mut told = peer_groups(&one).unwrap();
        mine.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, mine);
    }

    #[test]
    fn memory_keeps_what_it_holds_whatever_its_size() {
        for size in [0, 1, 4 << 10, HUGE_PAGE, 5 * HUGE_PAGE + 7] {
            let mut bytes: Vec<u8> = Vec::with_capacity(size);
            prefer_huge_pages(bytes.spare_capacity_mut());
            bytes.resize(size, 7);
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn a_thread_that_steps_back_is_nice_and_the_others_are_not() {
        let niceness = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = niceness();
        let stepped = std::thread::spawn(move || step_back(10).map(|()| niceness())).join().unwrap();
        assert_eq!(stepped.unwrap(), 10);
        assert_eq!(niceness(), before);
    }

    #[test]
    fn only_open_descriptors_are_adopted() {
        assert!(adopt(1).is_err());
        assert!(adopt(9_999).is_err());
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(adopt(one.into_raw_fd()).is_ok());
    }
}
