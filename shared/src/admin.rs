//! The admin API: one type per call, used by the daemon's router and by `authctl`.

use serde::{Serialize, de::DeserializeOwned};

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Readers on the read socket, and everybody below.
    Read,
    /// Administrators on the admin socket.
    Admin,
    /// Administrators, and the daemon's own uid (what `ExecReload=` runs as).
    Own,
}

/// One call of the admin API: `POST {PATH}` with a JSON body.
pub trait Call {
    /// `/v1/<noun>/<verb>`.
    const PATH: &'static str;
    /// Who may make it.
    const ACCESS: Access;
    /// The body of the request.
    type Request: Serialize + DeserializeOwned + Send;
    /// The body of the answer; streams answer one such value a line.
    type Response: Serialize + DeserializeOwned + Send;
}
