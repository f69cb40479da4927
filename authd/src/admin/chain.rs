//! Calls about the audit chain.

use super::{
    Admin,
    audit::event,
    call::{Caller, Stream, intent},
    lines::{self, LineWriter},
    problem::Denied,
};
use crate::{
    auth::{AuditCheck, AuditExport, CheckStep, ClockTrust},
    domain::audit::StoredEvent,
};
use shared::{
    admin::chain::{
        CheckpointRequest, Count, ExportRequest, Made, Numbers, Progress, PurgeRequest, Purged, ShowRequest, Shown,
        StatsRequest, VerifyRequest,
    },
    chain::{Anchor, Entry},
    hex,
    id::EventId,
    time::Timestamp,
};
use std::sync::Arc;

/// Counted without a wish, in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// `audit/show`
pub(super) async fn show(admin: Arc<Admin>, by: Caller, request: ShowRequest) -> Result<Shown, Denied> {
    let entry = admin.auth.show_event(&by.reader(), &request.id).await?;
    let (mac, hash) = (hex::encode(&entry.mac), entry.hash.as_deref().map(hex::encode));
    let unreadable = || Denied::Malformed("this event does not read: run `authctl audit verify`".to_owned());
    Ok(Shown { event: event(stored(entry).ok_or_else(unreadable)?), mac, hash })
}

fn stored(entry: Entry) -> Option<StoredEvent> {
    Some(StoredEvent {
        id: EventId::parse(&entry.id).ok()?,
        seq: entry.seq,
        at_ms: entry.at_ms,
        action: entry.action,
        outcome: entry.outcome,
        reason: entry.reason,
        actor_kind: entry.actor_kind,
        actor_id: entry.actor_id,
        actor_uid: entry.actor_uid,
        actor_login_uid: entry.actor_login_uid,
        actor_pid: entry.actor_pid,
        target_kind: entry.target_kind,
        target_id: entry.target_id,
        network: entry.network,
        device: entry.device,
        request_id: entry.request_id,
        detail: serde_json::from_str(&entry.detail).ok()?,
    })
}

/// `audit/stats`
pub(super) async fn stats(admin: Arc<Admin>, by: Caller, request: StatsRequest) -> Result<Numbers, Denied> {
    let auth = &admin.auth;
    let now_ms = auth.parts.clock.now_ms();
    let since = request.since.unwrap_or(Timestamp(now_ms.saturating_sub(DAY_MS)));
    let found = auth.audit_stats(&by.reader(), since.as_millis()).await?;
    let last_tombstone = found.tombstones.last();
    let gone = last_tombstone.map_or(0, |last| last.up_to_seq);
    let last = found.last_checkpoint.as_ref();
    Ok(Numbers {
        events: positive(found.tail.head_seq.saturating_sub(gone)),
        unsealed: found.stats.unsealed,
        seal_lag_ms: positive(auth.seal_lag_ms()),
        first_seq: found.stats.first.map(|(seq, _)| positive(seq)),
        first_at: found.stats.first.map(|(_, at_ms)| Timestamp(at_ms)),
        last_seq: positive(found.tail.head_seq),
        checkpoint: last.map(|last| positive(last.number)),
        checkpoint_seq: last.map(|last| positive(last.seq)),
        checkpoint_at: last.map(|last| Timestamp(last.at_ms)),
        anchored_seq: auth.anchor().map(|anchor| positive(anchor.seq)),
        purged: found.tombstones.iter().map(|tombstone| positive(tombstone.count)).sum(),
        purged_at: last_tombstone.map(|last| Timestamp(last.at_ms)),
        retention_ms: positive(auth.settings().audit_retention_ms),
        since,
        recent: found
            .stats
            .recent
            .into_iter()
            .map(|(action, outcome, events)| Count { action, outcome, events })
            .collect(),
    })
}

