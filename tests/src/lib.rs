//! The harness of the tests: real daemons, real databases, clients for every surface, and a reader of the source tree.
#![expect(clippy::expect_used, clippy::panic, reason = "a harness that cannot go on fails its test on the spot")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the machine's clock and let tasks end with their runtime"
)]

pub mod admin;
pub mod cgroup;
pub mod client;
pub mod clock;
pub mod crowd;
pub mod ctl;
pub mod daemon;
pub mod disk;
pub mod fuzz;
pub mod history;
pub mod inprocess;
pub mod jwt;
pub mod kept;
pub mod machine;
pub mod options;
pub mod outcome;
pub mod own_key;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod refresh_token;
pub mod rust_source;
pub mod scale;
pub mod wait;
pub mod wire;
