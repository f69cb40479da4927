//! Who may do what on which socket: one pure decision over what the kernel says of the peer.

use crate::config::Auto;
use shared::admin::Access;
use std::fmt;

/// The id that stands for "nobody known": `nobody`, and what an id outside of the user namespace reads as.
pub const OVERFLOW_ID: u32 = 65_534;

/// The other end of a connection, as the kernel described it at `connect()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups; `None` when they could not be read.
    pub groups: Option<Vec<u32>>,
    /// Process id; `None` when it lives in another pid namespace.
    pub pid: Option<i32>,
    /// Login uid, where the kernel tells it.
    pub login_uid: Option<u32>,
}

impl Peer {
    fn is_in(&self, gids: &[u32]) -> bool {
        let supplementary = self.groups.iter().flatten().copied();
        supplementary.chain([self.gid]).any(|gid| gid != OVERFLOW_ID && gids.contains(&gid))
    }
}

/// Which socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Of administrators.
    Admin,
    /// Of readers.
    Read,
}

impl Door {
    /// As in logs and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Read => "read",
        }
    }
}

/// What the daemon's own uid may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnUid {
    /// Everything: the daemon runs for its own user.
    Administrator,
    /// Ask for status and a reload: a system service whose uid an attacker may have taken over.
    ReloadOnly,
}

impl OwnUid {
    /// `admin.trust_own_uid`; `auto` distrusts the uid of a system service.
    #[must_use]
    pub fn of(setting: Auto<bool>, service: Service) -> Self {
        match (setting, service) {
            (Auto::Is(true), _) | (Auto::Auto, Service::Own) => Self::Administrator,
            (Auto::Is(false), _) | (Auto::Auto, Service::System) => Self::ReloadOnly,
        }
    }
}

/// Who started the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The system's service manager.
    System,
    /// A person, or the service manager of their session.
    Own,
}

/// Whether the system's service manager started this process: it is the parent and named the invocation.
#[must_use]
pub fn is_system_service() -> Service {
    let is_invoked = std::env::var_os("INVOCATION_ID").is_some();
    if is_invoked && std::os::unix::process::parent_id() == 1 { Service::System } else { Service::Own }
}

/// The rules of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which socket.
    pub door: Door,
    /// Groups of administrators.
    pub admin_gids: Vec<u32>,
    /// Groups of readers.
    pub read_gids: Vec<u32>,
    /// Groups of those who fetch the metrics.
    pub metrics_gids: Vec<u32>,
    /// The daemon's uid.
    pub own_uid: u32,
    /// What that uid may do.
    pub own: OwnUid,
}

/// Which rule refuses a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The kernel shows no real user: another user namespace, or nobody.
    Unknown,
    /// Its groups could not be read.
    GroupsUnreadable,
    /// Neither root nor in a group that may use the socket.
    NoRule,
    /// A reader on the socket of administrators.
    ReaderAtAdminSocket,
    /// A change on the socket of readers.
    ChangeAtReadSocket,
    /// A reader's call for a change.
    ReaderChanges,
    /// The daemon's own uid, with another call than `status` and `reload`.
    OwnUidOnlyReloads,
    /// Somebody who fetches the metrics, with anything else.
    MetricsOnly,
}

impl Why {
    /// A word for events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_peer",
            Self::GroupsUnreadable => "groups_unreadable",
            Self::NoRule => "no_rule",
            Self::ReaderAtAdminSocket => "reader_at_admin_socket",
            Self::ChangeAtReadSocket => "change_at_read_socket",
            Self::ReaderChanges => "reader_changes",
            Self::OwnUidOnlyReloads => "own_uid_only_reloads",
            Self::MetricsOnly => "metrics_only",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "the kernel shows no user behind this connection (another user namespace?)",
            Self::GroupsUnreadable => "the groups of this process could not be read",
            Self::NoRule => {
                "only root and members of admin.admin_groups, and for reads of admin.read_groups, may do this"
            }
            Self::ReaderAtAdminSocket => "members of admin.read_groups use the read socket",
            Self::ChangeAtReadSocket => "the read socket is for reads; changes need the admin socket",
            Self::ReaderChanges => "members of admin.read_groups may read, not change",
            Self::OwnUidOnlyReloads => "the daemon's own user may ask for status and reload only (admin.trust_own_uid)",
            Self::MetricsOnly => {
                "members of admin.metrics_groups may fetch /metrics on the read socket and nothing else"
            }
        })
    }
}

