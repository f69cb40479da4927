//! Ends of sessions as every instance reads them: page by page, may repeat, never skips.

use shared::id::SessionId;

/// Something that no longer works, for the memory of every instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The session that ended.
    pub session: SessionId,
    /// Forget it after this time: no token can outlive it.
    pub forget_ms: i64,
}

/// Where reading goes on; the default is the beginning. What the numbers mean only storage knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedCursor {
    /// Everything before was read.
    pub read: i64,
    /// Set between the pages of one round.
    pub round: Option<FeedRound>,
}

/// A round of reading that has more than one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedRound {
    /// What will have been read after the last page.
    pub until: i64,
    /// The last one of the page.
    pub after: (i64, i64),
}

impl FeedCursor {
    /// Everything up to `read`.
    #[must_use]
    pub fn up_to(read: i64) -> Self {
        Self { read, round: None }
    }

    /// Whether more is to be read before everything is known.
    #[must_use]
    pub fn has_more(self) -> bool {
        self.round.is_some()
    }
}
