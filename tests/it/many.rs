//! Many sessions: lists that look at a bounded number of rows, and ends by filter, all or none.

use serde_json::{Value, json};
use shared::admin::session::{
    List, ListRequest, Revoke, RevokeRequest, Session, State,
    lineage::Lineage,
    stats::{Overview, Stats},
};
use shared::admin::{Empty, session::ShowRequest};
use tests::{
    crowd::{self, Crowd},
    ctl::Ran,
    daemon::Daemon,
    options::Options,
};

const PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]";

/// The error document on standard output, its code and the exit code beside it.
fn refused(ran: &Ran) -> (i32, String) {
    let error = &ran.json()["error"];
    assert!(!error["hint"].as_str().unwrap_or_default().is_empty(), "{ran:?}");
    assert_eq!(error["exit"].as_i64(), ran.code.map(i64::from), "{ran:?}");
    (ran.code.unwrap(), error["code"].as_str().unwrap().to_owned())
}

async fn live(daemon: &Daemon) -> u64 {
    daemon.admin().call::<Stats>(&Empty {}).await.state.live
}

/// Somebody logged in from this address.
async fn from(daemon: &Daemon, email: &str, address: &str) -> tests::client::Tokens {
    let body = json!({ "email": email, "password": tests::client::PASSWORD });
    let call = daemon.client().post("/api/auth/register", &body).header("x-forwarded-for", address);
    tests::client::Tokens::of(&call.send().await)
}

on_both! {
    async fn sessions_end_by_network_of_any_size_and_by_nothing_else(options) {
        let daemon = Daemon::start(options.config(PROXY)).await;
        let mut people = Vec::new();
        for (number, address) in
            ["10.1.2.3", "10.1.3.3", "10.2.0.1", "192.0.2.77", "2001:db8:1:2::3", "2001:db8:0::1", "2001:dc8::1"]
                .into_iter().enumerate()
        {
            people.push(from(&daemon, &format!("n{number}@example.org"), address).await);
        }
        let listed = async |ip: &str| {
            let request = ListRequest { ip: Some(ip.to_owned()), ..Default::default() };
            let found = daemon.admin().call::<List>(&request).await.items;
            found.into_iter().rev().map(|session| session.id.to_string()).collect::<Vec<_>>()
        };
        let ids = |numbers: &[usize]| numbers.iter().map(|number| people[*number].session.clone()).collect::<Vec<_>>();
        for (ip, expected) in [
            ("10.1.2.0/24", &[0][..]), ("10.1.2.200", &[0]), ("10.1.2.200/32", &[0]), ("10.1.2.0/23", &[0, 1]),
            ("10.1.0.0/16", &[0, 1]), ("10.0.0.0/8", &[0, 1, 2]), ("0.0.0.0/0", &[0, 1, 2, 3]), ("192.0.3.0/24", &[]),
            ("2001:db8:1::/48", &[4]), ("2001:db8::/32", &[4, 5]), ("2001:db8::/29", &[4, 5]),
            ("2001:d00::/24", &[4, 5, 6]), ("::/0", &[4, 5, 6]), ("2001:db8::/47", &[4, 5]),
        ] {
            assert_eq!(listed(ip).await, ids(expected), "{ip}");
        }
        let bad = daemon.ctl().run(&["-o", "json", "session", "revoke", "--ip", "10.0.0.0/33", "--yes"]).await;
        assert_eq!(refused(&bad), (2, "MALFORMED".to_owned()));
        let ran = daemon.ctl().run(&["-o", "json", "session", "revoke", "--ip", "10.1.0.0/16", "--yes"]).await;
        assert_eq!(ran.json()["data"], json!({ "matched": 2, "revoked": 2 }), "{ran:?}");
        let client = daemon.client();
        for (number, person) in people.iter().enumerate() {
            let (status, verified) = if number < 2 { (401, 401) } else { (200, 200) };
            client.verify(&person.access).await.assert_status(verified);
            client.try_refresh(&person.refresh).await.assert_status(status);
        }
    }
}

