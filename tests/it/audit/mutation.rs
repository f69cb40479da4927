//! Somebody with the database and without the key changes one thing in the audit log: it comes to light, whatever it
//! is.

use super::tamper::{Tamper, mutate};
use authd::{
    auth::{CheckStep, CheckpointPace, ClockTrust, Doing, EpochBump, Operator, Restored},
    domain::page::PageRequest,
};
use shared::chain::{Anchor, FindingKind, Report, file::FileCheck};
use tests::{
    clock::SeededRandom,
    daemon::Daemon,
    inprocess::InProcess,
    options::{Database, Options},
    scale,
};

/// Changes in an ordinary run; [`crate::heavy`] has the whole figure.
const FEW: usize = 60;
const DAY_SECS: i64 = 86_400;

pub(crate) fn operator() -> Operator {
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

async fn check(app: &InProcess, anchor: &Anchor) -> Report {
    let auth = &app.daemon.auth;
    let mut check = auth.begin_check(&operator(), vec![anchor.clone()]).await.unwrap();
    loop {
        if let CheckStep::Done(report) = check.step(auth).await.unwrap() {
            return report;
        }
    }
}

/// The same without the daemon: an export, checked against the anchor.
async fn check_export(app: &InProcess, anchor: &Anchor) -> Report {
    let auth = &app.daemon.auth;
    let mut export = auth.begin_export(&operator(), None).await.unwrap();
    let mut check = FileCheck::new(Some(anchor.clone()));
    loop {
        let lines = export.next(auth).await.unwrap();
        if lines.is_empty() {
            return check.finish();
        }
        lines.into_iter().for_each(|line| check.line(line));
    }
}

/// People come and go; everything is sealed and signed.
async fn some_life(app: &InProcess, who: &str) {
    let client = app.client();
    let tokens = client.register(&format!("{who}@example.org")).await;
    client.login(&format!("{who}@example.org")).await;
    client.refresh(&tokens).await;
    client.try_login(&format!("{who}@example.org"), "not-her-password").await;
    client.logout(&tokens.refresh).await;
    app.turn_jobs().await;
    assert!(app.daemon.auth.checkpoint(CheckpointPace::Now).await.unwrap().is_some());
    let compared = app.daemon.auth.compare_with_anchor(app.daemon.auth.anchor()).await.unwrap();
    let Restored::No(anchor) = compared else { panic!("{compared:?}") };
    app.daemon.auth.remember_anchor(anchor);
}

/// A log with everything in it: a purged part, checkpoints, events that wait for their place.
async fn full_log(options: Options) -> (InProcess, Anchor) {
    let app = InProcess::start(options).await;
    for who in ["ada", "bob"] {
        some_life(&app, who).await;
    }
    app.clock.advance_secs(401 * DAY_SECS);
    let turn = app.daemon.auth.purge_events(ClockTrust::Confirmed).await.unwrap();
    assert!(turn.purged > 0 && turn.refused.is_none(), "{turn:?}");
    for who in ["eve", "joe", "kim"] {
        some_life(&app, who).await;
    }
    let anchor = app.daemon.auth.anchor().expect("it was remembered");
    (app, anchor)
}

pub(crate) async fn mutations(options: Options, count: usize) {
    let database = options.database.clone();
    let (app, anchor) = full_log(options).await;
    let mut tamper = tamper_with(&database, &app).await;
    let random = SeededRandom::new(scale::seed());
    println!("{count} mutations; {}", scale::again());
    tamper.save().await;
    let report = check_export(&app, &anchor).await;
    assert!(report.found == 0 && report.tombstones == 1 && report.anchored_seq.is_some(), "{report:#?}");
    for number in 0..count {
        if number % 50 == 0 {
            let report = check(&app, &anchor).await;
            assert_eq!(report.found, 0, "a false alarm before mutation {number}: {report:#?}; {}", scale::again());
            assert!(report.events > 20 && report.tombstones == 1 && report.checkpoints > 2, "{report:#?}");
        }
        let what = mutate(&mut tamper, &app, &random).await;
        let report = check(&app, &anchor).await;
        assert!(report.found > 0, "mutation {number} was not found: {what}; {}", scale::again());
        tamper.restore().await;
    }
    assert_eq!(check(&app, &anchor).await.found, 0, "{}", scale::again());
}

on_both! {
    async fn every_single_change_of_the_stored_log_is_found(options) {
        mutations(options, FEW).await;
    }
}

on_both! {
    async fn a_log_that_nobody_touched_verifies_whoever_was_killed_while_it_was_written(options) {
        killed(options, 2).await;
    }
}

/// Kills an instance in the middle of registrations, again and again; the log verifies each time.
pub(crate) async fn killed(options: Options, rounds: usize) {
    let has_two = matches!(options.database, Database::Postgres(_));
    let mut daemon = Daemon::start(options).await;
    let mut other = if has_two { Some(daemon.second().await) } else { None };
    for round in 0..rounds {
        let clients = [daemon.client(), other.as_ref().map_or(daemon.client(), Daemon::client)];
        let life = tests::wait::together(8, move |number| async move {
            let email = format!("p{round}-{number}@example.org");
            let body = serde_json::json!({ "email": email, "password": tests::client::PASSWORD });
            // Whoever is cut off by the kill has to put up with it.
            let _ = clients[number % 2].post("/api/auth/register", &body).try_send().await;
        });
        let kill = async {
            // In the middle of them, wherever that is.
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            daemon.kill();
        };
        tokio::join!(kill, life);
        daemon.start_again().await;
        let verified = daemon.ctl().run(&["audit", "verify", "-o", "json"]).await;
        let report = &verified.json()["data"];
        assert_eq!((verified.code, &report["found"]), (Some(0), &0.into()), "round {round}: {report:#}");
        if let Some(other) = &mut other {
            std::mem::swap(&mut daemon, other);
        }
    }
}

on_both! {
    async fn what_has_outlived_its_retention_goes_only_while_the_clock_is_believed(options) {
        let app = InProcess::start(options).await;
        let auth = &app.daemon.auth;
        some_life(&app, "ada").await;
        some_life(&app, "bob").await;
        assert_eq!(auth.purge_events(ClockTrust::Ruled).await.unwrap().purged, 0, "nothing is old");
        app.clock.advance_secs(401 * DAY_SECS);
        let refused = auth.purge_events(ClockTrust::Ruled).await.unwrap();
        assert!(refused.purged == 0 && refused.refused.is_some(), "the last run is 401 days ago: {refused:?}");
        let troubles = auth.audit_troubles();
        assert!(troubles.iter().any(|trouble| trouble.effect.contains("--confirm-clock")), "{troubles:?}");
        let dry = Operator { mode: Doing::DryRun, ..operator() };
        let would = auth.purge_now(&dry, ClockTrust::Confirmed).await.unwrap();
        let gone = auth.purge_now(&operator(), ClockTrust::Confirmed).await.unwrap();
        assert!(gone.purged > 0 && gone.refused.is_none() && would.purged == gone.purged, "{would:?} {gone:?}");
        let still = auth.audit_troubles().into_iter().find(|trouble| trouble.effect.contains("old events are kept"));
        assert_eq!(still, None);
        app.turn_jobs().await;
        let filter = authd::domain::audit::EventFilter { action: Some("audit.purged".into()), ..Default::default() };
        let purged = auth.list_events(&operator(), filter, PageRequest { limit: 9, after: None }).await.unwrap().items;
        assert_eq!(purged.len(), 1);
        assert!(purged[0].detail.contains(&("events".to_owned(), gone.purged.to_string())), "{purged:?}");
        app.clock.step_secs(3 * 3_600);
        let refused = auth.purge_events(ClockTrust::Confirmed).await.unwrap();
        assert!(refused.refused.is_some_and(|why| why.contains("clock moved")), "a jump is not confirmed away");
    }
}

async fn tamper_with(database: &Database, app: &InProcess) -> Tamper {
    match database {
        Database::Sqlite => Tamper::sqlite(&app.data_dir().join("authd.db")).await,
        Database::Postgres(url) => Tamper::postgres(url).await,
    }
}

fn told(app: &InProcess, what: &str) -> bool {
    app.daemon.auth.audit_troubles().iter().any(|trouble| trouble.effect.contains(what))
}

on_both! {
    async fn what_somebody_puts_in_the_way_stops_neither_sealing_nor_signing_and_is_told_of_at_once(options) {
        let database = options.database.clone();
        let app = InProcess::start(options).await;
        let auth = &app.daemon.auth;
        some_life(&app, "ada").await;
        let mut tamper = tamper_with(&database, &app).await;
        tamper.put_event_at(1_000_000).await;
        some_life(&app, "bob").await;
        assert!(told(&app, "behind the head"), "{:?}", auth.audit_troubles());
        tamper.put_checkpoint(1_000_000).await;
        some_life(&app, "eve").await;
        let anchor = auth.anchor().unwrap();
        assert_eq!(anchor.checkpoint.map(|last| (last.number, last.seq)), Some((1_000_001, anchor.seq)));
        assert!(told(&app, "was not signed") || told(&app, "behind the head"));
        tamper.put_tombstone(5_000_000).await;
        app.clock.advance_secs(401 * DAY_SECS);
        let turn = auth.purge_events(ClockTrust::Confirmed).await.unwrap();
        assert!(turn.purged == 0 && turn.refused.is_some_and(|why| why.contains("tombstone")), "retention stops openly");
        assert!(auth.forget_sessions(100).await.unwrap() >= 3, "the time was believed: sessions go by it");
    }
}

on_both! {
    async fn a_record_of_the_last_purge_that_was_deleted_does_not_make_a_clock_believed(options) {
        let database = options.database.clone();
        let app = InProcess::start(options).await;
        some_life(&app, "ada").await;
        some_life(&app, "bob").await;
        let auth = &app.daemon.auth;
        auth.purge_events(ClockTrust::Ruled).await.unwrap();
        tamper_with(&database, &app).await.forget_jobs().await;
        app.clock.advance_secs(401 * DAY_SECS);
        let turn = auth.purge_events(ClockTrust::Ruled).await.unwrap();
        assert!(turn.purged == 0 && turn.refused.is_some(), "{turn:?}");
        assert_eq!(auth.forget_sessions(100).await.unwrap(), 0, "nor may sessions go by it");
    }
}

on_both! {
    async fn an_event_that_waits_for_its_place_cannot_be_changed_unnoticed(options) {
        let database = options.database.clone();
        let app = InProcess::start(options).await;
        app.client().register("ada@example.org").await;
        assert_eq!(check(&app, &Anchor::default()).await.found, 0);
        let mut tamper = tamper_with(&database, &app).await;
        // No hash covers it yet, only its MAC.
        let edit = "UPDATE event SET reason = 'x' WHERE seq IS NULL AND action = 'user.created'";
        assert_eq!(tamper.run(edit).await, 1);
        let report = check(&app, &Anchor::default()).await;
        assert_eq!(report.findings.iter().map(|found| found.kind).collect::<Vec<_>>(), [FindingKind::Edited], "{report:#?}");
    }
}

on_both! {
    async fn what_no_anchor_has_held_for_a_day_is_kept_however_old_it_is(options) {
        let app = InProcess::start(options).await;
        let purge = async || app.daemon.auth.purge_events(ClockTrust::Ruled).await.unwrap().purged;
        some_life(&app, "ada").await;
        app.clock.advance_secs(401 * DAY_SECS);
        // Its checkpoint is the first to say that an anchor holds the one before.
        some_life(&app, "bob").await;
        assert_eq!(purge().await, 0);
        app.clock.advance_secs(DAY_SECS - 60);
        assert_eq!(purge().await, 0);
        app.clock.advance_secs(120);
        assert!(purge().await > 0);
    }
}

on_both! {
    async fn a_sealer_that_falls_behind_is_degraded_and_an_event(options) {
        let app = InProcess::start(options).await;
        let auth = &app.daemon.auth;
        app.turn_jobs().await;
        assert!(auth.watch_sealing().await.0.is_none() && auth.audit_troubles().is_empty());
        app.clock.advance_secs(11);
        let (event, kept) = auth.watch_sealing().await;
        kept.unwrap();
        assert_eq!(event.map(|event| event.action).as_deref(), Some("audit.lagging"));
        assert!(auth.watch_sealing().await.0.is_none(), "it is told once");
        assert!(auth.audit_troubles()[0].effect.contains("not sealed"), "{:?}", auth.audit_troubles());
        app.turn_jobs().await;
        assert!(auth.audit_troubles().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_to_an_older_database_locks_the_public_api_at_once() {
    let mut server = tests::postgres::Postgres::start_own().await;
    let url = server.create_database().await;
    let app = InProcess::start(Options::on(Database::Postgres(url.clone()))).await;
    some_life(&app, "ada").await;
    assert!(!app.daemon.auth.is_locked_down());
    Tamper::postgres(&url).await.set_back().await;
    assert!(!app.daemon.auth.is_locked_down(), "nobody has looked");
    server.kill();
    server.start_again();
    let locked = || async {
        let _ = app.daemon.auth.poll_settings().await;
        app.daemon.auth.is_locked_down().then_some(())
    };
    tests::wait::until(std::time::Duration::from_secs(60), "the lockdown", locked).await;
    app.daemon.auth.bump_epoch(&operator(), EpochBump::AcceptRestore).await.unwrap();
    assert!(!app.daemon.auth.is_locked_down());
}
