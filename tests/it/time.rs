//! What depends on time, on a clock that the test moves: graces, ends of sessions and tokens, waits, key rotation.

use authd::{
    auth::{Doing, Operator},
    domain::clock::Clock,
};
use serde_json::json;
use shared::{error::ErrorCode, id::SessionId};
use tests::{
    client::{PASSWORD, Tokens},
    inprocess::InProcess,
    jwt::Jwt,
};

const KEY: &str = "a-key-of-this-client";
const OTHER_KEY: &str = "another-key-of-theirs";
const WRONG: &str = "not-the-velvet-one-55";
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

async fn generation(app: &InProcess, tokens: &Tokens) -> i64 {
    let id = SessionId::parse(&tokens.session).unwrap();
    app.daemon.auth.show_session(id.as_str()).await.expect("the row is kept").generation
}

on_both! {
    async fn a_lost_reply_can_be_asked_for_until_the_grace_is_over(options) {
        let app = InProcess::start(options).await;
        let first = app.client().register("ada@example.org").await;
        let second = app.client().refresh(&first).await;
        app.clock.advance_secs(9);
        assert_eq!(app.client().refresh(&first).await.refresh, second.refresh);
        assert_eq!(generation(&app, &first).await, 1);
        app.clock.advance_secs(2);
        app.client().try_refresh(&first.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        app.client().try_refresh(&second.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        app.client().verify(&second.access).await.assert_status(401);
    }
}

on_both! {
    async fn a_lost_reply_survives_the_sweep_only_as_long_as_its_grace(options) {
        let app = InProcess::start(options).await;
        let first = app.client().register("ada@example.org").await;
        let second = app.client().refresh(&first).await;
        app.clock.advance_secs(8);
        app.turn_jobs().await;
        assert_eq!(app.client().refresh(&first).await.refresh, second.refresh);
        app.clock.advance_secs(DAY);
        app.turn_jobs().await;
        app.client().refresh(&second).await;
    }
}

on_both! {
    async fn a_keyed_retry_is_answered_for_a_day_with_an_access_token_that_lasts(options) {
        let app = InProcess::start(options).await;
        let first = app.client().register("ada@example.org").await;
        let second = Tokens::of(&app.client().refresh_keyed(&first.refresh, KEY).await);
        let exp = |tokens: &Tokens| Jwt::of(&tokens.access).claims["exp"].as_i64().unwrap();
        app.clock.advance_secs(MINUTE);
        let soon = Tokens::of(&app.client().refresh_keyed(&first.refresh, KEY).await);
        assert_eq!((soon.refresh.as_str(), exp(&soon)), (second.refresh.as_str(), exp(&second)));
        app.clock.advance_secs(9 * MINUTE - 30);
        let late = Tokens::of(&app.client().refresh_keyed(&first.refresh, KEY).await);
        assert_eq!(late.refresh, second.refresh);
        assert!(exp(&late) >= exp(&second) + 9 * MINUTE - 31, "a fresh access token when little of the first is left");
        app.clock.advance_secs(22 * HOUR);
        app.turn_jobs().await;
        assert_eq!(Tokens::of(&app.client().refresh_keyed(&first.refresh, KEY).await).refresh, second.refresh);
        assert_eq!(generation(&app, &first).await, 1);
        app.clock.advance_secs(2 * HOUR);
        app.client().refresh_keyed(&first.refresh, KEY).await.assert_refused(ErrorCode::TokenInvalid);
        app.client().try_refresh(&second.refresh).await.assert_refused(ErrorCode::TokenInvalid);
    }
}

on_both! {
    async fn another_key_conflicts_within_the_grace_and_is_a_replay_after_it(options) {
        let app = InProcess::start(options).await;
        let first = app.client().register("ada@example.org").await;
        let second = Tokens::of(&app.client().refresh_keyed(&first.refresh, KEY).await);
        app.clock.advance_secs(9);
        app.client().refresh_keyed(&first.refresh, OTHER_KEY).await.assert_refused(ErrorCode::Conflict);
        app.clock.advance_secs(2);
        app.client().refresh_keyed(&first.refresh, OTHER_KEY).await.assert_refused(ErrorCode::TokenInvalid);
        app.client().try_refresh(&second.refresh).await.assert_refused(ErrorCode::TokenInvalid);
    }
}

on_both! {
    async fn a_clock_that_goes_back_puts_the_parent_inside_its_grace(options) {
        let app = InProcess::start(options).await;
        let first = app.client().register("ada@example.org").await;
        let second = app.client().refresh(&first).await;
        app.clock.advance_secs(-2 * HOUR);
        assert_eq!(app.client().refresh(&first).await.refresh, second.refresh);
        app.client().refresh(&second).await;
    }
}

on_both! {
    async fn a_session_ends_for_good_whatever_it_did(options) {
        let app = InProcess::start(options.config("[session]\nidle = \"14d\"\nabsolute = \"30d\"")).await;
        let mut tokens = app.client().register("ada@example.org").await;
        for _ in 0..5 {
            app.clock.advance_secs(5 * DAY);
            tokens = app.client().refresh(&tokens).await;
        }
        app.clock.advance_secs(5 * DAY - 5);
        let last = app.client().try_refresh(&tokens.refresh).await;
        last.assert_status(200);
        let json = last.json();
        for left in ["expires_in", "refresh_expires_in"] {
            assert!(json[left].as_i64().is_some_and(|seconds| seconds <= 5), "nothing outlives its session: {last}");
        }
        tokens = Tokens::of(&last);
        app.clock.advance_secs(6);
        app.client().try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenExpired);
        assert_eq!(generation(&app, &tokens).await, 6);
        app.client().login("ada@example.org").await;
    }
}

on_both! {
    async fn a_session_ends_when_it_is_not_used_and_its_row_stays(options) {
        let app = InProcess::start(options.config("[session]\nidle = \"14d\"")).await;
        let mut tokens = app.client().register("ada@example.org").await;
        app.clock.advance_secs(14 * DAY - 5);
        tokens = app.client().refresh(&tokens).await;
        app.clock.advance_secs(14 * DAY + 1);
        app.client().try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenExpired);
        app.turn_jobs().await;
        assert_eq!(generation(&app, &tokens).await, 1);
        // An expired session is over, not replayed: another of the account goes on.
        let other = app.client().login("ada@example.org").await;
        app.client().try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenExpired);
        app.client().refresh(&other).await;
        app.client().logout(&tokens.refresh).await.assert_status(204);
    }
}

