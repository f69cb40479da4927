//! The routine refresh (R1) as one statement: for one call on SQLite, for all calls that wait on PostgreSQL.
//!
//! It serves a current token of a live session whose quota is not spent, when the call comes from where the last one
//! came from. Every other call changes nothing here and is decided under the row's lock by
//! [`crate::store::session_rotate`].

use crate::{
    domain::{
        audit::{Action, Actor, Event},
        quota::Quota,
        rotation::{Keying, Sealed, Shadow, Successor},
        session::{Recording, Rotate},
    },
    store::{
        db::{Conn, Tx},
        dialect::{on_db, word},
        error::Stored,
        event,
        row::{FamilyRow, keying_text},
    },
};
use sqlx::{PgConnection, Postgres};
use std::sync::Arc;

/// Numbers up to this cannot overflow in SQL when they are added to a time in microseconds; larger ones take the
/// way through [`crate::domain::rotation::decide`], whose arithmetic saturates.
const SAFE: i64 = 1 << 60;

/// A call and how long its caller waits.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) call: Arc<Rotate>,
    /// The instant of the monotonic clock, in milliseconds, at which the caller is refused: nothing may happen after
    /// it.
    pub(super) until: i64,
}

/// Rotates what it can: an answer for each call in its order, `None` where the call is not routine.
pub(super) async fn rotate(tx: &mut Tx<'_>, calls: &[Asked]) -> Stored<Vec<Option<FamilyRow>>> {
    let routine: Vec<Routine<'_>> = calls.iter().enumerate().filter_map(|(n, asked)| Routine::of(n, asked)).collect();
    let mut rows: Vec<Option<FamilyRow>> = calls.iter().map(|_| None).collect();
    for NumberedRow { n, row } in numbered(tx, &routine).await? {
        if let Some(place) = usize::try_from(n).ok().and_then(|n| rows.get_mut(n)) {
            *place = Some(row);
        }
    }
    Ok(rows)
}

async fn numbered(tx: &mut Tx<'_>, routine: &[Routine<'_>]) -> Stored<Vec<NumberedRow>> {
    if let Conn::Sqlite(_) = tx.conn {
        let mut rows = Vec::with_capacity(routine.len());
        for call in routine {
            rows.extend(one(tx, call).await?);
        }
        return Ok(rows);
    }
    let recorded = routine.iter().filter(|routine| routine.call.recording == Recording::All);
    let (numbers, events): (Vec<i64>, Vec<Event>) =
        recorded.map(|routine| (routine.n, by_holder(routine.call, "", ""))).unzip();
    let noted = Noted { n: numbers, columns: event::Arrays::of(tx.context.notary()?, &events)? };
    let context = tx.context;
    let until_ms = routine.iter().map(|routine| context.database_time_at(routine.until)).collect();
    let (clock, Some(until_ms)) = (tx.clock(), until_ms) else { return Ok(Vec::new()) };
    let Conn::Postgres(conn) = &mut tx.conn else { return Ok(Vec::new()) };
    let result = together(conn, Times { clock, until_ms }, routine, noted).await;
    let rows = tx.noted(result)?;
    if let Some(done) = rows.last() {
        tx.context.note_database_time(done.row.session.now_ms);
    }
    Ok(rows)
}

/// The event of a recorded rotation. Where actor and target are known only in SQL they are left empty here.
fn by_holder(call: &Rotate, account: &str, session: &str) -> Event {
    let event = call.event.clone().about("session", session).by(Actor::User(account.to_owned()));
    event.doing(Action::SessionRefreshed)
}

/// What the statement must know of time.
struct Times {
    /// The argument of `NOW`.
    clock: i64,
    /// For each call the database time after which it must not do anything.
    until_ms: Vec<i64>,
}

/// The events of recorded calls.
struct Noted<'e> {
    n: Vec<i64>,
    columns: event::Arrays<'e>,
}

/// The successor with its seal, if a lost reply may be asked for again.
pub(super) fn stored_successor(call: &Rotate) -> Successor {
    Successor { hash: call.successor.hash, sealed: kept_seal(call).cloned() }
}

fn kept_seal(call: &Rotate) -> Option<&Sealed> {
    call.successor.sealed.as_ref().filter(|sealed| call.policy.grace_of(sealed.keying) > 0)
}

/// Seal and keying as columns.
pub(super) fn sealed_columns(sealed: Option<&Sealed>) -> (Option<&[u8]>, Option<&'static str>) {
    sealed.map(|sealed| (sealed.bytes.as_slice(), keying_text(sealed.keying))).unzip()
}

/// The call's coarse network.
pub(super) fn network(call: &Rotate) -> Option<&str> {
    call.origin.network.as_ref().map(|network| network.as_str())
}

