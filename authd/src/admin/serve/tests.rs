//! Real sockets, real peers (this process), a state that only listens.

use super::*;
use crate::{
    admin::{
        call::{Calls, Stream},
        lines,
        peer::{Door, OwnUid, Why},
    },
    tasks::{StopCause, Tasks},
};
use shared::admin::{Empty, Page, audit, key, session, user};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Default)]
struct Listening(Mutex<Vec<Why>>);

#[async_trait::async_trait]
impl Witness for Listening {
    async fn refused(&self, _: &Caller, why: Why) {
        self.0.lock().unwrap().push(why);
    }

    async fn admit(&self, _: &Caller) -> Result<(), i64> {
        Ok(())
    }

    fn request_id(&self) -> String {
        "req_test".to_owned()
    }
}

struct Running {
    path: std::path::PathBuf,
    witness: Arc<Listening>,
    tasks: Tasks,
    _directory: tempfile::TempDir,
}

async fn no_keys(_: Arc<Listening>, _: Caller, _: Empty) -> Result<Page<key::Key>, Denied> {
    Ok(Page::whole(vec![]))
}

async fn no_revoke(_: Arc<Listening>, _: Caller, _: session::RevokeRequest) -> Result<session::Revoked, Denied> {
    Ok(session::Revoked { matched: 0, revoked: 0 })
}

async fn show(_: Arc<Listening>, _: Caller, _: user::ShowRequest) -> Result<user::User, Denied> {
    Err(crate::auth::OperatorRefusal::NotFound.into())
}

async fn tail(_: Arc<Listening>, _: Caller, _: audit::TailRequest) -> Result<Stream, Denied> {
    let (writer, lines) = lines::channel();
    writer.write(&1).await.unwrap();
    writer.write(&2).await.unwrap();
    Ok(Stream { position: 41, lines })
}

/// A socket where this process has the given standing.
fn start(door: Door, own: OwnUid) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let witness = Arc::new(Listening::default());
    let app = Calls::new()
        .add::<key::List, _, _>(no_keys)
        .add::<session::Revoke, _, _>(no_revoke)
        .add::<user::Show, _, _>(show)
        .add_stream::<audit::Tail, _, _>(tail)
        .into_router(witness.clone());
    let own_uid = nix::unistd::geteuid().as_raw();
    let policy = Policy { door, admin_gids: vec![], read_gids: vec![], metrics_gids: vec![], own_uid, own };
    let gate = Gate { policy: Arc::new(policy), app, witness: witness.clone() };
    let tasks = Tasks::new();
    tasks.spawn("socket", serve(listener, gate, tasks.stop()));
    Running { path, witness, tasks, _directory: directory }
}

impl Running {
    /// The whole answer as text.
    async fn send(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: authd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_call_is_answered_with_json_and_a_request_id() {
    let running = start(Door::Admin, OwnUid::Administrator);
    let answer = running.post("/v1/key/list", "{}").await;
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with(r#"{"items":[],"next":null,"total":0,"total_exact":true}"#), "{answer}");
    assert!(answer.contains("x-request-id: req_test") && answer.contains("cache-control: no-store"), "{answer}");
}

#[tokio::test]
async fn refusals_are_problem_documents_with_their_status() {
    let running = start(Door::Admin, OwnUid::Administrator);
    for (path, body, wanted, word) in [
        ("/v1/user/show", r#"{"user":"ada"}"#, "404", "NOT_FOUND"),
        ("/v1/user/show", "{}", "400", "missing field `user`"),
        ("/v1/key/list", r#"{"x":1}"#, "400", "unknown field `x`"),
        ("/v1/no/such", "{}", "404", "no such call"),
        ("/v1/key/list/", "{}", "404", "no such call"),
    ] {
        let answer = running.post(path, body).await;
        assert_eq!(status(&answer), wanted, "{answer}");
        assert!(answer.contains("application/problem+json") && answer.contains(word), "{answer}");
    }
    let answer = running.send("GET /v1/key/list HTTP/1.1\r\nHost: authd\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "405", "{answer}");
}

#[tokio::test]
async fn a_change_is_refused_at_the_read_socket_and_reported() {
    let running = start(Door::Read, OwnUid::Administrator);
    assert_eq!(status(&running.post("/v1/key/list", "{}").await), "200");
    let answer = running.post("/v1/session/revoke", r#"{"id":"ses_x"}"#).await;
    assert_eq!(status(&answer), "403", "{answer}");
    assert!(answer.contains("FORBIDDEN"), "{answer}");
    assert_eq!(*running.witness.0.lock().unwrap(), [Why::ChangeAtReadSocket]);
}

#[tokio::test]
async fn what_a_browser_would_send_is_refused_before_the_call() {
    let running = start(Door::Admin, OwnUid::Administrator);
    for head in ["Host: evil.example", "Host: authd\r\nOrigin: http://authd", "Host: authd\r\nReferer: http://x/"] {
        let request = format!("POST /v1/key/list HTTP/1.1\r\n{head}\r\nContent-Length: 2\r\n\r\n{{}}");
        let answer = running.send(&request).await;
        assert_eq!(status(&answer), "403", "{head}: {answer}");
    }
}

#[tokio::test]
async fn a_stream_says_where_it_begins() {
    let running = start(Door::Admin, OwnUid::Administrator);
    let answer = running.post("/v1/audit/tail", "{}").await;
    assert!(answer.contains("x-authd-position: 41"), "{answer}");
    assert!(answer.contains("application/jsonl"), "{answer}");
}

#[tokio::test]
async fn the_socket_closes_when_the_daemon_stops() {
    let running = start(Door::Admin, OwnUid::Administrator);
    let _idle = UnixStream::connect(&running.path).await.unwrap();
    running.tasks.ask_to_stop(StopCause::Asked("test"));
    assert_eq!(running.tasks.finish(Duration::from_secs(10)).await, Vec::<&str>::new());
}
