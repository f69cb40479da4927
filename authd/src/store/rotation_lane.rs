//! Routine rotations that wait at the same moment share a statement: on PostgreSQL a commit costs more than the work.
//!
//! A lone call goes at once, and under load a statement carries what came while the one before it was away. One is
//! under way at a time, because few large ones cost less than many small ones; one that is slow lets the next lane go.

use crate::{
    domain::{
        session::{Rotate, Rotated},
        tally::StorageWork,
        token::Handle,
    },
    store::{
        db::{Budget, Db},
        error::{Stored, unknown},
        session_rotate,
        session_routine::Asked,
    },
};
use std::{
    collections::{HashMap, hash_map::Entry},
    pin::pin,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Statements under way at once, when they are slow.
const LANES: usize = 4;
/// How long a statement may be under way alone.
const ALONE: Duration = Duration::from_millis(5);
/// Calls that may wait; beyond, a caller waits for its place and is refused in the end.
const QUEUE: usize = 1024;
/// Calls that may share a statement.
const GROUP: usize = 64;

/// A call and whom to tell.
struct Waiting {
    asked: Asked,
    caller: oneshot::Sender<Stored<Option<Rotated>>>,
}

impl Waiting {
    fn answer(self, answer: Stored<Option<Rotated>>) {
        // The caller may have left; what was done stands all the same (R9).
        let _ = self.caller.send(answer);
    }
}

/// How many calls of each family are being decided under its lock. What comes later for the family goes the same way:
/// overtaking them, it would make a lost reply that is asked for again look like a replay.
#[derive(Clone, Default)]
struct Deciding(Arc<std::sync::Mutex<HashMap<Handle, usize>>>);

impl Deciding {
    fn families(&self) -> MutexGuard<'_, HashMap<Handle, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, handle: Handle) {
        *self.families().entry(handle).or_default() += 1;
    }

    fn end(&self, handle: Handle) {
        if let Entry::Occupied(mut calls) = self.families().entry(handle) {
            *calls.get_mut() -= 1;
            if *calls.get() == 0 {
                calls.remove();
            }
        }
    }
}

/// The way to the lanes; they end with it.
pub(super) struct Lanes {
    queue: mpsc::Sender<Waiting>,
    db: Db,
}

impl Lanes {
    pub(super) fn start(db: &Db) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let inbox = Arc::new(Mutex::new(inbox));
        let deciding = Deciding::default();
        for _ in 0..LANES {
            let (db, inbox, deciding) = (db.clone(), inbox.clone(), deciding.clone());
            #[expect(clippy::disallowed_methods, reason = "it ends with the queue; closing waits for what it changes")]
            tokio::spawn(async move {
                let lane = || {
                    let (db, inbox, deciding) = (db.clone(), inbox.clone(), deciding.clone());
                    tokio::spawn(async move { serve(&db, &inbox, &deciding).await })
                };
                while let Err(cause) = lane().await {
                    if cause.is_cancelled() {
                        return;
                    }
                    tracing::error!(%cause, "a lane of rotations died and is replaced");
                }
            });
        }
        Self { queue, db: db.clone() }
    }

    /// Rotates, retries or ends a family, whatever becomes of the caller; `None` when there is no such family.
    pub(super) async fn rotate(&self, call: Arc<Rotate>) -> Stored<Option<Rotated>> {
        let context = &self.db.context;
        let asked = Asked { call, until: context.until(Budget::Statement) };
        // Whoever is refused here is refused there too: nothing happens after `until`.
        let bound = Budget::Until(asked.until).of(context);
        let (caller, answer) = oneshot::channel();
        let way = async {
            self.queue.send(Waiting { asked, caller }).await.map_err(|_| unknown("the lanes have ended"))?;
            answer.await.unwrap_or_else(|_| Err(unknown("the lane has ended")))
        };
        let begun_us = context.clock.monotonic_us();
        let late = || context.track(StorageWork::Write, begun_us, Err(unknown("the database did not answer in time")));
        tokio::time::timeout(bound, way).await.unwrap_or_else(|_| late())
    }
}

async fn serve(db: &Db, inbox: &Mutex<mpsc::Receiver<Waiting>>, deciding: &Deciding) {
    let mut group: Vec<Waiting> = Vec::with_capacity(GROUP);
    loop {
        let mut turn = inbox.lock().await;
        if turn.recv_many(&mut group, GROUP).await == 0 {
            return;
        }
        let behind = {
            let families = deciding.families();
            group.extract_if(.., |waiting| families.contains_key(&waiting.asked.call.handle)).collect::<Vec<_>>()
        };
        for waiting in behind {
            decide(db, waiting, deciding).await;
        }
        if group.is_empty() {
            continue;
        }
        let calls: Vec<Asked> = group.iter().map(|waiting| waiting.asked.clone()).collect();
        let mut statement = pin!(session_rotate::routine(db, Budget::Statement, calls));
        let alone = tokio::time::timeout(ALONE, &mut statement).await;
        drop(turn);
        let mut outcome = match alone {
            Ok(outcome) => outcome,
            Err(_) => statement.await,
        };
        for (number, waiting) in group.drain(..).enumerate() {
            match &mut outcome {
                Ok(answers) => {
                    match answers.get_mut(number).map_or(Ok(None), |answer| std::mem::replace(answer, Ok(None))) {
                        Ok(None) => decide(db, waiting, deciding).await,
                        answer => waiting.answer(answer),
                    }
                }
                Err(error) => waiting.answer(Err(error.clone())),
            }
        }
    }
}

/// What is not routine waits for its own locks and holds up nobody.
async fn decide(db: &Db, waiting: Waiting, deciding: &Deciding) {
    let (under_lock, deciding, handle) = (db.clone(), deciding.clone(), waiting.asked.call.handle);
    deciding.begin(handle);
    db.set_off(async move {
        let answer = session_rotate::under_lock(&under_lock, waiting.asked.clone()).await;
        deciding.end(handle);
        waiting.answer(answer);
    })
    .await;
}