/// The call's device summary.
pub(super) fn device(call: &Rotate) -> Option<&str> {
    call.origin.device.as_ref().map(|device| device.as_str())
}

/// Remembers that this token was spent with this key (R2k).
pub(super) async fn remember_key(tx: &mut Tx<'_>, call: &Rotate, account: &str, now_ms: i64) -> Stored<()> {
    let Some(tag) = kept_tag(call) else { return Ok(()) };
    on_db!(
        tx,
        execute["INSERT INTO idempotency (scope, tag, account_id, created_ms, expires_ms)
        VALUES ('refresh', $1, $2, $3, $4)
        ON CONFLICT (tenant_id, scope, tag) DO UPDATE SET created_ms = excluded.created_ms,
            expires_ms = excluded.expires_ms"](tag, account, now_ms, now_ms.saturating_add(keyed_ms(call)))
    )?;
    Ok(())
}

fn kept_tag(call: &Rotate) -> Option<&[u8]> {
    call.keyed_tag.as_ref().map(<[u8; 32]>::as_slice).filter(|_| keyed_ms(call) > 0)
}

fn keyed_ms(call: &Rotate) -> i64 {
    call.policy.grace_of(Keying::Keyed)
}

/// A call in the terms of the statement.
struct Routine<'c> {
    n: i64,
    call: &'c Rotate,
    until: i64,
    sealed: Option<&'c [u8]>,
    keying: Option<&'static str>,
    emission_us: i64,
    tolerance_us: i64,
    /// 0: there is no quota, 1: it only counts, 2: it is enforced.
    mode: i64,
}

impl<'c> Routine<'c> {
    fn of(n: usize, asked: &'c Asked) -> Option<Self> {
        let call = asked.call.as_ref();
        let (emission_us, tolerance_us, mode) = quota_numbers(call.policy.quota, call.policy.shadow);
        let numbers = [emission_us, tolerance_us, call.policy.idle_ms, call.policy.access_ttl_ms, keyed_ms(call)];
        if numbers.iter().any(|number| *number > SAFE) {
            return None;
        }
        let (sealed, keying) = sealed_columns(kept_seal(call));
        Some(Self {
            n: i64::try_from(n).ok()?,
            call,
            until: asked.until,
            sealed,
            keying,
            emission_us,
            tolerance_us,
            mode,
        })
    }
}

fn quota_numbers(quota: Option<Quota>, shadow: Shadow) -> (i64, i64, i64) {
    match (quota, shadow) {
        (None, _) => (0, 0, 0),
        (Some(quota), Shadow::Counted) => (quota.emission_us, quota.tolerance_us(), 1),
        (Some(quota), Shadow::Enforced) => (quota.emission_us, quota.tolerance_us(), 2),
    }
}

/// A family after its rotation, and which call it answers.
#[derive(sqlx::FromRow)]
struct NumberedRow {
    n: i64,
    #[sqlx(flatten)]
    row: FamilyRow,
}

/// [`Quota::ask`] written out: the new theoretical arrival time. The smaller and the greater of two numbers are called
/// differently by the databases.
macro_rules! arrival {
    ($least:literal, $greatest:literal) => {
        concat!(
            $greatest,
            "(CASE WHEN session.rate_tat_us - call.now_ms * 1000 - call.tolerance_us > 60000000 THEN 0 ELSE ",
            $least,
            "(session.rate_tat_us, call.now_ms * 1000 + call.tolerance_us) END,
                call.now_ms * 1000) + call.emission_us"
        )
    };
}

/// What R1 sets; `call` is the call with the time that was read after the row was locked.
macro_rules! rotated {
    ($least:literal, $greatest:literal) => {
        concat!(
            "generation = session.generation + 1, prev_hash = session.cur_hash, cur_hash = call.successor,
            rotated_ms = call.now_ms, retries = 0, sealed = call.sealed, sealed_keying = call.keying,
            access_expires_ms = ",
            $least,
            "(call.now_ms + call.access_ttl_ms, session.expires_ms),
            idle_expires_ms = ",
            $least,
            "(call.now_ms + call.idle_ms, session.expires_ms),
            rate_tat_us = CASE WHEN call.mode > 0
                AND ",
            arrival!($least, $greatest),
            " <= call.now_ms * 1000 + call.tolerance_us
                THEN ",
            arrival!($least, $greatest),
            " ELSE session.rate_tat_us END"
        )
    };
}

