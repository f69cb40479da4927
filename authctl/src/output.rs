//! What goes to standard output and standard error, in every form that `-o` names.

pub mod json;
pub mod look;
pub mod table;
pub mod text;

use crate::{cli::Color, cli::Global, client::Asked, error::Error};
use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use look::Look;
use serde::Serialize;
use serde_json::{Value, json};
use shared::admin::Page;
use std::io::{self, IsTerminal, Write};
use table::{Row, Sheet};
use text::clean;

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A table as wide as the terminal (80 columns where there is none).
    #[default]
    Table,
    /// A table with every column, as wide as it needs to be.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON value a line.
    Jsonl,
    /// One id a line.
    Ids,
}

/// Where a command writes.
pub struct Output {
    format: Format,
    quiet: bool,
    no_headers: bool,
    columns: Vec<String>,
    look: Look,
    width: usize,
    /// Of the terminal that standard error is.
    stderr_width: Option<usize>,
    warnings: Vec<String>,
    has_document: bool,
    has_header: bool,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
}

/// What a change did, in every form.
pub struct Done<'a, T> {
    /// Noun and verb: `user.disable`.
    pub schema: &'a str,
    /// For programs.
    pub data: &'a T,
    /// For `-o ids`.
    pub ids: Vec<String>,
    /// For people; one element a line.
    pub lines: Vec<String>,
    /// What they need even with `-q`, such as a token that is shown once.
    pub needed: Vec<String>,
}

impl Output {
    /// Standard output and error as the flags want them.
    #[must_use]
    pub fn new(flags: &Global) -> Self {
        let choice = match flags.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self {
            quiet: flags.quiet,
            no_headers: flags.no_headers,
            columns: flags.columns.clone(),
            look: Look::of(flags),
            width: table_width(),
            stderr_width: stderr_width(),
            stdout: Box::new(AutoStream::new(io::stdout(), choice)),
            stderr: Box::new(AutoStream::new(io::stderr(), choice)),
            ..Self::plain(flags.output)
        }
    }

    /// Standard output and error without any flags.
    #[must_use]
    pub fn plain(format: Format) -> Self {
        Self {
            format,
            quiet: false,
            no_headers: false,
            columns: Vec::new(),
            look: Look::default(),
            width: 80,
            stderr_width: stderr_width(),
            warnings: Vec::new(),
            has_document: false,
            has_header: false,
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
        }
    }

    /// The form of the output.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// How values are shown.
    #[must_use]
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// Shows absolute times from now on, for output that stays on the screen.
    pub fn use_absolute_times(&mut self) {
        self.look = self.look.absolute();
    }

    /// Shows these columns unless others were asked for.
    pub fn choose_columns(&mut self, names: &[&str]) {
        if self.columns.is_empty() {
            self.columns = names.iter().map(|name| (*name).to_owned()).collect();
        }
    }

