//! `authctl why`: what happened, and which rule decided.

use crate::{
    context::Context,
    error::Error,
    output::{
        Format,
        look::Look,
        text::{clean, wrap},
    },
};
use serde_json::Value;
use shared::admin::why::{Explanation, Next, Request, Why};

/// Explains a session, an account, a request or an address.
///
/// # Errors
/// [`Error::Refused`] as 404 when nothing is known of it, saying where was looked.
pub(super) async fn run(context: &mut Context<'_>, subject: String) -> Result<(), Error> {
    let Some(explained) = context.call::<Why>(&Request { subject }).await? else { return Ok(()) };
    match context.output.format() {
        Format::Json => context.output.document("why", &explained, Value::Null),
        Format::Jsonl => context.output.raw(&crate::output::json::lines(&[&explained])?),
        Format::Ids => {
            let events = explained.story.iter().filter_map(|step| step.event.as_ref());
            let ids: String = events.map(|id| format!("{id}\n")).collect();
            context.output.raw(&ids)
        }
        Format::Table | Format::Wide => {
            let columns = context.output.columns_of_text();
            let text = told(&explained, context.output.look(), columns);
            context.output.raw(&text)
        }
    }
}

/// The story for people, in lines of at most `width` columns.
fn told(explained: &Explanation, look: &Look, width: usize) -> String {
    let mut text = String::new();
    let mut paragraph = |indent: usize, first: &str, body: &str| {
        let lines = wrap(&clean(body), width.saturating_sub(indent).max(20));
        for (number, line) in lines.iter().enumerate() {
            let head = if number == 0 { first } else { "" };
            text.push_str(format!("{head:indent$}{line}").trim_end());
            text.push('\n');
        }
    };
    let rule = explained.rule.as_ref().map(|rule| format!(" [{rule}]")).unwrap_or_default();
    paragraph(0, "", &format!("{}{rule}", explained.verdict));
    let times: Vec<String> =
        explained.story.iter().map(|step| step.at.map_or_else(|| "now".to_owned(), |at| look.time(at))).collect();
    let indent = times.iter().map(String::len).max().unwrap_or(0) + 4;
    if !times.is_empty() {
        paragraph(0, "", "");
    }
    for (step, time) in explained.story.iter().zip(&times) {
        let rule = step.rule.as_ref().map(|rule| format!(" [{rule}]")).unwrap_or_default();
        paragraph(indent, &format!("  {time}"), &format!("{}{rule}", step.what));
    }
    if !explained.next.is_empty() {
        paragraph(0, "", "");
    }
    // A command stays on one line, however long: it is there to be copied.
    let next = |next: &Next| format!("next: {}\n      {}\n", clean(&next.command), clean(&next.purpose));
    text.extend(explained.next.iter().map(next));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_told_in_order_and_cannot_steer_a_terminal() {
        let explained: Explanation = serde_json::from_value(serde_json::json!({
            "subject": {"kind": "session", "id": "ses_1"}, "verdict": "the session ended", "rule": "R3",
            "story": [
                {"at": "2026-11-20T08:00:00Z", "what": "opened, device \u{1b}[2J", "rule": null, "event": null},
                {"at": null, "what": "the mode is lockdown", "rule": "mode", "event": null},
            ],
            "next": [{"command": "authctl audit list --target ses_1", "purpose": "every event"}],
        }))
        .unwrap();
        let expected = "the session ended [R3]\n\n  2026-11-20T08:00:00Z  opened, device \\u{1b}[2J\n  \
             now                   the mode is lockdown [mode]\n\n\
             next: authctl audit list --target ses_1\n      every event\n";
        assert_eq!(told(&explained, &Look::default(), 80), expected);
        assert!(told(&explained, &Look::default(), 50).lines().all(|line| line.len() <= 50));
    }
}
