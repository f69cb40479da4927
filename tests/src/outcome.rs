//! What became of a call whose answer may never come: a client under faults cannot insist on one.

use crate::{
    admin::Admin,
    client::{Call, Tokens},
    wire::{Answer, Lost},
};
use std::time::Duration;

/// How a call ended, as its client sees it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It gave tokens.
    Granted(Box<Tokens>),
    /// It is done, without tokens.
    Done,
    /// It was refused: nothing was granted.
    Refused(Box<Answer>),
    /// Nobody listened: it cannot have happened.
    Unsent,
    /// The connection died, the answer was 503 or never came: it may have happened, once.
    Unknown(String),
}

impl Outcome {
    fn of(answer: Answer) -> Self {
        match answer.status {
            200 | 201 if gives_tokens(&answer) => Self::Granted(Box::new(Tokens::of(&answer))),
            200..=299 => Self::Done,
            408 | 503 => Self::Unknown(answer.to_string()),
            _ => Self::Refused(Box::new(answer)),
        }
    }

    fn of_exchange(exchanged: Result<Answer, Lost>) -> Self {
        exchanged.map_or_else(|Lost(why)| Self::Unknown(why), Self::of)
    }

    /// The status of a refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<u16> {
        if let Self::Refused(answer) = self { Some(answer.status) } else { None }
    }

    /// Whether it was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Whether it may have happened or not.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

fn gives_tokens(answer: &Answer) -> bool {
    serde_json::from_slice(&answer.body).is_ok_and(|body: serde_json::Value| body["refresh_token"].is_string())
}

async fn within(patience: Duration, work: impl Future<Output = Outcome>) -> Outcome {
    let late = || Outcome::Unknown(format!("no answer within {patience:?}"));
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| late())
}

impl Call {
    /// Sends it, and takes what comes within `patience`.
    pub async fn outcome(&self, patience: Duration) -> Outcome {
        within(patience, async {
            match self.connect().await {
                Ok(stream) => Outcome::of_exchange(self.send_over(stream).await),
                Err(_) => Outcome::Unsent,
            }
        })
        .await
    }
}

impl Admin {
    /// Posts a body to a path, and takes what comes within `patience`.
    pub async fn outcome(&self, path: &str, body: &str, patience: Duration) -> Outcome {
        within(patience, async {
            match self.connect().await {
                Ok(stream) => Outcome::of_exchange(Self::send_over(stream, path, body, &[]).await),
                Err(_) => Outcome::Unsent,
            }
        })
        .await
    }
}