/// The conditions of R1, and that the call comes from where the last one came from.
macro_rules! routine {
    ($least:literal, $greatest:literal) => {
        concat!(
            "session.id = call.id AND session.cur_hash = call.presented AND session.revoked_ms IS NULL
            AND call.now_ms < session.idle_expires_ms AND call.now_ms < session.expires_ms
            AND session.epoch >= ", word!(sqlite EPOCH), "
            AND session.transport = call.transport AND session.network IS NOT DISTINCT FROM call.network
            AND session.device IS NOT DISTINCT FROM call.device
            AND (call.mode < 2 OR ", arrival!($least, $greatest), " <= call.now_ms * 1000 + call.tolerance_us)"
        )
    };
}

/// On SQLite the writer groups the calls; each is its own statement, and two more where a key or an event is kept.
async fn one(tx: &mut Tx<'_>, routine: &Routine<'_>) -> Stored<Option<NumberedRow>> {
    const TEXT: &str = concat!(
        "UPDATE session SET ",
        rotated!("min", "max"),
        "
        FROM (SELECT session.id, $1 AS now_ms, $3 AS presented, $4 AS successor, $5 AS sealed, $6 AS keying,
            $7 AS transport, $8 AS network, $9 AS device, $10 AS access_ttl_ms, $11 AS idle_ms, $12 AS mode,
            $13 AS emission_us, $14 AS tolerance_us FROM session WHERE session.handle = $2) AS call
        WHERE ",
        routine!("min", "max"),
        "
        RETURNING ",
        word!(sqlite SESSION),
        ", ",
        word!(sqlite OWNER),
        ", session.rotated_ms AS now_ms, $15 AS n"
    );
    let clock = tx.clock();
    let Conn::Sqlite(conn) = &mut tx.conn else { return Ok(None) };
    let call = routine.call;
    let result = sqlx::query_as(TEXT)
        .bind(clock)
        .bind(call.handle.0.as_slice())
        .bind(call.presented.0.as_slice())
        .bind(call.successor.hash.0.as_slice())
        .bind(routine.sealed)
        .bind(routine.keying)
        .bind(call.transport.as_str())
        .bind(network(call))
        .bind(device(call))
        .bind(call.policy.access_ttl_ms)
        .bind(call.policy.idle_ms)
        .bind(routine.mode)
        .bind(routine.emission_us)
        .bind(routine.tolerance_us)
        .bind(routine.n)
        .fetch_optional(&mut **conn)
        .await;
    let Some(done): Option<NumberedRow> = tx.noted(result)? else { return Ok(None) };
    let session = &done.row.session;
    remember_key(tx, call, &session.account_id, session.now_ms).await?;
    if call.recording == Recording::All {
        event::write(tx, &by_holder(call, &session.account_id, &session.id)).await?;
    }
    Ok(Some(done))
}

