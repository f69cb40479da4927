//! `POST /api/auth/register`: what may become an account, and that it becomes one once.

use serde_json::{Value, json};
use shared::error::ErrorCode;
use std::time::Duration;
use tests::{
    client::{Client, PASSWORD, Tokens},
    clock::SeededRandom,
    daemon::Daemon,
    options::Options,
    process::resident_kib,
    wait::{timed, together},
};

/// A password of so many code points that nobody guesses.
fn password(seed: u64, length: usize) -> String {
    let alphabet: Vec<char> = ('!'..='~').collect();
    let random = SeededRandom::new(seed);
    (0..length).map(|_| alphabet[usize::try_from(random.next() % 94).unwrap()]).collect()
}

async fn try_password(client: Client, number: usize, password: &str) -> u16 {
    let email = format!("case{number}@example.org");
    client.try_register(&json!({ "email": email, "password": password })).await.status
}

on_both! {
    async fn an_account_is_made_with_its_first_session(options) {
        let daemon = Daemon::start(options).await;
        let body = json!({ "email": "Ada@Example.org", "username": "ada_l", "password": PASSWORD });
        let answer = daemon.client().try_register(&body).await;
        answer.assert_status(201);
        let json = answer.json();
        assert_eq!(json["token_type"], "Bearer");
        assert!(json["expires_in"].as_i64().is_some_and(|seconds| (590..=600).contains(&seconds)), "{answer}");
        assert!(json["refresh_expires_in"].as_i64().is_some_and(|seconds| seconds > 13 * 86_400), "{answer}");
        assert_eq!(json["user"]["email"], "Ada@Example.org");
        assert_eq!(json["user"]["username"], "ada_l");
        assert_eq!(json["user"]["email_verified"], false);
        let tokens = Tokens::of(&answer);
        let profile = daemon.client().profile(&tokens.access).await;
        profile.assert_status(200);
        assert_eq!(profile.text("id"), tokens.user);
        let session = daemon.admin().session(&tokens.session).await;
        assert_eq!((session.user_id.as_str(), session.generation), (tokens.user.as_str(), 0));
        assert_eq!(daemon.admin().events_about("user.created", &tokens.user).await.len(), 1);
    }
}

#[tokio::test]
async fn a_password_is_taken_from_its_shortest_to_its_longest_length_and_not_beyond() {
    let daemon = Daemon::start(Options::sqlite()).await;
    for (number, (length, status)) in [(9, 400), (10, 201), (256, 201), (257, 400)].into_iter().enumerate() {
        let answer = try_password(daemon.client(), number, &password(1, length)).await;
        assert_eq!(answer, status, "{length} code points");
    }
    let body = json!({ "email": "short@example.org", "password": password(1, 9) });
    daemon.client().try_register(&body).await.assert_refused(ErrorCode::WeakPassword);
    let cut = daemon.client().try_login("case2@example.org", &password(1, 255)).await;
    cut.assert_refused(ErrorCode::InvalidCredentials);
}

#[tokio::test]
async fn any_characters_may_be_in_a_password() {
    let daemon = Daemon::start(Options::sqlite()).await;
    // In an order that is no keyboard's or alphabet's: such a row would be easy to guess.
    let mut printable: Vec<char> = (' '..='~').collect();
    let order = SeededRandom::new(4);
    printable.sort_by_cached_key(|_| order.next());
    let printable: String = printable.into_iter().collect();
    let passwords = [
        password(2, 64),
        password(3, 256),
        "four words and spaces between".to_owned(),
        " leading and trailing blanks ".to_owned(),
        "🦊🐙🦕🌋🧭🪐🎻🧩🪁🛰".to_owned(),
        "пароль из многих букв 42".to_owned(),
        printable,
    ];
    for (number, password) in passwords.iter().enumerate() {
        assert_eq!(try_password(daemon.client(), number, password).await, 201, "{password}");
        let login = daemon.client().try_login(&format!("case{number}@example.org"), password).await;
        login.assert_status(200);
    }
}

