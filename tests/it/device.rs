//! Known devices: the owner of an account gets in while strangers guess its password.

use serde_json::json;
use shared::{
    admin::{session, user},
    error::ErrorCode,
};
use tests::{
    client::{Client, PASSWORD, Tokens},
    daemon::Daemon,
    inprocess::InProcess,
    options::Options,
    wait::together,
};

const WRONG: &str = "not-the-velvet-one-55";
const OTHER: &str = "granite-lantern-46-tide";
const ADA: &str = "ada@example.org";
const NO_LADDER: &str = "[limit.\"login.account\"]\nburst = 84\nfirst_delay = \"1ms\"\nmax_delay = \"1ms\"";

/// A login that is answered 200; whether the device was known, so that it got no token.
async fn is_known(client: Client, device: &str, password: &str) -> bool {
    let answer = client.try_login_from(device, ADA, password).await;
    answer.assert_status(200);
    Tokens::of(&answer).device.is_none()
}

fn device(tokens: &Tokens) -> &str {
    tokens.device.as_deref().expect("a device token")
}

on_both! {
    async fn a_token_is_issued_to_an_unknown_device_and_not_again(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let first = client.register(ADA).await;
        let second = client.login(ADA).await;
        assert_ne!(device(&first), device(&second));
        for tokens in [&first, &second] {
            assert!(device(tokens).starts_with("adt1_"));
            assert!(is_known(client, device(tokens), PASSWORD).await);
        }
        let refreshed = client.try_refresh(&second.refresh).await;
        assert!(refreshed.json().get("device_token").is_none(), "{refreshed}");
        let added = daemon.admin().events("device.added").await;
        assert_eq!(added.len(), 2, "{added:?}");
        assert!(added.iter().any(|event| event.detail["session"] == second.session.as_str()), "{added:?}");
        assert!(!format!("{added:?}").contains("adt1_"));
    }
}

on_both! {
    async fn the_owner_gets_in_while_the_account_is_locked_for_strangers(options) {
        let options = options.config("[limit.\"login.hard\"]\nunknown = 20\nknown = 15")
            .config("[limit.\"login.account\"]\nburst = 84")
            .config("[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 30");
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let tokens = client.register(ADA).await;
        let eve = client.register("eve@example.org").await;
        for _ in 0..30 {
            client.try_login(ADA, WRONG).await;
        }
        assert_eq!(daemon.admin().evaluated().await, 20);
        // The account's lane and the address of strangers are used up: the device has its own of both.
        let strangers = client.try_login(ADA, PASSWORD).await;
        strangers.assert_refused(ErrorCode::RateLimited);
        assert!(is_known(client, device(&tokens), PASSWORD).await);
        // Which opened the account's lane, but not the address: devices of other accounts are strangers here.
        let foreign = client.try_login_from(device(&eve), ADA, PASSWORD).await;
        foreign.assert_refused(ErrorCode::RateLimited);
        assert!(is_known(client, device(&tokens), PASSWORD).await);
    }
}