/// All waiting calls as one statement of PostgreSQL, which commits by itself: for most of its costs it does not matter
/// how many calls it carries.
///
/// It never waits: a row that somebody else holds is left to the way under the lock, so that neither a deadlock nor one
/// slow transaction can hold up the others. It does nothing for a caller who was refused meanwhile ($19): a server
/// that was halted runs what is left in its sockets when it goes on, and the grace of rotations nobody was told of
/// would pass unused. `LIMIT` tells the planner that there are few calls (it takes a tenth of what it assumes of an
/// array), so that it looks up each row and never reads the whole table for them.
macro_rules! together {
    () => {
        concat!(
            "UPDATE session SET ", rotated!("least", "greatest"), "
            FROM (SELECT asked.*, held.id, held.account_id, ", word!(postgres NOW), " AS now_ms
                FROM (SELECT * FROM unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[],
                        $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[],
                        $14::bigint[], $15::bigint[], $16::bytea[], $17::bigint[], $19::bigint[])
                    AS asked (n, handle, presented, successor, sealed, keying, transport, network, device,
                        access_ttl_ms, idle_ms, mode, emission_us, tolerance_us, tag, tag_ms, until_ms) LIMIT $18) AS asked
                CROSS JOIN LATERAL (SELECT session.id, session.account_id FROM session
                    WHERE session.handle = asked.handle AND session.cur_hash = asked.presented",
                    word!(postgres SKIP_LOCKED), ") AS held) AS call
            JOIN account ON account.id = call.account_id
            LEFT JOIN identifier AS email ON email.account_id = call.account_id AND email.kind = 'email'
                AND email.primary_ms IS NOT NULL
            LEFT JOIN identifier AS username ON username.account_id = call.account_id AND username.kind = 'username'
                AND username.primary_ms IS NOT NULL
            WHERE ", routine!("least", "greatest"), " AND call.now_ms <= call.until_ms
            RETURNING session.id, session.account_id, email.display AS email, session.epoch AS global_epoch, ",
            word!(postgres FAMILY), ", account.epoch AS owner_epoch, account.created_ms AS owner_created_ms,
            account.last_login_ms AS owner_last_login_ms, account.disabled_ms AS owner_disabled_ms,
            email.verified_ms AS owner_email_verified_ms, username.display AS owner_username,
            call.now_ms, call.n, call.tag, call.tag_ms"
        )
    };
}

/// A text as it is hashed: see [`shared::chain::canonical`].
macro_rules! framed {
    ($text:literal) => {
        concat!(
            "'\\x01'::bytea || int8send(octet_length(convert_to(",
            $text,
            ", 'UTF8'))::bigint) || convert_to(",
            $text,
            ", 'UTF8')"
        )
    };
}

/// Rotations of which nothing else is to be kept.
const TOGETHER: &str = together!();
/// The same with their keys and events.
const TOGETHER_KEPT: &str = concat!(
    "WITH done AS (",
    together!(),
    "),
    keys AS (
        INSERT INTO idempotency (scope, tag, account_id, created_ms, expires_ms)
        SELECT 'refresh', done.tag, done.account_id, done.now_ms, done.now_ms + done.tag_ms FROM done
        WHERE done.tag IS NOT NULL
        ON CONFLICT (tenant_id, scope, tag) DO UPDATE SET created_ms = excluded.created_ms,
            expires_ms = excluded.expires_ms),
    events AS (
        INSERT INTO event (",
    word!(postgres EVENT),
    ")
        SELECT noted.id, noted.at_ms, noted.action, noted.outcome, noted.reason, 'user', done.account_id,
            NULL, NULL, NULL, 'session', done.id, noted.network, noted.device, noted.request_id, noted.detail,
            sha256(noted.keyed || sha256(",
    framed!("done.account_id"),
    " || ",
    framed!("done.id"),
    "))
        FROM done JOIN unnest($20::bigint[], $21::text[], $22::bigint[], $23::text[], $24::text[], $25::text[],
            $26::text[], $27::text[], $28::text[], $29::text[], $30::bytea[])
        AS noted (n, id, at_ms, action, outcome, reason, network, device, request_id, detail, keyed)
        ON noted.n = done.n)
    SELECT * FROM done"
);

async fn together(
    conn: &mut PgConnection,
    times: Times,
    calls: &[Routine<'_>],
    noted: Noted<'_>,
) -> Result<Vec<NumberedRow>, sqlx::Error> {
    let column = |of: fn(&Routine<'_>) -> i64| calls.iter().map(of).collect::<Vec<i64>>();
    let is_kept = !noted.n.is_empty() || calls.iter().any(|routine| kept_tag(routine.call).is_some());
    let query = sqlx::query_as::<Postgres, NumberedRow>(if is_kept { TOGETHER_KEPT } else { TOGETHER })
        .bind(times.clock)
        .bind(column(|routine| routine.n))
        .bind(each(calls, |routine| routine.call.handle.0.as_slice()))
        .bind(each(calls, |routine| routine.call.presented.0.as_slice()))
        .bind(each(calls, |routine| routine.call.successor.hash.0.as_slice()))
        .bind(each(calls, |routine| routine.sealed))
        .bind(each(calls, |routine| routine.keying))
        .bind(each(calls, |routine| routine.call.transport.as_str()))
        .bind(each(calls, |routine| network(routine.call)))
        .bind(each(calls, |routine| device(routine.call)))
        .bind(column(|routine| routine.call.policy.access_ttl_ms))
        .bind(column(|routine| routine.call.policy.idle_ms))
        .bind(column(|routine| routine.mode))
        .bind(column(|routine| routine.emission_us))
        .bind(column(|routine| routine.tolerance_us))
        .bind(each(calls, |routine| kept_tag(routine.call)))
        .bind(column(|routine| keyed_ms(routine.call)))
        .bind(i64::try_from(calls.len()).unwrap_or(i64::MAX))
        .bind(times.until_ms);
    if !is_kept {
        return query.fetch_all(conn).await;
    }
    let query = query.bind(noted.n).bind(noted.columns.id).bind(noted.columns.at_ms).bind(noted.columns.action);
    let query = query.bind(noted.columns.outcome).bind(noted.columns.reason).bind(noted.columns.network);
    let query = query.bind(noted.columns.device).bind(noted.columns.request_id).bind(noted.columns.detail);
    let query = query.bind(noted.columns.keyed);
    query.fetch_all(conn).await
}

/// A column of all calls.
fn each<'c, T>(calls: &'c [Routine<'c>], of: impl Fn(&'c Routine<'c>) -> T) -> Vec<T> {
    calls.iter().map(of).collect()
}