on_both! {
    async fn a_set_ends_as_a_whole_or_not_at_all(options) {
        let daemon = Daemon::start(options).await;
        crowd::gather(&daemon, Crowd { sessions: 1_300, relics: 700, ended_each: 0 }).await;
        let ctl = daemon.ctl();
        let relics = ["-o", "json", "session", "revoke", "--device", "relic"];
        let run = async |more: &[&str]| ctl.run(&[&relics[..], more].concat()).await;
        assert_eq!(refused(&run(&[]).await), (13, "NO_TERMINAL".to_owned()));
        let dry = run(&["--dry-run"]).await;
        assert_eq!((dry.code, &dry.json()["data"]), (Some(0), &json!({ "matched": 700, "revoked": 0 })), "{dry:?}");
        assert_eq!(refused(&run(&["-n", "--expect", "600", "--tolerance", "10%"]).await), (11, "CONFLICT".to_owned()));
        assert_eq!(refused(&run(&["-y", "--expect", "600", "--tolerance", "10%"]).await), (11, "CONFLICT".to_owned()));
        assert_eq!(refused(&run(&["-y", "--expect", "699"]).await), (11, "CONFLICT".to_owned()));
        assert_eq!((live(&daemon).await, daemon.admin().events("session.revoked").await.len()), (1_300, 0));
        let done = run(&["-y", "--expect", "650", "--tolerance", "10%", "--reason", "stolen", "--ticket", "OPS-1"]).await;
        assert_eq!((done.code, &done.json()["data"]), (Some(0), &json!({ "matched": 700, "revoked": 700 })), "{done:?}");
        assert_eq!(live(&daemon).await, 600);
        // Every end has its event, and every event its end.
        let wanted = ListRequest { state: Some(State::Ended), limit: Some(1_000), ..Default::default() };
        let ended = daemon.admin().call::<List>(&wanted).await.items;
        let mut ended: Vec<String> = ended.into_iter().map(|session| session.id.to_string()).collect();
        let events = daemon.admin().events("session.revoked").await;
        let mut told: Vec<String> = events.iter().map(|event| event.target.clone().unwrap().id).collect();
        ended.sort();
        told.sort();
        assert_eq!((ended.len(), &ended), (700, &told));
        assert!(events.iter().all(|event| event.reason.as_deref() == Some("stolen") && event.detail["ticket"] == "OPS-1"));
        for (args, code) in [
            (&["session", "revoke", "-y"][..], 2), (&["session", "revoke", "--all", "--ip", "10.0.0.0/8", "-y"], 2),
            (&["session", "revoke", "--all"], 13), (&["session", "revoke", "--all", "--since", "1h", "-y"], 2),
        ] {
            assert_eq!(ctl.run(args).await.code, Some(code), "{args:?}");
        }
        let all = ctl.run(&["session", "revoke", "--all", "-y"]).await;
        assert_eq!((all.code, all.stdout.as_str()), (Some(0), "ended 600 sessions (600 matched)\n"));
        assert_eq!(live(&daemon).await, 0);
    }
}

