//! The clients of the daemon: what they ask, again and again.

use crate::{
    http::{self, Conn},
    load::{Caller, Outcome},
};
use serde_json::json;

/// Asks the same thing every time and expects 200.
pub(crate) struct Same {
    conn: Conn,
    request: Vec<u8>,
}

impl Same {
    /// Asks this.
    pub(crate) fn new(conn: Conn, request: Vec<u8>) -> Self {
        Self { conn, request }
    }

    /// Logs in with the right password.
    pub(crate) fn login(conn: Conn, email: &str, password: &str) -> Self {
        Self::new(conn, login(email, password))
    }
}

impl Caller for Same {
    async fn call(&mut self) -> Outcome {
        expect(200, self.conn.ask(&self.request).await.status)
    }

    fn rest(&mut self) {
        self.conn.hang_up();
    }
}

/// Presents tokens one after the other, each once.
pub(crate) struct Each {
    conn: Conn,
    requests: Vec<Vec<u8>>,
}

impl Each {
    /// Sends these, the last one first.
    pub(crate) fn new(conn: Conn, requests: Vec<Vec<u8>>) -> Self {
        Self { conn, requests }
    }
}

impl Caller for Each {
    async fn call(&mut self) -> Outcome {
        let Some(request) = self.requests.pop() else { return Outcome::Spent };
        expect(200, self.conn.ask(&request).await.status)
    }

    fn rest(&mut self) {
        self.conn.hang_up();
    }
}

/// Refreshes one session, each time with the token that the last answer brought.
pub(crate) struct Refresher {
    conn: Conn,
    token: String,
}

impl Refresher {
    /// Goes on from this token.
    pub(crate) fn new(conn: Conn, token: &str) -> Self {
        Self { conn, token: token.to_owned() }
    }
}

impl Caller for Refresher {
    async fn call(&mut self) -> Outcome {
        let request = http::post("/api/auth/refresh", &format!(r#"{{"refresh_token":"{}"}}"#, self.token));
        let reply = self.conn.ask(&request).await;
        if reply.status == 200 {
            self.token.clear();
            self.token.push_str(refresh_token(reply.body));
        }
        expect(200, reply.status)
    }

    fn rest(&mut self) {
        self.conn.hang_up();
    }
}

/// Found by its name instead of parsed: the client has to be light.
fn refresh_token(body: &[u8]) -> &str {
    const NAME: &[u8] = br#""refresh_token":""#;
    let begin = http::find(body, NAME).expect("a refresh answers with the next token") + NAME.len();
    let rest = body.get(begin..).unwrap_or_default();
    let token = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
    std::str::from_utf8(token).expect("tokens are ASCII")
}

/// Tries passwords that are wrong.
pub(crate) struct Guesser {
    conn: Conn,
    number: usize,
    known: Option<String>,
    tried: u64,
}

impl Guesser {
    /// Attacks this account.
    pub(crate) fn of_known(conn: Conn, email: &str) -> Self {
        Self { conn, number: 0, known: Some(email.to_owned()), tried: 0 }
    }

    /// Attacks accounts that do not exist, another one each time.
    pub(crate) fn of_unknown(conn: Conn, number: usize) -> Self {
        Self { conn, number, known: None, tried: 0 }
    }
}

impl Caller for Guesser {
    async fn call(&mut self) -> Outcome {
        self.tried += 1;
        let (number, tried) = (self.number, self.tried);
        let nobody = || format!("nobody-{number}-{tried}@example.org");
        let email = self.known.clone().unwrap_or_else(nobody);
        let request = login(&email, &format!("not-it-{tried}-at-all"));
        expect(401, self.conn.ask(&request).await.status)
    }

    fn rest(&mut self) {
        self.conn.hang_up();
    }
}

fn login(email: &str, password: &str) -> Vec<u8> {
    http::post("/api/auth/login", &json!({ "email": email, "password": password }).to_string())
}

fn expect(good: u16, status: u16) -> Outcome {
    if status == good { Outcome::Good } else { Outcome::Refused(status) }
}
