//! Admin API on Unix sockets: who connects (`peer`), how calls are read and answered (`call`), and one file a noun.
//!
//! `start` opens both sockets. Every connection passes `serve`, which asks the kernel who is there; every call
//! passes `call::Calls`, which compares that with what the call's type demands.

mod address;
mod audit;
mod body;
mod breaker;
mod call;
mod chain;
pub mod control;
mod credentials;
mod daemon;
mod db;
mod groups;
mod guard;
mod key;
mod limit;
mod limit_test;
mod lines;
mod metrics;
mod mode;
mod overview;
pub mod peer;
mod problem;
mod serve;
mod session;
mod slots;
pub mod socket;
mod transfer;
mod user;
mod why;
mod witness;

pub use call::Caller;
pub use groups::UnusableGroup;
pub use problem::Denied;

use crate::{
    auth::Auth,
    config::{Auto, Config, Group},
    tasks::{Stop, Tasks},
};
use axum::{Router, routing::get};
use call::Calls;
use control::Control;
use peer::{Door, OwnUid, Policy};
use serve::Gate;
use shared::admin::{config as config_calls, daemon as daemon_calls, key as key_calls};
use socket::{Bound, Entry};
use std::{os::unix::net::UnixListener, path::PathBuf, sync::Arc};

/// Where the sockets are and who may use them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Socket of administrators.
    pub admin_socket: PathBuf,
    /// Socket of readers.
    pub read_socket: PathBuf,
    /// Groups whose members may do everything.
    pub admin_groups: Vec<Group>,
    /// Groups whose members may read.
    pub read_groups: Vec<Group>,
    /// Groups whose members may fetch the metrics.
    pub metrics_groups: Vec<Group>,
    /// Whether the daemon's own uid counts as an administrator.
    pub trust_own_uid: Auto<bool>,
}

impl Options {
    /// What the configuration says.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            admin_socket: config.places.admin_socket.clone(),
            read_socket: config.places.read_socket.clone(),
            admin_groups: config.admin.admin_groups.clone(),
            read_groups: config.admin.read_groups.clone(),
            metrics_groups: config.admin.metrics_groups.clone(),
            trust_own_uid: config.admin.trust_own_uid,
        }
    }
}

