//! Writing audit events: always in the transaction of the change they describe.

use crate::{
    domain::{
        audit::{Actor, Event, StoredEvent, Target},
        chain::Notary,
        store_error::StoreError,
    },
    store::{db::Tx, dialect::on_db, error::Stored},
};
use serde_json::{Value, json};
use shared::{
    chain::{Fields, Keyed},
    hex,
};

/// The one tenant there is.
const TENANT: &str = "default";
/// Events in one statement.
const CHUNK: usize = 1_000;
/// How JSON writes the character that no text in a database may have.
const NUL: &str = "\\u0000";

/// An event as columns, in the order of `EVENT` of [`crate::store::dialect::word!`].
struct Columns<'e> {
    event: &'e Event,
    actor_kind: &'static str,
    actor_id: Option<&'e str>,
    actor_uid: Option<i64>,
    actor_login_uid: Option<i64>,
    actor_pid: Option<i64>,
    detail: String,
    mac: [u8; 32],
}

impl<'e> Columns<'e> {
    fn of(event: &'e Event, notary: &dyn Notary) -> Stored<Self> {
        let mut row = Self::unsigned(event)?;
        row.mac = row.keyed(notary).mac(&row.fields());
        Ok(row)
    }

    fn unsigned(event: &'e Event) -> Stored<Self> {
        let (actor_kind, actor_id, uids) = match &event.actor {
            Actor::Anonymous => ("anonymous", None, (None, None, None)),
            Actor::User(id) => ("user", Some(id.as_str()), (None, None, None)),
            Actor::Operator { uid, login_uid, pid } => {
                ("operator", None, (Some(i64::from(*uid)), login_uid.map(i64::from), pid.map(i64::from)))
            }
            Actor::Job(name) => ("job", Some(*name), (None, None, None)),
        };
        let (actor_uid, actor_login_uid, actor_pid) = uids;
        let mut facts: Vec<(&str, &str)> = event.detail.iter().map(|(name, value)| (*name, value.as_str())).collect();
        facts.sort_unstable();
        let detail = serde_json::to_string(&facts).map_err(StoreError::corrupt)?;
        Ok(Self { event, actor_kind, actor_id, actor_uid, actor_login_uid, actor_pid, detail, mac: [0; 32] })
    }

    fn fields(&self) -> Fields<'_> {
        let (target_kind, target_id) = self.target();
        Fields {
            id: self.event.id.as_str(),
            tenant: TENANT,
            at_ms: self.event.at_ms,
            action: self.event.action.as_str(),
            outcome: self.event.outcome.as_str(),
            reason: self.event.reason.as_deref(),
            actor_kind: self.actor_kind,
            actor_id: self.actor_id,
            actor_uid: self.actor_uid,
            actor_login_uid: self.actor_login_uid,
            actor_pid: self.actor_pid,
            target_kind,
            target_id,
            network: self.network(),
            device: self.device(),
            request_id: self.event.request_id.as_deref(),
            detail: &self.detail,
        }
    }

    /// What a MAC is made of before actor and target are known.
    fn keyed(&self, notary: &dyn Notary) -> Keyed {
        Keyed(notary.keyed(&self.fields().known()))
    }

    fn target(&self) -> (Option<&'static str>, Option<&'e str>) {
        self.event.target.as_ref().map(|target| (target.kind, target.id.as_str())).unzip()
    }

    fn network(&self) -> Option<&'e str> {
        self.event.network.as_ref().map(|network| network.as_str())
    }

    fn device(&self) -> Option<&'e str> {
        self.event.device.as_ref().map(|device| device.as_str())
    }

    /// As an array of JSON, first the MAC in hexadecimal digits.
    fn json(&self) -> Value {
        let (target_kind, target_id) = self.target();
        let Event { id, at_ms, action, outcome, reason, request_id, .. } = self.event;
        json!([
            hex::encode(&self.mac),
            id.as_str(),
            at_ms,
            action.as_str(),
            outcome.as_str(),
            reason,
            self.actor_kind,
            self.actor_id,
            self.actor_uid,
            self.actor_login_uid,
            self.actor_pid,
            target_kind,
            target_id,
            self.network(),
            self.device(),
            request_id,
            self.detail,
        ])
    }
}

