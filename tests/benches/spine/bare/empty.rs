//! An empty axum handler in a process of its own, on a runtime like the daemon's.
//!
//! The process is this benchmark started again; it ends with its standard input.

use axum::{Router, routing::get, serve::ListenerExt as _};
use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Command, Stdio},
};
use tests::process::Running;
use tokio::net::TcpListener;

/// What makes the benchmark such a server.
pub(crate) const ARGUMENT: &str = "--serve-empty";

/// The server's process.
pub(crate) struct Empty {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _running: Running,
}

impl Empty {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a program knows its own path"));
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command);
        let output = running.child().stdout.take().expect("its stream is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("the server says where it listens");
        let address = line.trim().parse().expect("the server says where it listens");
        Self { address, _running: running }
    }
}

/// The server itself.
pub(crate) fn serve() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface");
        println!("{}", listener.local_addr().expect("a bound socket has an address"));
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("TCP sockets take the option"));
        let app = Router::new().route("/api/auth/verify", get(|| async {}));
        axum::serve(listener, app).await.expect("the server serves");
    });
}
