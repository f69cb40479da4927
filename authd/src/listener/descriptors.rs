//! Open files: every connection is one of them, and the kernel gives a process only so many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the bound on this process's open files to `wanted`, or as far as it may; what it is now (`None`: there is
/// none).
pub(super) fn raise(wanted: u64) -> Option<u64> {
    let found = getrlimit(Resource::Nofile);
    let current = found.current?;
    if current >= wanted {
        return Some(current);
    }
    let raised = found.maximum.map_or(wanted, |most| most.min(wanted));
    let done = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: found.maximum });
    Some(if done.is_ok() { raised } else { current })
}

/// How many of the `wanted` connections fit below the bound beside the `own` files of the daemon; a quarter of a bound
/// that is too low for both.
pub(super) fn connections(bound: Option<u64>, own: u32, wanted: u32) -> u32 {
    let Some(bound) = bound else { return wanted };
    let room = bound.saturating_sub(u64::from(own)).max(bound / 4).max(1);
    u32::try_from(room).unwrap_or(u32::MAX).min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_daemons_own_files() {
        assert_eq!(connections(None, 300, 4_096), 4_096);
        assert_eq!(connections(Some(65_536), 300, 4_096), 4_096);
        assert_eq!(connections(Some(1_024), 300, 4_096), 724);
        assert_eq!(connections(Some(256), 300, 4_096), 64);
        assert_eq!(connections(Some(0), 300, 4_096), 1);
    }
}
