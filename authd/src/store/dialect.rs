//! One query text for both databases, and the few words in which they differ.
//!
//! A text is a list of literals and of the words below; each word is a literal too, so that every query stays a
//! `&'static str`. [`on_db!`] runs it on whichever database the transaction belongs to.

use crate::store::{
    db::{Commits, Conn},
    error::{fault, fault_alone},
};
use sqlx::{Database, Postgres, QueryBuilder, Sqlite};

/// The words:
/// - `NOW`: database time in Unix milliseconds; `$1` must be [`crate::store::db::Tx::clock`]. PostgreSQL reads its own
///   clock at that point of the statement (not the start of the transaction), so after any lock taken below it.
/// - `LOCK`: holds the selected rows until the transaction ends. SQLite has one writer and needs none.
/// - `SKIP_LOCKED`: the same, leaving out rows that somebody else holds.
/// - `LEAST`, `GREATEST`: of two numbers.
/// - `DURABILITY`: names and values of the settings that decide what outlasts a crash, a whole statement.
/// - `IDS`: the ids in the JSON array `$2`.
/// - `EPOCH`: the global epoch in force (R13).
/// - `LIVE`: whether a row of `session` can be used (needs `NOW`).
/// - `LIVE_THEN`: the same at one instant for all rows, in a statement that begins with `CLOCK`.
/// - `CLOCK`: `WITH clock AS (…)`, whose `now_ms` is `NOW`.
/// - `SESSION`: the columns of [`crate::store::row::SessionRow`] but `now_ms`.
/// - `FAMILY`: those of them that stand in the row of `session` itself, behind its ids.
/// - `OWNER`: beside `SESSION`, the other columns of [`crate::store::row::FamilyRow`].
/// - `ACCOUNT`: the columns of [`crate::store::row::AccountColumns`].
/// - `EVENT`: the columns of an event, in the order in which they are written.
/// - `STORED`: the columns of [`crate::store::audit::EventRow`].
/// - `LINES`: the values of the JSON array `$1`, as `line.value`.
/// - `MAC`: of an event that is such a value; it comes first.
macro_rules! word {
    (sqlite NOW) => {
        "$1"
    };
    (postgres NOW) => {
        "(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + $1)"
    };
    (sqlite LOCK) => {
        ""
    };
    (postgres LOCK) => {
        " FOR NO KEY UPDATE"
    };
    (sqlite SKIP_LOCKED) => {
        ""
    };
    (postgres SKIP_LOCKED) => {
        " FOR NO KEY UPDATE SKIP LOCKED"
    };
    (sqlite LEAST) => {
        "min"
    };
    (postgres LEAST) => {
        "least"
    };
    (sqlite GREATEST) => {
        "max"
    };
    (postgres GREATEST) => {
        "greatest"
    };
    (sqlite DURABILITY) => {
        "SELECT 'journal_mode' AS name, CAST(journal_mode AS TEXT) AS value FROM pragma_journal_mode
        UNION ALL SELECT 'synchronous', CAST(synchronous AS TEXT) FROM pragma_synchronous
        UNION ALL SELECT 'foreign_keys', CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys"
    };
    (postgres DURABILITY) => {
        "SELECT name, setting AS value FROM pg_settings WHERE name IN
        ('fsync', 'full_page_writes', 'synchronous_commit', 'default_transaction_read_only') ORDER BY name"
    };
    (sqlite IDS) => {
        "(SELECT value FROM json_each($2))"
    };
    (postgres IDS) => {
        "(SELECT jsonb_array_elements_text($2::jsonb))"
    };
    ($db:ident EPOCH) => {
        "COALESCE((SELECT CAST(setting.value AS BIGINT) FROM setting
            WHERE setting.tenant_id = 'default' AND setting.name = 'epoch.global'), 0)"
    };
    (sqlite LIVE) => {
        $crate::store::dialect::live!("$1")
    };
    (postgres LIVE) => {
        $crate::store::dialect::live!("(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + $1)")
    };
    ($db:ident LIVE_THEN) => {
        $crate::store::dialect::live!("(SELECT now_ms FROM clock)")
    };
    ($db:ident CLOCK) => {
        concat!("WITH clock AS (SELECT ", $crate::store::dialect::word!($db NOW), " AS now_ms)")
    };
    ($db:ident SESSION) => {
        concat!(
            "session.id, session.account_id,
            (SELECT identifier.display FROM identifier WHERE identifier.account_id = session.account_id
                AND identifier.kind = 'email' AND identifier.primary_ms IS NOT NULL) AS email,
            COALESCE((SELECT CAST(setting.value AS BIGINT) FROM setting
                WHERE setting.tenant_id = 'default' AND setting.name = 'epoch.global'), 0) AS global_epoch, ",
            $crate::store::dialect::word!($db FAMILY)
        )
    };
    ($db:ident FAMILY) => {
        "session.generation, session.cur_hash, session.prev_hash, session.rotated_ms, session.access_expires_ms,
        session.sealed, session.sealed_keying, session.retries, session.idle_expires_ms, session.expires_ms,
        session.revoked_ms, session.end_reason, session.epoch, session.transport, session.rate_tat_us,
        session.network, session.device, session.strays, session.stray_generation, session.amr, session.created_ms"
    };
    ($db:ident OWNER) => {
        "(SELECT account.epoch FROM account WHERE account.id = session.account_id) AS owner_epoch,
        (SELECT account.created_ms FROM account WHERE account.id = session.account_id) AS owner_created_ms,
        (SELECT account.last_login_ms FROM account WHERE account.id = session.account_id) AS owner_last_login_ms,
        (SELECT account.disabled_ms FROM account WHERE account.id = session.account_id) AS owner_disabled_ms,
        (SELECT identifier.verified_ms FROM identifier WHERE identifier.account_id = session.account_id
            AND identifier.kind = 'email' AND identifier.primary_ms IS NOT NULL) AS owner_email_verified_ms,
        (SELECT identifier.display FROM identifier WHERE identifier.account_id = session.account_id
            AND identifier.kind = 'username' AND identifier.primary_ms IS NOT NULL) AS owner_username"
    };
    ($db:ident ACCOUNT) => {
        "account.id, account.epoch, account.created_ms, account.last_login_ms, account.disabled_ms,
        (SELECT identifier.display FROM identifier WHERE identifier.account_id = account.id
            AND identifier.kind = 'email' AND identifier.primary_ms IS NOT NULL) AS email,
        (SELECT identifier.verified_ms FROM identifier WHERE identifier.account_id = account.id
            AND identifier.kind = 'email' AND identifier.primary_ms IS NOT NULL) AS email_verified_ms,
        (SELECT identifier.display FROM identifier WHERE identifier.account_id = account.id
            AND identifier.kind = 'username' AND identifier.primary_ms IS NOT NULL) AS username"
    };
    ($db:ident EVENT) => {
        "id, at_ms, action, outcome, reason, actor_kind, actor_id, actor_uid, actor_login_uid, actor_pid,
        target_kind, target_id, network, device, request_id, detail, mac"
    };
    ($db:ident STORED) => {
        concat!("seq, hash, tenant_id, ", $crate::store::dialect::word!($db EVENT))
    };
    (sqlite LINES) => {
        "json_each($1) AS line"
    };
    (postgres LINES) => {
        "jsonb_array_elements($1::jsonb) AS line (value)"
    };
    (sqlite MAC) => {
        "unhex(line.value ->> 0)"
    };
    (postgres MAC) => {
        "decode(line.value ->> 0, 'hex')"
    };
    ($db:ident $text:literal) => {
        $text
    };
}