    /// Says something beside the data: at once on standard error, or in the JSON document to come.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.format == Format::Json && !self.has_document {
            self.warnings.push(text);
        } else if !self.quiet {
            self.say(&format!("note: {text}"));
        }
    }

    /// Shows progress to a person; never part of the data.
    pub fn say(&mut self, text: &str) {
        // Standard error that cannot be written to has nobody to tell.
        let text = match self.stderr_width {
            Some(columns) => text::wrap(&clean(text), columns).join("\n"),
            None => clean(text),
        };
        drop(writeln!(self.stderr, "{text}"));
    }

    /// Shows progress unless it is unwanted.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Writes a line for people below a table; other forms have it in their data.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn advise(&mut self, line: &str) -> Result<(), Error> {
        match self.format {
            Format::Table if !self.quiet => {
                let columns = self.columns_of_text();
                let text =
                    if io::stdout().is_terminal() { text::wrap(line, columns).join("\n") } else { line.to_owned() };
                self.raw(&(text + "\n"))
            }
            Format::Table | Format::Wide | Format::Json | Format::Jsonl | Format::Ids => Ok(()),
        }
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// [`Error::Io`] when standard output cannot be written.
    pub fn raw(&mut self, text: &str) -> Result<(), Error> {
        self.has_document = true;
        self.stdout.write_all(text.as_bytes())?;
        Ok(self.stdout.flush()?)
    }

    /// Writes a list.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Usage`] for an unknown column.
    pub fn list<T: Row>(&mut self, schema: &str, page: &Page<T>) -> Result<(), Error> {
        match self.format {
            Format::Json => {
                let paging = json!({"next": page.next, "total": page.total, "total_exact": page.total_exact});
                self.document(schema, &page.items, paging)
            }
            Format::Jsonl | Format::Ids | Format::Table | Format::Wide => {
                let is_seen = matches!(self.format, Format::Table | Format::Wide) && self.stderr_width.is_some();
                if is_seen && page.items.is_empty() {
                    self.note("note: there is nothing to list");
                }
                self.rows(&page.items)
            }
        }
    }

    /// Writes a part of a stream: without an end, a table with its header once and with columns that stay in place.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn stream<T: Row>(&mut self, items: &[T]) -> Result<(), Error> {
        if let Format::Table | Format::Wide = self.format {
            let sheet = Sheet::of_stream(items, &self.columns, &self.look, self.room())?;
            return self.sheet(&sheet, items.is_empty());
        }
        self.rows(items)
    }

    /// Writes a part of a list.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn rows<T: Row>(&mut self, items: &[T]) -> Result<(), Error> {
        let text = match self.format {
            Format::Json | Format::Jsonl => json::lines(items)?,
            Format::Ids => items.iter().map(|item| clean(&item.id()) + "\n").collect(),
            Format::Table | Format::Wide => {
                let sheet = Sheet::new(items, &self.columns, &self.look, self.room())?;
                return self.sheet(&sheet, items.is_empty());
            }
        };
        self.raw(&text)
    }

    fn sheet(&mut self, sheet: &Sheet, is_empty: bool) -> Result<(), Error> {
        let with_header = !self.no_headers && !self.has_header && !is_empty;
        self.has_header |= with_header;
        let text = if with_header { sheet.with_header() } else { sheet.body() };
        self.raw(&text)
    }

    /// Writes one thing: a table shows it as one line a field.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn item<T: Row>(&mut self, schema: &str, item: &T) -> Result<(), Error> {
        match self.format {
            Format::Json => self.document(schema, item, Value::Null),
            Format::Jsonl => self.raw(&json::lines(std::slice::from_ref(item))?),
            Format::Ids => self.raw(&(clean(&item.id()) + "\n")),
            Format::Table | Format::Wide => {
                let text = table::upright(item, &self.columns, &self.look, self.room())?;
                self.raw(&text)
            }
        }
    }

    /// Writes what a change did.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn done<T: Serialize>(&mut self, done: &Done<'_, T>) -> Result<(), Error> {
        match self.format {
            Format::Json => self.document(done.schema, done.data, Value::Null),
            Format::Jsonl => self.raw(&json::lines(&[done.data])?),
            Format::Ids => self.raw(&done.ids.iter().map(|id| clean(id) + "\n").collect::<String>()),
            Format::Table | Format::Wide => {
                let lines = if self.quiet { &done.needed } else { &done.lines };
                self.raw(&lines.iter().map(|line| clean(line) + "\n").collect::<String>())
            }
        }
    }

    /// Writes one JSON document of the envelope that all commands share.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn document<T: Serialize + ?Sized>(&mut self, schema: &str, data: &T, page: Value) -> Result<(), Error> {
        let warnings = std::mem::take(&mut self.warnings);
        self.raw(&json::envelope(schema, data, page, &warnings)?)
    }

    /// Says on standard error what went wrong and what to do next; with `-o json` the program learns it on standard
    /// output too, unless a document is there already. Returns the exit code.
    #[must_use]
    pub fn report(&mut self, error: &Error) -> u8 {
        self.report_about(error, None, Asked::ToTell)
    }

    /// As [`Self::report`], for somebody who used this noun and asked the daemon for this.
    #[must_use]
    pub fn report_about(&mut self, error: &Error, noun: Option<&str>, asked: Asked) -> u8 {
        let hint = error.hint_about(noun, asked);
        if error.is_closed_pipe() {
            return 0;
        }
        if self.stderr_width.is_some() {
            self.say(&format!("error: {}", error.line()));
            self.say(&format!("hint: {hint}"));
        } else {
            // One line: logs and scripts keep the two together.
            self.say(&format!("error: {}; hint: {hint}", error.line()));
        }
        if self.format == Format::Json && !self.has_document {
            // The exit code and standard error have said it already.
            drop(json::error(error, &hint).and_then(|text| self.raw(&text)));
        }
        error.exit().code()
    }

    /// Columns of a table: those of the terminal, or as many as it wants with `-o wide`.
    #[must_use]
    pub fn columns_of_table(&self) -> usize {
        self.room()
    }

    /// Columns for running text: those of the terminal, 100 at most, which is as long as lines are read well; with
    /// `-o wide` nothing is broken.
    #[must_use]
    pub fn columns_of_text(&self) -> usize {
        if self.format == Format::Wide { usize::MAX } else { self.width.min(100) }
    }

    fn room(&self) -> usize {
        if self.format == Format::Wide { usize::MAX } else { self.width }
    }
}

/// Columns of the terminal that standard error is, as long as lines are read well.
fn stderr_width() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(io::stderr())?;
    Some(usize::from(columns).min(100)).filter(|columns| *columns >= 20)
}

/// Columns of the terminal; of `COLUMNS` or 80 where there is none.
fn table_width() -> usize {
    let named = || std::env::var("COLUMNS").ok()?.parse::<usize>().ok();
    let measured = || {
        let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(columns))
    };
    let width = if io::stdout().is_terminal() { measured().or_else(named) } else { named() };
    width.filter(|columns| *columns >= 20).unwrap_or(80)
}
