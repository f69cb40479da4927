//! Routine rotations that wait at the same moment share a statement: on PostgreSQL a commit costs more than the work.
//!
//! A few lanes take what is ready, no timer: a lone call goes at once, and under load each lane carries what came while
//! it was away.

use crate::{
    domain::session::{Rotate, Rotated},
    store::{
        db::{Budget, Db},
        dialect::on_one,
        error::{Stored, unknown},
        session_rotate, session_routine,
    },
};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Statements under way at once: while one commits, the next is being filled.
const LANES: usize = 2;
/// Calls that may wait; beyond, a caller waits for its place and is refused in the end.
const QUEUE: usize = 1024;
/// Calls that may share a statement.
const GROUP: usize = 64;

/// A call and whom to tell.
struct Waiting {
    call: Arc<Rotate>,
    caller: oneshot::Sender<Stored<Option<Rotated>>>,
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
        for _ in 0..LANES {
            let (db, inbox) = (db.clone(), inbox.clone());
            #[expect(clippy::disallowed_methods, reason = "it ends with the queue; closing waits for what it changes")]
            tokio::spawn(async move { serve(&db, &inbox).await });
        }
        Self { queue, db: db.clone() }
    }

    /// Rotates if the call is routine; `None` when it must be decided under the lock.
    pub(super) async fn rotate(&self, call: Arc<Rotate>) -> Stored<Option<Rotated>> {
        let (caller, answer) = oneshot::channel();
        let way = async {
            self.queue.send(Waiting { call, caller }).await.map_err(|_| unknown("the lanes have ended"))?;
            answer.await.unwrap_or_else(|_| Err(unknown("the lane has ended")))
        };
        let bound = Budget::Statement.of(&self.db.context);
        let late = || self.db.context.track(Err(unknown("the database did not answer in time")));
        tokio::time::timeout(bound, way).await.unwrap_or_else(|_| late())
    }
}

async fn serve(db: &Db, inbox: &Mutex<mpsc::Receiver<Waiting>>) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        if inbox.lock().await.recv_many(&mut group, GROUP).await == 0 {
            return;
        }
        let calls: Vec<Arc<Rotate>> = group.iter().map(|waiting| waiting.call.clone()).collect();
        let mut outcome = together(db, calls).await;
        for (number, waiting) in group.drain(..).enumerate() {
            let answer = match &mut outcome {
                Ok(answers) => Ok(answers.get_mut(number).and_then(Option::take)),
                Err(error) => Err(error.clone()),
            };
            // The caller may have left; the rotation stands all the same.
            let _ = waiting.caller.send(answer);
        }
    }
}

/// One statement for all of them.
pub(super) async fn together(db: &Db, calls: Vec<Arc<Rotate>>) -> Stored<Vec<Option<Rotated>>> {
    on_one!(db, |tx| {
        let calls: Vec<&Rotate> = calls.iter().map(AsRef::as_ref).collect();
        let rows = session_routine::rotate(tx, &calls).await?;
        rows.into_iter().map(|row| row.map(session_rotate::answer_routine).transpose()).collect()
    })
}