/// Events as one array a column, for a statement that writes them itself. Those who know actor and target only in SQL
/// leave these arrays out.
#[derive(Default)]
pub(super) struct Arrays<'e> {
    pub(super) id: Vec<&'e str>,
    pub(super) at_ms: Vec<i64>,
    pub(super) action: Vec<&'static str>,
    pub(super) outcome: Vec<&'static str>,
    pub(super) reason: Vec<Option<&'e str>>,
    pub(super) actor_kind: Vec<&'static str>,
    pub(super) actor_id: Vec<Option<&'e str>>,
    pub(super) target_kind: Vec<Option<&'static str>>,
    pub(super) target_id: Vec<Option<&'e str>>,
    pub(super) network: Vec<Option<&'e str>>,
    pub(super) device: Vec<Option<&'e str>>,
    pub(super) request_id: Vec<Option<&'e str>>,
    pub(super) detail: Vec<String>,
    /// For events whose actor and target are in their arrays.
    pub(super) mac: Vec<Vec<u8>>,
    /// For the others: what the statement makes the MAC of.
    pub(super) keyed: Vec<Vec<u8>>,
}

impl<'e> Arrays<'e> {
    /// Takes the events apart. Uid, login uid and pid of operators have no array: operators' changes are transactions.
    pub(super) fn of(notary: &dyn Notary, events: impl IntoIterator<Item = &'e Event>) -> Stored<Self> {
        let mut arrays = Self::default();
        for event in events {
            let row = Columns::unsigned(event)?;
            let keyed = row.keyed(notary);
            arrays.mac.push(keyed.mac(&row.fields()).to_vec());
            arrays.keyed.push(keyed.0.to_vec());
            let (target_kind, target_id) = row.target();
            arrays.id.push(event.id.as_str());
            arrays.at_ms.push(event.at_ms);
            arrays.action.push(event.action.as_str());
            arrays.outcome.push(event.outcome.as_str());
            arrays.reason.push(event.reason.as_deref());
            arrays.actor_kind.push(row.actor_kind);
            arrays.actor_id.push(row.actor_id);
            arrays.target_kind.push(target_kind);
            arrays.target_id.push(target_id);
            arrays.network.push(row.network());
            arrays.device.push(row.device());
            arrays.request_id.push(event.request_id.as_deref());
            arrays.detail.push(row.detail);
        }
        Ok(arrays)
    }
}

/// Writes one event.
pub(super) async fn write(tx: &mut Tx<'_>, event: &Event) -> Stored<()> {
    let row = Columns::of(event, tx.context.notary()?)?;
    let (target_kind, target_id) = row.target();
    on_db!(tx, execute ["INSERT INTO event (" EVENT ")
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"](
        event.id.as_str(), event.at_ms, event.action.as_str(), event.outcome.as_str(), event.reason.as_deref(),
        row.actor_kind, row.actor_id, row.actor_uid, row.actor_login_uid, row.actor_pid, target_kind, target_id,
        row.network(), row.device(), event.request_id.as_deref(), row.detail.as_str(), row.mac.as_slice(),
    ))?;
    Ok(())
}

