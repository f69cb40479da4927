//! Sessions as their owner sees them: lists, ends, and logout.

use serde_json::{Value, json};
use shared::{admin::audit::Outcome, error::ErrorCode};
use tests::{
    client::{Client, Tokens},
    daemon::Daemon,
    refresh_token::{Forgery, parts},
};

async fn listed(client: Client, access: &str) -> Vec<Value> {
    let answer = client.sessions(access).await;
    answer.assert_status(200);
    answer.json()["sessions"].as_array().expect("a list").clone()
}

on_both! {
    async fn a_list_shows_own_sessions_coarsely_and_without_tokens(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
        let body = json!({ "email": "ada@example.org", "password": tests::client::PASSWORD });
        client.try_register(&body).await.assert_status(201);
        let mine = Tokens::of(&client.post("/api/auth/login", &body).header("user-agent", agent).send().await);
        client.register("bob@example.org").await;
        let sessions = listed(client, &mine.access).await;
        assert_eq!(sessions.len(), 2);
        let current: Vec<_> = sessions.iter().filter(|session| session["current"] == true).collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0]["id"], mine.session.as_str());
        assert_eq!(current[0]["network"], "127.0.0.0/24");
        for field in ["created_at", "expires_at", "amr", "device"] {
            assert!(!current[0][field].is_null(), "{field}: {current:?}");
        }
        let text = serde_json::to_string(&sessions).unwrap();
        for secret in [&mine.access, &mine.refresh, "127.0.0.1", "art1_", "20100101"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

on_both! {
    async fn somebody_elses_session_is_as_unknown_as_one_that_never_was(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let (ada, bob) = (client.register("ada@example.org").await, client.register("bob@example.org").await);
        let foreign = client.end_session(&ada.access, &bob.session).await;
        foreign.assert_refused(ErrorCode::NotFound);
        let unknown = client.end_session(&ada.access, "ses_01jcq4z5d0e0a8r9w9s8h7k6m5").await;
        unknown.assert_refused(ErrorCode::NotFound);
        assert_eq!(foreign.json()["detail"], unknown.json()["detail"]);
        client.end_session(&ada.access, "no-id").await.assert_refused(ErrorCode::NotFound);
        client.refresh(&bob).await;
        // Newest first: the id that nobody has is no target, so it is not among these.
        let events = daemon.admin().events_about("session.revoked", &bob.session).await;
        let denied = events.iter().find(|event| event.outcome == Outcome::Denied).expect("the attempt is recorded");
        assert_eq!(denied.reason.as_deref(), Some("authz_fail"));
        assert_eq!(denied.actor.id.as_deref(), Some(ada.user.as_str()));
    }
}

on_both! {
    async fn one_of_three_sessions_can_be_ended_and_the_others_go_on(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let first = client.register("ada@example.org").await;
        let second = client.login("ada@example.org").await;
        let third = client.login("ada@example.org").await;
        client.end_session(&first.access, &second.session).await.assert_status(204);
        client.end_session(&first.access, &second.session).await.assert_status(204);
        client.try_refresh(&second.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.verify(&second.access).await.assert_status(401);
        client.profile(&second.access).await.assert_refused(ErrorCode::TokenInvalid);
        client.refresh(&first).await;
        client.refresh(&third).await;
        assert_eq!(listed(client, &third.access).await.len(), 2);
    }
}

on_both! {
    async fn all_sessions_end_with_or_without_the_current_one(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let mine = client.register("ada@example.org").await;
        let others = [client.login("ada@example.org").await, client.login("ada@example.org").await];
        let keep = client.call("DELETE", "/api/auth/sessions?keep=current").bearer(&mine.access).send().await;
        keep.assert_status(200);
        assert_eq!(keep.json()["revoked"], 2);
        for other in &others {
            client.try_refresh(&other.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        }
        client.verify(&mine.access).await.assert_status(200);
        client.login("ada@example.org").await;
        let all = client.call("DELETE", "/api/auth/sessions").bearer(&mine.access).send().await;
        all.assert_status(200);
        assert_eq!(all.json()["revoked"], 2);
        client.verify(&mine.access).await.assert_status(401);
        client.try_refresh(&mine.refresh).await.assert_refused(ErrorCode::TokenInvalid);
    }
}

on_both! {
    async fn logout_takes_any_token_of_the_session_and_says_the_same_every_time(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let first = client.register("ada@example.org").await;
        let second = client.refresh(&first).await;
        let third = client.refresh(&second).await;
        client.logout(&first.refresh).await.assert_status(204);
        client.try_refresh(&third.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        for token in [&first, &second, &third] {
            client.logout(&token.refresh).await.assert_status(204);
            client.logout_bearer(&token.access, "current").await.assert_status(204);
        }
        let unknown = Forgery { handle: [9; 16], ..parts(&first.refresh) };
        client.logout(&unknown.text()).await.assert_status(204);
        let without = client.call("POST", "/api/auth/logout").send().await;
        without.assert_refused(ErrorCode::MissingToken);
        client.post("/api/auth/logout", &json!({})).send().await.assert_refused(ErrorCode::MissingToken);
    }
}

#[tokio::test]
async fn a_logout_with_two_tokens_ends_the_sessions_of_both() {
    let daemon = Daemon::start(tests::options::Options::sqlite()).await;
    let client = daemon.client();
    let with = |refresh: &str, access: &str| {
        client.post("/api/auth/logout", &json!({ "refresh_token": refresh })).bearer(access)
    };
    let one = client.register("ada@example.org").await;
    with("none of ours", &one.access).send().await.assert_status(204);
    client.profile(&one.access).await.assert_refused(ErrorCode::TokenInvalid);
    let (two, three) = (client.login("ada@example.org").await, client.login("ada@example.org").await);
    with(&two.refresh, &three.access).send().await.assert_status(204);
    for tokens in [&two, &three] {
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.verify(&tokens.access).await.assert_status(401);
    }
    let four = client.login("ada@example.org").await;
    with(&four.refresh, "none.of.ours").send().await.assert_status(204);
    client.profile(&four.access).await.assert_refused(ErrorCode::TokenInvalid);
}

on_both! {
    async fn others_and_all_need_a_live_bearer_or_the_current_refresh_token(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let first = client.register("ada@example.org").await;
        let second = client.refresh(&first).await;
        let other = client.login("ada@example.org").await;
        let with = |token: &str, scope: &str| {
            client.post("/api/auth/logout", &json!({ "refresh_token": token, "scope": scope }))
        };
        with(&first.refresh, "others").send().await.assert_refused(ErrorCode::TokenInvalid);
        client.refresh(&other).await;
        with(&second.refresh, "others").send().await.assert_status(204);
        client.verify(&other.access).await.assert_status(401);
        client.verify(&second.access).await.assert_status(200);
        let more = client.login("ada@example.org").await;
        client.logout_bearer(&second.access, "all").await.assert_status(204);
        client.verify(&more.access).await.assert_status(401);
        client.logout_bearer(&second.access, "all").await.assert_refused(ErrorCode::TokenInvalid);
        client.logout_bearer(&second.access, "sideways").await.assert_refused(ErrorCode::Malformed);
    }
}

#[tokio::test]
async fn an_expired_access_token_still_logs_its_session_out() {
    let options = tests::options::Options::sqlite().config("[token]\naccess_ttl = \"1s\"\nclock_skew = \"0s\"");
    let daemon = Daemon::start(options).await;
    let client = daemon.client();
    let tokens = client.register("ada@example.org").await;
    tests::wait::until(std::time::Duration::from_secs(5), "the token expires", || async {
        (client.verify(&tokens.access).await.status == 401).then_some(())
    })
    .await;
    client.profile(&tokens.access).await.assert_refused(ErrorCode::TokenExpired);
    client.logout_bearer(&tokens.access, "all").await.assert_refused(ErrorCode::TokenInvalid);
    client.refresh(&tokens).await;
    client.logout_bearer(&tokens.access, "current").await.assert_status(204);
    client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
}

on_both! {
    async fn a_list_comes_in_pages_that_lose_and_repeat_nothing(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let mine = client.register("ada@example.org").await;
        let mut expected = vec![mine.session.clone()];
        for _ in 0..6 {
            expected.push(client.login("ada@example.org").await.session);
        }
        let mut seen = Vec::new();
        let mut target = "/api/auth/sessions?limit=3".to_owned();
        loop {
            let page = client.get(&target).bearer(&mine.access).send().await;
            page.assert_status(200);
            let json = page.json();
            let sessions = json["sessions"].as_array().unwrap();
            assert!(sessions.len() <= 3);
            seen.extend(sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()));
            let Some(next) = json["next"].as_str() else { break };
            target = format!("/api/auth/sessions?limit=3&after={next}");
        }
        expected.reverse();
        assert_eq!(seen, expected);
    }
}

on_both! {
    async fn a_cursor_that_was_not_given_out_is_refused(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let mut cursors = Vec::new();
        for email in ["ada@example.org", "bob@example.org"] {
            let mine = client.register(email).await;
            client.login(email).await;
            let page = client.get("/api/auth/sessions?limit=1").bearer(&mine.access).send().await;
            cursors.push((mine, page.text("next")));
        }
        let (ada, own) = &cursors[0];
        let (_, foreign) = &cursors[1];
        let get = |query: &str| client.get(&format!("/api/auth/sessions?{query}")).bearer(&ada.access);
        get(&format!("after={own}")).send().await.assert_status(200);
        let mut changed = own.clone();
        let last = changed.pop().unwrap();
        changed.push(if last == 'A' { 'B' } else { 'A' });
        for after in [foreign, &changed, "-1", "9223372036854775808", "0", "x", "%27%20OR%201=1"] {
            get(&format!("after={after}")).send().await.assert_refused(ErrorCode::Malformed);
        }
        for limit in ["0", "101", "-1", "9223372036854775808", "x", ""] {
            get(&format!("limit={limit}")).send().await.assert_refused(ErrorCode::Malformed);
        }
    }
}

on_both! {
    async fn the_least_recently_refreshed_session_makes_room(options) {
        let daemon = Daemon::start(options.config("[session]\nmax_per_account = 2")).await;
        let client = daemon.client();
        let first = client.register("ada@example.org").await;
        let second = client.login("ada@example.org").await;
        let first = client.refresh(&first).await;
        let third = client.login("ada@example.org").await;
        client.try_refresh(&second.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.verify(&second.access).await.assert_status(401);
        client.refresh(&first).await;
        client.refresh(&third).await;
    }
}

on_both! {
    async fn a_full_account_refuses_a_login_when_so_configured(options) {
        let daemon = Daemon::start(options.config("[session]\nmax_per_account = 2\non_limit = \"refuse\"")).await;
        let client = daemon.client();
        let first = client.register("ada@example.org").await;
        let second = client.login("ada@example.org").await;
        let third = client.try_login("ada@example.org", tests::client::PASSWORD).await;
        third.assert_refused(ErrorCode::SessionLimit);
        client.refresh(&second).await;
        client.logout(&first.refresh).await.assert_status(204);
        client.login("ada@example.org").await;
    }
}
