//! The limits: the same work with nothing around it.

pub(crate) mod empty;
pub(crate) mod hash;
pub(crate) mod postgres;
pub(crate) mod signature;
pub(crate) mod sqlite;

/// What a rotation changes in a row of `session`, by the handle and the hash of the presented token.
pub(crate) const ROTATION: &str = "SET generation = generation + 1, prev_hash = cur_hash, cur_hash = $3,
    rotated_ms = $4, access_expires_ms = $4 + 600000, sealed = $5, sealed_keying = 'unkeyed', retries = 0,
    idle_expires_ms = $4 + 1209600000 WHERE handle = $1 AND cur_hash = $2
    RETURNING id, account_id, generation, expires_ms";

/// What the profile needs of an account.
pub(crate) const PROFILE: &str = "SELECT account.id, account.created_ms, account.last_login_ms,
    (SELECT identifier.display FROM identifier WHERE identifier.account_id = account.id
        AND identifier.kind = 'email' AND identifier.primary_ms IS NOT NULL) AS email
    FROM account WHERE account.id = $1 AND account.deleted_ms IS NULL";

/// What the list of sessions needs.
pub(crate) const SESSIONS: &str = "SELECT id, created_ms, rotated_ms, expires_ms, device, network, amr
    FROM session WHERE account_id = $1 AND revoked_ms IS NULL ORDER BY created_ms DESC, id DESC LIMIT 51";

/// A session as far as a bare rotation knows it.
#[derive(Debug)]
pub(crate) struct Family {
    handle: Vec<u8>,
    current: Vec<u8>,
    sealed: Vec<u8>,
    rotated_ms: i64,
}

impl Family {
    /// A family in a row of `handle, cur_hash`.
    pub(crate) fn new((handle, current): (Vec<u8>, Vec<u8>)) -> Self {
        Self { handle, current, sealed: vec![7; 160], rotated_ms: 1_800_000_000_000 }
    }

    /// The hash that follows the current one: any other.
    fn next(&mut self) -> Vec<u8> {
        self.rotated_ms += 1;
        let mut next = self.current.clone();
        for (byte, new) in next.iter_mut().zip(self.rotated_ms.to_le_bytes()) {
            *byte = new;
        }
        next
    }
}

/// Binds what [`ROTATION`] takes.
macro_rules! rotation {
    ($statement:expr, $family:expr, $next:expr) => {
        sqlx::query($statement)
            .bind($family.handle.as_slice())
            .bind($family.current.as_slice())
            .bind($next.as_slice())
            .bind($family.rotated_ms)
            .bind($family.sealed.as_slice())
    };
}
use rotation;
