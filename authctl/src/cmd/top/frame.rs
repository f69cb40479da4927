//! One frame: the lines of a view, as many and as wide as there is room.

use super::{View, sample::Rate};
use crate::output::{
    look::{Look, name},
    text::{clean, fit, width},
};
use shared::{
    admin::{audit::Event, daemon::StatusReport, limit::Limited},
    time::Span,
};
use std::time::Duration;

/// Lines of the head, and of headings and gaps between the parts.
const FIXED: usize = 14;
/// What rates there are.
const RATES: [&str; 5] = ["logins", "refreshes", "refusals", "requests", "hashes"];

/// The lines of a view; at most `height`, none wider than `columns`.
pub(super) fn lines(view: &View, look: &Look, columns: usize, height: usize) -> Vec<String> {
    let mut lines = head(view, look);
    if height < usize::MAX
        && let Some(first) = lines.first_mut()
    {
        first.push_str("  (q quits)");
    }
    lines.push(String::new());
    lines.extend(RATES.iter().map(|what| rates(what, &view.rates)));
    let room = height.saturating_sub(FIXED);
    let (for_limited, for_events) = share(room, view.limited.len(), view.events.len());
    lines.push(String::new());
    lines.push("LIMITED (last 10 minutes)".to_owned());
    lines.extend(list(&view.limited, for_limited, limited));
    lines.push(String::new());
    lines.push("EVENTS".to_owned());
    lines.extend(list(&view.events, for_events, |event| told(event, look)));
    lines.truncate(height);
    lines.iter().map(|line| fit(line.trim_end(), columns)).collect()
}

/// How many lines each of two lists gets: what one does not need is the other's.
fn share(room: usize, limited: usize, events: usize) -> (usize, usize) {
    let half = room / 2;
    let for_limited = limited.max(1).min(half.max(room.saturating_sub(events.max(1))));
    (for_limited, room.saturating_sub(for_limited))
}

fn list<T>(items: &[T], most: usize, line: impl Fn(&T) -> String) -> Vec<String> {
    if items.is_empty() {
        return vec!["  none".to_owned()];
    }
    items.iter().take(most).map(|item| format!("  {}", line(item))).collect()
}

fn head(view: &View, look: &Look) -> Vec<String> {
    let trouble = |text: &String| format!("NOT ANSWERING, trying again: {}", clean(text));
    let Some(status) = &view.status else {
        return vec![view.trouble.as_ref().map(trouble).unwrap_or_default()];
    };
    let ready = if status.ready { "ready" } else { "NOT READY" };
    let first = format!(
        "authd {}  {ready}  mode {}  {}  since {}",
        clean(&status.version),
        name(status.mode),
        clean(status.listen.as_deref().unwrap_or("-")),
        look.time(status.since),
    );
    let second = match &view.trouble {
        Some(text) => trouble(text),
        None => parts(status),
    };
    vec![first, second, hashing(status), degraded(status)]
}

fn parts(status: &StatusReport) -> String {
    let sessions = status.sessions.live.map_or_else(|| "?".to_owned(), |live| live.to_string());
    format!(
        "database {} {}  redis {}  sessions {sessions}  staged key {}",
        clean(&status.database.kind),
        clean(&status.database.state),
        clean(&status.redis.state),
        if status.keys.staged.is_some() { "yes" } else { "none" },
    )
}

fn hashing(status: &StatusReport) -> String {
    let pool = &status.hashing;
    let full = 20 * usize::try_from(pool.busy).unwrap_or(0) / usize::try_from(pool.workers.max(1)).unwrap_or(1);
    let bar: String = (0..20).map(|place| if place < full { '#' } else { '.' }).collect();
    format!("hashing [{bar}] {} of {} busy, {} waiting", pool.busy, pool.workers, pool.queued)
}

fn degraded(status: &StatusReport) -> String {
    if status.degraded.is_empty() {
        return "degraded: nothing".to_owned();
    }
    let parts: Vec<String> =
        status.degraded.iter().map(|one| clean(&format!("{} ({})", one.part, one.effect))).collect();
    format!("degraded: {}", parts.join("; "))
}

/// `logins       2.5/s  invalid_credentials 0.5  succeeded 2.0`: the frequent first, nothing that does not happen.
fn rates(what: &str, rates: &[Rate]) -> String {
    let mut of: Vec<&Rate> = rates.iter().filter(|rate| rate.what == what).collect();
    // The sum of nothing would be -0.0.
    let total = of.iter().fold(0.0, |total, rate| total + rate.per_second);
    of.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
    let each = of.iter().filter(|rate| rate.per_second > 0.0 && !rate.which.is_empty());
    let each: Vec<String> = each.map(|rate| format!("{} {:.1}", clean(&rate.which), rate.per_second)).collect();
    format!("{what:<10}{:>8}/s  {}", format!("{total:.1}"), each.join("  "))
}

