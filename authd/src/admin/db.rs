//! Calls about the database as a whole. Long work answers with lines; it ends when nobody reads them any more.

use super::{
    Admin,
    call::{Caller, Stream, intent},
    lines::{self, LineWriter},
    problem::Denied,
};
use crate::{
    auth::{DatabaseReport, Operator},
    domain::{
        secret::Secret,
        upkeep::{Copy, Step, UpkeepError, Watcher, Writes},
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{
    admin::{
        Empty,
        db::{
            BackedUp, BackupLine, BackupRequest, Failed, MoveLine, MoveRequest, Moved, MovedTable, Progress,
            StatusReport, TableSize,
        },
    },
    error::ErrorCode,
    hex,
    time::Timestamp,
};
use std::{
    io::{self, Read as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// Bytes of a backup in one line: a few dozen wait for a slow reader.
const PIECE: usize = 64 * 1_024;
/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);

/// `db/status`
pub(super) async fn status(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<StatusReport, Denied> {
    let report = admin.auth.database().await?;
    let DatabaseReport { kind, facts, backed_up_ms, audit_seq, writes, .. } = report;
    let (writes, moved_to) = match writes {
        Writes::Taken => ("taken", None),
        Writes::Held(_) => ("held", None),
        Writes::Moved { to, .. } => ("moved", Some(to)),
    };
    let size =
        |table: crate::domain::upkeep::TableSize| TableSize { name: table.name, rows: table.rows, bytes: table.bytes };
    Ok(StatusReport {
        kind: kind.to_owned(),
        place: facts.place,
        schema: facts.schema,
        program_schema: facts.program_schema,
        bytes: facts.bytes,
        wal_bytes: facts.wal_bytes,
        tables: facts.tables.into_iter().map(size).collect(),
        connections: facts.connections,
        max_connections: facts.max_connections,
        backed_up_at: backed_up_ms.map(Timestamp),
        kek_ids: report.kek_ids,
        kek_ids_held: report.kek_ids_held,
        audit_seq,
        writes: writes.to_owned(),
        moved_to,
    })
}

/// `db/backup`
pub(super) async fn back_up(admin: Arc<Admin>, by: Caller, request: BackupRequest) -> Result<Stream, Denied> {
    let operator = by.operator(intent!(request))?;
    let (writer, lines) = lines::channel();
    run(&admin, "backup", writer, move |admin, reader| async move {
        let line = match back_up_to(&admin, &operator, &reader).await {
            Ok(done) => BackupLine::Done(done),
            Err(error) => BackupLine::Failed(failed(&error)),
        };
        // Whoever has left needs no line.
        let _ = reader.lines.write(&line).await;
    });
    Ok(Stream { position: 0, lines })
}

async fn back_up_to(admin: &Admin, operator: &Operator, reader: &Reader) -> Result<BackedUp, UpkeepError> {
    let at = Timestamp(admin.auth.parts.clock.now_ms());
    let report = admin.auth.database().await?;
    let done =
        BackedUp { bytes: report.facts.bytes, sha256: None, kek_ids: report.kek_ids, audit_seq: report.audit_seq, at };
    if operator.is_dry_run() {
        return Ok(done);
    }
    let telling = |step: Step| BackupLine::Progress(progress(step));
    let copy = reader.told(admin.auth.back_up(operator, reader.watcher.clone()), telling).await?;
    let (bytes, audit_seq) = (copy.bytes, copy.seq);
    tracing::info!(bytes, seq = audit_seq, uid = operator.uid, "the database was backed up");
    let sha256 = send(copy, reader).await?;
    Ok(BackedUp { bytes, sha256: Some(sha256), audit_seq, ..done })
}

/// Sends the file in pieces; its hash.
async fn send(copy: Copy, reader: &Reader) -> Result<String, UpkeepError> {
    let mut file = copy.file;
    let mut hash = Sha256::new();
    loop {
        // Disks can stall; the event loop must not wait for one.
        let read = move || {
            let mut piece = Vec::with_capacity(PIECE);
            let wanted = u64::try_from(PIECE).unwrap_or(u64::MAX);
            io::Read::by_ref(&mut file).take(wanted).read_to_end(&mut piece).map(|_| (file, piece))
        };
        let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        let (back, piece) = read.map_err(|error| UpkeepError::Failed(format!("the copy cannot be read: {error}")))?;
        if piece.is_empty() {
            return Ok(hex::encode(&hash.finalize()));
        }
        file = back;
        hash.update(&piece);
        let line = BackupLine::Piece(STANDARD.encode(&piece));
        reader.lines.write(&line).await.map_err(|_| UpkeepError::Abandoned)?;
    }
}

/// `db/move`
pub(super) async fn move_to(admin: Arc<Admin>, by: Caller, request: MoveRequest) -> Result<Stream, Denied> {
    let operator = by.operator(intent!(request))?;
    let target = Secret::new(request.target_url.expose());
    let (writer, lines) = lines::channel();
    run(&admin, "move", writer, move |admin, reader| async move {
        let telling = |step: Step| MoveLine::Progress(progress(step));
        let work = admin.auth.move_database(&operator, &target, reader.watcher.clone());
        let line = match reader.told(work, telling).await {
            Ok(moved) => {
                if !operator.is_dry_run() {
                    tracing::warn!(
                        to = moved.to,
                        uid = operator.uid,
                        "the database was moved; it takes no writes here any more"
                    );
                }
                MoveLine::Done(Moved {
                    configuration: admin.control.configuration_for(&moved.to),
                    to: moved.to,
                    tables: moved.rows.into_iter().map(|(name, rows)| MovedTable { name, rows }).collect(),
                    audit_seq: moved.seq,
                })
            }
            Err(error) => {
                tracing::warn!(%error, "the database was not moved");
                MoveLine::Failed(failed(&error))
            }
        };
        // Whoever has left needs no line.
        let _ = reader.lines.write(&line).await;
    });
    Ok(Stream { position: 0, lines })
}

/// Runs long work until it is done, nobody waits for it any more, or the daemon stops.
fn run<F, Work>(admin: &Arc<Admin>, name: &'static str, lines: LineWriter, work: F)
where
    F: FnOnce(Arc<Admin>, Arc<Reader>) -> Work,
    Work: Future<Output = ()> + Send + 'static,
{
    let (step, steps) = watch::channel(None);
    let watcher = Arc::new(Gauge { step, left: AtomicBool::new(false) });
    let reader = Arc::new(Reader { lines, watcher: watcher.clone(), steps });
    let (mut stop, at_line) = (admin.stop(), reader.clone());
    let work = work(admin.clone(), reader);
    admin.tasks.spawn_brief(name, async move {
        let is_left = Left(watcher);
        tokio::select! {
            () = work => {}
            () = at_line.lines.closed() => {}
            () = stop.wait() => {}
        }
        drop(is_left);
    });
}

/// Tells work that goes on elsewhere that it is to end.
struct Left(Arc<Gauge>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.left.store(true, Ordering::Relaxed);
    }
}

/// How far the work has come, as it last said.
struct Gauge {
    step: watch::Sender<Option<Step>>,
    left: AtomicBool,
}

impl Watcher for Gauge {
    fn saw(&self, step: Step) {
        self.step.send_replace(Some(step));
    }

    fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

/// Somebody who waits for long work.
struct Reader {
    lines: LineWriter,
    watcher: Arc<Gauge>,
    steps: watch::Receiver<Option<Step>>,
}

impl Reader {
    /// Tells how far the work is while it is done.
    async fn told<T, L: Serialize>(
        &self,
        work: impl Future<Output = Result<T, UpkeepError>>,
        line: impl Fn(Step) -> L,
    ) -> Result<T, UpkeepError> {
        let mut steps = self.steps.clone();
        let telling = async {
            while steps.changed().await.is_ok() {
                let step = steps.borrow_and_update().clone();
                if let Some(step) = step
                    && self.lines.write(&line(step)).await.is_err()
                {
                    break;
                }
                sleep(TELL).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = work => done,
            () = telling => Err(UpkeepError::Abandoned),
        }
    }
}

fn progress(step: Step) -> Progress {
    Progress { doing: step.doing.to_owned(), table: step.table, done: step.done, total: step.total }
}

fn failed(error: &UpkeepError) -> Failed {
    let code = match error {
        UpkeepError::Invalid(_) => ErrorCode::Malformed,
        UpkeepError::Conflict(_) => ErrorCode::Conflict,
        UpkeepError::Failed(_) | UpkeepError::Abandoned | UpkeepError::Storage(_) => ErrorCode::StorageUnavailable,
    };
    let detail = match error {
        // Its cause is for the log.
        UpkeepError::Storage(_) => "storage is unavailable: nothing was changed".to_owned(),
        other => other.to_string(),
    };
    Failed { code, detail }
}
