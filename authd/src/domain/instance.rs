//! Instances on one database: what each of them says of itself every few seconds.

use std::collections::BTreeMap;

/// An instance that was not heard for this long does not count, in milliseconds.
pub const INSTANCE_LIVE_MS: i64 = 15_000;

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    /// A random name, new at every start.
    pub instance: String,
    /// Ids of the keys in its JWKS.
    pub serving: Vec<String>,
    /// Ids of the key-encryption keys it can read with; it writes with the first.
    pub keks: Vec<String>,
    /// The `max-age` it serves with the JWKS, in milliseconds.
    pub cache_ms: i64,
    /// The life of the access tokens it issues, in milliseconds.
    pub access_ttl_ms: i64,
}

/// What was last heard of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Its name.
    pub instance: String,
    /// When it was last heard, by database time.
    pub beat_ms: i64,
    /// When it ended by itself.
    pub left_ms: Option<i64>,
    /// Since when it serves each key in its JWKS, by database time.
    pub serving: BTreeMap<String, i64>,
    /// Ids of the key-encryption keys it can read with; it writes with the first.
    pub keks: Vec<String>,
    /// The `max-age` it serves with the JWKS, in milliseconds.
    pub cache_ms: i64,
    /// The life of the access tokens it issues, in milliseconds.
    pub access_ttl_ms: i64,
}

impl Heartbeat {
    /// Whether it counts: it has not ended and was heard lately.
    #[must_use]
    pub fn is_live(&self, now_ms: i64) -> bool {
        self.left_ms.is_none() && now_ms.saturating_sub(self.beat_ms) <= INSTANCE_LIVE_MS
    }
}

/// The instances that count.
pub fn live(instances: &[Heartbeat], now_ms: i64) -> impl Iterator<Item = &Heartbeat> {
    instances.iter().filter(move |beat| beat.is_live(now_ms))
}

/// How many instances share this database now, at least one.
#[must_use]
pub fn live_instances(instances: &[Heartbeat], now_ms: i64) -> u32 {
    u32::try_from(live(instances, now_ms).count()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_counts_until_it_ends_or_falls_silent() {
        let beat = Heartbeat { beat_ms: 1_000, ..Heartbeat::default() };
        let left = Heartbeat { left_ms: Some(1_001), ..beat.clone() };
        assert!(beat.is_live(1_000 + INSTANCE_LIVE_MS) && !beat.is_live(1_001 + INSTANCE_LIVE_MS));
        assert!(!left.is_live(1_002));
        assert_eq!((live_instances(&[beat.clone(), left, beat], 1_000), live_instances(&[], 0)), (2, 1));
    }
}
