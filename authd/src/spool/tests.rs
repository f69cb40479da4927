//! The spool on a real disk: what was acknowledged is there after every end of a process.

use super::*;
use crate::domain::audit::{Action, Actor, Event, EventOutcome};
use shared::id::EventId;
use std::os::unix::fs::MetadataExt as _;

const ROOM: u64 = 1 << 20;

fn event(number: u8) -> StoredEvent {
    let event = Event {
        id: EventId::new(i64::from(number), [number; 10]),
        at_ms: i64::from(number),
        action: Action::AdminRefused,
        outcome: EventOutcome::Denied,
        reason: Some("a \"reason\"\nof two lines".to_owned()),
        actor: Actor::Operator { uid: u32::MAX, login_uid: None, pid: Some(7) },
        target: None,
        network: None,
        device: None,
        request_id: Some("req".to_owned()),
        detail: vec![("b", "2".to_owned()), ("a", "1".to_owned())],
    };
    StoredEvent::from(&event.about("socket", "read"))
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("denials.spool")
    }

    fn open(&self) -> FileSpool {
        FileSpool::open(&self.path(), ROOM).unwrap()
    }
}

#[tokio::test]
async fn what_was_kept_is_taken_until_it_is_merged_and_then_gone() {
    let place = Place::new();
    let spool = place.open();
    assert_eq!(spool.take().await.unwrap(), []);
    spool.merged().await.unwrap();
    spool.keep(vec![event(1), event(2)]).await.unwrap();
    assert_eq!(std::fs::metadata(place.path()).unwrap().mode() & 0o777, 0o600);
    assert_eq!(spool.take().await.unwrap(), [event(1), event(2)]);
    spool.keep(vec![event(3)]).await.unwrap();
    assert_eq!(spool.take().await.unwrap(), [event(1), event(2)], "the same until it is merged");
    assert_eq!(spool.depth(), 3);
    spool.merged().await.unwrap();
    assert_eq!(spool.depth(), 1);
    assert_eq!(spool.take().await.unwrap(), [event(3)]);
    spool.merged().await.unwrap();
    assert_eq!((spool.depth(), spool.take().await.unwrap()), (0, vec![]));
}

#[tokio::test]
async fn a_process_that_ends_anywhere_in_between_loses_nothing_that_was_kept() {
    let place = Place::new();
    let spool = place.open();
    spool.keep(vec![event(1)]).await.unwrap();
    spool.take().await.unwrap();
    spool.keep(vec![event(2)]).await.unwrap();
    drop(spool);
    // A line that nobody was told of, cut short.
    let torn = line::write(&event(3)).unwrap();
    append_to(&place.path()).unwrap().write_all(&torn[..torn.len() / 2]).unwrap();
    let spool = place.open();
    assert_eq!(spool.depth(), 2);
    spool.keep(vec![event(4)]).await.unwrap();
    assert_eq!(spool.take().await.unwrap(), [event(1)], "what was set aside comes first");
    spool.merged().await.unwrap();
    assert_eq!(spool.take().await.unwrap(), [event(2), event(4)]);
}

#[tokio::test]
async fn a_damaged_line_costs_itself_alone() {
    let place = Place::new();
    place.open().keep(vec![event(1), event(2), event(3)]).await.unwrap();
    let mut bytes = std::fs::read(place.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(place.path(), bytes).unwrap();
    assert_eq!(place.open().take().await.unwrap(), [event(1), event(3)]);
}

#[tokio::test]
async fn a_full_spool_says_so_and_has_room_again_once_it_is_merged() {
    let place = Place::new();
    let line = line::write(&event(1)).unwrap();
    let spool = FileSpool::open(&place.path(), u64::try_from(line.len() * 2).unwrap()).unwrap();
    spool.keep(vec![event(1)]).await.unwrap();
    assert!(matches!(spool.keep(vec![event(2), event(3)]).await, Err(SpoolFault::Full)), "all or none");
    spool.keep(vec![event(2)]).await.unwrap();
    spool.take().await.unwrap();
    assert!(matches!(spool.keep(vec![event(3)]).await, Err(SpoolFault::Full)), "what is being merged counts too");
    spool.merged().await.unwrap();
    spool.keep(vec![event(3)]).await.unwrap();
}

#[tokio::test]
async fn many_at_once_are_all_kept() {
    let place = Place::new();
    let spool = Arc::new(place.open());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let spool = spool.clone();
        tasks.spawn(async move { spool.keep(vec![event(number)]).await });
    }
    while let Some(kept) = tasks.join_next().await {
        kept.unwrap().unwrap();
    }
    assert_eq!((spool.depth(), spool.take().await.unwrap().len()), (200, 200));
}
