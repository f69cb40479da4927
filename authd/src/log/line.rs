//! One line of the log: the event's fields and those of the spans around it, as JSON or for people.

use serde_json::{Map, Value};
use shared::print::{printable, printable_json};
use std::fmt::{self, Write as _};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormattedFields,
        format::{FormatEvent, JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// How a line is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// One object: `timestamp`, `level`, `message`, then every field at the same level.
    Json,
    /// The message first, then the fields that it does not say itself.
    Pretty,
}

impl<S> FormatEvent<S, JsonFields> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let line = Line::of(context, event)?;
        match self {
            Self::Json => writeln!(writer, "{}", line.json()),
            Self::Pretty if writer.has_ansi_escapes() => writeln!(writer, "{}", line.pretty(&COLOURS)),
            Self::Pretty => writeln!(writer, "{}", line.pretty(&PLAIN)),
        }
    }
}

struct Line {
    time: String,
    level: Level,
    target: &'static str,
    message: String,
    /// Those of the event in their order, then those of its spans from the innermost; the first of a name counts.
    fields: Vec<(String, Value)>,
}

impl Line {
    fn of<S>(context: &FmtContext<'_, S, JsonFields>, event: &Event<'_>) -> Result<Self, fmt::Error>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let text = extensions.get::<FormattedFields<JsonFields>>().map_or("", |fields| fields.fields.as_str());
            serde_json::from_str::<Map<String, Value>>(text)
                .unwrap_or_default()
                .into_iter()
                .for_each(|(name, value)| fields.put(&name, value));
        }
        let metadata = event.metadata();
        let Fields { message, list } = fields;
        Ok(Self { time, level: *metadata.level(), target: metadata.target(), message, fields: list })
    }

    fn json(&self) -> String {
        let level = self.level.as_str();
        let head = [("timestamp", self.time.as_str()), ("level", level), ("message", &self.message)];
        let head = head.into_iter().map(|(name, value)| (name, Value::from(value)));
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let members = head.chain(fields).chain([("target", Value::from(self.target))]);
        let members: Vec<String> = members.map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
        printable_json(&format!("{{{}}}", members.join(",")))
    }

    fn pretty(&self, paint: &Paint) -> String {
        let Paint { dim, end, .. } = paint;
        // To the millisecond: 2026-11-21T10:16:33.415
        let time = self.time.get(..23).unwrap_or(&self.time);
        let (start, level) = (paint.level(self.level), self.level.as_str());
        let mut text = format!("{dim}{time}Z{end} {start}{level:<5}{end} {}", printable(&self.message));
        for (name, value) in &self.fields {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !self.message.split_whitespace().any(|word| word == value) {
                let _ = write!(text, " {dim}{name}={end}{}", quoted(&printable(&value)));
            }
        }
        text
    }
}

/// Collects the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    list: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        if name == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else if !self.list.iter().any(|(present, _)| present == name) {
            self.list.push((name.to_owned(), value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), Value::from(value));
    }
}

/// What a terminal is sent around a word (ECMA-48 §8.3.117).
struct Paint {
    dim: &'static str,
    end: &'static str,
    levels: [&'static str; 4],
}

const PLAIN: Paint = Paint { dim: "", end: "", levels: [""; 4] };
const COLOURS: Paint =
    Paint { dim: "\u{1b}[2m", end: "\u{1b}[0m", levels: ["\u{1b}[31m", "\u{1b}[33m", "\u{1b}[32m", "\u{1b}[34m"] };

impl Paint {
    fn level(&self, level: Level) -> &'static str {
        let [error, warn, info, other] = self.levels;
        match level {
            Level::ERROR => error,
            Level::WARN => warn,
            Level::INFO => info,
            _ => other,
        }
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([' ', '"', '=']) {
        format!("\"{}\"", text.replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}
