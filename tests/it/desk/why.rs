//! `authctl why`: the story of a session, an account, a request and an address, with the rule and the next command.

use serde_json::Value;
use tests::{client::PASSWORD, ctl::Ran, daemon::Daemon};

/// Asserts what every answer has: exit 0, and next commands that `authctl` itself understands.
fn explained(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let data = ran.json()["data"].clone();
    let next = data["next"].as_array().expect("advice");
    assert!(!next.is_empty(), "{data}");
    for advice in next {
        let line = advice["command"].as_str().expect("a command");
        let understood = authctl::command().try_get_matches_from(line.split(' '));
        assert!(understood.is_ok(), "{line}: {:?}", understood.err());
    }
    data
}

on_both! {
    async fn an_ended_session_tells_the_rule_the_time_and_what_to_do(options) {
        let daemon = Daemon::start(options.config("[session]\ngrace = \"0s\"\nkeyed_grace = \"0s\"")).await;
        let first = daemon.client().register("ada@example.org").await;
        daemon.client().refresh(&first).await;
        let alive = explained(&daemon.ctl().run(&["why", &first.session, "-o", "json"]).await);
        assert_eq!((&alive["rule"], &alive["subject"]["kind"]), (&Value::Null, &"session".into()), "{alive}");
        daemon.client().try_refresh(&first.refresh).await.assert_status(401);
        let ended_at = daemon.admin().session(&first.session).await.ended_at.expect("an end").to_string();
        let told = explained(&daemon.ctl().run(&["why", &first.session, "-o", "json"]).await);
        assert_eq!(told["rule"], "R3", "{told}");
        assert!(told["verdict"].as_str().unwrap().contains(&ended_at), "{ended_at} {told}");
        let story = told["story"].as_array().unwrap();
        assert!(story.is_sorted_by_key(|step| step["at"].as_str().unwrap_or("z").to_owned()), "{told}");
        assert!(story.iter().any(|step| step["rule"] == "R3" && step["event"].is_string()), "{told}");
        let revoked = daemon.client().login("ada@example.org").await;
        let by = ["session", "revoke", &revoked.session, "--yes", "--reason", "lost laptop", "--ticket", "OPS-9"];
        assert_eq!(daemon.ctl().run(&by).await.code, Some(0));
        let text = daemon.ctl().run(&["why", &revoked.session, "-o", "wide"]).await.stdout;
        assert!(text.contains("an operator ended it") && text.contains("lost laptop, OPS-9"), "{text}");
        assert!(text.contains("[R7]") && text.contains("\nnext: authctl "), "{text}");
        let of_account = daemon.ctl().run(&["why", "ada@example.org", "-o", "wide"]).await.stdout;
        assert!(of_account.contains("(lost laptop, OPS-9) [R7]"), "{of_account}");
        let by_name = daemon.ctl().run(&["audit", "list", "--target", "ada@example.org", "-o", "ids"]).await;
        assert!(by_name.code == Some(0) && by_name.stdout.contains("evt_"), "{by_name:?}");
        assert!(of_account.contains(&format!("next: authctl why {}", revoked.session)), "{of_account}");
    }
}

on_both! {
    async fn a_refused_login_tells_the_ladder_and_how_long(options) {
        let daemon = Daemon::start(options.config("[limit.\"login.account\"]\nburst = 2\nfirst_delay = \"60s\"")).await;
        let tokens = daemon.client().register("ada@example.org").await;
        for _ in 0..4 {
            daemon.client().try_login("ada@example.org", "not-her-password").await;
        }
        daemon.client().try_login("ada@example.org", PASSWORD).await.assert_status(429);
        for who in ["ada@example.org", &tokens.user, &tokens.user[..20]] {
            let told = explained(&daemon.ctl().run(&["why", who, "-o", "json"]).await);
            assert_eq!(told["rule"], "login.account", "{told}");
            assert_eq!(told["subject"]["id"], tokens.user.as_str(), "{told}");
            let verdict = told["verdict"].as_str().unwrap();
            assert!(verdict.contains("another ") && verdict.contains("known device"), "{verdict}");
        }
        assert_eq!(daemon.ctl().run(&["user", "unlock", &tokens.user]).await.code, Some(0));
        let free = explained(&daemon.ctl().run(&["why", &tokens.user, "-o", "json"]).await);
        assert!(free["verdict"].as_str().unwrap().starts_with("nothing holds"), "{free}");
        assert_eq!(daemon.ctl().run(&["user", "disable", &tokens.user, "--yes"]).await.code, Some(0));
        let disabled = explained(&daemon.ctl().run(&["why", &tokens.user, "-o", "json"]).await);
        assert_eq!(disabled["rule"], "R11", "{disabled}");
    }
}

on_both! {
    async fn a_request_and_an_address_tell_what_was_refused(options) {
        let daemon = Daemon::start(options).await;
        daemon.client().register("ada@example.org").await;
        let answer = daemon.client().try_login("ada@example.org", "not-her-password").await;
        let request = answer.header("x-request-id").expect("an id").to_owned();
        let told = explained(&daemon.ctl().run(&["why", &request, "-o", "json"]).await);
        assert_eq!((&told["subject"]["kind"], &told["rule"]), (&"request".into(), &"password".into()), "{told}");
        let address = explained(&daemon.ctl().run(&["why", "127.0.0.1", "-o", "json"]).await);
        assert_eq!(address["subject"]["kind"], "address", "{address}");
        assert_eq!(address["rule"], "password", "{address}");
        let ban = ["ban", "add", "192.0.2.0/24", "--reason", "spraying", "--for", "1h"];
        assert_eq!(daemon.ctl().run(&ban).await.code, Some(0));
        let banned = explained(&daemon.ctl().run(&["why", "192.0.2.77", "-o", "json"]).await);
        assert_eq!(banned["rule"], "ban", "{banned}");
        assert!(banned["verdict"].as_str().unwrap().contains("spraying"), "{banned}");
    }
}

on_both! {
    async fn what_nobody_knows_is_not_found_and_says_where_was_looked(options) {
        let daemon = Daemon::start(options).await;
        let ids = ["ses_01hzzzzzzzzzzzzzzzzzzzzzzz", "usr_01hzzzzzzzzzzzzzzzzzzzzzzz"];
        for nothing in ids.into_iter().chain(["eve@example.org", "nothing-of-that"]) {
            let ran = daemon.ctl().run(&["why", nothing]).await;
            assert_eq!(ran.code, Some(10), "{nothing}: {ran:?}");
            assert!(ran.stderr.contains("hint: "), "{ran:?}");
        }
        let ran = daemon.ctl().run(&["why", "nothing-of-that"]).await;
        assert!(ran.stderr.contains("audit log") && ran.stderr.contains("log of authd"), "{ran:?}");
        let reads = daemon.admin().events_about("audit.read", "why").await;
        assert!(!reads.is_empty(), "to ask why is to read the audit");
    }
}
