//! One connection's messages: where each ends, which transaction it is in, and which answer belongs to which request.

use super::{Loss, Shared};
use std::{collections::HashMap, sync::Arc};

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;

/// A whole message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its type; 0 for those that open a connection, which have none.
    kind: u8,
    /// All of it, type and length included.
    pub(super) bytes: Vec<u8>,
}

impl Message {
    fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }
}

/// Bytes on their way to become messages.
#[derive(Debug)]
pub(super) struct Frames {
    /// What has been read and is not taken yet.
    pub(super) bytes: Vec<u8>,
    /// Whether the next message has a type.
    typed: bool,
}

impl Frames {
    pub(super) fn of_client() -> Self {
        Self { bytes: Vec::new(), typed: false }
    }

    pub(super) fn of_server() -> Self {
        Self { bytes: Vec::new(), typed: true }
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Option<Message> {
        let at = usize::from(self.typed);
        let length = usize::try_from(number(&self.bytes, at)?).ok()?;
        if self.bytes.len() < at + length {
            return None;
        }
        let rest = self.bytes.split_off(at + length);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let kind = if self.typed { bytes[0] } else { 0 };
        let asks_for_encryption = matches!(number(&bytes, 4), Some(SSL_REQUEST | GSS_REQUEST));
        self.typed = self.typed || !asks_for_encryption;
        Some(Message { kind, bytes })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Two texts that end with zero, at the beginning of a body.
fn two_texts(body: &[u8]) -> (String, String) {
    let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    (texts.next().unwrap_or_default(), texts.next().unwrap_or_default())
}

/// What to do with a message of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Hand it on.
    Pass,
    /// Forget it: nobody answers on this connection any more.
    Drop,
    /// Tell the client that there is no encryption.
    RefuseEncryption,
    /// This is the commit that is lost.
    Lose,
}

/// What to do with a message of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Hand this on.
    Pass(Vec<u8>),
    /// Keep it back.
    Keep,
    /// The answer is complete and lost: this part of it is handed on, and the connection ends.
    Fell(Vec<u8>),
}

/// An answer that is lost.
#[derive(Debug)]
struct Doomed {
    /// The how-many-th answer of the connection it is.
    number: u64,
    loss: Loss,
    bytes: Vec<u8>,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Conversation {
    shared: Arc<Shared>,
    /// Texts of prepared statements by their names.
    texts: HashMap<String, String>,
    in_transaction: bool,
    /// Whether the change under way is the one aimed at.
    is_aimed_at: bool,
    /// Requests that are answered with `ReadyForQuery`: each simple query and each `Sync`.
    asked: u64,
    answered: u64,
    doomed: Option<Doomed>,
    silent: bool,
}

impl Conversation {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            texts: HashMap::new(),
            in_transaction: false,
            is_aimed_at: false,
            asked: 0,
            answered: 0,
            doomed: None,
            silent: false,
        }
    }

    /// A message of the client.
    pub(super) fn told(&mut self, message: &Message) -> Told {
        if self.silent {
            return Told::Drop;
        }
        if message.kind == 0 {
            return match number(&message.bytes, 4) {
                Some(SSL_REQUEST | GSS_REQUEST) => Told::RefuseEncryption,
                _ => Told::Pass,
            };
        }
        self.shared.count(message.kind);
        let told = match message.kind {
            b'Q' => self.statement(&two_texts(message.body()).0),
            b'P' => {
                let (name, text) = two_texts(message.body());
                self.texts.insert(name, text);
                Told::Pass
            }
            b'B' => {
                let (_portal, name) = two_texts(message.body());
                let text = self.texts.get(&name).cloned().unwrap_or_default();
                self.statement(&text)
            }
            _ => Told::Pass,
        };
        if matches!(message.kind, b'Q' | b'S') {
            self.asked += 1;
        }
        told
    }

    /// A statement is about to run, as a simple query or bound.
    fn statement(&mut self, text: &str) -> Told {
        let upper = text.trim_start().to_ascii_uppercase();
        let begins = upper.starts_with("BEGIN") || upper.starts_with("START TRANSACTION");
        let commits = upper.starts_with("COMMIT") || (begins && upper.contains("COMMIT"));
        let ends = commits || (upper.starts_with("ROLLBACK") && !upper.contains(" TO "));
        if begins && self.in_transaction {
            self.shared.note_tangled();
        }
        self.is_aimed_at |= self.shared.is_aimed_at(text);
        let makes_durable = commits || !(self.in_transaction || begins);
        self.in_transaction = (self.in_transaction || begins) && !ends;
        let is_it = self.is_aimed_at && makes_durable;
        if ends || makes_durable {
            self.is_aimed_at = false;
        }
        match is_it.then(|| self.shared.take_aim()).flatten() {
            None => Told::Pass,
            Some(Loss::Request) => Told::Lose,
            Some(loss) => {
                // The statement's own answer ends with the next request that asks for one.
                self.doomed = Some(Doomed { number: self.asked + 1, loss, bytes: Vec::new() });
                Told::Pass
            }
        }
    }

    /// A message of the server.
    pub(super) fn heard(&mut self, message: Message) -> Heard {
        if self.silent {
            return Heard::Keep;
        }
        let belongs_to = self.answered + 1;
        let is_last = message.kind == b'Z';
        // What is sent while the connection opens ends with one `ReadyForQuery` that nobody asked for.
        if is_last && self.asked > 0 {
            self.answered += 1;
        }
        let Some(doomed) = self.doomed.as_mut().filter(|doomed| doomed.number == belongs_to) else {
            return Heard::Pass(message.bytes);
        };
        doomed.bytes.extend_from_slice(&message.bytes);
        match doomed.loss {
            _ if !is_last => Heard::Keep,
            Loss::ReplyAfter(count) => Heard::Fell(doomed.bytes[..count.min(doomed.bytes.len() - 1)].to_vec()),
            Loss::Silence | Loss::Request => {
                self.silent = true;
                self.shared.note_lost();
                Heard::Keep
            }
        }
    }
}
