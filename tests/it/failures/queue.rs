//! More passwords than can be hashed in time.

use super::flows::People;
use authd::domain::failure::Condition;
use serde_json::json;
use shared::admin::{Empty, daemon::Status};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tests::{
    client::{Client, PASSWORD},
    daemon::Daemon,
    options::Options,
    wait::until,
};

/// One hash takes seconds, and nobody waits for long.
const SLOW: &str = "[password]\nmemory_kib = 65536\niterations = 100\nworkers = 1\nqueue = 2\nwait = \"500ms\"";
/// An attempt that was shed uses nothing up: were it charged, there would be none left.
const ONE: &str = "[limit.\"login.hard\"]\nunknown = 1";

/// Asks for hashes without a pause.
async fn flood(client: Client, number: usize, is_over: Arc<AtomicBool>) {
    for round in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let body = json!({ "email": format!("guest{number}-{round}@example.org"), "password": PASSWORD });
        let _ = client.post("/api/auth/register", &body).try_send().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_password_queue_sheds_logins_and_nothing_else() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let people = People::of(&daemon).await;
    daemon.restart_with(|options| options.config(SLOW).config(ONE)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    for number in 0..6 {
        tokio::spawn(flood(daemon.client(), number, is_over.clone()));
    }
    until(Duration::from_secs(60), "the queue is full", || async {
        let hashing = daemon.admin().call::<Status>(&Empty {}).await.hashing;
        (hashing.busy == hashing.workers && hashing.queued >= 2).then_some(())
    })
    .await;
    people.walk(&daemon, Condition::HashQueueFull).await;
    is_over.store(true, Ordering::Relaxed);
    daemon.crash_with(|options| options.config("[password]\nmemory_kib = 64\niterations = 1")).await;
    people.assert_untouched(&daemon, Condition::HashQueueFull).await;
}