/// Whether a row of `session` can be used at the instant `$now`, a literal.
macro_rules! live {
    ($now:literal) => {
        concat!(
            "(session.revoked_ms IS NULL AND session.idle_expires_ms > ",
            $now,
            " AND session.expires_ms > ",
            $now,
            " AND session.epoch >= COALESCE((SELECT CAST(setting.value AS BIGINT) FROM setting
                WHERE setting.tenant_id = 'default' AND setting.name = 'epoch.global'), 0))"
        )
    };
}

/// Runs one statement: `on_db!(tx, optional ["SELECT … " NOW](clock, id))`.
///
/// `execute` gives the number of rows that changed, `one`, `optional` and `all` give rows. A fault marks the
/// transaction, which then cannot commit whatever its body returns.
macro_rules! on_db {
    ($tx:ident, execute [$($word:tt)+]($($bind:expr),* $(,)?)) => {{
        let result = match &mut $tx.conn {
            $crate::store::db::Conn::Sqlite(conn) => {
                sqlx::query(concat!($($crate::store::dialect::word!(sqlite $word)),+))$(.bind($bind))*
                    .execute(&mut **conn).await.map(|done| done.rows_affected())
            }
            $crate::store::db::Conn::Postgres(conn) => {
                sqlx::query(concat!($($crate::store::dialect::word!(postgres $word)),+))$(.bind($bind))*
                    .execute(&mut **conn).await.map(|done| done.rows_affected())
            }
        };
        $tx.noted(result)
    }};
    ($tx:ident, one $words:tt $binds:tt) => { $crate::store::dialect::on_db!($tx, @fetch_one $words $binds) };
    ($tx:ident, optional $words:tt $binds:tt) => { $crate::store::dialect::on_db!($tx, @fetch_optional $words $binds) };
    ($tx:ident, all $words:tt $binds:tt) => { $crate::store::dialect::on_db!($tx, @fetch_all $words $binds) };
    ($tx:ident, @$fetch:ident [$($word:tt)+]($($bind:expr),* $(,)?)) => {{
        let result = match &mut $tx.conn {
            $crate::store::db::Conn::Sqlite(conn) => {
                sqlx::query_as(concat!($($crate::store::dialect::word!(sqlite $word)),+))$(.bind($bind))*
                    .$fetch(&mut **conn).await
            }
            $crate::store::db::Conn::Postgres(conn) => {
                sqlx::query_as(concat!($($crate::store::dialect::word!(postgres $word)),+))$(.bind($bind))*
                    .$fetch(&mut **conn).await
            }
        };
        $tx.noted(result)
    }};
}