#[tokio::test]
async fn a_password_that_is_only_nearly_the_same_is_another_one() {
    let daemon = Daemon::start(Options::sqlite().config("[limit.\"login.account\"]\nburst = 84")).await;
    daemon.client().register("ada@example.org").await;
    let nearly =
        [format!("{PASSWORD} "), format!(" {PASSWORD}"), PASSWORD.to_uppercase(), PASSWORD.replacen('p', "P", 1)];
    for password in nearly {
        let answer = daemon.client().try_login("ada@example.org", &password).await;
        answer.assert_refused(ErrorCode::InvalidCredentials);
    }
}

#[tokio::test]
async fn a_password_that_equals_itself_in_another_unicode_form_is_the_same() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let (composed, decomposed) = ("blau\u{e4}ugig-k\u{fc}hl-97", "blaua\u{308}ugig-ku\u{308}hl-97");
    assert_eq!(try_password(daemon.client(), 0, composed).await, 201);
    daemon.client().try_login("case0@example.org", decomposed).await.assert_status(200);
}

#[tokio::test]
async fn passwords_that_everybody_uses_are_refused_in_any_case() {
    let common = [
        "1234567890",
        "0123456789",
        "password123",
        "password1234",
        "Password123",
        "PASSWORD123",
        "passw0rd123",
        "qwertyuiop",
        "QWERTYUIOP",
        "qwerty12345",
        "qwerty123456",
        "1qaz2wsx3edc",
        "1q2w3e4r5t",
        "1q2w3e4r5t6y",
        "q1w2e3r4t5",
        "zaq12wsxcde3",
        "iloveyou123",
        "iloveyou12",
        "ILoveYou123",
        "letmein123",
        "welcome123",
        "welcome1234",
        "Welcome123",
        "football123",
        "baseball123",
        "sunshine123",
        "princess123",
        "superman123",
        "batman12345",
        "michael123",
        "jennifer123",
        "charlie123",
        "liverpool123",
        "1111111111",
        "0000000000",
        "9876543210",
        "0987654321",
        "abcdefghij",
        "abcdefg123",
        "abc1234567",
        "abcd123456",
        "asdfghjkl123",
        "asdfghjkl1",
        "zxcvbnm123",
        "zxcvbnm12345",
        "administrator",
        "Administrator",
        "trustno1trustno1",
        "dragon12345",
        "monkey12345",
        "master12345",
        "shadow12345",
    ];
    let daemon = Daemon::start(Options::sqlite()).await;
    assert!(common.len() >= 50);
    for (number, password) in common.into_iter().enumerate() {
        let body = json!({ "email": format!("case{number}@example.org"), "password": password });
        let answer = daemon.client().try_register(&body).await;
        assert_eq!(answer.status, 400, "{password}: {answer}");
        answer.assert_refused(ErrorCode::WeakPassword);
    }
}

#[tokio::test]
async fn a_password_that_names_its_owner_is_refused() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let (email, username) = ("xk9-mq2-vl7-tz4@example.org", "vq7_tz4_xk9_mw2");
    for password in [email, "xk9-mq2-vl7-tz4", "XK9-MQ2-VL7-TZ4", username, "VQ7_TZ4_XK9_MW2"] {
        let body = json!({ "email": email, "username": username, "password": password });
        daemon.client().try_register(&body).await.assert_refused(ErrorCode::WeakPassword);
    }
    let body = json!({ "email": email, "username": username, "password": "xm4-tq9-vz2-lk7" });
    daemon.client().try_register(&body).await.assert_status(201);
}

on_both! {
    async fn fifty_registrations_of_one_address_make_one_account(options) {
        let postgres = options.database != tests::options::Database::Sqlite;
        let daemon = Daemon::start(options).await;
        let other = if postgres { Some(daemon.second().await) } else { None };
        let clients = [daemon.client(), other.as_ref().unwrap_or(&daemon).client()];
        let answers = together(50, |number| {
            let client = clients[number % 2];
            async move { client.try_register(&json!({ "email": "ada@example.org", "password": PASSWORD })).await }
        })
        .await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        let duplicate = answers.iter().filter(|answer| answer.status == 409).count();
        assert_eq!((created, duplicate), (1, 49));
        let refused = answers.iter().find(|answer| answer.status == 409).unwrap();
        refused.assert_refused(ErrorCode::DuplicateEmail);
        let events = daemon.admin().events("user.created").await;
        let made = events.iter().filter(|event| event.outcome == shared::admin::audit::Outcome::Ok).count();
        assert_eq!(made, 1, "{events:?}");
    }
}