fn limited(limited: &Limited) -> String {
    let seconds = u64::try_from(limited.wait.as_millis()).unwrap_or(0).div_ceil(1_000);
    let wait = if seconds == 0 { String::new() } else { format!("  next in {}", Span(Duration::from_secs(seconds))) };
    let counted = match limited.would_refuse {
        0 => String::new(),
        count => format!("  {count} only counted"),
    };
    let policy = padded(clean(&limited.policy), 20);
    format!("{policy}  {}  {} refused{counted}{wait}", padded(clean(&limited.key), 32), limited.refused)
}

fn told(event: &Event, look: &Look) -> String {
    let about = event.target.as_ref().map(|target| clean(&target.id)).unwrap_or_default();
    let reason = event.reason.as_deref().map(clean).unwrap_or_default();
    let at = padded(look.time(event.at), 8);
    format!("{at}  {}  {about}  {reason}", padded(clean(&event.action), 18))
}

fn padded(mut text: String, columns: usize) -> String {
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&text))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(limited: usize, events: usize) -> View {
        let status = serde_json::json!({
            "version": "1", "ready": true, "since": "2026-11-20T08:00:00Z", "listen": "127.0.0.1:1", "mode": "normal",
            "database": {"kind": "sqlite", "state": "up"}, "redis": {"state": "off"},
            "keys": {"active": "key_1", "staged": null}, "sessions": {"live": 7},
            "hashing": {"workers": 4, "busy": 2, "queued": 0, "evaluated": 0}, "degraded": [], "problems": [],
        });
        let one_limited = serde_json::json!({
            "policy": "login.ip", "key": "192.0.2.1\u{1b}[2J", "wait": "2s", "since": "2026-11-20T08:00:00Z",
            "last": "2026-11-20T08:00:00Z", "refused": 4, "would_refuse": 0,
        });
        let event = serde_json::json!({
            "id": shared::id::EventId::new(1, [0; 10]), "seq": 1, "at": "2026-11-20T08:00:00Z",
            "action": "session.replayed", "outcome": "denied", "reason": null,
            "actor": {"kind": "anonymous", "id": null, "uid": null, "login_uid": null, "pid": null},
            "target": null, "network": null, "device": null, "request_id": null, "tenant": null, "detail": null,
        });
        View {
            status: Some(serde_json::from_value(status).unwrap()),
            rates: vec![Rate { what: "logins".to_owned(), which: "succeeded".to_owned(), per_second: 2.5 }],
            limited: vec![serde_json::from_value(one_limited).unwrap(); limited],
            events: vec![serde_json::from_value(event).unwrap(); events],
            trouble: None,
        }
    }

    #[test]
    fn a_frame_fits_a_small_terminal_whatever_it_shows() {
        for (limited, events) in [(0, 0), (1, 20), (20, 1), (20, 20)] {
            let lines = lines(&view(limited, events), &Look::default(), 80, 24);
            assert!(lines.len() <= 24 && lines.iter().all(|line| width(line) <= 80), "{lines:#?}");
            assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:#?}");
            let heading = lines.iter().position(|line| line == "EVENTS").unwrap();
            assert!(heading + 1 < lines.len(), "there is a line for events: {lines:#?}");
        }
        assert_eq!(lines(&view(20, 20), &Look::default(), 80, 24).len(), 24);
    }

    #[test]
    fn a_daemon_that_is_away_is_said_over_what_was_seen_before() {
        let away = View { trouble: Some("gone".to_owned()), ..view(0, 0) };
        let lines = lines(&away, &Look::default(), 80, 24);
        assert!(lines.iter().any(|line| line.contains("NOT ANSWERING") && line.contains("gone")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("logins")), "{lines:#?}");
    }

    #[test]
    fn rates_name_what_happens_and_how_often() {
        let all = view(0, 0).rates;
        assert_eq!(rates("logins", &all), "logins         2.5/s  succeeded 2.5");
        assert_eq!(rates("requests", &all).trim_end(), "requests       0.0/s");
    }

    #[test]
    fn room_goes_to_the_list_that_needs_it() {
        assert_eq!(share(11, 0, 20), (1, 10));
        assert_eq!(share(11, 20, 1), (10, 1));
        assert_eq!(share(11, 20, 20), (5, 6));
    }
}
