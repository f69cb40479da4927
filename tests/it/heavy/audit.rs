//! A thousand changes of the stored audit log, one at a time, and logs that were written while instances were killed.

use crate::audit::{killed, mutations};
use tests::scale;

on_both! {
    async fn every_one_of_a_thousand_changes_of_the_stored_log_is_found(options) {
        mutations(options, scale::of(1_000)).await;
    }
}

on_both! {
    async fn a_log_that_was_written_while_instances_were_killed_verifies(options) {
        killed(options, scale::of(100)).await;
    }
}