on_both! {
    async fn names_are_taken_whatever_their_case(options) {
        let daemon = Daemon::start(options).await;
        let body = |email: &str, username: &str| json!({ "email": email, "username": username, "password": PASSWORD });
        daemon.client().try_register(&body("ada@example.org", "ada")).await.assert_status(201);
        let email = daemon.client().try_register(&body("ADA@example.ORG", "other")).await;
        email.assert_refused(ErrorCode::DuplicateEmail);
        let username = daemon.client().try_register(&body("eve@example.org", "ADA")).await;
        username.assert_refused(ErrorCode::DuplicateUsername);
        daemon.client().try_register(&body("ada+tag@example.org", "ada_tag")).await.assert_status(201);
    }
}

on_both! {
    async fn a_repeated_registration_with_its_key_gives_the_account_and_replaces_the_lost_session(options) {
        let daemon = Daemon::start(options).await;
        let body = json!({ "email": "ada@example.org", "password": PASSWORD });
        let call = daemon.client().post("/api/auth/register", &body).header("idempotency-key", "a-key-of-a-client");
        let first = Tokens::of(&call.send().await);
        let again = call.send().await;
        again.assert_status(201);
        let again = Tokens::of(&again);
        assert_eq!(again.user, first.user);
        assert_ne!(again.session, first.session);
        assert_eq!(daemon.client().try_refresh(&first.refresh).await.status, 401);
        daemon.client().refresh(&again).await;
        let wrong = json!({ "email": "ada@example.org", "password": "another-velvet-orbit-17" });
        let wrong = daemon.client().post("/api/auth/register", &wrong).header("idempotency-key", "a-key-of-a-client");
        wrong.send().await.assert_refused(ErrorCode::DuplicateEmail);
    }
}

on_both! {
    async fn a_repeated_registration_ends_no_session_but_its_own_and_only_while_nobody_uses_it(options) {
        let daemon = Daemon::start(options).await;
        let body = json!({ "email": "ada@example.org", "password": PASSWORD });
        let call = daemon.client().post("/api/auth/register", &body).header("idempotency-key", "a-key-of-a-client");
        let mut of_registrations = vec![Tokens::of(&call.send().await)];
        let login = daemon.client().login("ada@example.org").await;
        for _ in 0..2 {
            of_registrations.push(Tokens::of(&call.send().await));
        }
        let used = of_registrations.pop().unwrap();
        for lost in of_registrations {
            assert_eq!(daemon.client().try_refresh(&lost.refresh).await.status, 401);
        }
        let used = daemon.client().refresh(&used).await;
        call.send().await.assert_status(201);
        daemon.client().refresh(&used).await;
        daemon.client().refresh(&login).await;
    }
}