/// What a peer is, before any call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Administrator,
    Reader,
    OwnUid,
    Scraper,
}

fn rank(peer: &Peer, policy: &Policy) -> Result<Rank, Why> {
    // (uid_t) -1 is no user, and the overflow id is every user the kernel cannot name here.
    if peer.uid == OVERFLOW_ID || peer.uid == u32::MAX {
        return Err(Why::Unknown);
    }
    if peer.groups.is_none() {
        return Err(Why::GroupsUnreadable);
    }
    if peer.uid == 0 {
        return Ok(Rank::Administrator);
    }
    // Before its groups: the service must not become an administrator by a group it needs for something else.
    if peer.uid == policy.own_uid {
        return Ok(match policy.own {
            OwnUid::Administrator => Rank::Administrator,
            OwnUid::ReloadOnly => Rank::OwnUid,
        });
    }
    if peer.is_in(&policy.admin_gids) {
        return Ok(Rank::Administrator);
    }
    if peer.is_in(&policy.read_gids) {
        return Ok(Rank::Reader);
    }
    if peer.is_in(&policy.metrics_gids) { Ok(Rank::Scraper) } else { Err(Why::NoRule) }
}

/// Decides a call.
///
/// # Errors
/// The rule that refuses it.
pub fn decide(peer: &Peer, policy: &Policy, access: Access) -> Result<(), Why> {
    match (rank(peer, policy)?, policy.door, access) {
        (Rank::Administrator, Door::Admin, _)
        | (Rank::Administrator | Rank::Reader, Door::Read, Access::Read | Access::Any)
        | (Rank::OwnUid, Door::Admin, Access::Own | Access::Any)
        | (Rank::OwnUid, Door::Read, Access::Any) => Ok(()),
        (Rank::Administrator, Door::Read, Access::Admin | Access::Own) => Err(Why::ChangeAtReadSocket),
        (Rank::Reader, Door::Admin, _) => Err(Why::ReaderAtAdminSocket),
        (Rank::Reader, Door::Read, Access::Admin | Access::Own) => Err(Why::ReaderChanges),
        (Rank::OwnUid, Door::Admin, Access::Read | Access::Admin)
        | (Rank::OwnUid, Door::Read, Access::Read | Access::Admin | Access::Own) => Err(Why::OwnUidOnlyReloads),
        (Rank::Scraper, _, _) => Err(Why::MetricsOnly),
    }
}

