//! The move: copy, compare, commit there, mark here. Until the mark this database is the one in use, and any other end
//! than a good one leaves it so.

use crate::{
    domain::{
        secret::Secret,
        upkeep::{MoveEvents, Moved, Step, UpkeepError, Watcher},
    },
    store::{
        db::{Backend, Conn, Db},
        dialect::on_tx,
        event,
        sqlite_writer::Writer,
        upkeep::{
            fault,
            hold::Hold,
            row::{self, PAGE, Row, Sum},
            schema::{self, Table, quoted},
            target::Target,
        },
    },
};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, SqliteConnection, query_scalar, sqlite::SqliteConnectOptions};
use std::sync::Arc;

const ONLY_FILES: &str = "only a SQLite database in a file can be moved; between PostgreSQL servers use pg_dump";

fn source(db: &Db) -> Result<(&Writer, Arc<SqliteConnectOptions>), UpkeepError> {
    match &db.backend {
        Backend::Sqlite { writer, readers: Some(readers) } => Ok((writer, readers.connect_options())),
        _ => Err(UpkeepError::Invalid(ONLY_FILES.to_owned())),
    }
}

/// What a move would do; the target's transaction is given up.
pub(super) async fn try_to(db: &Db, to: &Secret) -> Result<Moved, UpkeepError> {
    let (_, options) = source(db)?;
    let mut from = options.connect().await.map_err(fault)?;
    let tables = schema::tables(&mut from).await.map_err(fault)?;
    let mut target = Target::reach(to).await?;
    target.claim(&tables).await?;
    let mut rows = Vec::with_capacity(tables.len());
    for table in &tables {
        rows.push((table.name.clone(), count(&mut from, table).await?));
    }
    Ok(Moved { to: target.place.clone(), rows, seq: head(&mut from).await? })
}

/// Moves everything.
pub(super) async fn to(
    db: &Db,
    to: &Secret,
    events: MoveEvents,
    watcher: Arc<dyn Watcher>,
) -> Result<Moved, UpkeepError> {
    let (writer, options) = source(db)?;
    let mut from = options.connect().await.map_err(fault)?;
    let tables = schema::tables(&mut from).await.map_err(fault)?;
    let mut target = Target::reach(to).await?;
    target.claim(&tables).await?;
    let MoveEvents { begun, arrived, left } = events;
    on_tx!(db, |tx| event::write(tx, &begun).await)?;
    let hold = Hold::begin(db, writer).await?;
    from.execute("BEGIN").await.map_err(fault)?;
    target.empty(&tables).await?;
    let mut moving = Moving { from, target, watcher: watcher.as_ref() };
    let mut rows = Vec::with_capacity(tables.len());
    for table in &tables {
        let copied = moving.copy(table).await?;
        moving.compare(table, copied).await?;
        rows.push((table.name.clone(), copied.rows));
    }
    let seq = head(&mut moving.from).await?;
    let Moving { mut target, .. } = moving;
    target.settle(&tables, &db.context, &arrived).await?;
    let place = target.place.clone();
    let moved = Moved { to: place.clone(), rows, seq };
    // From here on nobody who leaves can stop it half-way.
    db.to_the_end(async move {
        let ended: Result<(), UpkeepError> = async {
            target.commit().await?;
            hold.keep(&place, left).await
        }
        .await;
        Ok(ended.map(|()| moved))
    })
    .await?
}

struct Moving<'w> {
    from: SqliteConnection,
    target: Target,
    watcher: &'w dyn Watcher,
}

impl Moving<'_> {
    async fn copy(&mut self, table: &Table) -> Result<Sum, UpkeepError> {
        let total = count(&mut self.from, table).await?;
        let (mut sum, mut after) = (Sum::default(), None);
        loop {
            self.go_on()?;
            let rows = row::page(&mut Conn::Sqlite(&mut self.from), table, after.as_ref()).await.map_err(fault)?;
            let count = rows.len();
            rows.iter().for_each(|row| sum.add(row));
            after = rows.last().cloned();
            self.target.put(table, rows).await?;
            self.told("copy", table, sum.rows, total);
            if count < PAGE {
                return Ok(sum);
            }
        }
    }

    /// Reads back what the target has.
    async fn compare(&mut self, table: &Table, copied: Sum) -> Result<(), UpkeepError> {
        let mut sum = Sum::default();
        let mut after: Option<Row> = None;
        loop {
            self.go_on()?;
            let rows = self.target.page(table, after.as_ref()).await?;
            rows.iter().for_each(|row| sum.add(row));
            self.told("compare", table, sum.rows, copied.rows);
            if rows.len() < PAGE {
                break;
            }
            after = rows.last().cloned();
        }
        if sum == copied {
            return Ok(());
        }
        let (name, here, there) = (&table.name, copied.rows, sum.rows);
        Err(UpkeepError::Failed(format!(
            "the table {name} is not the same there: {here} rows here, {there} there, or others"
        )))
    }

    fn go_on(&self) -> Result<(), UpkeepError> {
        if self.watcher.has_left() { Err(UpkeepError::Abandoned) } else { Ok(()) }
    }

    fn told(&self, doing: &'static str, table: &Table, done: u64, total: u64) {
        self.watcher.saw(Step { doing, table: Some(table.name.clone()), done, total });
    }
}

async fn count(from: &mut SqliteConnection, table: &Table) -> Result<u64, UpkeepError> {
    let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
    let rows: i64 = query_scalar(AssertSqlSafe(count)).fetch_one(from).await.map_err(fault)?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// The last sealed event.
pub(super) async fn head(from: &mut SqliteConnection) -> Result<i64, UpkeepError> {
    let seq: Option<i64> = query_scalar("SELECT chain_head.seq FROM chain_head WHERE chain_head.name = 'audit'")
        .fetch_optional(from)
        .await
        .map_err(fault)?;
    Ok(seq.unwrap_or(0))
}
