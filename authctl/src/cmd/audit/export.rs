//! `authctl audit export`: everything with what proves it, or lines for a log collector.

use crate::{context::Context, error::Error};
use clap::{Args, ValueEnum};
use shared::{
    admin::chain::{Export, ExportRequest},
    chain::export::{EventLine, Line},
};

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// JSON lines with MACs, hashes, checkpoints and public keys: 'audit verify --file' checks them
    Jsonl,
    /// Events in the Common Event Format, which proves nothing
    Cef,
}

/// How to export.
#[derive(Debug, Clone, Args)]
pub struct How {
    /// Form of the lines
    #[arg(long, value_enum, default_value = "jsonl", value_name = "FORMAT")]
    format: ExportFormat,
}

/// Writes the export to standard output.
///
/// # Errors
/// What the call fails with; [`Error::Broken`] when the export ends before its end.
pub(super) async fn run(context: &mut Context<'_>, how: &How) -> Result<(), Error> {
    let wrong = |text: &String| Error::usage(format!("`{text}` is not a position"), "use the `seq` of an event");
    let after = context.flags.after.as_ref().map(|text| text.parse().map_err(|_| wrong(text))).transpose()?;
    let request = ExportRequest { after };
    if context.flags.print_request {
        return context.print_call::<Export>(&request);
    }
    let mut lines = context.client.open::<Export>(&request).await?;
    while let Some(bytes) = lines.next().await? {
        let line: Line = serde_json::from_slice(&bytes).map_err(|error| Error::Answer(error.to_string()))?;
        match (how.format, &line) {
            (ExportFormat::Jsonl, _) => {
                let text = String::from_utf8(bytes).map_err(|error| Error::Answer(error.to_string()))?;
                context.output.raw(&(text + "\n"))?;
            }
            (ExportFormat::Cef, Line::Event(event)) => context.output.raw(&(cef(event) + "\n"))?,
            (ExportFormat::Cef, _) => {}
        }
        if matches!(line, Line::End(_)) {
            return Ok(());
        }
    }
    Err(Error::Broken("the export was broken off: what was written is not complete".to_owned()))
}

/// `ArcSight` Common Event Format, revision 26.
fn cef(event: &EventLine) -> String {
    let severity = match event.outcome.as_str() {
        "ok" => 3,
        "denied" => 6,
        _ => 8,
    };
    let action = header(&event.action);
    let mut line = format!("CEF:0|authd|authd|{}|{action}|{action}|{severity}|", env!("CARGO_PKG_VERSION"));
    let actor = event.actor.id.clone().or_else(|| event.actor.uid.map(|uid| format!("uid:{uid}")));
    let target = event.target.as_ref().and_then(|target| target.id.clone());
    let labelled = [
        ("cs1", "network", event.network.clone()),
        ("cs2", "device", event.device.clone()),
        ("cs3", "requestId", event.request_id.clone()),
        ("cs4", "actorKind", Some(event.actor.kind.clone())),
        ("cs5", "targetKind", event.target.as_ref().and_then(|target| target.kind.clone())),
        ("cs6", "detail", (!event.detail.is_null()).then(|| event.detail.to_string())),
    ];
    let plain = [
        ("rt", Some(event.at_ms.to_string())),
        ("externalId", Some(event.id.clone())),
        ("act", Some(event.action.clone())),
        ("outcome", Some(event.outcome.clone())),
        ("reason", event.reason.clone()),
        ("suser", actor),
        ("duser", target),
        ("cn1", event.seq.map(|seq| seq.to_string())),
        ("cn1Label", event.seq.map(|_| "seq".to_owned())),
    ];
    let mut fields: Vec<String> =
        plain.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", extension(&value?)))).collect();
    for (name, label, value) in labelled {
        if let Some(value) = value {
            fields.push(format!("{name}Label={label} {name}={}", extension(&value)));
        }
    }
    line.push_str(&fields.join(" "));
    line
}

/// Control characters are left as `?`: no collector may take one event for two.
fn printable(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && letter != '\n', "?")
}

fn header(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ")
}

fn extension(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::chain::Entry;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let entry = Entry {
            id: "evt_1".to_owned(),
            seq: Some(7),
            at_ms: 5,
            action: "login.denied".to_owned(),
            outcome: "denied".to_owned(),
            reason: Some("a=b\\\n\u{1b}[31m outcome=ok".to_owned()),
            actor_kind: "anonymous".to_owned(),
            device: Some("x|y".to_owned()),
            detail: "[[\"n\",\"1\"]]".to_owned(),
            ..Entry::default()
        };
        let line = cef(&entry.into());
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            line,
            format!(
                "CEF:0|authd|authd|{version}|login.denied|login.denied|6|rt=5 externalId=evt_1 act=login.denied \
                 outcome=denied reason=a\\=b\\\\\\n?[31m outcome\\=ok cn1=7 cn1Label=seq cs2Label=device cs2=x|y \
                 cs4Label=actorKind cs4=anonymous cs6Label=detail cs6={{\"n\":\"1\"}}"
            )
        );
    }
}
