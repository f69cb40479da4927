//! Limits as a whole: that each trips where it says, how they are tuned while the daemon runs, and alarms.

mod alarms;
mod devices;
mod trips;
mod tuning;

use serde_json::json;
use tests::{
    client::{Call, Client},
    daemon::Daemon,
};

pub(crate) const PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]";
pub(crate) const WRONG: &str = "not-the-velvet-one-55";

/// A login of `email` from this address.
pub(crate) fn login(client: Client, from: &str, email: &str, password: &str) -> Call {
    let body = json!({ "email": email, "password": password });
    client.post("/api/auth/login", &body).header("x-forwarded-for", from)
}

/// The policies whose alarms go on.
pub(crate) async fn alarms(daemon: &Daemon) -> Vec<String> {
    let status = daemon.admin().call::<shared::admin::daemon::Status>(&shared::admin::Empty {}).await;
    status.degraded.into_iter().map(|degraded| degraded.part).collect()
}
