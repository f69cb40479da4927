//! Accounts taken over from other systems and read out again.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Value, json};
use shared::admin::user::{
    Create, CreateRequest, Show, ShowRequest, State,
    transfer::{Fate, Import, ImportRequest, Record},
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tests::{ctl::Ran, daemon::Daemon, options::Options, wait};

const PASSWORD: &str = "correct horse battery staple";
/// Hashes of [`PASSWORD`], made with other implementations.
const FOREIGN: [(&str, &str); 4] = [
    ("bcrypt", "$2b$05$abcdefghijklmnopqrstuuFiPhXf1sVd3pCCRO.uVh34H/qI/ZsuS"),
    ("scrypt", "$scrypt$ln=14,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$tjK03tRvEjqCcPwmgtddMkgjlXrk8U/b9rIvfeBMKCc"),
    (
        "pbkdf2",
        "$pbkdf2-sha512$i=20000$MDEyMzQ1Njc4OWFiY2RlZg$\
         eRPteKVEEluNi3XrPXlJUdaXHm34e29mGB4rAuVZpLe8Ec8PDB6Mmx8neTA965nVRExsUZh5N++GogwL2GnouQ",
    ),
    ("passlib", "$pbkdf2-sha256$29000$MDEyMzQ1Njc4OWFiY2RlZg$vajIaozrb7q4x.G3R5Y.FIe07ZH3QEjPYV1bs8kEikU"),
];
const TOO_COSTLY: [&str; 4] = [
    "$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    "$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$scrypt$ln=20,r=8,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    "$pbkdf2-sha256$9000000$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
];

/// One of each kind.
fn hashes() -> Vec<(&'static str, String)> {
    let argon2 = |algorithm: Algorithm| {
        let params = Params::new(1_024, 1, 1, Some(32)).unwrap();
        let (engine, mut output) = (Argon2::new(algorithm, Version::V0x13, params), [0; 32]);
        engine.hash_password_into(PASSWORD.as_bytes(), b"0123456789abcdef", &mut output).unwrap();
        let (name, output) = (algorithm.as_str(), STANDARD_NO_PAD.encode(output));
        (name, format!("${name}$v=19$m=1024,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg${output}"))
    };
    let foreign = FOREIGN.iter().map(|(name, hash)| (*name, (*hash).to_owned()));
    [argon2(Algorithm::Argon2id), argon2(Algorithm::Argon2i)].into_iter().chain(foreign).collect()
}

fn file(daemon: &Daemon, lines: &[String]) -> PathBuf {
    let path = daemon.data_dir().join("users.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

async fn import(daemon: &Daemon, lines: &[String], more: &[&str]) -> Ran {
    let path = file(daemon, lines);
    let args = [&["-o", "json", "user", "import", path.to_str().unwrap()], more].concat();
    daemon.ctl().run(&args).await
}

/// The same as often as it is answered that it may be tried again.
async fn import_until_done(daemon: &Daemon, lines: &[String], more: &[&str]) -> Ran {
    let done = || async { Some(import(daemon, lines, more).await).filter(|ran| ran.code != Some(75)) };
    wait::until(Duration::from_secs(60), "the import is done", done).await
}

/// Created, there already, refused.
fn counts(ran: &Ran) -> (u64, u64, u64) {
    let data = &ran.json()["data"];
    let count = |name: &str| data[name].as_u64().unwrap_or_else(|| panic!("{name}: {ran:?}"));
    (count("created"), count("present"), count("refused"))
}

on_both! {
    async fn people_log_in_with_the_passwords_they_had_and_get_a_hash_of_ours(options) {
        let daemon = Daemon::start(options).await;
        let lines: Vec<String> = hashes().iter().map(|(name, hash)| {
            json!({ "email": format!("{name}@example.org"), "username": name, "password_hash": hash,
                "created_at": "2019-05-06T07:08:09.123Z", "email_verified": true }).to_string()
        }).collect();
        let ran = import(&daemon, &lines, &[]).await;
        assert_eq!((ran.code, counts(&ran)), (Some(0), (6, 0, 0)), "{ran:?}");
        assert_eq!(daemon.admin().events("user.created").await.len(), 6);
        for (name, _) in hashes() {
            let email = format!("{name}@example.org");
            daemon.client().try_login(&email, "wrong horse battery").await.assert_status(401);
            let login = daemon.client().try_login(&email, PASSWORD).await;
            login.assert_status(200);
            assert_eq!(login.json()["user"]["email_verified"], true, "{login}");
            assert_eq!(login.json()["user"]["created_at"], "2019-05-06T07:08:09.123Z", "{login}");
            daemon.client().try_login(&email, PASSWORD).await.assert_status(200);
        }
        let exported = daemon.ctl().run(&["user", "export", "--hashes"]).await;
        assert_eq!(exported.stdout.lines().count(), 6, "{exported:?}");
        let (m, t) = ("$argon2id$v=19$m=", "\"password_hash\"");
        assert!(exported.stdout.lines().all(|line| line.contains(m) && line.contains(t)), "re-hashed: {exported:?}");
        let again = import(&daemon, &lines, &[]).await;
        assert_eq!((again.code, counts(&again)), (Some(0), (0, 6, 0)), "re-hashed, and still known: {again:?}");
    }
}

on_both! {
    async fn wrong_lines_are_named_and_the_others_are_taken(options) {
        let daemon = Daemon::start(options).await;
        daemon.client().register("taken@example.org").await;
        let costly = TOO_COSTLY.iter().enumerate()
            .map(|(number, hash)| json!({ "email": format!("c{number}@example.org"), "password_hash": hash }).to_string());
        let mut lines = vec![
            json!({ "email": "one@example.org", "username": "one" }).to_string() + "\r",
            String::new(),
            "{\"email\":".to_owned(),
            json!({ "email": "esc\u{1b}[31m@example.org" }).to_string(),
            "{\"email\":\"raw\u{1b}[31m@example.org\"}".to_owned(),
            json!({ "email": "two@example.org", "username": "no spaces" }).to_string(),
            json!({ "email": "three@example.org", "admin": true }).to_string(),
            json!({ "email": "four@example.org", "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99" }).to_string(),
            json!({ "email": "TAKEN@example.org", "username": "somebody" }).to_string(),
            json!({ "email": "five@example.org", "username": "ONE" }).to_string(),
            json!({ "email": "crlf@example.org\r\nBcc: x@y.z" }).to_string(),
            json!({ "email": "nul\0@example.org" }).to_string(),
            json!({ "email": "future@example.org", "created_at": "2999-01-01T00:00:00Z" }).to_string(),
            json!({ "email": "last@example.org", "disabled": true }).to_string(),
        ];
        lines.extend(costly);
        for dry in [&["--dry-run"][..], &[]] {
            let ran = import(&daemon, &lines, dry).await;
            assert_eq!((ran.code, counts(&ran)), (Some(12), (2, 0, 15)), "{dry:?}: {ran:?}");
            let document = ran.json();
            let refused = document["data"]["lines"].as_array().unwrap();
            let told: BTreeMap<u64, &str> = refused.iter()
                .map(|line| (line["line"].as_u64().unwrap(), line["code"].as_str().unwrap())).collect();
            assert_eq!(told.keys().copied().collect::<Vec<_>>(), (3..=13).chain(15..=18).collect::<Vec<_>>());
            for (line, code) in [
                (4, "INVALID_EMAIL"), (6, "INVALID_USERNAME"), (8, "MALFORMED"), (9, "DUPLICATE_EMAIL"),
                (10, "DUPLICATE_USERNAME"), (11, "INVALID_EMAIL"), (12, "MALFORMED"), (13, "MALFORMED"), (15, "MALFORMED"),
            ] {
                assert_eq!(told[&line], code, "line {line}: {ran:?}");
            }
            assert!(ran.stderr.contains("line 9: ") && ran.stderr.contains("line 18: "), "{ran:?}");
            assert!(!ran.stderr.contains('\u{1b}') && !ran.stdout.contains('\u{1b}'), "{ran:?}");
            let made = daemon.admin().events("user.created").await.len();
            assert_eq!(made, if dry.is_empty() { 3 } else { 1 }, "one registered: {dry:?}");
        }
        let last = daemon.admin().call::<Show>(&ShowRequest { user: "last@example.org".into() }).await;
        assert_eq!(last.state, State::Disabled);
        let event = &daemon.admin().events_about("user.created", last.id.as_str()).await[0];
        assert_eq!(event.detail["import"], "yes");
    }
}

on_both! {
    async fn an_import_that_was_killed_goes_on_where_it_stopped(options) {
        let daemon = Daemon::start(options).await;
        let lines: Vec<String> = (0..4_000)
            .map(|number| json!({ "email": format!("n{number}@example.org"), "username": format!("name_{number}"),
                "password_hash": FOREIGN[0].1 }).to_string())
            .collect();
        let path = file(&daemon, &lines);
        let mut child = tokio::process::Command::new(tests::process::program("authctl"))
            .args(["--socket", daemon.admin_socket().to_str().unwrap(), "user", "import", path.to_str().unwrap()])
            .stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null())
            .spawn().unwrap();
        let some = || async { daemon.admin().events("user.created").await.first().map(drop) };
        wait::until(Duration::from_secs(60), "the first batch", some).await;
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        let again = import_until_done(&daemon, &lines, &["--reason", "moved house"]).await;
        let (created, present, refused) = counts(&again);
        assert_eq!((again.code, created + present, refused), (Some(0), 4_000, 0), "{again:?}");
        assert!(present >= 500, "{again:?}");
        let third = import(&daemon, &lines, &["--resume-from", "3991"]).await;
        assert_eq!((third.code, counts(&third)), (Some(0), (0, 10, 0)), "{third:?}");
        let users = daemon.ctl().run(&["-o", "ids", "user", "list", "--all"]).await;
        assert_eq!(users.stdout.lines().count(), 4_000);
    }
}

on_both! {
    async fn what_was_exported_imports_as_it_was(options) {
        let daemon = Daemon::start(options).await;
        let mut lines: Vec<String> = hashes().iter().map(|(name, hash)| {
            json!({ "email": format!("{name}@Example.org"), "username": name.to_uppercase(), "password_hash": hash,
                "disabled": *name == "bcrypt", "last_login_at": "2024-01-02T03:04:05.006Z" }).to_string()
        }).collect();
        lines.push(json!({ "email": "gr\u{fc}n+tag@b\u{fc}cher.example", "email_verified": true }).to_string());
        assert_eq!(import(&daemon, &lines, &[]).await.code, Some(0));
        daemon.client().register("ada@example.org").await;
        let path = daemon.data_dir().join("out.jsonl");
        let ran = daemon.ctl().run(&["user", "export", "--hashes", path.to_str().unwrap()]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.with_extension("jsonl.part").exists());
        let taken = daemon.ctl().run(&["user", "export", path.to_str().unwrap()]).await;
        assert_eq!(taken.code, Some(11), "an export overwrites nothing: {taken:?}");
        let exported = std::fs::read_to_string(&path).unwrap();
        assert_eq!(exported.lines().count(), 8);
        let own: Vec<String> = exported.lines().map(str::to_owned).collect();
        assert_eq!(counts(&import(&daemon, &own, &[]).await), (0, 8, 0));
        let other = Daemon::start(Options::sqlite()).await;
        assert_eq!(counts(&import(&other, &own, &[]).await), (8, 0, 0));
        let back = other.ctl().run(&["user", "export", "--hashes"]).await.stdout;
        let sorted = |text: &str| {
            let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            lines.sort_by_key(|line| line["id"].to_string());
            lines
        };
        assert_eq!(sorted(&back), sorted(&exported));
        other.client().try_login("ada@example.org", tests::client::PASSWORD).await.assert_status(200);
        let bare = other.ctl().run(&["user", "export"]).await.stdout;
        assert!(bare.lines().count() == 8 && bare.lines().all(|line| line.contains("\"password_hash\":null")));
        let events = other.admin().events("user.exported").await;
        assert_eq!(events.iter().map(|event| event.detail["hashes"].clone()).collect::<Vec<_>>(), ["no", "yes"]);
        other.reader().post("/v1/user/export", "{}").await.assert_status(403);
    }
}

#[tokio::test]
async fn two_lines_about_one_account_are_found_before_anything_is_written() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let mut lines: Vec<String> =
        (0..600).map(|number| json!({ "email": format!("n{number}@example.org") }).to_string()).collect();
    lines.push(json!({ "email": "N0@example.org", "username": "other" }).to_string());
    lines.push(lines[1].clone());
    for dry in [&["--dry-run"][..], &[]] {
        let ran = import(&daemon, &lines, dry).await;
        assert_eq!((ran.code, counts(&ran)), (Some(12), (600, 1, 1)), "{dry:?}: {ran:?}");
        assert_eq!(ran.json()["data"]["lines"][0]["line"], 601);
    }
}

on_both! {
    async fn two_imports_and_a_registration_at_once_make_each_account_once(options) {
        let daemon = Daemon::start(options).await;
        let users: Vec<Record> =
            (0..50).map(|number| Record { email: format!("n{number}@example.org"), ..Default::default() }).collect();
        let request = ImportRequest { users, ..Default::default() };
        let (admin, other) = (daemon.admin(), daemon.admin());
        let create = CreateRequest { email: "n25@example.org".into(), ..Default::default() };
        let third = daemon.admin();
        let (one, two, made) =
            tokio::join!(admin.call::<Import>(&request), other.call::<Import>(&request), third.try_call::<Create>(&create));
        let created = |fates: &[shared::admin::user::transfer::Verdict]| {
            fates.iter().filter(|verdict| verdict.outcome == Fate::Created).count()
        };
        let by_hand = usize::from(made.status == 200);
        assert_eq!(created(&one.results) + created(&two.results) + by_hand, 50, "{one:?} {two:?} {made}");
        assert_eq!(daemon.admin().events("user.created").await.len(), 50);
    }
}
