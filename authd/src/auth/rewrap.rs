//! Moving what is encrypted to another key-encryption key, and saying how far that is.

use crate::auth::Auth;
use crate::domain::{
    audit::Action,
    store_error::StoreError,
    wrap::{Rewrapping, Wrapped, rewrapping},
};

/// The key-encryption keys of this instance, and what is encrypted under which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// The one in force.
    pub current: String,
    /// The one before, while this instance has it.
    pub previous: Option<String>,
    /// One that something is encrypted under and that is not in force here.
    pub behind: Option<String>,
    /// How many secrets are encrypted.
    pub secrets: usize,
    /// How far the move has come.
    pub progress: Rewrapping,
}

impl Encryption {
    /// What an operator should do, or wait for; `None` when nothing is being replaced.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let (current, secrets) = (&self.current, self.secrets);
        let old = self.previous.as_ref().or(self.behind.as_ref())?;
        let keep = format!("keep the file with {old}");
        Some(match self.progress {
            Rewrapping::Done => format!(
                "all {secrets} secrets are encrypted under {current}: remove key.previous_encryption_key, or the \
                 credential kek.old, on every instance, then the file with {old}"
            ),
            Rewrapping::Waiting(instances) if self.previous.is_some() => format!(
                "nothing moves to the key-encryption key {current} before {instances} more live instances have it as \
                 key.encryption_key: {keep}"
            ),
            Rewrapping::Left(_) | Rewrapping::Waiting(_) if self.previous.is_none() => format!(
                "secrets are encrypted under {old}, which this instance does not have (it has {current}): set \
                 key.encryption_key to the file with {old} and start it anew"
            ),
            Rewrapping::Left(left) | Rewrapping::Waiting(left) => format!(
                "{left} of {secrets} secrets still have to move from the key-encryption key {old} to {current}: {keep}"
            ),
        })
    }
}

impl Auth {
    /// Moves what is not yet encrypted under the key-encryption key in force, one secret a transaction, when every live
    /// instance has it in force. How many were moved; it can be cut off at any point and goes on the next time.
    ///
    /// # Errors
    /// [`StoreError`]; what was moved until then stays moved.
    pub async fn rewrap(&self) -> Result<u32, StoreError> {
        if self.parts.wrapper.ids().len() < 2 {
            return Ok(0);
        }
        let (found, stored) = self.look_at_encryption().await?;
        let Rewrapping::Left(_) = found.progress else { return Ok(0) };
        let mut moved = 0;
        for old in stored.iter().filter(|old| old.kek != found.current) {
            moved += u32::from(self.rewrap_one(old).await?);
        }
        Ok(moved)
    }

    async fn rewrap_one(&self, old: &Wrapped) -> Result<bool, StoreError> {
        let owner = old.item.owner();
        let new = self.parts.wrapper.rewrap(old, self.parts.random.as_ref()).ok_or_else(|| {
            StoreError::corrupt(format_args!("{owner} does not open with the key-encryption key {}", old.kek))
        })?;
        let event = self.job_event("rewrap", Action::KeyRewrapped).about("key", owner);
        let event = event.with("from", &old.kek).with("to", &new.kek);
        self.parts.wraps.rewrap(old, new, event).await
    }

    /// The key-encryption keys and how far a change of them has come.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn encryption(&self) -> Result<Encryption, StoreError> {
        Ok(self.look_at_encryption().await?.0)
    }

    async fn look_at_encryption(&self) -> Result<(Encryption, Vec<Wrapped>), StoreError> {
        let stored = self.parts.wraps.wrapped().await?;
        let (beats, now_ms) = self.parts.keys.beats().await?;
        let ours = self.parts.wrapper.ids();
        let progress = rewrapping(&ours, &stored, &beats, now_ms);
        let mut ours = ours.into_iter();
        let current = ours.next().unwrap_or_default();
        let behind = stored.iter().find(|row| row.kek != current).map(|row| row.kek.clone());
        Ok((Encryption { current, previous: ours.next(), behind, secrets: stored.len(), progress }, stored))
    }
}