on_both! {
    async fn a_day_of_attacks_from_a_thousand_networks_keeps_no_known_device_out(options) {
        let options = options.config("[server]\ntrusted_proxies = [\"127.0.0.1/32\"]");
        let app = InProcess::start(options).await;
        let client = app.client();
        let tokens = client.register(ADA).await;
        let attack = |number: usize, device: Option<String>| {
            let body = json!({ "email": ADA, "password": WRONG, "device_token": device });
            let from = format!("10.{}.{}.1", number / 256, number % 256);
            client.post("/api/auth/login", &body).header("x-forwarded-for", from)
        };
        let mut farm = Vec::new();
        for number in 0..20 {
            farm.push(client.register(&format!("eve{number}@example.org")).await.device);
        }
        let mut evaluated = 0;
        for number in 0..1_000 {
            let device = if number % 2 == 0 { farm[number % 20].clone() } else { None };
            let answer = attack(number, device).send().await;
            assert!(matches!(answer.status, 401 | 429), "{answer}");
            evaluated += usize::from(answer.status == 401);
            app.clock.advance_secs(86);
        }
        assert!((60..=85).contains(&evaluated), "{evaluated}");
        client.try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
        client.try_login_from(device(&tokens), ADA, WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        assert!(is_known(client, device(&tokens), PASSWORD).await);
    }
}

on_both! {
    async fn a_stolen_token_is_worth_five_guesses(options) {
        let daemon = Daemon::start(options.config(NO_LADDER)).await;
        let client = daemon.client();
        let tokens = client.register(ADA).await;
        for _ in 0..4 {
            client.try_login_from(device(&tokens), ADA, WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        }
        assert!(is_known(client, device(&tokens), PASSWORD).await, "a success in between forgives");
        for _ in 0..5 {
            client.try_login_from(device(&tokens), ADA, WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        }
        let dropped = daemon.admin().events("device.dropped").await;
        assert_eq!(dropped.len(), 1, "{dropped:?}");
        assert_eq!(dropped[0].reason.as_deref(), Some("login.device_failures"));
        for _ in 0..100 {
            client.try_login(ADA, WRONG).await;
        }
        client.try_login_from(device(&tokens), ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    }
}

on_both! {
    async fn attempts_of_one_device_are_limited_and_others_go_on(options) {
        let options = options.config("[limit.\"login.device\"]\nrate = \"7/h\"\nburst = 7");
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let (first, second) = (client.register(ADA).await, client.login(ADA).await);
        for _ in 0..7 {
            assert!(is_known(client, device(&first), PASSWORD).await);
        }
        client.try_login_from(device(&first), ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
        assert!(is_known(client, device(&second), PASSWORD).await);
        assert!(client.try_login(ADA, PASSWORD).await.status == 200);
    }
}

on_both! {
    async fn many_right_logins_of_one_device_at_once_all_get_in(options) {
        let options = options.config("[limit.\"login.device\"]\nrate = \"off\"");
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let token = client.register(ADA).await.device.unwrap();
        let answers = together(64, |_| {
            let token = token.clone();
            async move { client.try_login_from(&token, ADA, PASSWORD).await }
        });
        let answers = answers.await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)), "{answers:?}");
        assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 32);
        assert!(is_known(client, &token, PASSWORD).await);
    }
}

on_both! {
    async fn what_is_no_device_of_the_account_is_an_unknown_one(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let (ada, eve) = (client.register(ADA).await, client.register("eve@example.org").await);
        let cut = &device(&ada)[..device(&ada).len() - 1];
        for token in [device(&eve), cut, "adt1_", "", ada.refresh.as_str()] {
            assert!(!is_known(client, token, PASSWORD).await, "{token}");
            let answer = client.try_login_from(token, "nobody@example.org", WRONG).await;
            answer.assert_refused(ErrorCode::InvalidCredentials);
        }
        let token = device(&ada);
        client.try_login_from(token, "eve@example.org", WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        // No authenticator: without the password it opens nothing.
        client.try_login_from(token, ADA, "").await.assert_refused(ErrorCode::InvalidCredentials);
        client.try_refresh(token).await.assert_refused(ErrorCode::TokenInvalid);
    }
}

on_both! {
    async fn a_device_is_a_stranger_again_after_half_a_year_away(options) {
        const DAY: i64 = 86_400;
        let app = InProcess::start(options).await;
        let client = app.client();
        let tokens = client.register(ADA).await;
        for _ in 0..3 {
            app.clock.advance_secs(179 * DAY);
            app.turn_jobs().await;
            assert!(is_known(client, device(&tokens), PASSWORD).await);
        }
        app.clock.advance_secs(181 * DAY);
        assert!(!is_known(client, device(&tokens), PASSWORD).await);
    }
}

on_both! {
    async fn a_changed_password_leaves_the_callers_device_and_a_reset_none(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let (mine, other) = (client.register(ADA).await, client.login(ADA).await);
        client.change_password(&mine.access, PASSWORD, OTHER).await.assert_status(204);
        assert!(!is_known(client, device(&other), OTHER).await);
        assert!(is_known(client, device(&mine), OTHER).await);
        let ada = user::ChangeRequest { user: ADA.into(), ..Default::default() };
        let reset = daemon.admin().call::<user::ResetPassword>(&ada).await.reset_token.unwrap();
        let body = json!({ "reset_token": reset.expose(), "new_password": PASSWORD });
        client.post("/api/auth/password/reset", &body).send().await.assert_status(204);
        assert!(!is_known(client, device(&mine), PASSWORD).await);
        let last = client.login(ADA).await;
        daemon.admin().call::<user::Disable>(&ada).await;
        daemon.admin().call::<user::Enable>(&ada).await;
        assert!(!is_known(client, device(&last), PASSWORD).await);
    }
}

on_both! {
    async fn ending_sessions_forgets_their_devices_and_logging_out_does_not(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let mine = client.register(ADA).await;
        let end_all = |tokens: &Tokens, query: &str| {
            client.call("DELETE", &format!("/api/auth/sessions{query}")).bearer(&tokens.access)
        };

        let gone = client.login(ADA).await;
        client.logout(&gone.refresh).await.assert_status(204);
        assert!(is_known(client, device(&gone), PASSWORD).await);

        client.end_session(&mine.access, &client.login(ADA).await.session).await.assert_status(204);
        let ended = client.login(ADA).await;
        client.end_session(&mine.access, &ended.session).await.assert_status(204);
        assert!(!is_known(client, device(&ended), PASSWORD).await);

        let other = client.login(ADA).await;
        client.logout_bearer(&mine.access, "others").await.assert_status(204);
        assert!(!is_known(client, device(&other), PASSWORD).await);
        assert!(is_known(client, device(&mine), PASSWORD).await);

        let other = client.login(ADA).await;
        end_all(&mine, "?keep=current").send().await.assert_status(200);
        assert!(!is_known(client, device(&other), PASSWORD).await);
        assert!(is_known(client, device(&mine), PASSWORD).await);

        let operators = client.login(ADA).await;
        let revoke = session::RevokeRequest { id: Some(operators.session.clone()), ..Default::default() };
        daemon.admin().call::<session::Revoke>(&revoke).await;
        assert!(!is_known(client, device(&operators), PASSWORD).await);

        let last = client.login(ADA).await;
        client.logout_bearer(&last.access, "all").await.assert_status(204);
        assert!(!is_known(client, device(&last), PASSWORD).await);
        assert!(!is_known(client, device(&mine), PASSWORD).await);
        let all = client.login(ADA).await;
        end_all(&all, "").send().await.assert_status(200);
        assert!(!is_known(client, device(&all), PASSWORD).await);
    }
}

#[tokio::test]
async fn failures_of_a_device_survive_kills() {
    let mut daemon = Daemon::start(Options::sqlite().config(NO_LADDER)).await;
    let token = daemon.client().register(ADA).await.device.unwrap();
    for _ in 0..5 {
        daemon.client().try_login_from(&token, ADA, WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        daemon.crash().await;
    }
    assert!(!is_known(daemon.client(), &token, PASSWORD).await);
}
