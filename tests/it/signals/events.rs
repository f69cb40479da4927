//! `authctl events`: what is worth a notification, and nothing else; also over a restart and an outage.

use shared::notable::{NOTABLE, catalog};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tests::{
    client::Tokens,
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    process::program,
    wait::until,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

const PATIENCE: Duration = Duration::from_secs(60);
const NO_GRACE: &str = "[session]\ngrace = \"0s\"\n";

/// `authctl events -f`, line by line.
struct Follower {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Follower {
    fn start(socket: &Path) -> Self {
        let mut command = Command::new(program("authctl"));
        command.arg("--socket").arg(socket).args(["events", "-f", "-o", "jsonl"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("authctl can be started");
        let lines = BufReader::new(child.stdout.take().expect("its stream is piped")).lines();
        Self { lines, _child: child }
    }

    /// The next event but those of keys, which a new installation makes at its own pace.
    async fn next(&mut self) -> serde_json::Value {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("an event in time");
            let event: serde_json::Value = serde_json::from_str(&line.unwrap().expect("the stream goes on")).unwrap();
            if event["action"].as_str().is_some_and(|action| !action.starts_with("key.")) {
                return event;
            }
        }
    }

    /// Actions up to and with this one.
    async fn actions_up_to(&mut self, last: &str) -> Vec<String> {
        let mut actions = Vec::new();
        while actions.last().is_none_or(|action| action != last) {
            actions.push(self.next().await["action"].as_str().unwrap().to_owned());
        }
        actions
    }
}

/// Presents a spent token; the session it ends.
async fn replay(daemon: &Daemon, email: &str) -> String {
    let client = daemon.client();
    let first: Tokens = client.register(email).await;
    client.refresh(&first).await;
    client.try_refresh(&first.refresh).await.assert_status(401);
    first.session
}

on_both! {
    async fn events_are_followed_over_a_restart_and_leave_out_what_is_routine(options) {
        let mut daemon = Daemon::start(options.config(NO_GRACE)).await;
        let mut follower = Follower::start(&daemon.admin_socket());
        assert_eq!(follower.next().await["action"], "daemon.started");
        let session = replay(&daemon, "ada@example.org").await;
        let event = follower.next().await;
        assert_eq!((event["action"].as_str(), event["target"]["id"].as_str()), (Some("session.replayed"), Some(&*session)));
        daemon.restart().await;
        assert_eq!(follower.actions_up_to("daemon.started").await, ["daemon.stopped", "daemon.started"]);
        replay(&daemon, "bob@example.org").await;
        assert_eq!(follower.actions_up_to("session.replayed").await, ["session.replayed"]);
        let shown = daemon.ctl().run(&["events", "-o", "json", "--limit", "3"]).await.json();
        assert_eq!(shown["schema"], "authctl.events/1");
        let actions: Vec<&str> = shown["data"].as_array().unwrap().iter().filter_map(|event| event["action"].as_str()).collect();
        assert_eq!(actions, ["daemon.stopped", "daemon.started", "session.replayed"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_an_event_once_it_is_back() {
    let mut server = Postgres::start_own().await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url))).await;
    let mut follower = Follower::start(&daemon.admin_socket());
    assert_eq!(follower.next().await["action"], "daemon.started");
    server.kill();
    until(PATIENCE, "the loss is logged", || async {
        let log = daemon.log().text();
        log.contains("\"event\":\"storage.lost\"").then_some(())
    })
    .await;
    server.start_again();
    let seen = follower.actions_up_to("storage.returned").await;
    let seen = if seen.contains(&"storage.lost".to_owned()) {
        seen
    } else {
        // Spooled events are sealed when they are merged.
        [seen, follower.actions_up_to("storage.lost").await].concat()
    };
    assert_eq!(seen.iter().filter(|action| action.starts_with("storage.")).count(), 2, "{seen:?}");
    let logged = daemon.log().lines().iter().filter(|line| line.contains("\"event\":\"storage.")).count();
    assert_eq!(logged, 2, "each is told once");
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../systemd/authd.catalog")
}

#[test]
fn the_catalog_is_what_the_list_of_events_says_and_the_journal_takes_it() {
    if std::env::var_os("AUTHD_BLESS").is_some() {
        std::fs::write(file(), catalog()).unwrap();
    }
    let found = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(found == catalog(), "run `AUTHD_BLESS=1 tests/run catalog` and look at the difference");
    let root = tempfile::tempdir().unwrap();
    for directory in ["usr/lib/systemd/catalog", "var/lib/systemd/catalog"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    std::fs::copy(file(), root.path().join("usr/lib/systemd/catalog/authd.catalog")).unwrap();
    let journalctl = |arg: &str| {
        let run =
            std::process::Command::new("journalctl").arg(format!("--root={}", root.path().display())).arg(arg).output();
        let run = run.expect("journalctl is installed with systemd");
        assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
        String::from_utf8_lossy(&run.stdout).into_owned()
    };
    journalctl("--update-catalog");
    let listed = journalctl("--list-catalog");
    for kind in NOTABLE {
        let line = format!("{} authd: {}", kind.message_id, kind.title);
        assert!(listed.lines().any(|found| found == line), "{line}\n{listed}");
    }
}
