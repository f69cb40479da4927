//! How much of an account's past is kept: sessions that are over, ended or expired, beside its live ones.

use crate::domain::session::SessionCap;

/// The newest so many of them are kept, for as long as `session.keep` says.
pub const KEPT: i64 = 1_000;
/// So many more gather before a login takes the time to erase the oldest.
pub const SLACK: i64 = 250;
/// At most so many go with one login.
pub const AT_ONCE: i64 = 500;

/// Sessions that an account may have, live ones and others, before a login looks for what can go.
#[must_use]
pub fn at_ease(cap: SessionCap) -> i64 {
    i64::from(cap.max.max(1)) + KEPT + SLACK
}

/// How many go, the oldest first, of `over` sessions that are over.
#[must_use]
pub fn surplus(over: i64) -> i64 {
    if over <= KEPT + SLACK { 0 } else { over.saturating_sub(KEPT).min(AT_ONCE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::OnLimit;
    use proptest::prelude::*;

    #[test]
    fn the_newest_thousand_stay_and_few_go_at_once() {
        assert_eq!([0, KEPT, KEPT + SLACK].map(surplus), [0; 3]);
        assert_eq!([1_251, 1_499, 1_500, 1_501, 9_999].map(surplus), [251, 499, 500, 500, 500]);
        assert_eq!(surplus(i64::MAX), AT_ONCE);
    }

    proptest! {
        #[test]
        fn logins_keep_the_newest_and_the_rest_bounded(
            max in 1..10_000_u32,
            before in 0..100_000_i64,
            ends in prop::collection::vec(0..400_i64, 1..400),
        ) {
            let ease = at_ease(SessionCap { max, on_limit: OnLimit::EvictOldest });
            let (mut live, mut over) = (0, before);
            for ended in ends {
                let ended = ended.min(live);
                (live, over) = (live - ended, over + ended);
                let (rows, had) = (live + over, over);
                // As a login does it: the live ones first, then the past, if there are too many rows to count all.
                let evicted = (live + 1 - i64::from(max)).max(0);
                (live, over) = (live - evicted + 1, over + evicted);
                if rows > ease {
                    let gone = surplus(over);
                    over -= gone;
                    prop_assert!(gone > 0, "a login that has to look finds something to erase");
                }
                prop_assert!(over >= had.min(KEPT), "{had} were there, {over} are left");
                prop_assert!(live + over <= (ease + 1).max(before), "{live} live, {over} over");
            }
        }
    }
}