/// `audit/checkpoint`
pub(super) async fn checkpoint(admin: Arc<Admin>, by: Caller, request: CheckpointRequest) -> Result<Made, Denied> {
    let checkpoint = admin.auth.checkpoint_now(&by.operator(intent!(request))?).await?;
    let anchor = checkpoint.clone().map(|checkpoint| admin.auth.anchor_of(checkpoint).line());
    if let Some(line) = anchor.as_ref().filter(|_| !request.dry_run) {
        tracing::info!(anchor = line, "audit checkpoint");
        // It is made all the same; the file follows within seconds.
        if let Err(fault) = admin.control.keep_anchor().await {
            tracing::warn!(%fault, "the anchor file could not be compared with the database");
        }
    }
    Ok(Made { checkpoint, anchor })
}

/// `audit/purge`
pub(super) async fn purge(admin: Arc<Admin>, by: Caller, request: PurgeRequest) -> Result<Purged, Denied> {
    let trust = if request.confirm_clock { ClockTrust::Confirmed } else { ClockTrust::Ruled };
    let turn = admin.auth.purge_now(&by.operator(intent!(request))?, trust).await?;
    Ok(Purged {
        purged: turn.purged,
        up_to_seq: turn.up_to_seq.map(positive),
        cut_off: Timestamp(turn.cut_off_ms),
        refused: turn.refused,
    })
}

/// `audit/verify`
pub(super) async fn verify(admin: Arc<Admin>, by: Caller, request: VerifyRequest) -> Result<Stream, Denied> {
    let given = request.anchor.as_deref().map(str::parse::<Anchor>).transpose();
    let given = given.map_err(|error| Denied::Malformed(format!("`anchor` is {error}")))?;
    let check = admin.auth.begin_check(&by.reader(), given.into_iter().collect()).await?;
    Ok(streamed(&admin, "audit verify", |admin, writer| async move { run_check(&admin, check, &writer).await }))
}

/// `audit/export`
pub(super) async fn export(admin: Arc<Admin>, by: Caller, request: ExportRequest) -> Result<Stream, Denied> {
    let after = request.after.map(i64::try_from).transpose();
    let after = after.map_err(|_| Denied::Malformed("`after` is no position".to_owned()))?;
    let export = admin.auth.begin_export(&by.reader(), after).await?;
    Ok(streamed(&admin, "audit export", |admin, writer| async move { run_export(&admin, export, &writer).await }))
}

/// An answer that is written until it is complete, nobody reads it any more, or the daemon stops.
fn streamed<F, W>(admin: &Arc<Admin>, name: &'static str, write: F) -> Stream
where
    F: FnOnce(Arc<Admin>, Arc<LineWriter>) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let (writer, lines) = lines::channel();
    let (writer, mut stop) = (Arc::new(writer), admin.stop());
    let work = write(admin.clone(), writer.clone());
    admin.tasks.spawn_brief(name, async move {
        tokio::select! {
            () = stop.wait() => {}
            () = writer.closed() => {}
            () = work => {}
        }
    });
    Stream { position: 0, lines }
}

/// Ends without a report when storage fails: the reader then knows that there is none.
async fn run_check(admin: &Admin, mut check: AuditCheck, writer: &LineWriter) {
    loop {
        let line = match check.step(&admin.auth).await {
            Ok(CheckStep::Under { checked, of }) => Progress { checked, of, report: None },
            Ok(CheckStep::Done(report)) => Progress { checked: report.events, of: report.events, report: Some(report) },
            Err(fault) => return tracing::warn!(%fault, "the check of the audit log was broken off"),
        };
        let is_last = line.report.is_some();
        if writer.write(&line).await.is_err() || is_last {
            return;
        }
    }
}

/// Ends without an end line when storage fails.
async fn run_export(admin: &Admin, mut export: AuditExport, writer: &LineWriter) {
    loop {
        let lines = match export.next(&admin.auth).await {
            Ok(lines) if lines.is_empty() => return,
            Ok(lines) => lines,
            Err(fault) => return tracing::warn!(%fault, "the export of the audit log was broken off"),
        };
        for line in lines {
            if writer.write(&line).await.is_err() {
                return;
            }
        }
    }
}