on_both! {
    async fn a_list_finds_what_is_rare_without_looking_at_everything_in_one_call(options) {
        let daemon = Daemon::start(options).await;
        crowd::gather(&daemon, Crowd { sessions: 25_000, relics: 3, ended_each: 5_000 }).await;
        let rare = |after| ListRequest { device: Some("relic".into()), limit: Some(2), after, ..Default::default() };
        let (mut found, mut calls, mut after) = (Vec::new(), 0, None);
        loop {
            let page = daemon.admin().call::<List>(&rare(after)).await;
            assert_eq!((page.total, page.total_exact), (None, false));
            found.extend(page.items.iter().map(|session| session.id.to_string()));
            calls += 1;
            after = page.next;
            if after.is_none() { break }
        }
        assert_eq!(found, [3, 2, 1].map(crowd::session_id));
        assert!((3..=5).contains(&calls), "{calls} calls");
        // The program asks on by itself, and stops when it has enough.
        let ran = daemon.ctl().run(&["-o", "ids", "session", "list", "--device", "relic"]).await;
        assert_eq!(ran.stdout, [3, 2, 1].map(|number| crowd::session_id(number) + "\n").concat(), "{ran:?}");
        let ran = daemon.ctl().run(&["-o", "json", "session", "list", "--device", "relic", "--limit", "1"]).await;
        assert_eq!(ran.json()["data"].as_array().unwrap().len(), 1, "{ran:?}");
        let ran = daemon.ctl().run(&["-o", "ids", "session", "list", "--state", "ended"]).await;
        assert_eq!(ran.stdout.lines().count(), 5, "{ran:?}");
        let admin = daemon.admin();
        let of = async |filter: ListRequest| admin.call::<List>(&filter).await;
        let wide = of(ListRequest { ip: Some("10.3.0.0/16".into()), limit: Some(7), ..Default::default() }).await;
        assert_eq!((wide.items.len(), wide.total), (7, Some(1_250)));
        let all = of(ListRequest { ip: Some("10.0.0.0/8".into()), limit: Some(7), ..Default::default() }).await;
        assert_eq!((all.items.len(), all.total), (7, None));
        let user = of(ListRequest { user: Some("crowd17@example.org".into()), state: Some(State::Live), ..Default::default() }).await;
        assert_eq!((user.items.len(), user.total), (25, Some(25)));
        let newest: Vec<String> = of(ListRequest { state: Some(State::Live), limit: Some(2), ..Default::default() })
            .await.items.iter().map(|session| session.id.to_string()).collect();
        assert_eq!(newest, [24_999, 24_998].map(crowd::session_id));
    }
}

on_both! {
    async fn an_overview_counts_every_session_once(options) {
        let daemon = Daemon::start(options).await;
        crowd::gather(&daemon, Crowd { sessions: 3_000, relics: 0, ended_each: 10 }).await;
        let tokens = daemon.client().register("ada@example.org").await;
        for _ in 0..4 {
            daemon.client().login("ada@example.org").await;
        }
        let overview: Overview = daemon.admin().call::<Stats>(&Empty {}).await;
        assert_eq!((overview.state.live, overview.state.ended, overview.state.expired), (2_705, 300, 0));
        assert_eq!((overview.transport.body, overview.transport.cookie), (2_705, 0));
        assert_eq!(overview.age.iter().map(|age| age.live).sum::<u64>(), 2_705);
        assert_eq!((overview.age[0].under.as_deref(), overview.age[0].live), (Some("1h"), 2_705));
        let first = &overview.accounts[0];
        assert_eq!((first.user_id.as_str(), first.email.as_deref(), first.live), (tokens.user.as_str(), Some("ada@example.org"), 5));
        assert!(overview.accounts.len() == 10 && overview.networks.len() == 10);
        assert!(overview.networks.windows(2).all(|pair| pair[0].live >= pair[1].live));
        let ran = daemon.ctl().run(&["session", "stats"]).await;
        let shown: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
        for line in [["live", "2705"], ["ended", "300"], ["ada@example.org", "5"]] {
            assert!(shown.iter().any(|words| words == &line), "{line:?}: {ran:?}");
        }
        assert_eq!(daemon.reader().call::<Stats>(&Empty {}).await.state, overview.state);
    }
}