/// Decides who may fetch the metrics.
///
/// # Errors
/// The rule that refuses it.
pub fn decide_metrics(peer: &Peer, policy: &Policy) -> Result<(), Why> {
    match (rank(peer, policy)?, policy.door) {
        (Rank::Administrator, _) | (Rank::Reader | Rank::Scraper, Door::Read) => Ok(()),
        (Rank::Reader, Door::Admin) => Err(Why::ReaderAtAdminSocket),
        (Rank::Scraper, Door::Admin) => Err(Why::MetricsOnly),
        (Rank::OwnUid, _) => Err(Why::OwnUidOnlyReloads),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMINS: u32 = 900;
    const READERS: u32 = 901;
    const SCRAPERS: u32 = 902;
    const OWN: u32 = 990;

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer { uid, gid: uid, groups: Some(groups.to_vec()), pid: Some(7), login_uid: None }
    }

    fn policy(door: Door) -> Policy {
        Policy {
            door,
            admin_gids: vec![ADMINS, OVERFLOW_ID],
            read_gids: vec![READERS],
            metrics_gids: vec![SCRAPERS],
            own_uid: OWN,
            own: OwnUid::ReloadOnly,
        }
    }

    fn allowed(peer: &Peer, policy: &Policy) -> Vec<Access> {
        let all = [Access::Any, Access::Read, Access::Admin, Access::Own];
        all.into_iter().filter(|access| decide(peer, policy, *access).is_ok()).collect()
    }

    #[test]
    fn root_and_administrators_do_everything_at_the_admin_socket_and_read_at_the_other() {
        for peer in [peer(0, &[]), peer(1_000, &[ADMINS]), Peer { gid: ADMINS, ..peer(1_000, &[]) }] {
            assert_eq!(allowed(&peer, &policy(Door::Admin)).len(), 4, "{peer:?}");
            assert_eq!(allowed(&peer, &policy(Door::Read)), [Access::Any, Access::Read], "{peer:?}");
        }
    }

    #[test]
    fn readers_read_at_the_read_socket_and_nowhere_else() {
        let reader = peer(1_000, &[READERS]);
        assert_eq!(allowed(&reader, &policy(Door::Read)), [Access::Any, Access::Read]);
        assert_eq!(allowed(&reader, &policy(Door::Admin)), []);
        assert_eq!(decide(&reader, &policy(Door::Read), Access::Admin), Err(Why::ReaderChanges));
    }

    #[test]
    fn the_daemons_own_uid_reloads_and_no_group_makes_it_more() {
        for peer in [peer(OWN, &[]), peer(OWN, &[ADMINS])] {
            assert_eq!(allowed(&peer, &policy(Door::Admin)), [Access::Any, Access::Own]);
            assert_eq!(allowed(&peer, &policy(Door::Read)), [Access::Any]);
        }
        let trusting = Policy { own: OwnUid::Administrator, ..policy(Door::Admin) };
        assert_eq!(allowed(&peer(OWN, &[]), &trusting).len(), 4);
    }

    #[test]
    fn strangers_and_peers_the_kernel_cannot_name_are_refused() {
        let refused = |peer: &Peer| decide(peer, &policy(Door::Admin), Access::Any).unwrap_err();
        assert_eq!(refused(&peer(1_000, &[4, 24])), Why::NoRule);
        assert_eq!(refused(&peer(OVERFLOW_ID, &[ADMINS])), Why::Unknown);
        assert_eq!(refused(&peer(u32::MAX, &[ADMINS])), Why::Unknown);
        assert_eq!(refused(&Peer { groups: None, ..peer(1_000, &[]) }), Why::GroupsUnreadable);
        assert_eq!(refused(&Peer { groups: None, ..peer(0, &[]) }), Why::GroupsUnreadable);
    }

    #[test]
    fn metrics_are_for_readers_administrators_and_the_groups_that_may_do_nothing_else() {
        let scraper = peer(1_000, &[SCRAPERS]);
        for peer in [&peer(0, &[]), &peer(1_000, &[READERS]), &scraper] {
            assert_eq!(decide_metrics(peer, &policy(Door::Read)), Ok(()), "{peer:?}");
        }
        for door in [Door::Admin, Door::Read] {
            assert_eq!(allowed(&scraper, &policy(door)), []);
            assert_eq!(decide_metrics(&peer(1_000, &[]), &policy(door)), Err(Why::NoRule));
            assert!(decide_metrics(&peer(OWN, &[SCRAPERS]), &policy(door)).is_err());
        }
        assert_eq!(decide_metrics(&scraper, &policy(Door::Admin)), Err(Why::MetricsOnly));
    }

    #[test]
    fn the_overflow_group_is_nobodys_group() {
        assert_eq!(allowed(&peer(1_000, &[OVERFLOW_ID]), &policy(Door::Admin)), []);
        assert_eq!(allowed(&Peer { gid: OVERFLOW_ID, ..peer(1_000, &[]) }, &policy(Door::Admin)), []);
    }

    #[test]
    fn a_system_service_does_not_trust_its_own_uid_unless_told_to() {
        assert_eq!(OwnUid::of(Auto::Auto, Service::System), OwnUid::ReloadOnly);
        assert_eq!(OwnUid::of(Auto::Auto, Service::Own), OwnUid::Administrator);
        assert_eq!(OwnUid::of(Auto::Is(true), Service::System), OwnUid::Administrator);
        assert_eq!(OwnUid::of(Auto::Is(false), Service::Own), OwnUid::ReloadOnly);
    }
}
