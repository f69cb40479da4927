//! Many people at once: let loose, called back, asked.

use crate::{
    daemon::Daemon,
    history::{
        person::{Person, Place},
        recorder::Recorder,
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// What a daemon needs so that its histories can be judged: every rotation in the audit, the ids of requests taken
/// over from the test, and times and limits that do not end a session on their own.
pub const CONFIG: &str = r#"
[server]
trusted_proxies = ["127.0.0.1/32"]

[audit]
refresh = "all"

[session]
grace = "60s"
max_per_account = 1000

[token]
access_ttl = "1h"

[limit."login.account"]
burst = 84
"#;

/// How long somebody waits for an answer when all is well.
const CALM: Duration = Duration::from_secs(20);

/// People with a recorder.
#[derive(Debug)]
pub struct Crowd {
    people: Vec<Person>,
    recorder: Arc<Recorder>,
    patience: Duration,
}

/// People at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Person>,
}

impl Crowd {
    /// So many people; each waits for an answer as long as `patience` while they are let loose.
    #[must_use]
    pub fn new(size: u64, seed: u64, patience: Duration) -> Self {
        let recorder = Arc::new(Recorder::default());
        let person = |number| {
            let seed = seed.wrapping_mul(31).wrapping_add(number);
            Person::new(&format!("person{number}"), seed, recorder.clone())
        };
        Self { people: (0..size).map(person).collect(), recorder, patience }
    }

    /// What they did.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Tells everybody where the daemons are now.
    pub fn reach(&mut self, daemons: &[&Daemon]) {
        let place = |daemon: &&Daemon| Place { client: daemon.client(), admin: daemon.admin() };
        let places: Vec<Place> = daemons.iter().map(place).collect();
        for person in &mut self.people {
            person.places.clone_from(&places);
        }
    }

    /// Lets everybody loose.
    #[must_use]
    pub fn begin(&mut self) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for mut person in self.people.drain(..) {
            let stop = stop.clone();
            person.patience = self.patience;
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    person.act().await;
                }
                person
            });
        }
        Load { stop, tasks }
    }

    /// Calls everybody back, when they are done with what they are about.
    pub async fn end(&mut self, load: Load) {
        load.stop.store(true, Ordering::SeqCst);
        self.people = load.tasks.join_all().await;
    }

    /// Everybody resolves what is in doubt, and compares.
    pub async fn settle(&mut self) {
        self.each(|mut person| async move {
            person.settle().await;
            person
        })
        .await;
    }

    /// Everybody presents every token of their account and starts another.
    pub async fn present_everything(&mut self) {
        self.each(|mut person| async move {
            person.present_everything().await;
            person
        })
        .await;
    }

    /// Everybody presents every token they ever had.
    pub async fn present_the_past(&mut self) {
        self.each(|mut person| async move {
            person.present_the_past().await;
            person
        })
        .await;
    }

    /// Runs `work` for everybody, who now have all the time they need.
    async fn each<F: Future<Output = Person> + Send + 'static>(&mut self, work: impl Fn(Person) -> F) {
        for person in &mut self.people {
            person.patience = CALM;
        }
        let tasks: JoinSet<Person> = self.people.drain(..).map(work).collect();
        self.people = tasks.join_all().await;
    }
}
