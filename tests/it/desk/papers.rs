//! What `authctl` writes without changing anything: differences of the configuration, its schema, the manual, any call.

use serde_json::{Value, json};
use tests::{daemon::Daemon, options::Options};

#[tokio::test]
async fn differences_between_the_files_and_what_is_in_force_say_what_puts_them_into_force() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let none = daemon.ctl().run(&["config", "diff", "-o", "json"]).await;
    assert_eq!((none.code, &none.json()["data"]), (Some(0), &json!([])), "{none:?}");
    let file = daemon.data_dir().join("etc/conf.d/900.toml");
    std::fs::write(&file, "[session]\nidle = \"3d\"\n[server]\nkeepalive_timeout = \"33s\"\n").expect("a file");
    let diff = daemon.ctl().run(&["config", "diff", "-o", "json"]).await.json();
    let found: Vec<(&str, &str, &str)> = diff["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["key"].as_str().unwrap(), one["files"].as_str().unwrap(), one["takes"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [("session.idle", "3d", "reload"), ("server.keepalive_timeout", "33s", "restart")]);
    assert_eq!(daemon.ctl().run(&["reload", "--wait"]).await.code, Some(0));
    let left = daemon.ctl().run(&["config", "diff", "-o", "ids"]).await;
    assert_eq!(left.stdout, "server.keepalive_timeout\n", "{left:?}");
    let origin = daemon.ctl().run(&["config", "show", "--origin", "-o", "wide"]).await.stdout;
    let idle = origin.lines().find(|line| line.starts_with("session.idle ")).unwrap_or_default();
    assert!(idle.contains("3d") && idle.contains("900.toml:2"), "{idle}");
    std::fs::write(&file, "[session]\nidel = \"3d\"\n").expect("a file");
    let wrong = daemon.ctl().run(&["config", "diff"]).await;
    assert_eq!(wrong.code, Some(78), "{wrong:?}");
    assert!(wrong.stderr.contains("900.toml:2") && wrong.stderr.contains("idel"), "{wrong:?}");
}

#[tokio::test]
async fn the_schema_of_the_configuration_is_the_daemons_own() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let printed: Value = serde_json::from_str(&daemon.ctl().run(&["config", "schema"]).await.stdout).expect("JSON");
    assert_eq!(printed, authd::config::schema());
    let called: Value = serde_json::from_str(&daemon.ctl().run(&["api", "config/schema"]).await.stdout).expect("JSON");
    assert_eq!(called, printed);
}

#[tokio::test]
async fn the_manual_is_written_where_it_is_wanted() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("man1");
    let ctl = tests::ctl::Ctl::new(directory.path().join("nobody.sock"));
    let ran = ctl.run(&["man", place.to_str().expect("a path"), "-o", "ids"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in ran.stdout.lines() {
        assert!(std::fs::read_to_string(line).is_ok_and(|page| page.contains(".SH NAME")), "{line}");
    }
    assert!(place.join("authctl-session.1").is_file() && place.join("authctl.1").is_file());
    assert!(ctl.run(&["man"]).await.stdout.contains(".TH AUTHCTL 1"));
    let impossible = ctl.run(&["man", "/proc/nowhere"]).await;
    assert_eq!(impossible.code, Some(1), "{impossible:?}");
    assert!(impossible.stderr.contains("/proc/nowhere"), "{impossible:?}");
}