on_both! {
    async fn the_lineage_of_a_session_tells_its_story_in_order(options) {
        let daemon = Daemon::start(options.config(PROXY)).await;
        let client = daemon.client();
        let first = from(&daemon, "ada@example.org", "10.1.2.3").await;
        let moved = json!({ "refresh_token": first.refresh });
        let second = client.post("/api/auth/refresh", &moved).header("x-forwarded-for", "198.51.100.9").send().await;
        let second = tests::client::Tokens::of(&second);
        let third = client.post("/api/auth/refresh", &json!({ "refresh_token": second.refresh }))
            .header("x-forwarded-for", "198.51.100.9").send().await;
        third.assert_status(200);
        client.try_refresh(&first.refresh).await.assert_status(401);
        let history = daemon.admin().call::<Lineage>(&ShowRequest { id: first.session.clone() }).await;
        let told: Vec<&str> = history.steps.iter().map(|step| step.action.as_str()).collect();
        assert_eq!(told.first(), Some(&"session.opened"), "{told:?}");
        assert!(told.contains(&"session.refreshed") && told.contains(&"session.replayed"), "{told:?}");
        assert!(history.steps.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert_eq!((history.session.state, history.session.generation), (State::Ended, 2));
        let places: Vec<_> = history.steps.iter().filter_map(|step| step.network.as_deref()).collect();
        assert!(places.contains(&"10.1.2.0/24") && places.contains(&"198.51.100.0/24"), "{history:?}");
        let ran = daemon.ctl().run(&["-o", "json", "session", "lineage", &first.session[..20]]).await;
        let document: Value = ran.json();
        assert_eq!(document["schema"], "authctl.session.lineage/1");
        assert_eq!(document["data"]["steps"].as_array().unwrap().len(), history.steps.len());
        assert_eq!(daemon.ctl().run(&["session", "lineage", "ses_7zz"]).await.code, Some(10));
        let reads = daemon.admin().events("audit.read").await;
        assert!(reads.iter().any(|event| event.target.as_ref().is_some_and(|target| target.id == "lineage")), "{reads:?}");
        let shown: Session = history.session;
        assert_eq!(shown.end_reason.as_deref(), Some("replay"));
    }
}

#[tokio::test]
async fn an_end_of_everything_by_the_api_needs_a_condition() {
    let daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    let nothing = daemon.admin().try_call::<Revoke>(&RevokeRequest::default()).await;
    nothing.assert_status(400);
    let expired = RevokeRequest { state: Some(State::Expired), ..Default::default() };
    daemon.admin().try_call::<Revoke>(&expired).await.assert_status(400);
    assert_eq!(live(&daemon).await, 1);
}

#[tokio::test]
async fn several_accounts_are_named_by_address_or_the_beginning_of_an_id_and_none_by_half_a_name() {
    let daemon = Daemon::start(Options::sqlite()).await;
    crowd::gather(&daemon, Crowd { sessions: 1, relics: 0, ended_each: 0 }).await;
    let ctl = daemon.ctl();
    // Of the numbers 1 to 1000, ten begin with 24 digits of "…012": 120 to 129.
    let beginning = &crowd::user_id(120)[..29];
    for verb in ["unlock", "reset-password", "disable", "show"] {
        let ran = ctl.run(&["-o", "json", "user", verb, beginning]).await;
        assert_eq!(refused(&ran), (11, "CONFLICT".to_owned()));
        for number in 120..130 {
            assert!(ran.stderr.contains(&crowd::user_id(number)), "{verb}: {ran:?}");
        }
        let ran = ctl.run(&["-o", "json", "user", verb, "nobody@example.org"]).await;
        assert_eq!(refused(&ran), (10, "NOT_FOUND".to_owned()));
    }
    let unlocked = ctl.run(&["-o", "json", "user", "unlock", "crowd7@example.org", &crowd::user_id(8)]).await;
    assert_eq!(unlocked.json()["data"].as_array().unwrap().len(), 2, "{unlocked:?}");
    let partly = ctl.run(&["user", "logout", "-y", "crowd1@example.org", "nobody@example.org"]).await;
    assert_eq!(partly.code, Some(12), "{partly:?}");
    assert!(partly.stderr.contains("nobody@example.org"), "{partly:?}");
    let reset = ctl.run(&["-o", "json", "user", "reset-password", "crowd7@example.org"]).await;
    let data = &reset.json()["data"];
    assert!(
        data["reset_token"].as_str().is_some_and(|token| token.len() > 20) && data["expires_at"].is_string(),
        "{reset:?}"
    );
    let events = daemon.admin().events("password.reset_issued").await;
    assert!(!serde_json::to_string(&events).unwrap().contains(data["reset_token"].as_str().unwrap()));
}
