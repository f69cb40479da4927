//! Making an account: its row, names, credential, first session and events, or nothing of it.

use crate::{
    domain::{
        account::{Created, NewAccount, PasswordHash},
        audit::Event,
        hash_cost::HashCost,
        identifier::IdentifierKind,
        session::NewSession,
    },
    store::{db::Tx, dialect::on_db, error::Stored, event, session_open},
};

/// How long a repeated registration is recognised, in milliseconds.
const REMEMBERED_MS: i64 = 24 * 3_600 * 1_000;

/// Makes the account. The unique index on names decides between parallel registrations; the losers write nothing.
pub(super) async fn create(
    tx: &mut Tx<'_>,
    new: &NewAccount,
    session: Option<&NewSession>,
    events: &[Event],
) -> Stored<Created> {
    let clock = tx.clock();
    let (now_ms,): (i64,) = on_db!(tx, one ["INSERT INTO account (id, created_ms) VALUES ($2, " NOW ")
        RETURNING created_ms"](clock, new.id.as_str()))?;
    let email = (new.email.canonical(), new.email.display());
    if !name(tx, new, IdentifierKind::Email, email, now_ms).await? {
        tx.undo();
        return Ok(Created::DuplicateEmail);
    }
    if let Some(username) = &new.username {
        let username = (username.canonical(), username.display());
        if !name(tx, new, IdentifierKind::Username, username, now_ms).await? {
            tx.undo();
            return Ok(Created::DuplicateUsername);
        }
    }
    credential(tx, new, now_ms).await?;
    remember(tx, new, session, now_ms).await?;
    let session = match session {
        // The account began with this transaction, so its epoch cannot have moved.
        Some(session) => Some(session_open::open_first(tx, &NewSession { account_epoch: 0, ..session.clone() }).await?),
        None => None,
    };
    event::write_all(tx, events).await?;
    Ok(Created::Created { created_ms: now_ms, session })
}

/// Takes a name; `false` when somebody has it.
async fn name(
    tx: &mut Tx<'_>,
    new: &NewAccount,
    kind: IdentifierKind,
    (canonical, display): (&str, &str),
    now_ms: i64,
) -> Stored<bool> {
    let taken = on_db!(
        tx,
        execute["INSERT INTO identifier (kind, canonical, display, account_id, created_ms, primary_ms)
        VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (tenant_id, kind, canonical) DO NOTHING"](
            kind.as_str(),
            canonical,
            display,
            new.id.as_str(),
            now_ms,
        )
    )?;
    Ok(taken == 1)
}

async fn credential(tx: &mut Tx<'_>, new: &NewAccount, now_ms: i64) -> Stored<()> {
    let Some(password) = &new.password else { return Ok(()) };
    set_password(tx, new.id.as_str(), password, now_ms).await
}

/// Sets the password of an account, whether it had one or not.
pub(super) async fn set_password(tx: &mut Tx<'_>, account: &str, hash: &PasswordHash, now_ms: i64) -> Stored<()> {
    on_db!(
        tx,
        execute["INSERT INTO credential (id, account_id, kind, data, cost, created_ms)
        VALUES ('pwd:' || $1, $1, 'password', $2, $3, $4) ON CONFLICT (id) DO UPDATE
        SET data = excluded.data, cost = excluded.cost, created_ms = excluded.created_ms"](
            account,
            hash.0.as_str(),
            HashCost::of(hash).as_str(),
            now_ms
        )
    )?;
    Ok(())
}

async fn remember(tx: &mut Tx<'_>, new: &NewAccount, session: Option<&NewSession>, now_ms: i64) -> Stored<()> {
    let Some(tag) = new.idempotency else { return Ok(()) };
    on_db!(
        tx,
        execute["INSERT INTO idempotency (scope, tag, account_id, session_id, created_ms, expires_ms)
        VALUES ('register', $1, $2, $3, $4, $5) ON CONFLICT (tenant_id, scope, tag) DO UPDATE
        SET account_id = excluded.account_id, session_id = excluded.session_id, created_ms = excluded.created_ms,
            expires_ms = excluded.expires_ms"](
            tag.as_slice(),
            new.id.as_str(),
            session.map(|session| session.id.as_str()),
            now_ms,
            now_ms.saturating_add(REMEMBERED_MS),
        )
    )?;
    Ok(())
}
