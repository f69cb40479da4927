//! The pool under load, held still by a policy that does not answer before it is told to.

use super::*;
use crate::crypto::fakes::{CountedRandom, ManualClock};
use std::sync::{
    Mutex,
    mpsc::{Receiver, Sender, channel},
};
use tokio::task::JoinSet;

/// Occupies a worker until the test lets it go.
struct Gate {
    entered: Sender<()>,
    released: Mutex<Receiver<()>>,
}

impl PasswordPolicy for Gate {
    fn judge(&self, password: &Password, _: &[&str]) -> Result<(), WeakPassword> {
        assert_ne!(password.reveal(), "panic", "asked to");
        self.entered.send(()).unwrap();
        let _ = self.released.lock().unwrap().recv();
        Ok(())
    }

    fn is_overlong(&self, _: &Password) -> bool {
        false
    }
}

struct Bench {
    pool: Arc<HashPool>,
    clock: Arc<ManualClock>,
    entered: Receiver<()>,
    release: Sender<()>,
}

const SETTINGS: HashSettings = HashSettings {
    memory_kib: 64,
    iterations: 1,
    parallelism: 1,
    workers: NonZeroUsize::new(1),
    queue: 2,
    wait_ms: 600_000,
    nice: 0,
};

fn bench() -> Bench {
    let ((entered_to, entered), (release, released)) = (channel(), channel());
    let gate = Arc::new(Gate { entered: entered_to, released: Mutex::new(released) });
    let clock = Arc::new(ManualClock::at(1_000));
    let pool = HashPool::start(&SETTINGS, gate, clock.clone(), Arc::new(CountedRandom::default())).unwrap();
    Bench { pool: Arc::new(pool), clock, entered, release }
}

type Checks = JoinSet<Result<Checked, HashError>>;

impl Bench {
    /// Takes the only worker away until `release` is used.
    fn hold(&self, held: &mut JoinSet<()>) {
        let pool = Arc::clone(&self.pool);
        held.spawn(async move {
            assert_eq!(pool.judge(Password::new("any"), Vec::new()).await, Ok(Ok(())));
        });
        self.entered.recv().unwrap();
    }