/// Runs one statement that only PostgreSQL is asked: what costs it a round trip each is one data-modifying statement
/// there.
macro_rules! on_postgres {
    ($tx:ident, $fetch:ident [$($word:tt)+]($($bind:expr),* $(,)?)) => {{
        let result = match &mut $tx.conn {
            $crate::store::db::Conn::Postgres(conn) => {
                sqlx::query_as(concat!($($crate::store::dialect::word!(postgres $word)),+))$(.bind($bind))*
                    .$fetch(&mut **conn).await
            }
            $crate::store::db::Conn::Sqlite(_) => Err(sqlx::Error::Configuration("not for SQLite".into())),
        };
        $tx.noted(result)
    }};
}

/// Runs a query with optional parts: `on_built!(tx, fetch_all select(filter, clock))`, where the expression makes a
/// [`sqlx::QueryBuilder`] of either database. Not kept prepared: there are too many shapes.
macro_rules! on_built {
    ($tx:ident, execute $build:expr) => {{
        let result = match &mut $tx.conn {
            $crate::store::db::Conn::Sqlite(conn) => {
                let mut built: sqlx::QueryBuilder<sqlx::Sqlite> = $build;
                built.build().persistent(false).execute(&mut **conn).await.map(|done| done.rows_affected())
            }
            $crate::store::db::Conn::Postgres(conn) => {
                let mut built: sqlx::QueryBuilder<sqlx::Postgres> = $build;
                built.build().persistent(false).execute(&mut **conn).await.map(|done| done.rows_affected())
            }
        };
        $tx.noted(result)
    }};
    ($tx:ident, $fetch:ident $build:expr) => {{
        let result = match &mut $tx.conn {
            $crate::store::db::Conn::Sqlite(conn) => {
                let mut built: sqlx::QueryBuilder<sqlx::Sqlite> = $build;
                built.build_query_as().persistent(false).$fetch(&mut **conn).await
            }
            $crate::store::db::Conn::Postgres(conn) => {
                let mut built: sqlx::QueryBuilder<sqlx::Postgres> = $build;
                built.build_query_as().persistent(false).$fetch(&mut **conn).await
            }
        };
        $tx.noted(result)
    }};
}

