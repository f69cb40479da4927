//! All tests of the whole: one binary, a module a surface.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails on the spot, and may look at the machine's clock"
)]

/// A case that holds on SQLite and on PostgreSQL alike: `on_both! { async fn name(options) { … } }`.
macro_rules! on_both {
    ($(#[$meta:meta])* async fn $name:ident($options:ident) $body:block) => {
        mod $name {
            use super::*;

            async fn case($options: tests::options::Options) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                case(tests::options::Options::sqlite()).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                case(tests::options::Options::postgres().await).await;
            }
        }
    };
}

mod admin;
mod audit;
mod bans;
mod database;
mod desk;
mod device;
mod failures;
mod flood;
mod guesses;
mod hard;
mod heavy;
mod http;
mod imports;
mod key;
mod lifecycle;
mod lifecycle_systemd;
mod limits;
mod login;
mod man;
mod many;
mod outage;
mod packages;
mod past;
mod race;
mod redis;
mod refresh;
mod register;
mod rewrap;
mod sessions;
mod signals;
mod starts;
mod store;
mod time;
mod tokens;
mod transfer;
mod units;
