//! Passwords: what may be one, and the trait that hashes them.

use crate::domain::{account::PasswordHash, hard::Lane, hash_cost::HashCost, secret::Secret};
use std::sync::{Arc, Weak};
use unicode_normalization::UnicodeNormalization;

/// Whoever waits for an answer: while it is held somewhere, work done for it is wanted.
#[derive(Debug, Clone, Default)]
pub struct Presence(Option<Weak<()>>);

impl Presence {
    /// Somebody who is there as long as `held` is.
    #[must_use]
    pub fn of(held: &Arc<()>) -> Self {
        Self(Some(Arc::downgrade(held)))
    }

    /// Whether they have left.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.strong_count() == 0)
    }
}

/// A password in NFC (NIST SP 800-63B-4 §3.1.1.2), never truncated; with whoever gave it, so that it is not hashed for
/// a client that has hung up.
#[derive(Debug, Clone)]
pub struct Password {
    text: Secret,
    giver: Presence,
}

impl Password {
    /// Normalises what was typed.
    #[must_use]
    pub fn new(typed: &str) -> Self {
        Self { text: Secret::new(typed.nfc().collect::<String>()), giver: Presence::default() }
    }

    /// The same, given by a client that may leave.
    #[must_use]
    pub fn given_by(mut self, giver: Presence) -> Self {
        self.giver = giver;
        self
    }

    /// Whether whoever gave it has left.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        self.giver.has_left()
    }

    /// The text, for the hash and the strength check.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.text.reveal()
    }

    /// Length in code points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reveal().chars().count()
    }

    /// Whether nothing was typed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reveal().is_empty()
    }
}

/// Why a password cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Fewer code points than `password.min_length`.
    #[error("use at least {0} characters")]
    TooShort(u32),
    /// More code points than `password.max_length`.
    #[error("use at most {0} characters")]
    TooLong(u32),
    /// It is, or contains nothing but, the e-mail, its local part, the user name or the service's name.
    #[error("do not use your e-mail address, user name or the name of the service")]
    Personal,
    /// It is in the filter of breached passwords.
    #[error("this password is known from data breaches; use another one")]
    Breached,
    /// A guesser would find it soon (zxcvbn score below `password.min_strength`).
    #[error("this password is easy to guess; use a longer one or one of several unrelated words")]
    Guessable,
}

/// Judges a password that somebody wants to use; costs milliseconds, runs off the async threads.
pub trait PasswordPolicy: Send + Sync {
    /// `personal` are texts the password must not be: e-mail, local part, user name.
    ///
    /// # Errors
    /// The first rule it breaks.
    fn judge(&self, password: &Password, personal: &[&str]) -> Result<(), WeakPassword>;

    /// Whether it is longer than any password can be here: a login with it costs the same as any other and fails.
    fn is_overlong(&self, password: &Password) -> bool;
}

/// What a password is checked against.
#[derive(Debug, Clone)]
pub enum Against {
    /// A stored hash.
    Stored(PasswordHash),
    /// Nothing: unknown, disabled, passwordless or over-long. Costs the same, never matches. The text picks one of the
    /// costs in use, so that one identifier always costs the same.
    Nobody(String),
    /// Nothing, at this cost: to learn how long it takes.
    Trial(HashCost),
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Wrong.
    Wrong,
    /// Right.
    Right,
    /// Right, and the stored hash is weaker than what is configured: re-hash.
    RightButOutdated,
}

/// Why a hash was not computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The queue is full, or the deadline passed before a worker was free.
    #[error("too many passwords are being checked")]
    Overloaded,
    /// The stored hash cannot be verified by this version or exceeds the caps; nothing a caller can mend.
    #[error("the stored password hash cannot be verified")]
    Unusable,
}

/// Why a hash that another system made cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableHash {
    /// Of no known form.
    #[error("the hash has no known form: argon2, bcrypt, scrypt, pbkdf2-sha256 and pbkdf2-sha512 are known")]
    Unknown,
    /// Of a known form, but not whole.
    #[error("the hash is malformed")]
    Malformed,
    /// Verifying it would take too long or too much memory; the most that is taken.
    #[error("the hash costs too much: {0}")]
    TooCostly(&'static str),
    /// It can be guessed as fast as if it were none.
    #[error("the hash costs too little: at least 1000 rounds of PBKDF2")]
    TooWeak,
    /// Its output could be found by trying.
    #[error("the output of the hash is shorter than 16 bytes")]
    TooShort,
}

/// Hashing load, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HashLoad {
    /// Worker threads.
    pub workers: usize,
    /// Of them, at work.
    pub busy: usize,
    /// Jobs waiting.
    pub queued: usize,
    /// Jobs that may wait in one lane.
    pub room: usize,
    /// Checks evaluated since start.
    pub evaluated: u64,
    /// Jobs refused since start: no room in the queue, or no turn in time.
    pub shed: u64,
}

/// Hashes and checks passwords on its own threads.
#[async_trait::async_trait]
pub trait PasswordHasher: Send + Sync {
    /// Checks a password; known devices come first. A job whose caller has gone is dropped before it is hashed, and
    /// [`HashError::Overloaded`] says that nothing was learnt of the password.
    async fn check(&self, lane: Lane, password: Password, against: Against) -> Result<Checked, HashError>;

    /// Hashes a new password with the configured parameters; PHC text.
    async fn hash(&self, password: Password) -> Result<PasswordHash, HashError>;

    /// Runs a judgement of the policy on the same threads.
    async fn judge(&self, password: Password, personal: Vec<String>) -> Result<Result<(), WeakPassword>, HashError>;

    /// The costs in use, from which [`Against::Nobody`] draws; those that were never timed are tried out.
    async fn imitate(&self, costs: Vec<HashCost>);

    /// See [`Timings::floor_ms`](crate::domain::hash_cost::Timings::floor_ms).
    fn floor_ms(&self) -> i64;

    /// Whether a hash that another system made can be verified here.
    ///
    /// # Errors
    /// Why not.
    fn accepts(&self, stored: &PasswordHash) -> Result<(), UnusableHash>;

    /// How busy it is.
    fn load(&self) -> HashLoad;
}
