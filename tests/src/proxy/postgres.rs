//! A proxy between a daemon and PostgreSQL that follows messages, and loses exactly what makes a change durable or the
//! answer to it.
//!
//! Messages: <https://www.postgresql.org/docs/current/protocol-message-formats.html>. No TLS.

mod conversation;

use super::{Door, lock, reset};
use conversation::{Conversation, Frames, Heard, Told};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What is lost of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The commit itself: it does not reach the server, which then rolls back. The connection is reset.
    Request,
    /// The server's answer, behind so many of its bytes: the change is durable. The connection is reset.
    ReplyAfter(usize),
    /// The server's answer, all of it: the change is durable. The connection stays open and silent.
    Silence,
}

/// Which commit is to be lost: the next one of a change in which a statement contains `text`. That is the COMMIT of its
/// transaction, or the statement itself where it stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aim {
    text: &'static str,
    loss: Loss,
}

/// A proxy in front of one database.
#[derive(Debug)]
pub struct PostgresProxy {
    door: Door,
    url: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    aim: Mutex<Option<Aim>>,
    lost: AtomicU64,
    tangled: AtomicU64,
    answer_delay: Mutex<Duration>,
    sent: Mutex<BTreeMap<u8, u64>>,
}

impl PostgresProxy {
    /// One in front of the database of this URL.
    ///
    /// # Panics
    /// When the URL does not tell an address and a port.
    pub async fn in_front_of(url: &str) -> Self {
        let place = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).map(|(place, _)| place);
        let place = place.unwrap_or_else(|| panic!("no address in {url}"));
        let server = place.parse().unwrap_or_else(|error| panic!("{error}: {place}"));
        let shared = Arc::<Shared>::default();
        let of_connections = shared.clone();
        let door = Door::open(server, move |client, server| relay(client, server, of_connections.clone())).await;
        let url = url.replace(place, &door.address.to_string());
        Self { door, url, shared }
    }

    /// The URL of the database through this proxy.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Loses the next commit of a change in which a statement contains `text`, and only that one.
    pub fn lose(&self, text: &'static str, loss: Loss) {
        *lock(&self.shared.aim) = Some(Aim { text, loss });
    }

    /// Has the server's answers wait for so long, each time it says something.
    pub fn delay_answers(&self, by: Duration) {
        *lock(&self.shared.answer_delay) = by;
    }

    /// How many commits were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// How many transactions were begun inside another one: on a connection that somebody left in the middle of theirs.
    #[must_use]
    pub fn tangled(&self) -> u64 {
        self.shared.tangled.load(Ordering::SeqCst)
    }

    /// How many messages of a type clients have sent, such as `b'Q'` for simple queries.
    #[must_use]
    pub fn sent(&self, kind: u8) -> u64 {
        lock(&self.shared.sent).get(&kind).copied().unwrap_or_default()
    }

    /// Ends every connection and refuses new ones until [`Self::up`].
    pub fn down(&self) {
        self.door.is_open.send_replace(false);
    }

    /// Lets connections in again.
    pub fn up(&self) {
        self.door.is_open.send_replace(true);
    }
}

impl Shared {
    fn count(&self, kind: u8) {
        *lock(&self.sent).entry(kind).or_default() += 1;
    }

    /// Whether a statement belongs to the change whose commit is to be lost.
    fn is_aimed_at(&self, text: &str) -> bool {
        lock(&self.aim).is_some_and(|aim| text.contains(aim.text))
    }

    /// Takes the aim: one commit is lost, not two.
    fn take_aim(&self) -> Option<Loss> {
        lock(&self.aim).take().map(|aim| aim.loss)
    }

    fn note_tangled(&self) {
        self.tangled.fetch_add(1, Ordering::SeqCst);
    }

    fn note_lost(&self) {
        self.lost.fetch_add(1, Ordering::SeqCst);
    }
}

/// One connection.
async fn relay(mut client: TcpStream, mut server: TcpStream, shared: Arc<Shared>) {
    let (mut from_client, mut from_server) = (Frames::of_client(), Frames::of_server());
    let mut conversation = Conversation::new(shared.clone());
    loop {
        tokio::select! {
            read = client.read_buf(&mut from_client.bytes) => {
                let Ok(1..) = read else { return };
                let mut pass = Vec::new();
                while let Some(message) = from_client.next() {
                    match conversation.told(&message) {
                        Told::Pass => pass.extend_from_slice(&message.bytes),
                        Told::Drop => {}
                        Told::RefuseEncryption => {
                            let _ = client.write_all(b"N").await;
                        }
                        Told::Lose => {
                            shared.note_lost();
                            reset(server);
                            return reset(client);
                        }
                    }
                }
                if server.write_all(&pass).await.is_err() {
                    return;
                }
            }
            read = server.read_buf(&mut from_server.bytes) => {
                let Ok(1..) = read else { return };
                let delay = *lock(&shared.answer_delay);
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                let mut pass = Vec::new();
                while let Some(message) = from_server.next() {
                    match conversation.heard(message) {
                        Heard::Pass(bytes) => pass.extend_from_slice(&bytes),
                        Heard::Keep => {}
                        Heard::Fell(bytes) => {
                            pass.extend_from_slice(&bytes);
                            shared.note_lost();
                            let _ = client.write_all(&pass).await;
                            return reset(client);
                        }
                    }
                }
                if client.write_all(&pass).await.is_err() {
                    return;
                }
            }
        }
    }
}
