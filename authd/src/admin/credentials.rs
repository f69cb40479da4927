//! What the kernel says of the other end of a Unix socket.

use super::peer::Peer;
use crate::sys;
use nix::sys::socket::{getsockopt, sockopt};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

/// `(uid_t) -1`: a process nobody logged in for.
const NO_LOGIN: u32 = u32::MAX;

/// Reads the credentials the peer had at `connect()` (`SO_PEERCRED`, `SO_PEERGROUPS`).
///
/// # Errors
/// When the kernel does not tell even who it is.
pub(super) fn of(socket: &impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
    let pid = Some(credentials.pid()).filter(|pid| *pid > 0);
    let groups = match sys::peer_groups(socket) {
        Ok(groups) => Some(groups),
        Err(error) => {
            tracing::warn!(%error, uid = credentials.uid(), "the groups of a peer cannot be read");
            None
        }
    };
    let login_uid = pid.and_then(|pid| login_uid(socket, pid));
    Ok(Peer { uid: credentials.uid(), gid: credentials.gid(), groups, pid, login_uid })
}

/// The login uid of a process that is still the one that connected: a pid alone could be somebody else's by now, so
/// the peer's pidfd (Linux 6.5) must still name it after the file was read.
fn login_uid(socket: &impl AsFd, pid: i32) -> Option<u32> {
    let handle: OwnedFd = getsockopt(socket, sockopt::PeerPidfd).ok()?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    let alive = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd())).ok()?;
    let named: i32 = alive.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    let uid: u32 = text.trim().parse().ok()?;
    (named == pid && uid != NO_LOGIN).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = of(&one).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.gid, nix::unistd::getegid().as_raw());
        assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
        assert!(peer.groups.is_some());
    }
}
