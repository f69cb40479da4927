//! `POST /api/auth/refresh`: rotation, lost replies, replays, and tokens that are none (rules R1–R6 and R15).

use hyper::HeaderMap;
use serde_json::json;
use shared::{
    admin::{limit, session::State},
    error::ErrorCode,
};
use tests::{
    client::{Client, Tokens},
    daemon::Daemon,
    refresh_token::{Forgery, parts},
    wire::Answer,
};

const KEY: &str = "a-key-of-this-client";
const OTHER_KEY: &str = "another-key-of-theirs";

/// Asserts that nothing of a session works any more, whoever asks.
async fn assert_dead(daemon: &Daemon, known: &[&Tokens]) {
    let client = daemon.client();
    for tokens in known {
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.verify(&tokens.access).await.assert_status(401);
        client.profile(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
    }
}

async fn generation(daemon: &Daemon, tokens: &Tokens) -> u64 {
    daemon.admin().session(&tokens.session).await.generation
}

on_both! {
    async fn a_refresh_gives_new_tokens_of_the_same_session(options) {
        let daemon = Daemon::start(options).await;
        let first = daemon.client().register("ada@example.org").await;
        let answer = daemon.client().try_refresh(&first.refresh).await;
        answer.assert_status(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let second = Tokens::of(&answer);
        assert_eq!((&second.session, &second.user), (&first.session, &first.user));
        assert_ne!(second.refresh, first.refresh);
        assert_ne!(second.access, first.access);
        let third = daemon.client().refresh(&second).await;
        assert_eq!(generation(&daemon, &third).await, 2);
        daemon.client().verify(&third.access).await.assert_status(200);
    }
}

on_both! {
    async fn a_replay_ends_the_session_in_the_database_although_the_answer_is_a_refusal(options) {
        let daemon = Daemon::start(options.config("[session]\ngrace = \"0s\"\nkeyed_grace = \"0s\"")).await;
        let first = daemon.client().register("ada@example.org").await;
        let second = daemon.client().refresh(&first).await;
        daemon.client().try_refresh(&first.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        let session = daemon.admin().session(&first.session).await;
        assert_eq!((session.state, session.end_reason.as_deref()), (State::Ended, Some("replay")));
        assert_eq!(daemon.admin().events_about("session.replayed", &first.session).await.len(), 1);
        assert_dead(&daemon, &[&first, &second]).await;
    }
}

on_both! {
    async fn a_replay_may_end_every_session_of_the_account_when_so_configured(options) {
        let config = "[session]\ngrace = \"0s\"\nkeyed_grace = \"0s\"\non_replay = \"account\"";
        let daemon = Daemon::start(options.config(config)).await;
        let first = daemon.client().register("ada@example.org").await;
        let bystander = daemon.client().login("ada@example.org").await;
        daemon.client().refresh(&first).await;
        daemon.client().try_refresh(&first.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        assert_dead(&daemon, &[&first, &bystander]).await;
        // A spent token of an ended session has no effect any more.
        let later = daemon.client().login("ada@example.org").await;
        daemon.client().try_refresh(&first.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        daemon.client().refresh(&later).await;
    }
}

on_both! {
    async fn a_lost_reply_is_answered_again_with_the_same_successor(options) {
        let daemon = Daemon::start(options).await;
        let first = daemon.client().register("ada@example.org").await;
        let second = daemon.client().refresh(&first).await;
        for _ in 0..5 {
            let again = daemon.client().refresh(&first).await;
            assert_eq!(again.refresh, second.refresh);
            let (was, is) = (tests::jwt::Jwt::of(&second.access), tests::jwt::Jwt::of(&again.access));
            assert_eq!(was.claims["exp"], is.claims["exp"], "a retry does not lengthen an access token's life");
        }
        assert_eq!(generation(&daemon, &first).await, 1);
        daemon.client().refresh(&second).await;
    }
}

on_both! {
    async fn a_parent_whose_successor_was_used_is_a_replay_even_within_the_grace(options) {
        let daemon = Daemon::start(options).await;
        let first = daemon.client().register("ada@example.org").await;
        let second = daemon.client().refresh(&first).await;
        let third = daemon.client().refresh(&second).await;
        daemon.client().try_refresh(&first.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        assert_dead(&daemon, &[&first, &second, &third]).await;
    }
}

on_both! {
    async fn a_keyed_retry_gets_the_same_successor_and_conflicts_once_that_was_used(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let first = client.register("ada@example.org").await;
        let second = Tokens::of(&client.refresh_keyed(&first.refresh, KEY).await);
        assert_eq!(Tokens::of(&client.refresh_keyed(&first.refresh, KEY).await).refresh, second.refresh);
        client.refresh_keyed(&first.refresh, OTHER_KEY).await.assert_refused(ErrorCode::Conflict);
        client.try_refresh(&first.refresh).await.assert_refused(ErrorCode::Conflict);
        let third = client.refresh(&second).await;
        client.refresh_keyed(&first.refresh, KEY).await.assert_refused(ErrorCode::Conflict);
        client.refresh(&third).await;
    }
}

on_both! {
    async fn an_idempotency_key_has_sixteen_to_a_hundred_and_twenty_eight_characters(options) {
        let daemon = Daemon::start(options).await;
        let first = daemon.client().register("ada@example.org").await;
        for key in ["short", &"x".repeat(15), &"x".repeat(129), ""] {
            daemon.client().refresh_keyed(&first.refresh, key).await.assert_refused(ErrorCode::Malformed);
        }
        daemon.client().refresh_keyed(&first.refresh, &"x".repeat(16)).await.assert_status(200);
    }
}

on_both! {
    async fn a_guess_at_a_known_session_is_refused_and_does_it_no_harm(options) {
        let daemon = Daemon::start(options).await;
        let tokens = daemon.client().register("ada@example.org").await;
        let own = parts(&tokens.refresh);
        let guesses = [
            Forgery { secret: [9; 32], ..own },
            Forgery { tag: [9; 16], ..own },
            Forgery { secret: [9; 32], tag: [9; 16], ..own },
            Forgery { key: own.key.wrapping_add(1), ..own },
            Forgery { handle: [9; 16], ..own },
        ];
        for guess in guesses {
            daemon.client().try_refresh(&guess.text()).await.assert_refused(ErrorCode::TokenInvalid);
        }
        assert_eq!(own.text(), tokens.refresh, "the forger writes tokens as the daemon does");
        daemon.client().refresh(&tokens).await;
    }
}

on_both! {
    async fn a_handle_of_another_session_in_a_token_harms_neither(options) {
        let daemon = Daemon::start(options).await;
        let (a, b) = (daemon.client().register("ada@example.org").await, daemon.client().register("bob@example.org").await);
        let (of_a, of_b) = (parts(&a.refresh), parts(&b.refresh));
        for spliced in [Forgery { handle: of_b.handle, ..of_a }, Forgery { handle: of_b.handle, tag: of_b.tag, ..of_a }] {
            daemon.client().try_refresh(&spliced.text()).await.assert_refused(ErrorCode::TokenInvalid);
        }
        daemon.client().refresh(&a).await;
        daemon.client().refresh(&b).await;
    }
}

on_both! {
    async fn access_and_refresh_tokens_do_not_pass_for_each_other(options) {
        let daemon = Daemon::start(options).await;
        let tokens = daemon.client().register("ada@example.org").await;
        daemon.client().try_refresh(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
        daemon.client().verify(&tokens.refresh).await.assert_status(401);
        daemon.client().profile(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        daemon.client().refresh(&tokens).await;
    }
}

fn without_request_id(answer: &Answer) -> (u16, HeaderMap, serde_json::Value) {
    let mut headers = answer.headers.clone();
    headers.remove("x-request-id");
    headers.remove("date");
    let mut body = answer.json();
    body["request_id"] = json!("");
    (answer.status, headers, body)
}

on_both! {
    async fn a_replay_is_answered_like_a_token_that_never_was(options) {
        let daemon = Daemon::start(options.config("[session]\ngrace = \"0s\"\nkeyed_grace = \"0s\"")).await;
        let client = daemon.client();
        let first = client.register("ada@example.org").await;
        client.refresh(&first).await;
        let guess = Forgery { handle: [9; 16], ..parts(&first.refresh) };
        let unknown = client.try_refresh(&guess.text()).await;
        unknown.assert_refused(ErrorCode::TokenInvalid);
        let replay = client.try_refresh(&first.refresh).await;
        assert_eq!(without_request_id(&replay), without_request_id(&unknown));
        let ended = client.try_refresh(&first.refresh).await;
        assert_eq!(without_request_id(&ended), without_request_id(&unknown));
        let nonsense = client.try_refresh("art1_nonsense").await;
        assert_eq!(without_request_id(&nonsense), without_request_id(&unknown));
    }
}

on_both! {
    async fn a_session_refreshes_no_more_often_than_it_may_and_keeps_its_token_meanwhile(options) {
        let config = "[limit.\"refresh.session\"]\nrate = \"60/h\"\nburst = 10";
        let daemon = Daemon::start(options.config(config)).await;
        let client = daemon.client();
        let mut tokens = client.register("ada@example.org").await;
        let mut parent = tokens.clone();
        for _ in 0..10 {
            parent = tokens;
            tokens = client.refresh(&parent).await;
            // Retries of a lost reply are not charged.
            assert_eq!(client.refresh(&parent).await.refresh, tokens.refresh);
        }
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::RateLimited);
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::RateLimited);
        assert_eq!(client.refresh(&parent).await.refresh, tokens.refresh);
        let off = limit::SetRequest {
            policy: "refresh.session".into(),
            rate: Some("off".parse().unwrap()),
            ..Default::default()
        };
        daemon.admin().call::<limit::Set>(&off).await;
        client.refresh(&tokens).await;
    }
}

on_both! {
    async fn tokens_that_never_were_are_counted_by_address_and_good_ones_never(options) {
        let config = "[limit.\"refresh.ip\"]\nrate = \"20/min\"\nburst = 20";
        let daemon = Daemon::start(options.config(config)).await;
        let client = daemon.client();
        let mut tokens = client.register("ada@example.org").await;
        let mut refused = Vec::new();
        for _ in 0..25 {
            refused.push(client.try_refresh("art1_nonsense").await.status);
            tokens = client.refresh(&tokens).await;
        }
        assert!(refused[..20].iter().all(|status| *status == 401), "{refused:?}");
        assert_eq!(refused[24], 429, "{refused:?}");
    }
}

on_both! {
    async fn a_connection_that_breaks_after_the_request_costs_no_session(options) {
        let daemon = Daemon::start(options).await;
        for round in 0..60 {
            let tokens = daemon.client().register(&format!("user{round}@example.org")).await;
            lose_reply(daemon.client(), &tokens, round % 6).await;
            let successor = daemon.client().refresh(&tokens).await;
            let again = daemon.client().refresh(&tokens).await;
            assert_eq!(again.refresh, successor.refresh, "round {round}");
            assert_eq!(generation(&daemon, &tokens).await, 1, "round {round}");
            daemon.client().refresh(&successor).await;
        }
    }
}

on_both! {
    async fn a_thief_who_keeps_in_step_from_elsewhere_ends_the_session(options) {
        let config = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]";
        let daemon = Daemon::start(options.config(config)).await;
        let client = daemon.client();
        let refresh = |tokens: &Tokens, from: &str, agent: &str| {
            client.refresh_call(&tokens.refresh).header("x-forwarded-for", from).header("user-agent", agent)
        };
        let (firefox, curl) = ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "curl/8.5.0");
        let mut tokens = client.register("ada@example.org").await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            let next = Tokens::of(&refresh(&tokens, "192.0.2.7", firefox).send().await);
            answers.push(refresh(&tokens, "203.0.113.9", curl).send().await);
            tokens = next;
        }
        assert_eq!((answers[0].status, answers[1].status), (200, 200));
        answers[2].assert_refused(ErrorCode::TokenInvalid);
        assert_eq!(daemon.admin().session(&tokens.session).await.state, State::Ended);
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
    }
}

/// Sends a refresh and resets the connection, sooner or later.
async fn lose_reply(client: Client, tokens: &Tokens, patience: u64) {
    let body = json!({ "refresh_token": tokens.refresh }).to_string();
    let head =
        format!("host: {}\r\ncontent-type: application/json\r\ncontent-length: {}", client.address(), body.len());
    let mut raw = tests::raw::Raw::connect(client.address()).await;
    raw.send(format!("POST /api/auth/refresh HTTP/1.1\r\n{head}\r\n\r\n{body}")).await;
    // From "the request has just left" to "the answer has arrived and nobody read it".
    tokio::time::sleep(std::time::Duration::from_millis(patience * patience)).await;
    raw.reset();
}

#[tokio::test]
async fn nothing_on_disk_holds_a_token_or_its_secret() {
    let daemon = Daemon::start(tests::options::Options::sqlite()).await;
    let first = daemon.client().register("ada@example.org").await;
    let second = daemon.client().refresh(&first).await;
    let mut needles: Vec<Vec<u8>> = Vec::new();
    for token in [&first.refresh, &second.refresh] {
        let secret = parts(token).secret;
        needles.push(token.as_bytes().to_vec());
        needles.push(secret.to_vec());
        needles.push(tests::jwt::encode(secret).into_bytes());
        needles.push(secret.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    }
    needles.push(first.access.clone().into_bytes());
    needles.push(tests::client::PASSWORD.as_bytes().to_vec());
    let mut looked_at = 0;
    for file in files_below(daemon.data_dir()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        looked_at += bytes.len();
        for needle in &needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{} holds a secret", file.display());
        }
    }
    assert!(looked_at > 10_000, "the database was read");
    let log = daemon.log().text().into_bytes();
    assert!(needles.iter().all(|needle| !log.windows(needle.len()).any(|window| window == needle)));
}

fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
