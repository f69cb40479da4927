//! The lane of known devices: what strangers do at the same address takes nothing from it, and it has bounds of its
//! own.

use super::{PROXY, WRONG, alarms, login};
use serde_json::json;
use shared::{
    admin::{
        Empty,
        address::{AddRequest, AllowAdd},
        daemon::Status,
        limit::{Set, SetRequest},
    },
    error::ErrorCode,
};
use std::time::Duration;
use tests::{
    client::{Call, Client, PASSWORD, Tokens},
    daemon::Daemon,
    options::Options,
    redis::Redis,
    wait::until,
};

const ADA: &str = "ada@example.org";
const HOME: &str = "203.0.113.1";

/// A login from Ada's device at this address.
fn back(client: Client, ada: &Tokens, from: &str) -> Call {
    let body = json!({ "email": ADA, "password": PASSWORD, "device_token": ada.device });
    client.post("/api/auth/login", &body).header("x-forwarded-for", from)
}

/// Strangers have a quarter of eight, a known device all of them.
async fn assert_attack_mode_spares_devices(redis: Option<&Redis>) {
    let limits = "[limit.\"login.global\"]\npercent = 60\nattempts = 10\n[limit.\"login.device\"]\nrate = \"off\"\n\
        [limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 8\n[limit.\"login.net\"]\nrate = \"1/h\"\nburst = 8\n";
    let options = Options::sqlite().config(PROXY).config(limits);
    let options = match redis {
        Some(redis) => options.config(&redis.patient()),
        None => options,
    };
    let daemon = Daemon::start(options).await;
    let client = daemon.client();
    let ada = client.register(ADA).await;
    for number in 0..10 {
        let (from, email) = (format!("192.0.{number}.1"), format!("user{number}@example.org"));
        login(client, &from, &email, WRONG).send().await.assert_status(401);
    }
    assert_eq!(alarms(&daemon).await, ["login.global"]);
    let mut strangers = Vec::new();
    for number in 10..13 {
        let email = format!("user{number}@example.org");
        strangers.push(login(client, HOME, &email, WRONG).send().await.status);
    }
    assert_eq!(strangers, [401, 401, 429]);
    for _ in 0..8 {
        back(client, &ada, HOME).send().await.assert_status(200);
    }
    back(client, &ada, HOME).send().await.assert_refused(ErrorCode::RateLimited);
}

#[tokio::test]
async fn attack_mode_leaves_known_devices_the_whole_of_their_rates() {
    assert_attack_mode_spares_devices(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_mode_leaves_known_devices_the_whole_of_their_rates_in_redis_too() {
    let redis = Redis::start().await;
    assert_attack_mode_spares_devices(Some(&redis)).await;
}

#[tokio::test]
async fn known_devices_at_one_address_and_in_one_network_share_rates_of_their_own() {
    let limits = "[limit.\"login.device\"]\nrate = \"off\"\n[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 3\n\
        [limit.\"login.net\"]\nrate = \"1/h\"\nburst = 5\n";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(limits)).await;
    let client = daemon.client();
    let phone = client.register(ADA).await;
    let answer = login(client, "192.0.2.1", ADA, PASSWORD).send().await;
    let laptop = Tokens::of(&answer);
    let mut statuses = Vec::new();
    for (device, from) in [
        (&phone, HOME),
        (&laptop, HOME),
        (&phone, HOME),
        (&laptop, HOME),
        (&phone, "203.0.113.2"),
        (&laptop, "203.0.113.2"),
        (&phone, "203.0.113.3"),
        (&laptop, "198.51.100.1"),
    ] {
        statuses.push(back(client, device, from).send().await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 200, 200, 429, 200]);
    login(client, HOME, ADA, PASSWORD).send().await.assert_status(200);
}

#[tokio::test]
async fn an_allowed_address_is_no_limit_to_known_devices_either() {
    let limits = "[limit.\"login.device\"]\nrate = \"1/h\"\nburst = 5\n[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 2\n\
        [limit.\"login.net\"]\nrate = \"1/h\"\nburst = 2\n";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(limits)).await;
    let client = daemon.client();
    let ada = client.register(ADA).await;
    daemon.admin().call::<AllowAdd>(&AddRequest { network: HOME.into(), ..AddRequest::default() }).await;
    for _ in 0..5 {
        back(client, &ada, HOME).send().await.assert_status(200);
    }
    // What counts by device goes on.
    back(client, &ada, HOME).send().await.assert_refused(ErrorCode::RateLimited);
}

#[tokio::test]
async fn a_spray_at_the_same_address_keeps_no_known_device_out() {
    let spray = "[limit.\"login.spray\"]\ncount = 3\n[limit.\"login.spray_net\"]\ncount = 3";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(spray)).await;
    let client = daemon.client();
    let ada = client.register(ADA).await;
    for number in 0..3 {
        login(client, HOME, &format!("user{number}@example.org"), WRONG).send().await.assert_status(401);
    }
    login(client, HOME, ADA, PASSWORD).send().await.assert_refused(ErrorCode::RateLimited);
    back(client, &ada, HOME).send().await.assert_status(200);
}

#[tokio::test]
async fn failures_of_devices_in_shadow_drop_no_device() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let client = daemon.client();
    let ada = client.register(ADA).await;
    let shadow =
        SetRequest { policy: "login.device_failures".into(), burst: Some(2), shadow: true, ..SetRequest::default() };
    daemon.admin().call::<Set>(&shadow).await;
    let device = ada.device.as_deref().unwrap();
    for _ in 0..4 {
        client.try_login_from(device, ADA, WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
    }
    let answer = client.try_login_from(device, ADA, PASSWORD).await;
    assert_eq!(Tokens::of(&answer).device, None, "it is known still");
}

/// Passwords that wait to be hashed.
async fn queued(daemon: &Daemon) -> u64 {
    daemon.admin().call::<Status>(&Empty {}).await.hashing.queued
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_device_does_not_wait_behind_strangers_for_its_password_to_be_hashed() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let ada = daemon.client().register(ADA).await;
    let slow = "[password]\nmemory_kib = 65536\niterations = 1\nworkers = 1\nqueue = 1000\nwait = \"30s\"";
    daemon.restart_with(|options| options.config(slow)).await;
    let client = daemon.client();
    let mut strangers = tokio::task::JoinSet::new();
    for number in 0..60 {
        let body = json!({ "email": format!("user{number}@example.org"), "password": PASSWORD });
        strangers.spawn(async move { client.post("/api/auth/register", &body).try_send().await.is_ok() });
    }
    let many = || async { (queued(&daemon).await >= 40).then_some(()) };
    until(Duration::from_secs(60), "many wait", many).await;
    back(client, &ada, HOME).send().await.assert_status(200);
    let left = queued(&daemon).await;
    assert!(left >= 20, "{left} of 40 still wait");
    strangers.abort_all();
}
