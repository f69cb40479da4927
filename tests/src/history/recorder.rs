//! Every operation of everybody: what was asked, when, and what its client was told.

use crate::outcome::Outcome;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What somebody waits who finds nobody.
const UNHURRIED: Duration = Duration::from_millis(10);

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Act {
    /// An account with its first session.
    Register,
    /// A session.
    Login,
    /// The successor of a refresh token, for the first time or again.
    Refresh,
    /// The end of one session, of the others, or of all.
    Logout,
    /// Another password; the other sessions end.
    ChangePassword,
    /// An operator ends one session.
    RevokeSession,
    /// An operator disables an account; its sessions end.
    Disable,
    /// An operator enables it again.
    Enable,
}

/// What its client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It gave tokens of this session.
    Granted(String),
    /// It is done.
    Done,
    /// It was refused with this status.
    Refused(u16),
    /// Nobody listened.
    Unsent,
    /// Nothing.
    Unknown,
}

impl From<&Outcome> for Told {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Granted(tokens) => Self::Granted(tokens.session.clone()),
            Outcome::Done => Self::Done,
            Outcome::Refused(answer) => Self::Refused(answer.status),
            Outcome::Unsent => Self::Unsent,
            Outcome::Unknown(_) => Self::Unknown,
        }
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its id, which the audit knows as request id or ticket.
    pub id: String,
    /// What was asked for.
    pub act: Act,
    /// When it was sent.
    pub started: Instant,
    /// When its end was seen.
    pub ended: Instant,
    /// What its client was told.
    pub told: Told,
}

/// The operations of a scenario, in the order in which their ends were seen.
#[derive(Debug, Default)]
pub struct Recorder {
    operations: Mutex<Vec<Operation>>,
    ids: AtomicU64,
}

impl Recorder {
    /// An id for the next operation.
    #[must_use]
    pub fn next_id(&self) -> String {
        format!("op-{}", self.ids.fetch_add(1, Ordering::SeqCst))
    }

    /// Sends an operation and records what became of it. `send` gets the operation's id.
    pub async fn record<F: Future<Output = Outcome>>(&self, act: Act, send: impl FnOnce(String) -> F) -> Outcome {
        let (id, started) = (self.next_id(), Instant::now());
        let outcome = send(id.clone()).await;
        let operation = Operation { id, act, started, ended: Instant::now(), told: Told::from(&outcome) };
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
        if matches!(outcome, Outcome::Unsent) {
            tokio::time::sleep(UNHURRIED).await;
        }
        outcome
    }

    /// All operations so far.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many operations that began after `since` were answered with success.
    #[must_use]
    pub fn served_since(&self, since: Instant) -> usize {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let served = |told: &Told| matches!(told, Told::Granted(_) | Told::Done);
        operations.iter().rev().filter(|operation| operation.started > since && served(&operation.told)).count()
    }

    /// How many operations of each kind ended how: granted or done, refused, unsent, unknown.
    #[must_use]
    pub fn counted(&self) -> BTreeMap<Act, [usize; 4]> {
        let mut counted: BTreeMap<Act, [usize; 4]> = BTreeMap::new();
        for operation in self.operations.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let [served, refused, unsent, unknown] = counted.entry(operation.act).or_default();
            *match operation.told {
                Told::Granted(_) | Told::Done => served,
                Told::Refused(_) => refused,
                Told::Unsent => unsent,
                Told::Unknown => unknown,
            } += 1;
        }
        counted
    }
}