/// One transaction that changes something: `on_tx!(self.db, |tx| body)`. The body owns what it captures, so a caller
/// that goes away cancels nothing.
macro_rules! on_tx {
    ($db:expr, within $budget:expr, |$tx:ident| $body:expr) => {
        $db.transact($budget, move |$tx: &mut $crate::store::db::Tx<'_>| Box::pin(async move { $body })).await
    };
    ($db:expr, |$tx:ident| $body:expr) => {
        $db.transact($crate::store::db::Budget::Statement, move |$tx: &mut $crate::store::db::Tx<'_>| {
            Box::pin(async move { $body })
        })
        .await
    };
    ($db:expr, bulk |$tx:ident| $body:expr) => {
        $db.transact($crate::store::db::Budget::Bulk, move |$tx: &mut $crate::store::db::Tx<'_>| {
            Box::pin(async move { $body })
        })
        .await
    };
}

/// Statements that change nothing; each sees what was committed before it.
macro_rules! on_read {
    ($db:expr, |$tx:ident| $body:expr) => {
        $db.read(move |$tx: &mut $crate::store::db::Tx<'_>| Box::pin(async move { $body })).await
    };
}

/// A change that is one statement, or that gives up its neighbours when one of its statements fails: see
/// [`crate::store::db::Db::at_once`].
macro_rules! on_one {
    ($db:expr, $budget:expr, |$tx:ident| $body:expr) => {
        $db.at_once($budget, move |$tx: &mut $crate::store::db::Tx<'_>| Box::pin(async move { $body })).await
    };
}

pub(super) use {live, on_built, on_db, on_one, on_postgres, on_read, on_tx, word};

/// What a query that is put together needs to know of its database.
pub(super) trait Dialect: Database {
    /// Written before the clock argument to get database time.
    const NOW_BEFORE: &'static str;
    /// Written after it.
    const NOW_AFTER: &'static str;
}

impl Dialect for Sqlite {
    const NOW_BEFORE: &'static str = "(";
    const NOW_AFTER: &'static str = ")";
}

impl Dialect for Postgres {
    const NOW_BEFORE: &'static str = "(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + ";
    const NOW_AFTER: &'static str = ")";
}

/// A query that knows the time: its text may say `(SELECT now_ms FROM clock)`.
pub(super) fn with_clock<DB>(clock: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    i64: for<'q> sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    let mut query = QueryBuilder::new("WITH clock AS MATERIALIZED (SELECT ");
    query.push(DB::NOW_BEFORE).push_bind(clock).push(DB::NOW_AFTER).push(" AS now_ms) ");
    query
}

/// `LIVE` of [`word!`] in a query of [`with_clock`].
pub(super) const LIVE: &str = live!("(SELECT now_ms FROM clock)");
/// `SESSION` of [`word!`].
pub(super) const SESSION: &str = word!(sqlite SESSION);
/// `ACCOUNT` of [`word!`].
pub(super) const ACCOUNT: &str = word!(sqlite ACCOUNT);
/// `STORED` of [`word!`].
pub(super) const STORED: &str = word!(sqlite STORED);
/// `EPOCH` of [`word!`].
pub(super) const EPOCH: &str = word!(sqlite EPOCH);

/// `%text%` for `LIKE … ESCAPE '\'`, with the wildcards in `text` taken literally.
pub(super) fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

impl crate::store::db::Tx<'_> {
    /// Remembers a fault: PostgreSQL answers the COMMIT of an aborted transaction with success.
    pub(super) fn noted<T>(
        &mut self,
        result: Result<T, sqlx::Error>,
    ) -> Result<T, crate::domain::store_error::StoreError> {
        result.map_err(|error| {
            self.failed = true;
            self.context.hear(&error);
            match self.commits {
                Commits::ByItself => fault_alone(error),
                Commits::Apart => fault(error),
            }
        })
    }

    /// The argument of `NOW`: this instance's time on SQLite, the offset to the server's time on PostgreSQL.
    pub(super) fn clock(&self) -> i64 {
        match self.conn {
            Conn::Sqlite(_) => self.context.clock.now_ms(),
            Conn::Postgres(_) => self.context.clock.database_offset_ms(),
        }
    }
}
