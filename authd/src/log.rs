//! Structured logs on standard error: JSON lines, lines for people, or the journal's own fields.
//!
//! Fields of the journal are named like event fields in capitals: `authd_session_id` becomes `AUTHD_SESSION_ID`.
//! Values from outside cannot start a line of their own or move a terminal's cursor.

use crate::config::{LogFormat, LogLevel};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IsTerminal},
};
use tracing::{Subscriber, field::Field, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    field::MakeExt as _,
    filter::Targets,
    fmt::{
        MakeWriter,
        format::{Writer, debug_fn},
        layer,
    },
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
        LogFormat::Json => json(io::stderr).boxed(),
        LogFormat::Auto | LogFormat::Pretty => pretty(io::stderr, io::stderr().is_terminal()).boxed(),
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
    match tracing_journald::layer() {
        // Without a prefix: `journalctl AUTHD_USER_ID=…` works.
        Ok(journal) => Ok(journal.with_field_prefix(None).with_syslog_identifier("authd".to_owned()).boxed()),
        Err(error) if asked == LogFormat::Journald => Err(LogError::Journal(error)),
        Err(_) => Ok(json(io::stderr).boxed()),
    }
}

fn json<S, W>(to: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    layer().json().flatten_event(true).with_writer(to)
}

fn pretty<S, W>(to: W, colours: bool) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let fields = debug_fn(|to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let text = escape(&format!("{value:?}"));
        if field.name() == "message" { write!(to, "{text}") } else { write!(to, "{field}={text}") }
    });
    let fields = fields.delimited(" ");
    layer().with_ansi(colours).with_target(false).fmt_fields(fields).with_writer(to)
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

/// Control characters as escapes: a value stays on its line, and colours come from the formatter only.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
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

    const NASTY: &str = "a\r\n2026-01-01T00:00:00Z INFO forged\u{1b}[2J\u{9b}31m\u{7}";

    #[test]
    fn a_value_from_outside_cannot_forge_a_line_or_move_the_cursor() {
        for colours in [false, true] {
            let buffer = Buffer::default();
            tracing::subscriber::with_default(Registry::default().with(pretty(buffer.maker(), colours)), || {
                tracing::info!(display = %NASTY, debug = ?NASTY, text = NASTY, "message {NASTY}");
            });
            let text = buffer.text();
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(
                text.ends_with('\n') && !text.contains("\u{1b}[2J") && !text.contains(['\r', '\u{7}', '\u{9b}']),
                "{text:?}"
            );
        }
    }

    #[test]
    fn json_is_one_object_a_line_with_its_fields() {
        let buffer = Buffer::default();
        tracing::subscriber::with_default(Registry::default().with(json(buffer.maker())), || {
            tracing::info!(authd_user_id = NASTY, "logged in");
        });
        let text = buffer.text();
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["message"], "logged in");
        assert_eq!(event["authd_user_id"], NASTY);
    }

    #[test]
    fn the_level_can_change_while_the_daemon_runs() {
        let buffer = Buffer::default();
        let (layer, handle) = reload::Layer::new(filter(LogLevel::Info));
        let handle = LogHandle(handle);
        let subscriber = Registry::default().with(layer).with(json(buffer.maker()));
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
