//! What operators do with signing keys, and what gateways and clients notice of it.

use authd::{
    auth::{Auth, Doing, Insistence, Operator, OperatorRefusal, Replacement, RotationPace},
    domain::{
        clock::Clock,
        key::{KeyState, SigningKey},
    },
};
use shared::admin::{
    audit::ActorKind,
    key::{self, State},
};
use std::time::{Duration, Instant};
use tests::{
    client::{Client, Tokens},
    daemon::Daemon,
    inprocess::InProcess,
    jwt::Jwt,
    wait::until,
};

/// Cache age and skew of 360 s.
const PLAN: &str = "[key]\njwks_max_age = \"5m\"\n[token]\nclock_skew = \"60s\"\naccess_ttl = \"10m\"";
const KNOWN_S: i64 = 360;

fn kid(tokens: &Tokens) -> String {
    Jwt::of(&tokens.access).header["kid"].as_str().unwrap().to_owned()
}

/// What verifiers fetch.
async fn key_set(client: &Client) -> String {
    String::from_utf8(client.jwks().await.body.to_vec()).unwrap()
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

async fn keys(auth: &Auth) -> Vec<SigningKey> {
    auth.list_keys().await.unwrap()
}

async fn in_state(auth: &Auth, state: KeyState) -> String {
    keys(auth).await.into_iter().find(|key| key.state == state).expect("a key in this state").id.to_string()
}

async fn promote(app: &InProcess, pace: RotationPace) -> Result<(), OperatorRefusal> {
    app.daemon.auth.promote_key(&operator(), pace, &app.daemon.instance).await.map(drop)
}

/// What a refusal says.
fn conflict<T: std::fmt::Debug>(refused: Result<T, OperatorRefusal>) -> String {
    match refused.unwrap_err() {
        OperatorRefusal::Conflict(text) => text,
        other => panic!("{other:?}"),
    }
}

on_both! {
    async fn a_promotion_is_refused_until_every_verifier_can_know_the_key(options) {
        let app = InProcess::start(options.config(PLAN)).await;
        let old = app.client().register("ada@example.org").await;
        let staged = in_state(&app.daemon.auth, KeyState::Staged).await;
        app.clock.advance_secs(KNOWN_S - 60);
        let refused = conflict(promote(&app, RotationPace::Safe).await);
        assert!(refused.contains(&staged) && refused.contains("--force"), "{refused}");
        assert!(refused.contains("59s still") || refused.contains("for 1m still"), "{refused}");
        assert_eq!(kid(&app.client().login("ada@example.org").await), kid(&old));
        app.clock.advance_secs(60);
        promote(&app, RotationPace::Safe).await.unwrap();
        let new = app.client().login("ada@example.org").await;
        assert_eq!(kid(&new), staged);
        for token in [&new.access, &old.access] {
            app.client().verify(token).await.assert_status(200);
        }
        let next = in_state(&app.daemon.auth, KeyState::Staged).await;
        assert_ne!(next, staged, "there is a staged key again");
        promote(&app, RotationPace::AtOnce).await.unwrap();
        assert_eq!(kid(&app.client().login("ada@example.org").await), next);
    }
}

on_both! {
    async fn a_retiring_key_leaves_early_only_when_its_tokens_are_dead_or_when_forced(options) {
        let app = InProcess::start(options.config(PLAN)).await;
        let (auth, me) = (&app.daemon.auth, &app.daemon.instance);
        let old = app.client().register("ada@example.org").await;
        let retire = async |id: &str, how| auth.retire_key(&operator(), id, how, me).await;
        assert!(conflict(retire(&kid(&old), Insistence::Forced).await).contains("key rotate"), "it signs");
        let staged = in_state(auth, KeyState::Staged).await;
        assert!(conflict(retire(&staged, Insistence::Forced).await).contains("key stage"), "it never signed");
        promote(&app, RotationPace::AtOnce).await.unwrap();
        app.clock.advance_secs(540);
        let refused = conflict(retire(&kid(&old), Insistence::Careful).await);
        assert!(refused.contains("1 sessions") && refused.contains("still"), "{refused}");
        let trial = Operator { mode: Doing::DryRun, ..operator() };
        let shown = auth.retire_key(&trial, &kid(&old), Insistence::Careful, me).await.unwrap();
        assert_eq!((shown.sessions, shown.was), (1, KeyState::Retiring));
        assert!(shown.tokens_until_ms > app.clock.now_ms() + 50_000);
        app.client().verify(&old.access).await.assert_status(200);
        app.clock.advance_secs(63);
        assert_eq!(in_state(auth, KeyState::Retiring).await, kid(&old), "its time has not come by itself");
        retire(&kid(&old), Insistence::Careful).await.unwrap();
        assert!(!key_set(&app.client()).await.contains(&kid(&old)));
        assert!(conflict(retire(&kid(&old), Insistence::Forced).await).contains("already"));
        let live = app.client().login("ada@example.org").await;
        promote(&app, RotationPace::AtOnce).await.unwrap();
        retire(&kid(&live), Insistence::Forced).await.unwrap();
        app.client().verify(&live.access).await.assert_status(401);
        app.client().refresh(&live).await;
    }
}

on_both! {
    async fn a_key_leaves_the_key_set_by_itself_when_its_last_token_is_dead_everywhere(options) {
        let app = InProcess::start(options.config(PLAN)).await;
        let old = app.client().register("ada@example.org").await;
        promote(&app, RotationPace::AtOnce).await.unwrap();
        app.clock.advance_secs(600 + KNOWN_S - 2);
        app.turn_jobs().await;
        assert!(key_set(&app.client()).await.contains(&kid(&old)));
        app.clock.advance_secs(5);
        app.turn_jobs().await;
        assert!(!key_set(&app.client()).await.contains(&kid(&old)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_instance_neither_holds_a_rotation_up_nor_signs_with_the_old_key_afterwards() {
    let one = InProcess::start(tests::options::Options::postgres().await.config(PLAN)).await;
    let two = one.second().await;
    let old = one.client().register("ada@example.org").await;
    let staged = in_state(&one.daemon.auth, KeyState::Staged).await;
    one.turn_jobs().await;
    two.turn_jobs().await;
    // From now on the second one does nothing.
    let (auth, me) = (&one.daemon.auth, &one.daemon.instance);
    auth.rotate_keys(&operator(), RotationPace::Safe, me).await.unwrap();
    one.clock.advance_secs(KNOWN_S + 1);
    one.turn_jobs().await;
    assert_eq!(in_state(auth, KeyState::Active).await, staged);
    one.clock.advance_secs(600 + KNOWN_S + 3);
    one.turn_jobs().await;
    assert!(!key_set(&one.client()).await.contains(&kid(&old)), "the old key is retired");
    let late = two.client().login("ada@example.org").await;
    assert_eq!(kid(&late), staged, "it looks at the keys before it signs again");
    one.client().verify(&late.access).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_begins_or_lacks_the_key_puts_the_promotion_off() {
    let one = InProcess::start(tests::options::Options::postgres().await.config(PLAN)).await;
    let (auth, me) = (&one.daemon.auth, &one.daemon.instance);
    let active = in_state(auth, KeyState::Active).await;
    one.clock.advance_secs(KNOWN_S - 10);
    one.turn_jobs().await;
    let two = one.second().await;
    auth.rotate_keys(&operator(), RotationPace::Safe, me).await.unwrap();
    one.clock.advance_secs(20);
    two.turn_jobs().await;
    one.turn_jobs().await;
    assert_eq!(in_state(auth, KeyState::Active).await, active, "the second serves the key for 20 s only");
    // A new key that the second one has not seen yet.
    auth.stage_key(&operator(), Replacement::Allow, me).await.unwrap();
    let refused = conflict(promote(&one, RotationPace::Safe).await);
    assert!(refused.contains("1 live instances do not serve"), "{refused}");
    for _ in 0..50 {
        one.clock.advance_secs(10);
        two.turn_jobs().await;
        one.turn_jobs().await;
    }
    promote(&one, RotationPace::Safe).await.unwrap();
}

/// Two daemons on PostgreSQL, one on SQLite.
async fn daemons(options: tests::options::Options) -> Vec<Daemon> {
    let is_shared = matches!(options.database, tests::options::Database::Postgres(_));
    let first = Daemon::start(options).await;
    let second = if is_shared { Some(first.second().await) } else { None };
    std::iter::once(first).chain(second).collect()
}

on_both! {
    async fn a_revoked_key_is_refused_within_a_second_everywhere_and_the_staged_one_signs(options) {
        let daemons = daemons(options).await;
        let (one, client) = (&daemons[0], daemons[0].client());
        let tokens = client.register("ada@example.org").await;
        let old = kid(&tokens);
        let trial = one.ctl().run(&["key", "revoke", &old, "--dry-run", "-o", "json"]).await;
        assert_eq!(trial.code, Some(0), "{trial:?}");
        assert_eq!((&trial.json()["data"]["sessions"], &trial.json()["data"]["was"]), (&1.into(), &"active".into()));
        assert_eq!(one.ctl().run(&["key", "revoke", &old]).await.code, Some(13), "nobody can be asked");
        for daemon in &daemons {
            daemon.client().verify(&tokens.access).await.assert_status(200);
        }
        let done = one.ctl().run(&["key", "revoke", &old, "--yes", "--reason", "stolen", "-o", "json"]).await;
        let start = Instant::now();
        assert_eq!(done.code, Some(0), "{done:?}");
        client.verify(&tokens.access).await.assert_status(401);
        for daemon in &daemons {
            until(tests::process::crowded(Duration::from_secs(1)), "it is refused", || async {
                (daemon.client().verify(&tokens.access).await.status == 401).then_some(())
            })
            .await;
            assert!(!key_set(&daemon.client()).await.contains(&old), "after {:?}", start.elapsed());
            let again = daemon.client().login("ada@example.org").await;
            assert_eq!(kid(&again), done.json()["data"]["next"].as_str().unwrap());
        }
        let renewed = client.refresh(&tokens).await;
        client.verify(&renewed.access).await.assert_status(200);
        let events = one.admin().events_about("key.revoked", &old).await;
        assert_eq!((events.len(), events[0].reason.as_deref()), (1, Some("stolen")));
        assert_eq!(events[0].actor.kind, ActorKind::Operator);
        assert_eq!(one.admin().events_about("key.activated", &kid(&renewed)).await.len(), 1);
        let listed = one.admin().call::<key::List>(&shared::admin::Empty {}).await.items;
        let of = |state| listed.iter().filter(|key| key.state == state).count();
        assert_eq!((of(State::Active), of(State::Staged), of(State::Revoked)), (1, 1, 1), "{listed:?}");
        let twice = one.ctl().run(&["key", "revoke", &old, "--yes"]).await;
        assert_eq!(twice.code, Some(11), "{twice:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_takes_the_place_of_the_staged_one_only_when_that_is_meant() {
    let daemon = Daemon::start(tests::options::Options::sqlite()).await;
    let staged = async || {
        let listed = daemon.admin().call::<key::List>(&shared::admin::Empty {}).await.items;
        listed.into_iter().find(|key| key.state == State::Staged).expect("one is staged").id.to_string()
    };
    let first = staged().await;
    assert_eq!(daemon.ctl().run(&["key", "stage"]).await.code, Some(13), "nobody can be asked");
    let refused = daemon.admin().try_call::<key::Stage>(&key::StageRequest::default()).await;
    refused.assert_refused(shared::error::ErrorCode::Conflict);
    let trial = daemon.ctl().run(&["key", "stage", "--dry-run", "-o", "json"]).await;
    assert_eq!(trial.json()["data"]["replaced"], first.as_str());
    assert_eq!(staged().await, first);
    let done = daemon.ctl().run(&["key", "stage", "--yes", "-o", "json"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let second = staged().await;
    assert_eq!(done.json()["data"]["key"], second.as_str());
    let set = key_set(&daemon.client()).await;
    assert!(set.contains(&second) && !set.contains(&first));
    let shown = daemon.ctl().run(&["key", "show", &second[..second.len() - 1], "-o", "json"]).await;
    assert_eq!((&shown.json()["data"]["state"], shown.code), (&"staged".into(), Some(0)));
    assert!(shown.json()["data"]["next"].as_str().unwrap().starts_with("signs from "), "{shown:?}");
    assert_eq!(daemon.ctl().run(&["key", "show", "key_"]).await.code, Some(11));
    assert_eq!(daemon.ctl().run(&["key", "show", "key_zzzzzzz"]).await.code, Some(10));
    let promoted = daemon.ctl().run(&["key", "promote"]).await;
    assert_eq!(promoted.code, Some(11), "{promoted:?}");
    assert!(promoted.stderr.contains("still") && promoted.stderr.contains("--force"), "{promoted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_rotation_ends_when_the_next_key_signs() {
    let config = "[key]\njwks_max_age = \"2s\"\nstage = \"4s\"\n[token]\nclock_skew = \"1s\"";
    let daemon = Daemon::start(tests::options::Options::sqlite().config(config)).await;
    let before = kid(&daemon.client().register("ada@example.org").await);
    let done = daemon.ctl().run(&["key", "rotate", "--wait"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let after = kid(&daemon.client().login("ada@example.org").await);
    assert_ne!(after, before);
    assert!(done.stdout.contains(&format!("{after} signs")), "{done:?}");
}