#[tokio::test]
async fn fields_that_are_not_the_clients_to_set_are_refused() {
    let daemon = Daemon::start(Options::sqlite()).await;
    for field in ["is_admin", "role", "tenant_id", "email_verified", "id", "created_at"] {
        let mut body = json!({ "email": "ada@example.org", "password": PASSWORD });
        body[field] = json!(true);
        daemon.client().try_register(&body).await.assert_refused(ErrorCode::Malformed);
    }
    let twice = format!(r#"{{"email":"eve@example.org","email":"ada@example.org","password":"{PASSWORD}"}}"#);
    let answer = daemon.client().call("POST", "/api/auth/register").body("application/json", twice).send().await;
    answer.assert_refused(ErrorCode::Malformed);
    daemon.client().try_login("ada@example.org", PASSWORD).await.assert_status(401);
}

#[tokio::test]
async fn an_odd_address_is_refused_or_stored_as_it_is_and_never_breaks_a_line() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let long = format!("{}@example.org", "a".repeat(309));
    let odd = [
        "ada@example.org\r\nX-Injected: yes",
        "<ada@example.org>",
        "\"ada\"@example.org",
        &long,
        "a@b",
        "\"a b\"@c.org",
        "ada(comment)@example.org",
        "a@[1.2.3.4]",
        "",
        "@",
        "ada@",
        "@example.org",
        "ada@@example.org",
        "ada@exam ple.org",
        "ada\u{0}@example.org",
        "ada@example.org\u{1b}[31m",
        "ada@-example.org",
        "a@example..org",
        "\u{202e}ada@example.org",
        "ada@example.org\",\"outcome\":\"success",
    ];
    for email in odd {
        let answer = daemon.client().try_register(&json!({ "email": email, "password": PASSWORD })).await;
        assert!(answer.header("x-injected").is_none(), "{email:?}");
        if answer.status == 201 {
            assert_eq!(answer.json()["user"]["email"], email, "{answer}");
        } else {
            // NUL is in no text at all.
            answer.assert_refused(if email.contains('\0') { ErrorCode::Malformed } else { ErrorCode::InvalidEmail });
        }
        daemon.client().try_login(email, PASSWORD).await;
    }
    for line in daemon.log().lines().iter().filter(|line| line.starts_with('{')) {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    assert!(daemon.log().lines().iter().all(|line| !line.starts_with("X-Injected")));
    for event in daemon.admin().events("login.denied").await {
        assert_eq!(event.outcome, shared::admin::audit::Outcome::Denied, "{event:?}");
    }
}

#[tokio::test]
async fn user_names_are_letters_digits_and_underscores() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let long = "a".repeat(51);
    for username in ["ab", &long, "a b c", "ada@home", "адa", "ada-l", "ada\n"] {
        let body = json!({ "email": "ada@example.org", "username": username, "password": PASSWORD });
        daemon.client().try_register(&body).await.assert_refused(ErrorCode::InvalidUsername);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_too_deep_or_a_huge_number_is_refused_at_once_and_costs_no_memory() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let email = |value: String| format!(r#"{{"email":{value},"password":"x"}}"#);
    let bodies = [
        (413, format!(r#"{{"email":"{}"}}"#, "a".repeat(1 << 20))),
        (413, email("[".repeat(100_000))),
        (400, email("[".repeat(8_000))),
        (400, email(format!("{}{}", "{\"a\":".repeat(2_500), "1"))),
        (413, email("9".repeat(1_000_000))),
        (400, email("9".repeat(10_000))),
    ];
    daemon.client().register("warm@example.org").await;
    let before = resident_kib(daemon.pid());
    for _ in 0..5 {
        for (status, body) in &bodies {
            let call = daemon.client().call("POST", "/api/auth/register").body("application/json", body.clone());
            // The daemon may answer and close before it has read what it will not take.
            let (answer, took) = timed(call.try_send()).await;
            if let Ok(answer) = answer {
                assert_eq!(answer.status, *status, "{answer}");
            } else {
                assert_eq!(*status, 413);
            }
            assert!(took < Duration::from_millis(250), "{took:?}");
        }
    }
    let grown = resident_kib(daemon.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

#[tokio::test]
async fn nobody_registers_while_registration_is_closed() {
    let daemon = Daemon::start(Options::sqlite().config("[registration]\nopen = false")).await;
    let answer = daemon.client().try_register(&json!({ "email": "ada@example.org", "password": PASSWORD })).await;
    answer.assert_refused(ErrorCode::RegistrationClosed);
}

#[tokio::test]
async fn registrations_from_one_address_are_limited_once_they_are_valid() {
    let config = "[limit.\"register.ip\"]\nrate = \"3/h\"\nburst = 3";
    let daemon = Daemon::start(Options::sqlite().config(config)).await;
    let weak = json!({ "email": "weak@example.org", "password": "1234567890" });
    for _ in 0..5 {
        daemon.client().try_register(&weak).await.assert_refused(ErrorCode::WeakPassword);
    }
    for number in 0..3 {
        daemon.client().register(&format!("user{number}@example.org")).await;
    }
    let fourth = daemon.client().try_register(&json!({ "email": "user4@example.org", "password": PASSWORD })).await;
    fourth.assert_refused(ErrorCode::RateLimited);
    assert!(!String::from_utf8_lossy(&fourth.body).contains("register.ip"), "{fourth}");
}
