//! Structured logs on standard error: JSON lines, lines for people, or the journal's own fields.
//!
//! Fields of the journal are named like event fields in capitals: `session_id` becomes `AUTHD_SESSION_ID`. Notable
//! events come twice, because the journal's entry has a `MESSAGE_ID` of its own: under the target `authd::journal` with
//! the names that the journal takes as they are, under `authd::notable` for everybody else.
//! Values from outside cannot start a line of their own or move a terminal's cursor.

mod line;

use crate::config::{LogFormat, LogLevel};
use line::Form;
use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
};
use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    Layer, Registry,
    filter::{Targets, filter_fn},
    fmt::{MakeWriter, format::JsonFields, layer},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.format = "journald"` without a journal.
    #[error("log.format is journald, but the journal cannot be reached: {0}")]
    Journal(#[source] io::Error),
    /// Another log was set up before.
    #[error("the log is set up already")]
    Twice,
}

/// Changes the level while the daemon runs.
#[derive(Clone)]
pub struct LogHandle(reload::Handle<Targets, Registry>);

impl LogHandle {
    /// Logs this much from now on.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "the log level could not be changed");
        }
    }
}

/// Starts logging. Call it once.
///
/// # Errors
/// [`LogError`].
pub fn init(format: LogFormat, level: LogLevel, environment: &BTreeMap<String, String>) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(filter(level));
    let registry = Registry::default().with(filter);
    let output = match resolve(format, environment) {
        LogFormat::Journald => journal(format)?,
        LogFormat::Json => lines(io::stderr, Form::Json, NO_COLOURS),
        LogFormat::Auto | LogFormat::Pretty => lines(io::stderr, Form::Pretty, colours(environment)),
    };
    registry.with(output).try_init().map_err(|_| LogError::Twice)?;
    Ok(LogHandle(handle))
}

/// What `auto` means here.
fn resolve(format: LogFormat, environment: &BTreeMap<String, String>) -> LogFormat {
    match format {
        LogFormat::Auto if is_journal(environment) => LogFormat::Journald,
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Pretty,
        LogFormat::Auto => LogFormat::Json,
        other => other,
    }
}

/// Whether standard error is the stream that the service manager connected to the journal (systemd.exec(5)).
fn is_journal(environment: &BTreeMap<String, String>) -> bool {
    let Ok(stat) = nix::sys::stat::fstat(io::stderr()) else { return false };
    environment.get("JOURNAL_STREAM").is_some_and(|stream| *stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

type Output<S> = Box<dyn Layer<S> + Send + Sync>;

fn journal<S>(asked: LogFormat) -> Result<Output<S>, LogError>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    match tracing_journald::layer().and_then(|lines| Ok((lines, tracing_journald::layer()?))) {
        Ok((lines, notable)) => {
            let set_up = |layer: tracing_journald::Layer| {
                layer.with_priority_mappings(PRIORITIES).with_syslog_identifier("authd".to_owned())
            };
            // `journalctl AUTHD_USER_ID=…` works.
            let lines = set_up(lines.with_field_prefix(Some("AUTHD".to_owned())));
            let notable = set_up(notable.with_field_prefix(None));
            let is_line = |meta: &Metadata<'_>| ![NOTABLE, FOR_THE_JOURNAL].contains(&meta.target());
            let is_notable = |meta: &Metadata<'_>| meta.target() == FOR_THE_JOURNAL;
            Ok(lines.with_filter(filter_fn(is_line)).and_then(notable.with_filter(filter_fn(is_notable))).boxed())
        }
        Err(error) if asked == LogFormat::Journald => Err(LogError::Journal(error)),
        Err(_) => Ok(lines(io::stderr, Form::Json, NO_COLOURS)),
    }
}

/// Target of notable events as lines have them.
const NOTABLE: &str = "authd::notable";
/// Target of the same with the names of the journal.
const FOR_THE_JOURNAL: &str = "authd::journal";

/// The same words as in syslog(3); by default an INFO would be a notice.
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

const NO_COLOURS: bool = false;

/// On a terminal, unless `NO_COLOR` is set (no-color.org).
fn colours(environment: &BTreeMap<String, String>) -> bool {
    io::stderr().is_terminal() && environment.get("NO_COLOR").is_none_or(String::is_empty)
}

fn lines<S, W>(to: W, form: Form, colours: bool) -> Output<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Fields of spans are kept as JSON, whatever the lines look like.
    let lines = layer().fmt_fields(JsonFields::new()).event_format(form).with_ansi(colours).with_writer(to);
    lines.with_filter(filter_fn(|meta| meta.target() != FOR_THE_JOURNAL)).boxed()
}

/// Our own events at this level; libraries speak up when something is wrong, or when everything is asked for.
fn filter(level: LogLevel) -> Targets {
    let (own, others) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        // A library at trace level would write what it sends: bodies, SQL values.
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::INFO),
    };
    Targets::new().with_default(others).with_target("authd", own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn maker(&self) -> impl Fn() -> Self + Send + Sync + 'static {
            let buffer = self.clone();
            move || buffer.clone()
        }
    }

    const NASTY: &str = "a\r\n2026-01-01T00:00:00Z INFO forged\u{1b}[2J\u{9b}31m\u{7}\u{7f}\u{2028}\u{202e}";

    /// What is written while `work` runs.
    fn logged(form: Form, colours: bool, work: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let subscriber = Registry::default().with(lines(buffer.maker(), form, colours));
        tracing::subscriber::with_default(subscriber, work);
        buffer.text()
    }

    fn nasty_event() {
        let span = tracing::info_span!("request", of_span = NASTY, shown = %NASTY);
        span.in_scope(|| tracing::info!(display = %NASTY, debug = ?NASTY, text = NASTY, "message {NASTY}"));
    }

    #[test]
    fn a_value_from_outside_cannot_forge_a_line_or_move_the_cursor() {
        for (form, colours) in [(Form::Pretty, false), (Form::Pretty, true), (Form::Json, false)] {
            let text = logged(form, colours, nasty_event);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            let bad = ["\u{1b}[2J", "\r", "\u{7}", "\u{7f}", "\u{9b}", "\u{2028}", "\u{202e}"];
            assert!(text.ends_with('\n') && bad.iter().all(|bad| !text.contains(bad)), "{text:?}");
        }
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_of_event_and_spans_and_nothing_twice() {
        let text = logged(Form::Json, NO_COLOURS, || {
            let outer = tracing::info_span!("connection", client_ip = "192.0.2.1", user_id = tracing::field::Empty);
            outer.record("user_id", "usr_1");
            let inner = outer.in_scope(|| tracing::info_span!("request", request_id = NASTY));
            inner.in_scope(|| tracing::info!(status = 201, shed = true, client_ip = "::1", "POST /x 201"));
        });
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["message"], "POST /x 201");
        assert_eq!((&event["status"], &event["shed"]), (&201.into(), &true.into()));
        assert_eq!((&event["request_id"], &event["user_id"]), (&NASTY.into(), &"usr_1".into()));
        assert_eq!(event["client_ip"], "::1");
        assert_eq!(text.matches("client_ip").count(), 1, "{text}");
        assert!(
            text.starts_with("{\"timestamp\":\"20") && text.contains("Z\",\"level\":\"INFO\",\"message\":"),
            "{text}"
        );
    }

    #[test]
    fn for_people_the_message_comes_first_and_fields_do_not_repeat_it() {
        let text = logged(Form::Pretty, NO_COLOURS, || {
            let span = tracing::info_span!("request", request_id = "r1");
            span.in_scope(|| tracing::warn!(status = 201, route = "/x", agent = "a \"b\"", none = "", "POST /x 201"));
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(time.len(), "2026-11-21T10:16:33.415Z".len());
        assert_eq!(rest, "WARN  POST /x 201 agent=\"a \\\"b\\\"\" none=\"\" request_id=r1\n");
    }

    #[test]
    fn the_level_can_change_while_the_daemon_runs() {
        let buffer = Buffer::default();
        let (layer, handle) = reload::Layer::new(filter(LogLevel::Info));
        let handle = LogHandle(handle);
        let subscriber = Registry::default().with(layer).with(lines(buffer.maker(), Form::Json, NO_COLOURS));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("first");
            handle.set_level(LogLevel::Debug);
            tracing::debug!("second");
            handle.set_level(LogLevel::Error);
            tracing::warn!("third");
        });
        let text = buffer.text();
        assert!(!text.contains("first") && text.contains("second") && !text.contains("third"), "{text}");
    }

    #[test]
    fn a_log_that_is_not_the_journal_is_json_for_machines() {
        let stale = BTreeMap::from([("JOURNAL_STREAM".to_owned(), "1:1".to_owned())]);
        assert!(!is_journal(&stale));
        assert_eq!(resolve(LogFormat::Json, &stale), LogFormat::Json);
    }
}
