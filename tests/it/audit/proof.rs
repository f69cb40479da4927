//! `authctl audit verify | export | checkpoint | show | stats`, with the real programs.

use shared::chain::{Anchor, export::FORMAT};
use std::path::{Path, PathBuf};
use tests::{ctl::Ran, daemon::Daemon};

/// Something to verify: a person with two sessions, one of them replayed.
async fn some_life(daemon: &Daemon) {
    let client = daemon.client();
    let tokens = client.register("ada@example.org").await;
    client.login("ada@example.org").await;
    client.refresh(&tokens).await;
    client.try_login("ada@example.org", "not-her-password").await;
}

async fn ctl(daemon: &Daemon, args: &[&str]) -> Ran {
    daemon.ctl().run(args).await
}

/// Exports everything into a file beside the data.
async fn export(daemon: &Daemon) -> PathBuf {
    let ran = ctl(daemon, &["audit", "export"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let path = daemon.data_dir().join("export.jsonl");
    std::fs::write(&path, ran.stdout).unwrap();
    path
}

/// What a check of this file finds, and how it ends.
async fn check_file(daemon: &Daemon, file: &Path, anchor: &Path) -> (Option<i32>, serde_json::Value) {
    let (file, anchor) = (file.to_string_lossy(), anchor.to_string_lossy());
    // No daemon is asked: the socket does not exist.
    let away = tests::ctl::Ctl::new(daemon.data_dir().join("nowhere.sock"));
    let ran = away.run(&["audit", "verify", "--file", &file, "--anchor", &anchor, "-o", "json"]).await;
    (ran.code, ran.json()["data"].clone())
}

on_both! {
    async fn an_untouched_log_verifies_with_a_daemon_and_without_one(options) {
        let daemon = Daemon::start(options).await;
        some_life(&daemon).await;
        let made = ctl(&daemon, &["-q", "audit", "checkpoint", "--reason", "the auditor asked"]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        let own: Anchor = std::fs::read_to_string(daemon.data_dir().join("audit.anchor")).unwrap().parse().unwrap();
        let printed: Anchor = made.stdout.parse().unwrap();
        assert_eq!((&own.checkpoint, &own.keys), (&printed.checkpoint, &printed.keys), "the anchor file has it at once");
        let anchor = daemon.data_dir().join("kept.anchor");
        std::fs::write(&anchor, &made.stdout).unwrap();
        let kept = anchor.to_string_lossy().into_owned();
        let verified = ctl(&daemon, &["audit", "verify", "--anchor", &kept, "-o", "json"]).await;
        let report = &verified.json()["data"];
        assert_eq!((verified.code, &report["found"]), (Some(0), &0.into()), "{verified:?}");
        assert!(report["events"].as_u64().unwrap() > 5 && report["checkpoints"].as_u64() >= Some(1), "{report}");
        assert!(report["macs_checked"] == true && report["anchored_seq"].is_u64(), "{report}");
        let file = export(&daemon).await;
        let (code, report) = check_file(&daemon, &file, &anchor).await;
        assert_eq!((code, &report["found"], &report["macs_checked"]), (Some(0), &0.into(), &false.into()), "{report}");
        let cef = ctl(&daemon, &["audit", "export", "--format", "cef"]).await.stdout;
        assert!(cef.lines().all(|line| line.starts_with("CEF:0|authd|authd|")) && cef.contains("|login.denied|"), "{cef}");
        let by_place = ctl(&daemon, &["audit", "show", "1", "-o", "json"]).await.json();
        let shown = ctl(&daemon, &["audit", "show", by_place["data"]["id"].as_str().unwrap(), "-o", "json"]).await.json();
        assert_eq!(shown["data"]["hash"].as_str().map(str::len), Some(64));
        assert_eq!(by_place["data"], shown["data"]);
        let stats = ctl(&daemon, &["audit", "stats", "-o", "json"]).await.json();
        assert_eq!((stats["data"]["checkpoint"].is_u64(), stats["data"]["purged"].as_u64()), (true, Some(0)));
        let signed = ctl(&daemon, &["audit", "list", "--action", "audit.checkpointed", "-o", "json"]).await.json();
        assert_eq!(signed["data"][0]["reason"], "the auditor asked");
        assert!(signed["data"][0]["detail"]["groups"].is_string(), "{signed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_export_does_not_verify() {
    let daemon = Daemon::start(tests::options::Options::sqlite()).await;
    some_life(&daemon).await;
    let anchor = daemon.data_dir().join("kept.anchor");
    std::fs::write(&anchor, ctl(&daemon, &["-q", "audit", "checkpoint"]).await.stdout).unwrap();
    let file = export(&daemon).await;
    let lines: Vec<String> = std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    let event = lines.iter().position(|line| line.contains("\"record\":\"event\"")).unwrap() + 1;
    let changed = [
        ("an event is changed", {
            let mut lines = lines.clone();
            lines[event] = lines[event].replace("\"tenant\":\"default\"", "\"tenant\":\"other\"");
            lines
        }),
        ("an event is gone", [&lines[..event], &lines[event + 1..]].concat()),
        ("the end is gone", lines[..lines.len() - 1].to_vec()),
        ("half of it is gone", [&lines[..event + 1], &lines[lines.len() - 1..]].concat()),
        ("two events are swapped", {
            let mut lines = lines.clone();
            lines.swap(event, event + 1);
            lines
        }),
        ("what is read is not what was hashed", {
            let mut lines = lines.clone();
            lines[event] = lines[event].replacen("\"at\":\"2", "\"at\":\"1", 1);
            assert!(lines[event].contains("\"at\":\"1"), "{}", lines[event]);
            lines
        }),
        ("it claims to begin where the anchor has not been", {
            let begin = "\"after_seq\":100000,\"after_hash\":\"00\"";
            let header = format!("{{\"record\":\"header\",\"format\":\"{FORMAT}\",\"at\":\"\",{begin}}}");
            vec![header, "{\"record\":\"end\",\"events\":0,\"seq\":100000,\"hash\":\"00\"}".to_owned()]
        }),
        ("a line does not read", [&lines[..], &["{".to_owned()]].concat()),
    ];
    for (what, lines) in changed {
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        let (code, report) = check_file(&daemon, &file, &anchor).await;
        assert!(code == Some(14) && report["found"].as_u64() > Some(0), "{what}: {report}");
    }
    let nonsense = daemon.data_dir().join("export.jsonl");
    let ran = ctl(&daemon, &["audit", "verify", "--anchor", &nonsense.to_string_lossy()]).await;
    assert_eq!(ran.code, Some(2), "an export is no anchor: {ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_may_verify_and_not_export() {
    let daemon = Daemon::start(tests::options::Options::sqlite()).await;
    let refused = daemon.reader().post("/v1/audit/export", "{}").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(daemon.reader().post("/v1/audit/stats", "{}").await.status, 200);
}
