//! What every command works with: the client, the output and the flags.

use crate::{
    cli::Global,
    client::{Client, runtime_directory, socket::Search},
    error::Error,
    output::{Output, table::Row},
    progress::{Noise, Progress},
    prompt,
    when::{self, Utc},
};
use shared::{
    admin::{Call, DEFAULT_PAGE, MAX_PAGE, Page},
    time::{Span, Timestamp},
};
use std::time::Duration;

/// What every command works with.
pub struct Context<'a> {
    /// Flags that every command takes.
    pub flags: &'a Global,
    /// Where to write.
    pub output: &'a mut Output,
    /// Who to ask.
    pub client: Client,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// What a change carries besides its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// Why.
    pub reason: Option<String>,
    /// Where it was asked for.
    pub ticket: Option<String>,
}

/// How far into a list a request looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Most items in the answer.
    pub limit: Option<u32>,
    /// Cursor.
    pub after: Option<String>,
}

impl<'a> Context<'a> {
    /// Reads the flags that can be wrong.
    ///
    /// # Errors
    /// [`Error::Usage`] for a time that is none.
    pub fn new(flags: &'a Global, output: &'a mut Output) -> Result<Self, Error> {
        let named = flags.socket.clone().filter(|path| !path.as_os_str().is_empty());
        let timeout = flags.timeout.unwrap_or(Span(Duration::from_secs(30)));
        let zone = when::zone(if flags.utc { Utc::Yes } else { Utc::No });
        let now = jiff::Timestamp::from_millisecond(when::now().as_millis())
            .map_err(|error| Error::Answer(error.to_string()))?
            .to_zoned(zone);
        let read = |text: &Option<String>| text.as_deref().map(|text| when::parse(text, &now)).transpose();
        Ok(Self {
            flags,
            output,
            client: Client::new(Search::new(named, runtime_directory()), timeout),
            since: read(&flags.since)?,
            until: read(&flags.until)?,
        })
    }

    /// `--since`.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// `--until`.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Shows how far long work has come, unless `--quiet`.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress::new(if self.flags.quiet { Noise::Unwanted } else { Noise::Wanted })
    }

    /// Makes a call, or only prints it: then there is no answer.
    ///
    /// # Errors
    /// What [`Client::call`] fails with.
    pub async fn call<C: Call>(&mut self, request: &C::Request) -> Result<Option<C::Response>, Error> {
        if self.flags.print_request {
            return self.print_call::<C>(request).map(|()| None);
        }
        self.client.call::<C>(request).await.map(Some)
    }

    /// Prints the call as a line for `curl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn print_call<C: Call>(&mut self, request: &C::Request) -> Result<(), Error> {
        let line = self.client.curl_line(C::PATH, C::ACCESS, request)?;
        self.output.raw(&(line + "\n"))
    }

    /// What this run's change is meant to do: nothing with `--dry-run`.
    #[must_use]
    pub fn intent(&self) -> Intent {
        Intent { dry_run: self.flags.dry_run, reason: self.flags.reason.clone(), ticket: self.flags.ticket.clone() }
    }

    /// Makes a change, or shows with `--dry-run` what it would do.
    ///
    /// # Errors
    /// What [`Client::call`] fails with.
    pub async fn change<C: Call>(
        &mut self,
        build: impl Fn(Intent) -> C::Request,
    ) -> Result<Option<C::Response>, Error> {
        let request = build(self.intent());
        let answer = self.call::<C>(&request).await?;
        self.warn_of_dry_run();
        Ok(answer)
    }

    /// Makes a change that cannot be taken back: tries it dry and asks first, unless told not to.
    /// `question` says what would happen; without one nothing would.
    ///
    /// # Errors
    /// [`Error::Declined`], [`Error::NoTerminal`], or what [`Client::call`] fails with.
    pub async fn change_after_asking<C: Call>(
        &mut self,
        build: impl Fn(Intent) -> C::Request,
        question: impl Fn(&C::Response) -> Option<String>,
    ) -> Result<Option<C::Response>, Error> {
        if self.asks_first() {
            let trial = build(Intent { dry_run: true, ..self.intent() });
            let preview = self.client.call::<C>(&trial).await?;
            if let Some(question) = question(&preview) {
                prompt::confirm(question).await?;
            }
        }
        self.change::<C>(build).await
    }

    /// Whether a destructive command has to ask.
    #[must_use]
    pub fn asks_first(&self) -> bool {
        !(self.flags.yes || self.flags.dry_run || self.flags.print_request)
    }

    /// Says that nothing is changed, when nothing is.
    pub fn warn_of_dry_run(&mut self) {
        if self.flags.dry_run && !self.flags.print_request {
            self.output.warn("dry run: nothing was changed");
        }
    }

    /// Shows a list: as many items as `--limit` says, or all of them.
    ///
    /// # Errors
    /// What [`Client::call`] fails with.
    pub async fn list<C, T>(&mut self, schema: &str, build: impl Fn(Part) -> C::Request) -> Result<(), Error>
    where
        C: Call<Response = Page<T>>,
        T: Row,
    {
        use crate::output::Format;
        let wanted = self.wanted();
        let is_told = self.flags.all || self.flags.limit.is_some();
        let part = Part { limit: is_told.then(|| wanted.min(MAX_PAGE)), after: self.flags.after.clone() };
        let Some(mut page) = self.call::<C>(&build(part)).await? else { return Ok(()) };
        let streams = matches!(self.output.format(), Format::Jsonl | Format::Ids);
        let mut left = wanted.saturating_sub(length(&page.items));
        while let Some(after) = page.next.clone().filter(|_| left > 0) {
            if streams {
                self.output.rows(&page.items)?;
                page.items.clear();
            }
            // The size of a page is not the size of the list, and a page may be short or empty before the end: the
            // daemon looks at so many rows a call and no more.
            let part = Part { limit: Some(left.min(MAX_PAGE)), after: Some(after.clone()) };
            let more = self.client.call::<C>(&build(part)).await?;
            left = left.saturating_sub(length(&more.items));
            page.items.extend(more.items);
            page.next = more.next.filter(|next| *next != after);
        }
        if let (Some(next), Format::Table | Format::Wide) = (&page.next, self.output.format()) {
            let total = page.total.map(|total| format!(" of {total}")).unwrap_or_default();
            let note = format!("{} shown{total}; more with --all or --after {next}", page.items.len());
            self.output.list(schema, &page)?;
            self.output.warn(note);
            return Ok(());
        }
        self.output.list(schema, &page)
    }

    /// How many items are wanted.
    fn wanted(&self) -> u32 {
        self.flags.limit.or(self.flags.all.then_some(u32::MAX)).unwrap_or(DEFAULT_PAGE)
    }
}

fn length<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
