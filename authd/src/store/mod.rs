//! Two databases behind one text: [`open`] gives the stores of the domain on SQLite or PostgreSQL.
//!
//! ```text
//! open ─► Stores ─► session, account, key, setting, audit, readiness   one file a verb below each
//!                      └─► on_tx!/on_read! (db) ─► sqlite_writer: group commit · postgres: a task a transaction
//!                      └─► on_db! (dialect)     ─► one text, two drivers
//! rotate ─► rotation_lane (PostgreSQL: one statement for all that wait) ─► session_rotate ─► session_routine
//! ```
//! A store method is one transaction and writes the event it is given in it. Locks are taken in one order everywhere:
//! the account's row, then session rows by id, then device rows.

mod account;
mod account_break;
mod account_create;
mod account_list;
mod account_transfer;
mod address_rule;
mod audit;
mod chain;
mod db;
mod device;
mod dialect;
mod error;
mod event;
mod hard;
mod key;
mod network;
mod open;
mod page;
mod patience;
mod postgres;
mod readiness;
mod rotation_lane;
mod row;
mod seal;
mod session;
mod session_end;
mod session_feed;
mod session_list;
mod session_open;
mod session_past;
mod session_rotate;
mod session_routine;
mod session_seals;
mod session_slice;
mod session_stats;
mod setting;
mod sqlite_writer;
mod sweep;
mod upkeep;
mod wrap;

pub use open::{OpenError, StoreOptions, open};
pub use patience::{Failure, NeverCame, until_there};
pub use upkeep::{CheckError, verify as verify_backup};

use crate::domain::{
    account::AccountStore,
    address_rule::AddressRuleStore,
    audit::AuditLog,
    chain::{ChainStore, Notary},
    device::DeviceStore,
    hard::HardStore,
    key::KeyStore,
    restore::RestoreGuard,
    session::SessionStore,
    setting::{Readiness, SettingStore},
    tally::StorageTally,
    upkeep::Upkeep,
    wrap::WrapStore,
};
use std::{path::Path, sync::Arc};

/// Everything that is stored.
#[derive(Clone)]
pub struct Stores {
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Known devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Password evaluations.
    pub hard: Arc<dyn HardStore>,
    /// Signing keys and heartbeats.
    pub keys: Arc<dyn KeyStore>,
    /// What is encrypted under the key-encryption key.
    pub wraps: Arc<dyn WrapStore>,
    /// Live settings.
    pub settings: Arc<dyn SettingStore>,
    /// Bans and allowances.
    pub rules: Arc<dyn AddressRuleStore>,
    /// Audit events.
    pub audit: Arc<dyn AuditLog>,
    /// The audit chain.
    pub chain: Arc<dyn ChainStore>,
    /// Whether the database answers.
    pub readiness: Arc<dyn Readiness>,
    /// What every new connection is compared with.
    pub guard: Arc<RestoreGuard>,
    /// What was asked of the database.
    pub tally: Arc<StorageTally>,
    db: db::Db,
}

impl Stores {
    fn on(db: db::Db) -> Self {
        Self {
            accounts: Arc::new(account::Accounts { db: db.clone() }),
            sessions: Arc::new(session::Sessions::on(&db)),
            devices: Arc::new(device::Devices { db: db.clone() }),
            hard: Arc::new(hard::Hard { db: db.clone() }),
            keys: Arc::new(key::Keys { db: db.clone() }),
            wraps: Arc::new(wrap::Wraps { db: db.clone() }),
            settings: Arc::new(setting::Settings { db: db.clone() }),
            rules: Arc::new(address_rule::AddressRules { db: db.clone() }),
            audit: Arc::new(audit::Audit { db: db.clone() }),
            chain: Arc::new(chain::Chain { db: db.clone() }),
            readiness: Arc::new(readiness::Probe { db: db.for_probes() }),
            guard: db.context.guard.clone(),
            tally: db.context.tally.clone(),
            db,
        }
    }

    /// Gives the store what events are written with; before, it writes none. The first one stays.
    pub fn entrust(&self, notary: Arc<dyn Notary>) {
        // There is one already only if somebody else was faster with the same key.
        let _ = self.db.context.notary.set(notary);
    }

    /// Looks after the database; copies of it are made in `scratch`, a directory.
    #[must_use]
    pub fn upkeep(&self, scratch: &Path) -> Arc<dyn Upkeep> {
        Arc::new(upkeep::Care::of(self.db.clone(), scratch))
    }

    /// Waits for the changes under way, refuses new ones and closes the database. Call it last.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stores(…)")
    }
}
