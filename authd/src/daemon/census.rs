//! How many sessions live, for who does not wait long.

use crate::auth::Auth;
use std::time::Duration;

/// How long a count is waited for; a job finishes it for the next who asks.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many sessions live, by the last count while it is good; `None` when the database cannot be asked or counting takes
/// too long.
pub(super) async fn live_sessions(auth: &Auth) -> Option<u64> {
    if let Some(live) = auth.remembered_sessions() {
        return Some(live);
    }
    match tokio::time::timeout(PATIENCE, auth.count_sessions()).await {
        Ok(counted) => counted.ok(),
        Err(_) => {
            auth.want_census();
            None
        }
    }
}