/// Why the admin API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// A group cannot be used.
    #[error(transparent)]
    Group(#[from] UnusableGroup),
    /// A socket cannot be opened.
    #[error("the socket {} cannot be opened: {cause}", .path.display())]
    Socket {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// What the calls work with.
pub(crate) struct Admin {
    pub(crate) auth: Arc<Auth>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) tasks: Arc<Tasks>,
}

impl Admin {
    fn stop(&self) -> Stop {
        self.tasks.stop()
    }
}

/// Every call of this version.
fn router(admin: Arc<Admin>) -> Router {
    use shared::admin::{
        address as address_calls, audit as audit_calls, chain as chain_calls, limit as limit_calls,
        session as session_calls, user as user_calls,
    };
    use shared::admin::{breaker as breaker_calls, db as db_calls, mode as mode_calls};
    Calls::new()
        .add::<daemon_calls::Status, _, _>(daemon::status)
        .add::<daemon_calls::Reload, _, _>(daemon::reload)
        .add::<shared::admin::doctor::Checkup, _, _>(daemon::checkup)
        .add::<config_calls::Show, _, _>(daemon::show_config)
        .add::<config_calls::Check, _, _>(daemon::check_config)
        .add::<config_calls::Schema, _, _>(daemon::config_schema)
        .add::<session_calls::List, _, _>(session::list)
        .add::<session_calls::Show, _, _>(session::show)
        .add::<session_calls::Revoke, _, _>(session::revoke)
        .add::<session_calls::EpochBump, _, _>(session::bump_epoch)
        .add::<session_calls::stats::Stats, _, _>(overview::stats)
        .add::<session_calls::lineage::Lineage, _, _>(overview::lineage)
        .add::<user_calls::List, _, _>(user::list)
        .add::<user_calls::Show, _, _>(user::show)
        .add::<user_calls::Create, _, _>(user::create)
        .add::<user_calls::Disable, _, _>(user::disable)
        .add::<user_calls::Enable, _, _>(user::enable)
        .add::<user_calls::Unlock, _, _>(user::unlock)
        .add::<user_calls::Logout, _, _>(user::logout)
        .add::<user_calls::ResetPassword, _, _>(user::reset_password)
        .add::<user_calls::Delete, _, _>(user::delete)
        .add::<user_calls::transfer::Import, _, _>(transfer::import)
        .add::<user_calls::transfer::Export, _, _>(transfer::export)
        .add::<key_calls::List, _, _>(key::list)
        .add::<key_calls::Show, _, _>(key::show)
        .add::<key_calls::Stage, _, _>(key::stage)
        .add::<key_calls::Promote, _, _>(key::promote)
        .add::<key_calls::Retire, _, _>(key::retire)
        .add::<key_calls::Revoke, _, _>(key::revoke)
        .add::<key_calls::Rotate, _, _>(key::rotate)
        .add::<key_calls::Jwks, _, _>(key::jwks)
        .add::<audit_calls::List, _, _>(audit::list)
        .add_stream::<audit_calls::Tail, _, _>(audit::tail)
        .add::<chain_calls::Show, _, _>(chain::show)
        .add::<chain_calls::Stats, _, _>(chain::stats)
        .add_stream::<chain_calls::Verify, _, _>(chain::verify)
        .add_stream::<chain_calls::Export, _, _>(chain::export)
        .add::<chain_calls::MakeCheckpoint, _, _>(chain::checkpoint)
        .add::<chain_calls::Purge, _, _>(chain::purge)
        .add::<breaker_calls::List, _, _>(breaker::list)
        .add::<breaker_calls::Open, _, _>(breaker::open)
        .add::<breaker_calls::Close, _, _>(breaker::close)
        .add::<limit_calls::List, _, _>(limit::list)
        .add::<limit_calls::Show, _, _>(limit::show)
        .add::<limit_calls::Set, _, _>(limit::set)
        .add::<limit_calls::Reset, _, _>(limit::reset)
        .add::<mode_calls::Show, _, _>(mode::show)
        .add::<mode_calls::Set, _, _>(mode::set)
        .add::<db_calls::Status, _, _>(db::status)
        .add_stream::<db_calls::Backup, _, _>(db::back_up)
        .add_stream::<db_calls::Move, _, _>(db::move_to)
        .page(metrics::PATH, get(metrics::metrics))
        .add::<limit_calls::Top, _, _>(limit::top)
        .add::<limit_calls::Test, _, _>(limit_test::test)
        .add::<shared::admin::why::Why, _, _>(why::why)
        .add::<address_calls::BanList, _, _>(address::bans)
        .add::<address_calls::BanAdd, _, _>(address::ban)
        .add::<address_calls::BanRemove, _, _>(address::unban)
        .add::<address_calls::AllowList, _, _>(address::allowances)
        .add::<address_calls::AllowAdd, _, _>(address::allow)
        .add::<address_calls::AllowRemove, _, _>(address::disallow)
        .into_router(admin)
}

/// Opens both sockets (or takes over `inherited` ones: admin, read) and serves them until the daemon stops.
///
/// # Errors
/// [`StartFault`]: both are reasons not to start.
pub fn start(
    options: &Options,
    auth: Arc<Auth>,
    control: Arc<dyn Control>,
    inherited: (Option<UnixListener>, Option<UnixListener>),
    tasks: &Arc<Tasks>,
) -> Result<(), StartFault> {
    let admin_gids = groups::resolve(&options.admin_groups)?;
    let read_gids = groups::resolve(&options.read_groups)?;
    let metrics_gids = groups::resolve(&options.metrics_groups)?;
    let policy = |door| Policy {
        door,
        admin_gids: admin_gids.clone(),
        read_gids: read_gids.clone(),
        metrics_gids: metrics_gids.clone(),
        own_uid: nix::unistd::geteuid().as_raw(),
        own: OwnUid::of(options.trust_own_uid, peer::is_system_service()),
    };
    let admin = Arc::new(Admin { auth, control, tasks: tasks.clone() });
    let app = router(admin.clone());
    let doors = [
        (Door::Admin, &options.admin_socket, inherited.0, admin_gids.first()),
        (Door::Read, &options.read_socket, inherited.1, read_gids.first()),
    ];
    for (door, path, given, group) in doors {
        let fault = |cause| StartFault::Socket { path: path.clone(), cause };
        let bound = match given {
            Some(listener) => Bound::adopt(listener),
            None => Bound::bind(path, Entry { group: group.copied() }),
        };
        let bound = bound.map_err(fault)?;
        let listener = bound.listener().map_err(fault)?;
        let gate = Gate { policy: Arc::new(policy(door)), app: app.clone(), witness: admin.clone() };
        tracing::info!(socket = %path.display(), listener = door.name(), "listening");
        let stop = tasks.stop();
        tasks.spawn(door.name(), async move {
            serve::serve(listener, gate, stop).await;
            drop(bound);
        });
    }
    Ok(())
}
