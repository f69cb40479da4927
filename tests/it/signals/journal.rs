//! The journal: native fields, and an id for each notable event. The journal here is a socket of the test's, seen by a
//! daemon with a view of its own on /run.

use rustix::process::getuid;
use shared::notable;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tests::{
    client::Client,
    ctl::Ctl,
    process::{Running, program},
};

const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = r#"
[server]
mode = "test"
listen = "127.0.0.1:0"

[password]
memory_kib = 64
iterations = 1

[session]
grace = "0s"

[log]
format = "journald"
"#;

/// Puts a directory of the test's in the place of the journal's, for this process alone.
const VIEW: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind \"$1\" /run/systemd/journal \
                    && shift && exec \"$@\"";

type Entry = BTreeMap<String, String>;

/// An entry of the native protocol: `NAME=value`, or a name, eight bytes of length and the value.
fn entry(mut bytes: &[u8]) -> Entry {
    let mut fields = Entry::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8(bytes[..end].to_vec()).unwrap();
        bytes = &bytes[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            fields.insert(name.to_owned(), value.to_owned());
        } else {
            let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
            fields.insert(line, String::from_utf8(bytes[8..8 + length].to_vec()).unwrap());
            bytes = &bytes[8 + length + 1..];
        }
    }
    fields
}

struct Journal(UnixDatagram);

impl Journal {
    fn in_directory(directory: &Path) -> Self {
        let socket = UnixDatagram::bind(directory.join("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next entry with this field and value.
    fn until(&self, name: &str, value: &str) -> Entry {
        let end = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 1 << 16];
        while Instant::now() < end {
            let count = self.0.recv(&mut buffer).expect("an entry in time");
            let entry = entry(&buffer[..count]);
            if entry.get(name).is_some_and(|found| found == value) {
                return entry;
            }
        }
        panic!("no entry with {name}={value}");
    }
}

/// A daemon that sees this directory as the journal's.
fn start(journal: &Path, data: &Path) -> Running {
    let config = data.join("authd.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = if getuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "unshare"]);
        sudo
    };
    command.args(["--mount", "sh", "-c", VIEW, "sh"]).arg(journal).arg(program("authd"));
    command.arg("--config").arg(config).arg("--data-dir").arg(data);
    Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notable_events_are_in_the_journal_with_their_ids_and_the_names_of_their_fields() {
    let (sockets, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::in_directory(sockets.path());
    let mut daemon = start(sockets.path(), data.path());
    let listening = journal.until("AUTHD_LISTENER", "public");
    assert_eq!((listening["SYSLOG_IDENTIFIER"].as_str(), listening["PRIORITY"].as_str()), ("authd", "6"));
    let address: SocketAddr = listening["AUTHD_ADDRESS"].parse().unwrap();

    let client = Client::new(address);
    let first = client.register("ada@example.org").await;
    client.refresh(&first).await;
    let refused = client.try_refresh(&first.refresh).await;
    refused.assert_status(401);
    let replayed = journal.until("AUTHD_EVENT", "session.replayed");
    let kind = notable::of("session.replayed", None).unwrap();
    assert_eq!(replayed["MESSAGE_ID"], kind.message_id);
    assert_eq!(replayed["MESSAGE"], kind.title);
    assert_eq!(replayed["PRIORITY"], "4");
    assert_eq!(replayed["AUTHD_SESSION_ID"], first.session);
    assert_eq!(replayed["AUTHD_REQUEST_ID"], refused.header("x-request-id").unwrap());
    assert_eq!(replayed["AUTHD_CLIENT_IP"], "127.0.0.0/24");
    assert!(replayed.keys().all(|name| !name.starts_with("AUTHD_AUTHD")), "{replayed:?}");

    let ctl = Ctl::new(data.path().join("admin.sock"));
    let ran = ctl.run(&["limit", "set", "login.ip", "7/min"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let changed = journal.until("AUTHD_EVENT", "limit.changed");
    assert_eq!(changed["AUTHD_ACTOR_UID"], getuid().as_raw().to_string());
    assert_eq!(changed["MESSAGE_ID"], notable::of("limit.changed", None).unwrap().message_id);

    tests::process::signal(daemon.pid(), rustix::process::Signal::TERM);
    let stopped = journal.until("AUTHD_EVENT", "daemon.stopped");
    assert_eq!(stopped["PRIORITY"], "6");
    daemon.wait(PATIENCE);
}
