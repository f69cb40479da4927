//! A client that keeps its connection, as proxies and apps do, and knows when a request was not sent.

use crate::{
    client::Call,
    wire::{Answer, Lost, Outgoing, PATIENCE},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Response,
    body::{Bytes, Incoming},
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;

/// One connection at a time, opened when there is none.
#[derive(Debug, Default)]
pub struct Kept {
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Connections that were opened.
    pub opened: usize,
}

impl Kept {
    /// Sends a request: over the connection if it is still there, else over a new one. What was not written because the
    /// connection had ended is sent again; what was written is not.
    ///
    /// # Errors
    /// [`Lost`] when the request was sent and not answered, or no connection was to be had.
    pub async fn send(&mut self, call: &Call) -> Result<Answer, Lost> {
        let late = |_| Err(Lost(format!("no answer within {PATIENCE:?}")));
        tokio::time::timeout(PATIENCE, self.exchange(call)).await.unwrap_or_else(late)
    }

    async fn exchange(&mut self, call: &Call) -> Result<Answer, Lost> {
        let mut request = call.build();
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(response) => return self.read(sender, response).await,
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Lost(format!("on a kept connection: {:?}", failed.into_error()))),
                },
            }
        }
        self.send_anew(call, request).await
    }

    async fn send_anew(&mut self, call: &Call, request: Outgoing) -> Result<Answer, Lost> {
        let stream = call.connect().await.map_err(|error| Lost(format!("no connection: {error}")))?;
        let lost = |error: hyper::Error| Lost(format!("on a new connection: {error:?}"));
        let (mut sender, connection) = Builder::new().handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        self.opened += 1;
        let response = sender.send_request(request).await.map_err(lost)?;
        self.read(sender, response).await
    }

    async fn read(&mut self, sender: SendRequest<Full<Bytes>>, response: Response<Incoming>) -> Result<Answer, Lost> {
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| Lost(format!("half an answer: {error:?}")))?.to_bytes();
        self.sender = Some(sender);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}