    /// Has a check waiting in the queue.
    async fn queue(&self, checks: &mut Checks) {
        let (pool, queued) = (Arc::clone(&self.pool), self.pool.load().queued);
        checks.spawn(
            async move { pool.check(Lane::Unknown, Password::new("any"), Against::Nobody(String::new())).await },
        );
        while self.pool.load().queued == queued {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_hashed_checked_and_counted() {
    let bench = bench();
    let stored = bench.pool.hash(Password::new("right")).await.unwrap();
    for (password, expected) in [("right", Checked::Right), ("wrong", Checked::Wrong)] {
        let checked = bench.pool.check(Lane::Unknown, Password::new(password), Against::Stored(stored.clone())).await;
        assert_eq!(checked, Ok(expected));
    }
    let unusable = Against::Stored(PasswordHash("md5".into()));
    assert_eq!(bench.pool.check(Lane::Unknown, Password::new("any"), unusable).await, Err(HashError::Unusable));
    let load = bench.pool.load();
    assert_eq!((load.workers, load.queued, load.evaluated), (1, 0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_makes_room_when_callers_leave() {
    let (bench, mut held, mut checks) = (bench(), JoinSet::new(), Checks::new());
    bench.hold(&mut held);
    bench.queue(&mut checks).await;
    bench.queue(&mut checks).await;
    let nobody = || Against::Nobody(String::new());
    assert_eq!(bench.pool.check(Lane::Unknown, Password::new("any"), nobody()).await, Err(HashError::Overloaded));
    checks.shutdown().await;
    bench.queue(&mut checks).await;
    assert_eq!(bench.pool.load().queued, 1, "those who left are gone");
    bench.release.send(()).unwrap();
    assert_eq!(checks.join_next().await.unwrap().unwrap(), Ok(Checked::Wrong));
    assert_eq!(bench.pool.load().evaluated, 1);
    held.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_caller_has_left_is_not_hashed() {
    let (bench, mut held, mut checks) = (bench(), JoinSet::new(), Checks::new());
    bench.hold(&mut held);
    bench.queue(&mut checks).await;
    checks.shutdown().await;
    bench.queue(&mut checks).await;
    bench.release.send(()).unwrap();
    assert_eq!(checks.join_next().await.unwrap().unwrap(), Ok(Checked::Wrong));
    assert_eq!(bench.pool.load().evaluated, 1);
    held.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waited_too_long_is_refused_without_hashing() {
    let (bench, mut held, mut checks) = (bench(), JoinSet::new(), Checks::new());
    bench.hold(&mut held);
    bench.queue(&mut checks).await;
    bench.clock.advance(SETTINGS.wait_ms + 1);
    bench.release.send(()).unwrap();
    assert_eq!(checks.join_next().await.unwrap().unwrap(), Err(HashError::Overloaded));
    assert_eq!(bench.pool.load().evaluated, 0);
    held.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_not_kept_longer_than_the_wait_while_no_worker_is_free() {
    let ((entered_to, entered), (release, released)) = (channel(), channel());
    let gate = Arc::new(Gate { entered: entered_to, released: Mutex::new(released) });
    let settings = HashSettings { wait_ms: 0, ..SETTINGS };
    let random = Arc::new(CountedRandom::default());
    let pool = HashPool::start(&settings, gate, Arc::new(ManualClock::at(0)), random).unwrap();
    let (answer, _kept) = oneshot::channel();
    let judge = Work::Judge { password: Password::new("any"), personal: Vec::new(), answer };
    pool.shared.queue.push(Lane::Unknown, Job::new(judge, 0)).unwrap();
    entered.recv().unwrap();
    let refused = pool.check(Lane::Unknown, Password::new("any"), Against::Nobody(String::new())).await;
    assert_eq!(refused, Err(HashError::Overloaded));
    release.send(()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_library_costs_one_answer_and_no_worker() {
    let bench = bench();
    assert_eq!(bench.pool.judge(Password::new("panic"), Vec::new()).await, Err(HashError::Overloaded));
    assert_eq!(
        bench.pool.check(Lane::Unknown, Password::new("any"), Against::Nobody(String::new())).await,
        Ok(Checked::Wrong)
    );
}

#[test]
fn known_devices_are_served_first_and_have_room_of_their_own() {
    let queue = Queue::new(1);
    let job = |at_ms| {
        let (answer, kept) = oneshot::channel();
        (Job::new(Work::Hash { password: Password::new("any"), answer }, at_ms), kept)
    };
    let ((one, _one), (two, _two), (three, _three)) = (job(1), job(2), job(3));
    queue.push(Lane::Unknown, one).unwrap();
    assert!(queue.push(Lane::Unknown, two).is_err());
    queue.push(Lane::Known, three).unwrap();
    let order: Vec<i64> = (0..2).map(|_| queue.pop().unwrap().queued_ms).collect();
    assert_eq!(order, [3, 1]);
    queue.end();
    assert!(queue.pop().is_none());
}

#[test]
fn dropping_the_pool_ends_its_threads() {
    let bench = bench();
    let policy = Arc::downgrade(&bench.pool.shared.policy);
    drop(bench.pool);
    assert!(policy.upgrade().is_none());
}

#[test]
fn parameters_that_argon2_does_not_have_are_named() {
    let random = Arc::new(CountedRandom::default());
    let (entered, _) = channel();
    let gate = Arc::new(Gate { entered, released: Mutex::new(channel().1) });
    let settings = HashSettings { memory_kib: 1, ..SETTINGS };
    let error = HashPool::start(&settings, gate, Arc::new(ManualClock::at(0)), random).err().unwrap();
    assert!(error.to_string().contains("password.memory_kib = 1"), "{error}");
}