on_both! {
    async fn an_access_token_ends_when_it_says(options) {
        let app = InProcess::start(options).await;
        let tokens = app.client().register("ada@example.org").await;
        app.clock.advance_secs(10 * MINUTE - 3);
        app.client().verify(&tokens.access).await.assert_status(200);
        app.client().profile(&tokens.access).await.assert_status(200);
        app.clock.advance_secs(4);
        app.client().verify(&tokens.access).await.assert_status(401);
        app.client().profile(&tokens.access).await.assert_refused(ErrorCode::TokenExpired);
    }
}

on_both! {
    async fn each_failure_beyond_the_burst_doubles_the_wait(options) {
        let app = InProcess::start(options).await;
        let client = app.client();
        client.register("ada@example.org").await;
        for _ in 0..5 {
            client.try_login("ada@example.org", WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        }
        for wait_secs in [1_i64, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            app.clock.advance_ms(wait_secs * 1_000 - 500);
            client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::RateLimited);
            app.clock.advance_ms(501);
            client.try_login("ada@example.org", WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        }
        app.clock.advance_secs(900);
        client.login("ada@example.org").await;
        client.try_login("ada@example.org", WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        client.login("ada@example.org").await;
    }
}

on_both! {
    async fn a_rate_refills_at_its_pace(options) {
        let config = "[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 20";
        let app = InProcess::start(options.config(config)).await;
        let attempt = |number: usize| {
            let client = app.client();
            async move { client.try_login(&format!("user{number}@example.org"), WRONG).await.status }
        };
        let mut passed = 0;
        while attempt(passed).await == 401 {
            passed += 1;
        }
        // The machine's own time runs along: a slow test gains an attempt every two seconds.
        assert!((20..=23).contains(&passed), "{passed}");
        app.clock.advance_secs(10);
        let mut more = 0;
        while attempt(100 + more).await == 401 {
            more += 1;
        }
        assert!((5..=7).contains(&more), "{more}");
    }
}

on_both! {
    async fn a_one_time_reset_has_an_end(options) {
        let app = InProcess::start(options).await;
        app.client().register("ada@example.org").await;
        let operator = Operator {
            uid: 0, login_uid: None, pid: None, groups: vec![], request_id: "test".into(), reason: None, ticket: None, mode: Doing::ForReal,
        };
        let (_, issued) = app.daemon.auth.reset_user_password(&operator, "ada@example.org").await.unwrap();
        let (token, expires_ms) = issued.expect("a token");
        let body = json!({ "reset_token": token.reveal(), "new_password": "granite-lantern-46-tide" });
        let left_ms = expires_ms - app.clock.now_ms();
        assert!(left_ms > 0 && left_ms <= DAY * 1_000, "{left_ms}");
        app.clock.advance_ms(left_ms + 1);
        let late = app.client().post("/api/auth/password/reset", &body).send().await;
        late.assert_refused(ErrorCode::TokenInvalid);
        app.client().login("ada@example.org").await;
    }
}

on_both! {
    async fn a_reset_opens_the_ladder_at_once(options) {
        let app = InProcess::start(options).await;
        let client = app.client();
        client.register("ada@example.org").await;
        for _ in 0..5 {
            client.try_login("ada@example.org", WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        }
        client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::RateLimited);
        let operator = Operator {
            uid: 0, login_uid: None, pid: None, groups: vec![], request_id: "test".into(), reason: None, ticket: None, mode: Doing::ForReal,
        };
        let (_, issued) = app.daemon.auth.reset_user_password(&operator, "ada@example.org").await.unwrap();
        let new = "granite-lantern-46-tide";
        let body = json!({ "reset_token": issued.expect("a token").0.reveal(), "new_password": new });
        client.post("/api/auth/password/reset", &body).send().await.assert_status(204);
        client.try_login("ada@example.org", new).await.assert_status(200);
    }
}

on_both! {
    async fn keys_are_rotated_on_schedule_and_old_tokens_stay_good(options) {
        let app = InProcess::start(options.config("[key]\nrotate_every = \"30d\"\nstage = \"24h\"")).await;
        app.turn_jobs().await;
        let kid = |tokens: &Tokens| Jwt::of(&tokens.access).header["kid"].as_str().unwrap().to_owned();
        let tokens = app.client().register("ada@example.org").await;
        let published = async || {
            let keys = app.client().jwks().await.json()["keys"].as_array().unwrap().clone();
            keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let before = published().await;
        assert!(before.contains(&kid(&tokens)) && before.len() == 2, "{before:?}");
        app.clock.advance_secs(29 * DAY);
        app.turn_jobs().await;
        assert_eq!(kid(&app.client().login("ada@example.org").await), kid(&tokens));
        app.clock.advance_secs(2 * DAY);
        app.turn_jobs().await;
        app.clock.advance_secs(2 * DAY);
        app.turn_jobs().await;
        let renewed = app.client().login("ada@example.org").await;
        assert_ne!(kid(&renewed), kid(&tokens));
        assert!(before.contains(&kid(&renewed)), "a key signs only after it was published");
        app.client().verify(&renewed.access).await.assert_status(200);
    }
}

on_both! {
    async fn a_repeated_registration_is_known_for_a_day(options) {
        let app = InProcess::start(options).await;
        let body = json!({ "email": "ada@example.org", "password": PASSWORD });
        let call = app.client().post("/api/auth/register", &body).header("idempotency-key", KEY);
        call.send().await.assert_status(201);
        app.clock.advance_secs(23 * HOUR);
        call.send().await.assert_status(201);
        app.clock.advance_secs(2 * HOUR);
        call.send().await.assert_refused(ErrorCode::DuplicateEmail);
    }
}
