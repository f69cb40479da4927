//! `authctl db`

mod backup;
mod check;
mod transfer;

use crate::{
    context::Context,
    error::{Error, Refusal},
    output::{
        Done,
        look::{Look, joined, text},
        table::{Column, Room, Row},
        text::{clean, size},
    },
};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use shared::admin::{
    Empty,
    db::{Failed, Progress as Step, Status, StatusReport},
};
use std::path::PathBuf;

/// Commands about the database as a whole.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show where the database is, how large, and of which version
    Status,
    /// Say whether the schema is this version's: the daemon brings it there when it starts
    Migrate,
    /// Write a consistent copy of the database into a new file, while the daemon goes on
    Backup {
        /// The file; it must not exist
        file: PathBuf,
    },
    /// Look whether a backup is whole; exit with 14 when it is not
    VerifyBackup {
        /// A file that `db backup` wrote
        file: PathBuf,
    },
    /// Move everything from SQLite to an empty PostgreSQL database, whose URL is asked for or read from standard input
    Move {
        /// Read the URL of the PostgreSQL database from this file
        #[arg(long, value_name = "URLFILE")]
        to_file: Option<PathBuf>,
    },
}

impl Row for StatusReport {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "KIND", room: Room::Keep, cell: |report, _| clean(&report.kind) },
        Column { name: "PLACE", room: Room::Cut, cell: |report, _| clean(&report.place) },
        Column { name: "SCHEMA", room: Room::Keep, cell: |report, _| schema(report) },
        Column { name: "SIZE", room: Room::Keep, cell: |report, _| size(report.bytes) },
        Column {
            name: "LOG",
            room: Room::Keep,
            cell: |report, _| report.wal_bytes.map_or_else(|| text(None), |bytes| format!("{} (WAL)", size(bytes))),
        },
        Column {
            name: "CONNECTIONS",
            room: Room::Keep,
            cell: |report, _| format!("{} of {}", report.connections, report.max_connections),
        },
        Column { name: "WRITES", room: Room::Cut, cell: |report, _| writes(report) },
        Column { name: "BACKED UP", room: Room::Keep, cell: |report, look| backed_up(report, look) },
        Column { name: "NEEDS KEK", room: Room::Keep, cell: |report, _| joined(&report.kek_ids) },
        Column { name: "AUDIT", room: Room::Keep, cell: |report, _| format!("sealed up to {}", report.audit_seq) },
        Column { name: "TABLES", room: Room::Cut, cell: |report, _| tables(report) },
    ];

    fn id(&self) -> String {
        self.place.clone()
    }
}

fn schema(report: &StatusReport) -> String {
    if report.schema == report.program_schema {
        return format!("{}, this program's", report.schema);
    }
    format!("{}, this program's is {}", report.schema, report.program_schema)
}

fn writes(report: &StatusReport) -> String {
    match (&report.moved_to, report.writes.as_str()) {
        (Some(to), _) => clean(&format!("none: it was moved to {to}")),
        (None, "held") => "put off: it is being moved".to_owned(),
        (None, other) => clean(other),
    }
}

fn backed_up(report: &StatusReport, look: &Look) -> String {
    report.backed_up_at.map_or_else(|| "never".to_owned(), |at| look.time(at))
}

/// A line for each, the largest first.
fn tables(report: &StatusReport) -> String {
    let mut tables: Vec<_> = report.tables.iter().collect();
    tables.sort_by_key(|table| (std::cmp::Reverse(table.rows), table.name.clone()));
    let line = |table: &&shared::admin::db::TableSize| {
        let rows = table.rows.map_or_else(|| "rows unknown".to_owned(), |rows| format!("about {rows} rows"));
        let bytes = table.bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
        clean(&format!("{}: {rows}{bytes}", table.name))
    };
    tables.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Status => {
            let Some(report) = context.call::<Status>(&Empty {}).await? else { return Ok(()) };
            context.output.item("db.status", &report)
        }
        Command::Migrate => migrate(context).await,
        Command::Backup { file } => backup::run(context, &file).await,
        Command::VerifyBackup { file } => check::run(context, &file).await,
        Command::Move { to_file } => transfer::run(context, to_file.as_deref()).await,
    }
}

/// What `db migrate` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Which migration the schema of the database has.
    pub schema: i64,
    /// Which one the daemon's program has.
    pub program_schema: i64,
}

async fn migrate(context: &mut Context<'_>) -> Result<(), Error> {
    let Some(report) = context.call::<Status>(&Empty {}).await? else { return Ok(()) };
    let line = if report.schema == report.program_schema {
        format!(
            "nothing to do: the schema is this version's ({}); the daemon brings it there when it starts",
            report.schema
        )
    } else {
        format!(
            "the schema is {}, and this daemon's is {}: a newer authd has brought it there; upgrade this one",
            report.schema, report.program_schema
        )
    };
    context.output.done(&Done {
        schema: "db.migrate",
        data: &Migration { schema: report.schema, program_schema: report.program_schema },
        ids: vec![],
        lines: vec![line],
        needed: vec![],
    })
}

/// What the daemon said in the middle of its lines, as if it had said it at once.
fn refused(failed: Failed) -> Error {
    Error::Refused(Box::new(Refusal {
        status: failed.code.status(),
        code: failed.code.as_str().to_owned(),
        detail: failed.detail,
        ..Refusal::default()
    }))
}

/// `copy session`
fn doing(step: &Step) -> String {
    match &step.table {
        Some(table) => clean(&format!("{} {table}", step.doing)),
        None => clean(&step.doing),
    }
}
