//! Two hundred requests a second of clients that keep their connection and of clients that do not.

use super::Lab;
use serde_json::json;
use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};
use tests::{
    client::{Call, Client, PASSWORD, Tokens},
    kept::Kept,
    process::crowding,
    wire::{Answer, Lost},
};
use tokio::{task::JoinSet, time::interval};

/// Clients, each with five requests a second.
const CLIENTS: usize = 40;
const PERIOD: Duration = Duration::from_millis(200);
/// Requests a second that there must have been: the others waited for a daemon to start when the load ended.
const RATE: f64 = 150.0;
/// Clients whose connection idles longer than a stopping daemon waits for a last request.
const IDLERS: usize = 4;
const IDLE_PERIOD: Duration = Duration::from_millis(1_700);
/// For all clients to log in, on a busy machine.
const LOGGED_IN: Duration = Duration::from_secs(60);
/// How long the load runs before and after what is done under it.
const MARGIN: Duration = Duration::from_secs(4);
/// What may be said instead of an answer, if it says when to come again.
const UNAVAILABLE: [&str; 3] = ["STORAGE_UNAVAILABLE", "OVERLOADED", "READ_ONLY"];

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
enum Work {
    Verify,
    Refresh,
    Login,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: usize,
    pub(super) unavailable: usize,
    /// Connections that clients which keep theirs had to open.
    pub(super) reopened: usize,
    pub(super) failures: Vec<String>,
    pub(super) slowest: Duration,
    pub(super) took: Duration,
}

impl Tally {
    /// Requests a second.
    fn rate(&self) -> f64 {
        (self.answered + self.unavailable) as f64 / self.took.as_secs_f64()
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.unavailable += other.unavailable;
        self.reopened += other.reopened;
        self.failures.extend(other.failures);
        self.slowest = self.slowest.max(other.slowest);
    }

    fn count(&mut self, work: Work, result: Result<Answer, Lost>, took: Duration) -> Option<Answer> {
        self.slowest = self.slowest.max(took);
        match result {
            Ok(answer) if answer.status == 200 => {
                self.answered += 1;
                return Some(answer);
            }
            Ok(answer) if is_documented(&answer) => self.unavailable += 1,
            Ok(answer) => self.failures.push(format!("{work:?}: {answer}")),
            Err(Lost(why)) => self.failures.push(format!("{work:?}: {why}")),
        }
        None
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} answered, {} told 503 with Retry-After, {} failed or refused in {:.1} s ({:.0} a second); slowest {} ms",
            self.answered,
            self.unavailable,
            self.failures.len(),
            self.took.as_secs_f64(),
            self.rate(),
            self.slowest.as_millis()
        )
    }
}

fn is_documented(answer: &Answer) -> bool {
    answer.status == 503 && answer.header("retry-after").is_some() && UNAVAILABLE.contains(&answer.code().as_str())
}

/// One client with a session of its own.
struct User {
    client: Client,
    email: String,
    tokens: Tokens,
    work: Work,
    /// `None`: a connection for each request.
    kept: Option<Kept>,
    period: Duration,
}

impl User {
    async fn new(client: Client, number: usize) -> Self {
        let email = format!("load{number}@example.org");
        let registered = client.try_register(&json!({ "email": email, "password": PASSWORD })).await;
        let tokens = match registered.status {
            201 => Tokens::of(&registered),
            _ => client.login(&email).await,
        };
        let work = match number % 20 {
            0..12 => Work::Verify,
            12..19 => Work::Refresh,
            _ => Work::Login,
        };
        let is_idler = number >= CLIENTS;
        let kept = (is_idler || number < CLIENTS / 2).then(Kept::default);
        Self { client, email, tokens, work, kept, period: if is_idler { IDLE_PERIOD } else { PERIOD } }
    }

    fn call(&self) -> Call {
        match self.work {
            Work::Verify => self.client.get("/api/auth/verify").bearer(&self.tokens.access),
            Work::Refresh => self.client.refresh_call(&self.tokens.refresh),
            Work::Login => self.client.post("/api/auth/login", &json!({ "email": self.email, "password": PASSWORD })),
        }
    }

    async fn run(mut self, until: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        let mut ticks = interval(self.period);
        while !until.load(Ordering::SeqCst) {
            ticks.tick().await;
            let (call, began) = (self.call(), Instant::now());
            let result = match &mut self.kept {
                Some(kept) => kept.send(&call).await,
                None => call.try_send().await,
            };
            let answer = tally.count(self.work, result, began.elapsed());
            if let (Work::Refresh, Some(answer)) = (self.work, answer) {
                self.tokens = Tokens::of(&answer);
            }
        }
        tally.reopened = self.kept.map_or(0, |kept| kept.opened.saturating_sub(1));
        tally
    }
}

/// None was refused and none was lost, and there was a load.
pub(super) fn judge(lab: &mut Lab, title: &str, tally: &Tally) {
    println!("    {tally}");
    assert!(tally.failures.is_empty(), "{tally}\n{}", tally.failures.join("\n"));
    assert!(tally.rate() * crowding() >= RATE && tally.reopened > 0, "no such load: {tally:?}");
    lab.note(title, &tally.to_string());
}

/// Runs the load in the machine's network while `action` is done.
pub(super) fn during(lab: &Lab, action: impl FnOnce()) -> Tally {
    static STOP: AtomicBool = AtomicBool::new(false);
    STOP.store(false, Ordering::SeqCst);
    let (started, start) = channel();
    thread::scope(|scope| {
        let load = scope.spawn(|| lab.with_client(|client| clients(client, &STOP, started)));
        start.recv_timeout(LOGGED_IN).expect("every client logs in");
        thread::sleep(MARGIN);
        action();
        thread::sleep(MARGIN);
        STOP.store(true, Ordering::SeqCst);
        load.join().expect("the load runs to its end")
    })
}

async fn clients(client: Client, until: &'static AtomicBool, started: Sender<()>) -> Tally {
    let mut users = Vec::new();
    for number in 0..CLIENTS + IDLERS {
        users.push(User::new(client, number).await);
    }
    started.send(()).expect("somebody waits for it");
    let began = Instant::now();
    let mut set = JoinSet::new();
    for user in users {
        set.spawn(user.run(until));
    }
    let mut tally = Tally::default();
    while let Some(one) = set.join_next().await {
        tally.add(one.expect("a client runs to its end"));
    }
    Tally { took: began.elapsed(), ..tally }
}