/// Writes several events: rows of one JSON text, which both databases take in faster than thousands of parameters.
pub(super) async fn write_all(tx: &mut Tx<'_>, events: &[Event]) -> Stored<()> {
    if let [event] = events {
        return write(tx, event).await;
    }
    for chunk in events.chunks(CHUNK) {
        let notary = tx.context.notary()?;
        let rows = chunk.iter().map(|event| Ok(Columns::of(event, notary)?.json())).collect::<Stored<Value>>()?;
        let rows = rows.to_string();
        if rows.contains(NUL) {
            // No database reads it back out of JSON as it was; it may be a parameter on one of them.
            for event in chunk {
                write(tx, event).await?;
            }
            continue;
        }
        on_db!(tx, execute ["INSERT INTO event (" EVENT ")
            SELECT line.value ->> 1, CAST(line.value ->> 2 AS BIGINT), line.value ->> 3, line.value ->> 4,
                line.value ->> 5, line.value ->> 6, line.value ->> 7, CAST(line.value ->> 8 AS BIGINT),
                CAST(line.value ->> 9 AS BIGINT), CAST(line.value ->> 10 AS BIGINT), line.value ->> 11,
                line.value ->> 12, line.value ->> 13, line.value ->> 14, line.value ->> 15, line.value ->> 16, "
            MAC " FROM " LINES](rows.as_str()))?;
    }
    Ok(())
}

/// Writes an event for each of some targets, like the model in all but its id and its target's: a bulk change writes
/// very many, and only what differs goes through JSON.
pub(super) async fn write_each(tx: &mut Tx<'_>, model: &Event, kind: &'static str, targets: &[&str]) -> Stored<()> {
    let mut event = model.clone();
    for chunk in targets.chunks(CHUNK) {
        let mut lines = Vec::with_capacity(chunk.len());
        for target in chunk {
            event.id = tx.event_id(model.at_ms);
            event.target = Some(Target { kind, id: (*target).to_owned() });
            let row = Columns::of(&event, tx.context.notary()?)?;
            lines.push((hex::encode(&row.mac), event.id.to_string(), *target));
        }
        let lines = serde_json::to_string(&lines).map_err(StoreError::corrupt)?;
        let row = Columns::unsigned(&event)?;
        on_db!(tx, execute ["INSERT INTO event (" EVENT ")
            SELECT line.value ->> 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, line.value ->> 2, $12, $13, $14, $15, "
            MAC " FROM " LINES](
            lines.as_str(), event.at_ms, event.action.as_str(), event.outcome.as_str(), event.reason.as_deref(),
            row.actor_kind, row.actor_id, row.actor_uid, row.actor_login_uid, row.actor_pid, kind, row.network(),
            row.device(), event.request_id.as_deref(), row.detail.as_str(),
        ))?;
    }
    Ok(())
}

/// Writes events that were kept elsewhere; those that are there already stay as they are.
pub(super) async fn merge(tx: &mut Tx<'_>, events: &[StoredEvent]) -> Stored<()> {
    for event in events {
        let detail = serde_json::to_string(&event.detail).map_err(StoreError::corrupt)?;
        let notary = tx.context.notary()?;
        let mac = merged(event, &detail).mac(|known| notary.keyed(known));
        on_db!(tx, execute ["INSERT INTO event (" EVENT ")
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
            ON CONFLICT (id) DO NOTHING"](
            event.id.as_str(), event.at_ms, event.action.as_str(), event.outcome.as_str(), event.reason.as_deref(),
            event.actor_kind.as_str(), event.actor_id.as_deref(), event.actor_uid, event.actor_login_uid,
            event.actor_pid, event.target_kind.as_deref(), event.target_id.as_deref(), event.network.as_deref(),
            event.device.as_deref(), event.request_id.as_deref(), detail.as_str(), mac.as_slice(),
        ))?;
    }
    Ok(())
}

fn merged<'a>(event: &'a StoredEvent, detail: &'a str) -> Fields<'a> {
    Fields {
        id: event.id.as_str(),
        tenant: TENANT,
        at_ms: event.at_ms,
        action: &event.action,
        outcome: &event.outcome,
        reason: event.reason.as_deref(),
        actor_kind: &event.actor_kind,
        actor_id: event.actor_id.as_deref(),
        actor_uid: event.actor_uid,
        actor_login_uid: event.actor_login_uid,
        actor_pid: event.actor_pid,
        target_kind: event.target_kind.as_deref(),
        target_id: event.target_id.as_deref(),
        network: event.network.as_deref(),
        device: event.device.as_deref(),
        request_id: event.request_id.as_deref(),
        detail,
    }
}
