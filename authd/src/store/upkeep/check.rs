//! A backup that an operator gives: whether it is whole, of a version this program knows, and its audit chain unbroken.
//! Nothing is written, neither into the file nor beside it.

use crate::{
    domain::{chain::ChainStore, store_error::StoreError},
    store::{
        chain::Chain,
        open::{self, SQLITE},
        row::count,
        upkeep::schema::{self, quoted},
    },
};
use shared::{
    admin::db::{MovedTable, Verified},
    chain::{Authenticity, Verifier},
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, query_as, query_scalar};
use std::path::Path;

/// Events that are read at once.
const PAGE: u32 = 1_000;
/// Faults of one kind that are told.
const TOLD: usize = 5;

/// Why a file could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be opened or read.
    #[error("{0}")]
    Unreadable(String),
}

impl From<StoreError> for CheckError {
    fn from(error: StoreError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<sqlx::Error> for CheckError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// The last sealed event in a copy.
pub(super) async fn head(file: &Path) -> Result<i64, sqlx::Error> {
    let head = "SELECT COALESCE(max(chain_head.seq), 0) FROM chain_head WHERE chain_head.name = 'audit'";
    query_scalar(head).fetch_one(&mut open::look_at(file).connect().await?).await
}

/// Looks at a backup; what is wrong with it stands in the answer.
///
/// # Errors
/// [`CheckError`]: it is no SQLite database, or cannot be read.
pub async fn verify(file: &Path) -> Result<Verified, CheckError> {
    let bytes = std::fs::metadata(file).map_err(|error| CheckError::Unreadable(error.to_string()))?.len();
    let mut conn = open::look_at(file).connect().await?;
    let mut found = Verified {
        file: file.display().to_string(),
        bytes,
        schema: 0,
        program_schema: SQLITE.iter().map(|migration| migration.version).max().unwrap_or(0),
        tables: Vec::new(),
        kek_ids: Vec::new(),
        audit_seq: 0,
        unsealed: 0,
        problems: integrity(&mut conn).await?,
    };
    if !found.problems.is_empty() {
        return Ok(found);
    }
    if let Some(strange) = version(&mut conn, &mut found).await? {
        found.problems.push(strange);
        return Ok(found);
    }
    for table in schema::tables(&mut conn).await? {
        let rows = format!("SELECT count(*) FROM {}", quoted(&table.name));
        let rows: i64 = query_scalar(AssertSqlSafe(rows)).fetch_one(&mut conn).await?;
        found.tables.push(MovedTable { name: table.name, rows: count(rows) });
    }
    found.problems.extend(references(&mut conn).await?);
    found.kek_ids = query_scalar(
        "SELECT root_secret.kek_id FROM root_secret
        UNION SELECT signing_key.kek_id FROM signing_key WHERE signing_key.ended_ms IS NULL ORDER BY 1",
    )
    .fetch_all(&mut conn)
    .await?;
    if found.kek_ids.is_empty() {
        found.problems.push("it names no key-encryption key: no daemon has ever run on it".to_owned());
    }
    conn.close().await?;
    chain(file, &mut found).await?;
    Ok(found)
}

async fn integrity(conn: &mut SqliteConnection) -> Result<Vec<String>, CheckError> {
    let lines: Vec<(String,)> =
        query_as(AssertSqlSafe(format!("PRAGMA integrity_check({TOLD})"))).fetch_all(conn).await?;
    let wrong = lines.into_iter().filter(|(line,)| line != "ok");
    Ok(wrong.map(|(line,)| format!("the file is damaged: {line}")).collect())
}

/// Whether the schema is one that this program can bring up to date; else what is strange about it.
async fn version(conn: &mut SqliteConnection, found: &mut Verified) -> Result<Option<String>, CheckError> {
    let table: Option<(i64,)> =
        query_as("SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'").fetch_optional(&mut *conn).await?;
    if table.is_none() {
        return Ok(Some("it is no database of authd".to_owned()));
    }
    let made: Vec<(i64, Vec<u8>)> =
        query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(conn)
            .await?;
    found.schema = made.last().map_or(0, |(version, _)| *version);
    for (version, checksum) in made {
        match SQLITE.iter().find(|migration| migration.version == version) {
            None => return Ok(Some(format!("its schema (migration {version}) is newer: use the authd that made it"))),
            Some(known) if *known.checksum != *checksum => {
                return Ok(Some(format!("its migration {version} is another than this program's")));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

async fn references(conn: &mut SqliteConnection) -> Result<Vec<String>, CheckError> {
    let broken: Vec<(String, String)> =
        query_as("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 5").fetch_all(conn).await?;
    Ok(broken
        .into_iter()
        .map(|(table, parent)| format!("a row of {table} refers to a {parent} that is missing"))
        .collect())
}

/// Checks the audit log as `audit verify` does, but for what takes the keys: what is signed is checked with the public
/// keys in the file itself.
async fn chain(file: &Path, found: &mut Verified) -> Result<(), CheckError> {
    let chain = Chain { db: open::read_only(file).await? };
    let tail = chain.tail().await?;
    let mut verifier = Verifier::default();
    for (key, _) in chain.keys().await? {
        verifier.trust(key);
    }
    for tombstone in chain.tombstones().await? {
        verifier.tombstone(&tombstone);
    }
    verifier.tail(&tail);
    let mut after = i64::MIN;
    loop {
        let batch = chain.checkpoints(after, PAGE).await?;
        let Some((last, _)) = batch.last() else { break };
        after = last.number;
        batch.iter().for_each(|(checkpoint, hash)| verifier.checkpoint(checkpoint, hash.as_deref()));
    }
    let mut after = i64::MIN;
    loop {
        let batch = chain.sealed(after, i64::MAX, PAGE).await?;
        let Some(last) = batch.last().and_then(|last| last.seq) else { break };
        after = last;
        batch.iter().for_each(|entry| verifier.event(entry, Authenticity::Unchecked));
    }
    let mut after = String::new();
    loop {
        let batch = chain.unsealed(&after, PAGE).await?;
        let Some(last) = batch.last() else { break };
        after.clone_from(&last.id);
        batch.iter().for_each(|entry| verifier.unsealed(entry, Authenticity::Unchecked));
    }
    chain.db.close().await;
    let report = verifier.finish();
    (found.audit_seq, found.unsealed) = (tail.head_seq, report.unsealed);
    let told = report.findings.iter().take(TOLD).map(|finding| match finding.seq {
        Some(seq) => format!("the audit log, event {seq}: {}", finding.message),
        None => format!("the audit log: {}", finding.message),
    });
    found.problems.extend(told);
    Ok(())
}
