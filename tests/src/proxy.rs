//! Proxies on the loopback interface that delay, cut and swallow what passes, as a test tells them while they run.

pub mod postgres;

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// What a [`Proxy`] does to everything that passes from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// How long a part of a request waits.
    pub request_delay: Duration,
    /// How long a part of a reply waits.
    pub reply_delay: Duration,
    /// What becomes of replies.
    pub reply: Reply,
}

/// What becomes of the replies on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reply {
    /// They pass.
    #[default]
    Pass,
    /// So many bytes of them pass; instead of the next one the client gets a reset. With 0 it gets nothing at all, yet
    /// not before the server has begun to answer.
    CutAfter(usize),
    /// Nothing passes, and the connection stays open.
    Swallow,
}

/// A proxy that knows of connections and bytes only.
#[derive(Debug)]
pub struct Proxy {
    door: Door,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    heard: Mutex<Vec<u8>>,
}

impl Proxy {
    /// One in front of `server`.
    pub async fn in_front_of(server: SocketAddr) -> Self {
        let shared = Arc::<Shared>::default();
        let of_connections = shared.clone();
        let door = Door::open(server, move |client, server| relay(client, server, of_connections.clone())).await;
        Self { door, shared }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// Changes what happens to what passes.
    pub fn set(&self, plan: Plan) {
        *lock(&self.shared.plan) = plan;
    }

    /// Changes what becomes of replies.
    pub fn set_reply(&self, reply: Reply) {
        lock(&self.shared.plan).reply = reply;
    }

    /// What the server has said on the connection on which it spoke last, whether it passed or not.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        lock(&self.shared.heard).clone()
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

/// A listening socket; its connections end with it.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    accepting: AbortHandle,
}

impl Door {
    /// Lets clients in, and has `relay` serve each of them with a connection to `server`.
    async fn open<W>(server: SocketAddr, relay: impl Fn(TcpStream, TcpStream) -> W + Send + 'static) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (is_open, watched) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let mut watched = watched.clone();
                let is_open = *watched.borrow();
                let Some(server) = connect(server, is_open).await else {
                    reset(client);
                    continue;
                };
                // Small messages must not wait for the acknowledgement of those before.
                let _ = client.set_nodelay(true);
                let work = relay(client, server);
                connections.spawn(async move {
                    tokio::select! {
                        () = work => {}
                        _ = watched.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { address, is_open, accepting: accepting.abort_handle() }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(server: SocketAddr, is_open: bool) -> Option<TcpStream> {
    if !is_open {
        return None;
    }
    let server = TcpStream::connect(server).await.ok()?;
    let _ = server.set_nodelay(true);
    Some(server)
}

/// Closes with RST instead of FIN.
fn reset(stream: TcpStream) {
    // Fails only where the other side has closed already.
    let _ = stream.set_zero_linger();
}

/// One connection of a [`Proxy`].
async fn relay(mut client: TcpStream, mut server: TcpStream, shared: Arc<Shared>) {
    let (mut request, mut reply) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut heard = Vec::new();
    let mut client_speaks = true;
    loop {
        tokio::select! {
            read = client.read(&mut request), if client_speaks => match read {
                Ok(0) => {
                    client_speaks = false;
                    let _ = server.shutdown().await;
                }
                Ok(count) => {
                    tokio::time::sleep(shared.plan().request_delay).await;
                    if server.write_all(&request[..count]).await.is_err() {
                        return;
                    }
                }
                Err(_) => return reset(server),
            },
            read = server.read(&mut reply) => {
                let (Ok(count @ 1..), plan) = (read, shared.plan()) else { return };
                tokio::time::sleep(plan.reply_delay).await;
                let passed = heard.len();
                heard.extend_from_slice(&reply[..count]);
                shared.note(&heard);
                match plan.reply {
                    Reply::CutAfter(limit) if heard.len() > limit => {
                        let _ = client.write_all(&heard[passed.min(limit)..limit]).await;
                        reset(client);
                        return hear_out(server, heard, &shared).await;
                    }
                    Reply::Swallow => {}
                    Reply::Pass | Reply::CutAfter(_) => {
                        if client.write_all(&reply[..count]).await.is_err() {
                            return reset(server);
                        }
                    }
                }
            }
        }
    }
}

/// Listens to the rest of what nobody will get.
async fn hear_out(mut server: TcpStream, mut heard: Vec<u8>, shared: &Shared) {
    let _ = server.shutdown().await;
    let mut reply = vec![0; CHUNK];
    while let Ok(count @ 1..) = server.read(&mut reply).await {
        heard.extend_from_slice(&reply[..count]);
        shared.note(&heard);
    }
}

impl Shared {
    fn plan(&self) -> Plan {
        *lock(&self.plan)
    }

    fn note(&self, heard: &[u8]) {
        heard.clone_into(&mut lock(&self.heard));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
