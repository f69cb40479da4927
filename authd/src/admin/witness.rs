//! Refused peers in the log and in the audit.

use super::{Admin, call::Caller, peer::Why};
use crate::domain::clock::random_bytes;
use shared::hex;

/// Learns who was refused.
#[async_trait::async_trait]
pub(super) trait Witness: Send + Sync {
    /// Records a refused peer.
    async fn refused(&self, caller: &Caller, why: Why);

    /// Counts a call; how many milliseconds a caller has to wait who made too many.
    async fn admit(&self, caller: &Caller) -> Result<(), i64>;

    /// An id for a request.
    fn request_id(&self) -> String;
}

#[async_trait::async_trait]
impl Witness for Admin {
    async fn refused(&self, caller: &Caller, why: Why) {
        let (uid, pid) = (caller.peer.uid, caller.peer.pid);
        let (socket, rule) = (caller.policy.door.name(), why.name());
        match self.auth.note_refused_peer(&caller.reader(), socket, rule).await {
            Ok(true) => {
                tracing::warn!(uid, pid, socket, rule, "refused a peer: uid {uid} on the {socket} socket ({rule})")
            }
            // A loop of them fills neither the log nor the audit.
            Ok(false) => {}
            Err(fault) => {
                tracing::warn!(uid, pid, socket, rule, %fault, "refused a peer, and could not record it in the audit");
            }
        }
    }

    async fn admit(&self, caller: &Caller) -> Result<(), i64> {
        self.auth.admit_operator(&caller.reader()).await
    }

    fn request_id(&self) -> String {
        format!("adm_{}", hex::encode(&random_bytes::<12>(self.auth.parts.random.as_ref())))
    }
}
