//! The PostgreSQL database that a move goes to. Everything happens there in one transaction: a move that does not come
//! to its end, however it ends, leaves nothing.

use crate::{
    domain::{audit::Event, secret::Secret, upkeep::UpkeepError},
    store::{
        db::{Commits, Conn, Context, Tx},
        event,
        open::POSTGRES,
        upkeep::{
            fault,
            hold::ORIGIN,
            row::{self, Row},
            schema::{LEFT_OUT, Table, quoted},
        },
    },
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
    query, query_as, query_scalar,
};
use std::{str::FromStr, time::Duration};

/// How long the server may take to let us in.
const REACH: Duration = Duration::from_secs(10);
/// The oldest version of PostgreSQL that authd runs on.
const OLDEST: i32 = 150_000;

/// A transaction on the new database.
pub(super) struct Target {
    tx: Transaction<'static, Postgres>,
    /// Where it is, without a password.
    pub(super) place: String,
}

impl Target {
    /// Connects, begins and makes the schema.
    pub(super) async fn reach(url: &Secret) -> Result<Self, UpkeepError> {
        let options = options(url)?;
        let place = place(&options);
        let away = |cause: String| UpkeepError::Failed(format!("{place} cannot be reached: {cause}"));
        // Asked alone first: a pool tells only that it waited in vain.
        match tokio::time::timeout(REACH, options.connect()).await {
            Ok(Ok(conn)) => conn.close().await.map_err(|error| away(error.to_string()))?,
            Ok(Err(error)) => return Err(away(error.to_string())),
            Err(_) => return Err(away("no answer".to_owned())),
        }
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(REACH).connect_with(options).await;
        let mut tx = pool.map_err(fault)?.begin().await.map_err(fault)?;
        let (version, encoding): (i32, String) =
            query_as("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
                .fetch_one(&mut *tx)
                .await
                .map_err(fault)?;
        if version < OLDEST || encoding != "UTF8" {
            return Err(UpkeepError::Invalid(format!(
                "{place} is PostgreSQL {} with the encoding {encoding}: authd needs 15 or later and UTF8",
                version / 10_000
            )));
        }
        let made = POSTGRES.run_direct(None, &mut *tx, false).await;
        made.map_err(|error| UpkeepError::Conflict(format!("the schema cannot be made at {place}: {error}")))?;
        Ok(Self { tx, place })
    }

    /// Makes sure that nobody's data is there: it is empty, or holds an earlier move that nobody has used.
    pub(super) async fn claim(&mut self, tables: &[Table]) -> Result<(), UpkeepError> {
        let known = |name: &String| {
            tables.iter().any(|table| table.name == *name) || LEFT_OUT.iter().any(|(left, _)| left == name)
        };
        let names: Vec<(String,)> = query_as(
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()
            AND table_type = 'BASE TABLE' AND table_name NOT LIKE '\\_sqlx\\_%'",
        )
        .fetch_all(&mut *self.tx)
        .await
        .map_err(fault)?;
        if let Some((other,)) = names.into_iter().find(|(name,)| !known(name)) {
            let place = &self.place;
            return Err(UpkeepError::Conflict(format!("{place} holds other tables ({other}): give it a database")));
        }
        let found = self.mark().await?;
        let (is_empty, origin): (bool, Option<String>) = query_as(
            "SELECT NOT EXISTS (SELECT FROM event) AND NOT EXISTS (SELECT FROM account),
                (SELECT setting.value FROM setting WHERE setting.name = $1)",
        )
        .bind(ORIGIN)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(fault)?;
        if is_empty || origin.as_deref() == Some(found.as_str()) {
            return Ok(());
        }
        Err(UpkeepError::Conflict(format!("{} is in use: a move needs an empty database", self.place)))
    }

    /// How far its audit is: every daemon that starts moves this.
    async fn mark(&mut self) -> Result<String, UpkeepError> {
        query_scalar(
            "SELECT COALESCE((SELECT max(chain_head.seq) FROM chain_head), 0)::text || ' '
                || (SELECT count(*) FROM event WHERE event.seq IS NULL)::text",
        )
        .fetch_one(&mut *self.tx)
        .await
        .map_err(fault)
    }

    /// Takes out what is there, and what would refuse the rows: they were checked where they were made.
    pub(super) async fn empty(&mut self, tables: &[Table]) -> Result<(), UpkeepError> {
        self.guards("DISABLE", tables).await?;
        let carried = tables.iter().map(|table| quoted(&table.name));
        let names: Vec<String> = carried.chain(LEFT_OUT.iter().map(|(name, _)| quoted(name))).collect();
        self.run(format!("TRUNCATE {}", names.join(", "))).await
    }

    async fn guards(&mut self, verb: &str, tables: &[Table]) -> Result<(), UpkeepError> {
        for table in tables {
            self.run(format!("ALTER TABLE {} {verb} TRIGGER USER", quoted(&table.name))).await?;
        }
        Ok(())
    }

    /// A statement made of names of the schema.
    async fn run(&mut self, statement: String) -> Result<(), UpkeepError> {
        self.tx.execute(AssertSqlSafe(statement)).await.map(drop).map_err(fault)
    }

    pub(super) async fn put(&mut self, table: &Table, rows: Vec<Row>) -> Result<(), UpkeepError> {
        row::put_postgres(&mut self.tx, table, rows).await.map_err(fault)
    }

    pub(super) async fn page(&mut self, table: &Table, after: Option<&Row>) -> Result<Vec<Row>, UpkeepError> {
        row::page(&mut Conn::Postgres(&mut self.tx), table, after).await.map_err(fault)
    }

    /// Puts back what was taken out, lets numbers go on where they were, and records the arrival.
    pub(super) async fn settle(
        &mut self,
        tables: &[Table],
        context: &Context,
        arrived: &Event,
    ) -> Result<(), UpkeepError> {
        let numbered: Vec<(String, String)> = query_as(
            "SELECT table_name::text, column_name::text FROM information_schema.columns
            WHERE table_schema = current_schema() AND is_identity = 'YES'",
        )
        .fetch_all(&mut *self.tx)
        .await
        .map_err(fault)?;
        for (table, column) in numbered {
            let (of, name) = (quoted(&table), quoted(&column));
            let next =
                format!("SELECT setval(pg_get_serial_sequence($1, $2), COALESCE(max({name}), 0) + 1, false) FROM {of}");
            query(AssertSqlSafe(next)).bind(of).bind(column).execute(&mut *self.tx).await.map_err(fault)?;
        }
        self.guards("ENABLE", tables).await?;
        event::write(&mut Tx::new(Conn::Postgres(&mut self.tx), context, Commits::Apart), arrived).await?;
        let mark = self.mark().await?;
        let put = "INSERT INTO setting (name, value, version, changed_ms, changed_by) VALUES ($1, $2, 1, $3, 'authd')
            ON CONFLICT (tenant_id, name) DO UPDATE SET value = excluded.value, changed_ms = excluded.changed_ms";
        let now_ms = context.clock.now_ms();
        query(put).bind(ORIGIN).bind(mark).bind(now_ms).execute(&mut *self.tx).await.map(drop).map_err(fault)
    }

    /// Makes it durable.
    pub(super) async fn commit(self) -> Result<(), UpkeepError> {
        let place = self.place;
        self.tx.commit().await.map_err(|error| {
            UpkeepError::Failed(format!(
                "{place} did not confirm that it has the data ({error}); this database is in use as before, and a \
                 repeat of the move replaces what may be there"
            ))
        })
    }
}

fn options(url: &Secret) -> Result<PgConnectOptions, UpkeepError> {
    // The cause is not repeated: a mistyped URL still holds the password.
    let wrong = || UpkeepError::Invalid("the target is a URL like postgres://user:password@host/database".to_owned());
    let text = url.reveal().trim();
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(wrong());
    }
    let options = PgConnectOptions::from_str(text).map_err(|_| wrong())?;
    let bounds =
        [("statement_timeout", "120s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "300s")];
    Ok(options.application_name("authd db move").disable_statement_logging().options(bounds))
}

/// Where a server's database is, without a password.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
    let host = options.get_socket().map_or_else(|| host.to_owned(), |socket| socket.display().to_string());
    format!("postgres://{user}@{host}:{port}/{}", options.get_database().unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_place_nor_a_refusal_repeats_a_password() {
        let options = options(&Secret::new("postgres://ada:s3cr3t@db.example.org:5433/auth\n")).unwrap();
        assert_eq!(place(&options), "postgres://ada@db.example.org:5433/auth");
        for text in ["mysql://a:s3cr3t@b/c", "postgres://a:s3cr3t@b:port/c", "s3cr3t", ""] {
            let refused = super::options(&Secret::new(text)).unwrap_err().to_string();
            assert!(!refused.contains("s3cr3t"), "{refused}");
        }
    }
}
