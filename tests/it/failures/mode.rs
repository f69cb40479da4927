//! Operating modes: what each of them closes, how it is set, followed and ended.

use super::flows::People;
use authd::{
    auth::{Doing, EpochBump, Operator, Restored},
    domain::failure::Condition,
};
use serde_json::json;
use shared::{
    admin::{
        Empty,
        audit::ActorKind,
        daemon::Status,
        mode::{Mode, Set, SetRequest, Show},
    },
    error::ErrorCode,
};
use std::time::Duration;
use tests::{client::PASSWORD, daemon::Daemon, inprocess::InProcess, options::Options, process::crowded, wait::until};

fn order(mode: Mode) -> SetRequest {
    SetRequest { mode, lasting: None, reason: None, ticket: None, dry_run: false }
}

/// Walks the column of a mode.
async fn walk(options: Options, mode: Mode, condition: Condition) {
    let daemon = Daemon::start(options).await;
    let people = People::of(&daemon).await;
    let ran = daemon.ctl().run(&["mode", "set", mode.as_str(), "--reason", "a drill"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    people.walk(&daemon, condition).await;
    daemon.client().health().await.assert_status(200);
    daemon.client().ready().await.assert_status(200);
    let ran = daemon.ctl().run(&["mode", "set", "normal"]).await;
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), format!("mode is normal (was {mode})").as_str()), "{ran:?}");
    people.assert_untouched(&daemon, condition).await;
}

on_both! {
    async fn in_read_only_nothing_changes_and_reading_goes_on(options) {
        walk(options, Mode::ReadOnly, Condition::ReadOnly).await;
    }
}

on_both! {
    async fn in_no_login_the_existing_sessions_go_on(options) {
        walk(options, Mode::NoLogin, Condition::NoLogin).await;
    }
}

on_both! {
    async fn in_lockdown_only_the_sockets_answer(options) {
        walk(options, Mode::Lockdown, Condition::Lockdown).await;
    }
}

on_both! {
    async fn a_mode_is_recorded_outlasts_a_restart_and_ends_by_itself(options) {
        let mut daemon = Daemon::start(options).await;
        let lasting = Some("8s".parse().unwrap());
        let reason = Some("a drill".to_owned());
        let set = SetRequest { lasting, reason, ..order(Mode::NoLogin) };
        let changed = daemon.admin().call::<Set>(&set).await;
        assert_eq!((changed.mode.mode, changed.previous.mode), (Mode::NoLogin, Mode::Normal));
        assert!(changed.mode.expires_at.is_some() && changed.mode.changed_by.is_some(), "{changed:?}");
        daemon.restart().await;
        let body = json!({ "email": "ada@example.org", "password": PASSWORD });
        let refused = daemon.client().try_register(&body).await;
        refused.assert_refused(ErrorCode::ReadOnly);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=8).contains(&wait), "{refused}");
        until(crowded(Duration::from_secs(10)), "registration is open again", || async {
            (daemon.client().try_register(&body).await.status == 201).then_some(())
        })
        .await;
        assert_eq!(daemon.admin().call::<Show>(&Empty {}).await.mode, Mode::Normal);
        let events = until(crowded(Duration::from_secs(8)), "the end is recorded", || async {
            let events = daemon.admin().events("mode.changed").await;
            (events.len() >= 2).then_some(events)
        })
        .await;
        assert_eq!((events[0].actor.kind, events[1].actor.kind), (ActorKind::Job, ActorKind::Operator));
        assert_eq!((events[0].reason.as_deref(), events[1].reason.as_deref()), (Some("expired"), Some("a drill")));
        assert_eq!(events.len(), 2, "{events:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_reaches_the_other_instance_within_a_second_and_its_end_is_recorded_once() {
    let daemon = Daemon::start(Options::postgres().await).await;
    let other = daemon.second().await;
    let set = SetRequest { lasting: Some("3s".parse().unwrap()), ..order(Mode::Lockdown) };
    daemon.admin().call::<Set>(&set).await;
    daemon.client().jwks().await.assert_refused(ErrorCode::StorageUnavailable);
    until(crowded(Duration::from_secs(1)), "the other instance follows", || async {
        (other.client().jwks().await.status == 503).then_some(())
    })
    .await;
    assert_eq!(other.admin().call::<Status>(&Empty {}).await.mode, Mode::Lockdown);
    for daemon in [&daemon, &other] {
        until(crowded(Duration::from_secs(5)), "it is open again", || async {
            (daemon.client().jwks().await.status == 200).then_some(())
        })
        .await;
    }
    // Both instances have looked for what has expired by then.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(daemon.admin().events("mode.changed").await.len(), 2);
}

fn operator() -> Operator {
    Operator {
        uid: 0,
        login_uid: None,
        pid: None,
        groups: Vec::new(),
        request_id: "test".into(),
        reason: None,
        ticket: None,
        mode: Doing::ForReal,
    }
}

#[tokio::test]
async fn an_older_database_is_served_to_nobody_until_an_operator_accepts_it() {
    let app = InProcess::start(Options::sqlite()).await;
    let (client, auth) = (app.client(), &app.daemon.auth);
    let ada = client.register("ada@example.org").await;
    let ahead = shared::chain::Anchor { seq: 1_000_000, epoch: 7, ..Default::default() };
    assert!(matches!(auth.compare_with_anchor(Some(ahead)).await.unwrap(), Restored::Yes { .. }));
    client.jwks().await.assert_refused(ErrorCode::StorageUnavailable);
    client.verify(&ada.access).await.assert_refused(ErrorCode::StorageUnavailable);
    client.try_refresh(&ada.refresh).await.assert_refused(ErrorCode::StorageUnavailable);
    client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::StorageUnavailable);
    assert_eq!(auth.bump_epoch(&operator(), EpochBump::AcceptRestore).await.unwrap(), 8);
    client.jwks().await.assert_status(200);
    client.verify(&ada.access).await.assert_status(401);
    client.try_refresh(&ada.refresh).await.assert_status(401);
    client.login("ada@example.org").await;
}

#[tokio::test]
async fn a_mode_whose_time_is_over_closes_nothing_even_before_anybody_has_looked() {
    let app = InProcess::start(Options::sqlite()).await;
    app.daemon.auth.set_mode(&operator(), Mode::Lockdown, "1m".parse().ok()).await.unwrap();
    app.client().jwks().await.assert_refused(ErrorCode::StorageUnavailable);
    app.clock.advance_secs(61);
    app.client().jwks().await.assert_status(200);
}

#[tokio::test]
async fn a_dry_run_and_an_order_without_sense_change_no_mode() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let ran = daemon.ctl().run(&["mode", "set", "lockdown", "--for", "30m", "--dry-run"]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("would be lockdown"), "{ran:?}");
    for args in [&["mode", "set", "normal", "--for", "1m"][..], &["mode", "set", "lockdown", "--for", "0s"]] {
        assert_eq!(daemon.ctl().run(args).await.code, Some(2), "{args:?}");
    }
    assert_eq!(daemon.ctl().run(&["mode", "set", "open"]).await.code, Some(2));
    let shown = daemon.ctl().run(&["-o", "json", "mode", "show"]).await.json();
    assert_eq!(shown["data"]["mode"], "normal", "{shown}");
    assert!(daemon.admin().events("mode.changed").await.is_empty());
    let refused = daemon.reader().try_call::<Set>(&order(Mode::Lockdown)).await;
    refused.assert_status(403);
}
