//! Random histories of one family, on each database and on [`rotation::decide`] alone: both say the same at every step.

use super::{DAY_MS, World, elsewhere, home, on_every_store};
use authd::domain::{
    audit::{Action, EventFilter},
    clock::Clock,
    outage::Outages,
    page::PageRequest,
    quota::Quota,
    rotation::{
        Decision, EpochState, Family, Keying, Origin, Presented, RotationPolicy, Sealed, Shadow, Strays, Successor,
        decide,
    },
    session::{
        EndReason, NewSession, Opened, Recording, Rotate, Rotated, SessionFilter, SessionState, Transport, Unseal,
    },
    token::TokenHash,
};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc};

on_every_store!(every_history_goes_as_the_rules_say);

const HISTORIES: u64 = 200;
const STEPS: u64 = 30;
const MOVES_MS: [i64; 12] = [0, 0, 0, 900, 4_000, 8_000, 13_000, 40_000, 700_000, 3 * 3_600_000, DAY_MS, -5_000];

/// A seal is the key it was made with; 0 for none.
struct Opens(u8);
impl Unseal for Opens {
    fn opens(&self, sealed: &Sealed) -> bool {
        sealed.bytes == [self.0]
    }
}

/// What the rules know of a family.
struct Model {
    family: Family,
    /// All tokens there ever were, the current one last.
    tokens: Vec<TokenHash>,
    /// Tokens spent with a key, and until when that is remembered.
    spent: HashMap<[u8; 32], i64>,
    events: usize,
}

async fn every_history_goes_as_the_rules_say(world: World) {
    let mut seen: HashMap<&'static str, u32> = HashMap::new();
    for history in 0..HISTORIES {
        let account = world.account(&format!("user{history}@example.org")).await;
        let new = world.new_session(&account);
        let Opened::Opened { idle_expires_ms, expires_ms, .. } = world.open(&new).await else { panic!() };
        let mut model = Model {
            family: family(&new, idle_expires_ms, expires_ms),
            tokens: vec![new.token],
            spent: HashMap::new(),
            events: 0,
        };
        let policy = any_policy(&world);
        for _ in 0..STEPS {
            world.clock.advance_ms(any(&world, &MOVES_MS));
            if world.random.next().is_multiple_of(40) {
                revoke(&world, &new, &mut model).await;
                continue;
            }
            let call = any_call(&world, &new, &model, &policy);
            let kind = step(&world, &call, &mut model).await;
            *seen.entry(kind).or_default() += 1;
        }
        let filter = EventFilter { target: Some(new.id.to_string()), ..EventFilter::default() };
        let events = world.stores.audit.list(filter, PageRequest::first(1_000)).await.unwrap().items;
        assert_eq!(events.len(), model.events, "history {history}");
    }
    // A model that never gets anywhere proves nothing.
    for kind in ["rotate", "retry", "conflict", "limited", "replay", "expired", "ended", "transport"] {
        assert!(seen.get(kind).is_some_and(|times| *times >= 3), "{kind} is missing: {seen:?}");
    }
}

fn any<T: Copy>(world: &World, choices: &[T]) -> T {
    choices[usize::try_from(world.random.next()).unwrap() % choices.len()]
}

fn any_policy(world: &World) -> RotationPolicy {
    let minute = Quota::new("1/min".parse().unwrap(), 3);
    RotationPolicy {
        grace_ms: any(world, &[0, 10_000, 10_000]),
        keyed_grace_ms: any(world, &[0, DAY_MS, DAY_MS]),
        idle_ms: 2 * DAY_MS,
        access_ttl_ms: 600_000,
        quota: any(world, &[None, None, minute]),
        shadow: any(world, &[Shadow::Enforced, Shadow::Enforced, Shadow::Counted]),
    }
}

fn family(new: &NewSession, idle_expires_ms: i64, expires_ms: i64) -> Family {
    Family {
        generation: 0,
        current: new.token,
        previous: None,
        rotated_ms: None,
        access_expires_ms: None,
        sealed: None,
        retries: 0,
        idle_expires_ms,
        expires_ms,
        revoked_ms: None,
        epoch: EpochState::Current,
        transport: Transport::Body,
        rate_tat_us: 0,
        rotated_by: home(),
        strays: Strays::default(),
    }
}

fn any_call(world: &World, new: &NewSession, model: &Model, policy: &RotationPolicy) -> Rotate {
    let last = model.tokens.len() - 1;
    let at = match world.random.next() % 12 {
        0..6 => last,
        6..11 => last.saturating_sub(1),
        _ => last.saturating_sub(3),
    };
    let key = any(world, &[0, 0, 0, 1, 1, 2]);
    let presented = model.tokens[at];
    let keying = if key == 0 { Keying::Plain } else { Keying::Keyed };
    let hash = TokenHash(world.bytes());
    Rotate {
        presented,
        keying,
        keyed_tag: (key != 0).then(|| Sha256::digest([presented.0.as_slice(), &[key]].concat()).into()),
        transport: if world.random.next().is_multiple_of(20) { Transport::Cookie } else { Transport::Body },
        origin: any_origin(world),
        unseal: Arc::new(Opens(key)),
        successor: Successor { hash, sealed: Some(Sealed { bytes: vec![key], keying }) },
        policy: policy.clone(),
        recording: any(world, &[Recording::Changes, Recording::All]),
        ..world.call(new, presented)
    }
}

fn any_origin(world: &World) -> Origin {
    match world.random.next() % 8 {
        0 => elsewhere(),
        1 => Origin { network: elsewhere().network, ..home() },
        2 => Origin::default(),
        _ => home(),
    }
}

/// What the rules say at `now_ms`.
fn said(model: &Model, call: &Rotate, now_ms: i64) -> Decision {
    let spent_with_this_key =
        call.keyed_tag.and_then(|tag| model.spent.get(&tag)).is_some_and(|until_ms| *until_ms > now_ms);
    let opens = |sealed: &Sealed| call.unseal.opens(sealed);
    let presented = Presented {
        hash: call.presented,
        keying: call.keying,
        transport: call.transport,
        origin: &call.origin,
        opens: &opens,
        spent_with_this_key,
    };
    decide(&model.family, &presented, &call.policy, &Outages::default(), now_ms)
}

fn kind(decision: &Decision) -> &'static str {
    match decision {
        Decision::Rotate { .. } => "rotate",
        Decision::Retry { .. } => "retry",
        Decision::Conflict => "conflict",
        Decision::Limited { .. } => "limited",
        Decision::Replay(_) => "replay",
        Decision::Expired => "expired",
        Decision::Ended => "ended",
        Decision::WrongTransport => "transport",
    }
}

/// One call on both. The database's time lies between the instants before and after it.
async fn step(world: &World, call: &Rotate, model: &mut Model) -> &'static str {
    let before_ms = world.clock.now_ms();
    let rotated = world.rotate(call).await;
    let after_ms = world.clock.now_ms();
    let expected = [said(model, call, before_ms), said(model, call, after_ms)];
    let told = kind(&rotated.decision);
    assert!(expected.iter().any(|decision| kind(decision) == told), "{expected:?} and not {:?}", rotated.decision);
    match &rotated.decision {
        Decision::Rotate { rate_tat_us } => has_rotated(call, model, &rotated, *rate_tat_us),
        Decision::Retry { access_expires_ms, strays, remark } => {
            assert!(expected.iter().any(|decision| matches!(
                decision,
                Decision::Retry { strays: s, remark: r, .. } if s == strays && r == remark
            )));
            assert_eq!(rotated.access_expires_ms, *access_expires_ms);
            assert_eq!(rotated.sealed, model.family.sealed);
            model.family.retries += 1;
            model.family.strays = *strays;
            model.events += 1;
        }
        Decision::Replay(why) => {
            assert!(expected.contains(&Decision::Replay(*why)), "{expected:?} and not {why:?}");
            assert_eq!(rotated.ended, std::slice::from_ref(&rotated.session.id));
            model.family.revoked_ms = rotated.session.ended_ms;
            assert!(model.family.revoked_ms.is_some());
            model.events += 1;
        }
        _ => {}
    }
    same(model, &rotated);
    told
}

fn has_rotated(call: &Rotate, model: &mut Model, rotated: &Rotated, rate_tat_us: i64) {
    // The instant is the database's; with it every number must come out the same.
    let now_ms = rotated.session.last_seen_ms;
    assert_eq!(said(model, call, now_ms), Decision::Rotate { rate_tat_us });
    let grace_ms = call.policy.grace_of(call.keying);
    let sealed = call.successor.sealed.clone().filter(|_| grace_ms > 0);
    let successor = Successor { hash: call.successor.hash, sealed };
    let moved = model.family.rotated_by != call.origin;
    model.family = model.family.rotated(successor, call.origin.clone(), rate_tat_us, &call.policy, now_ms);
    model.tokens.push(call.successor.hash);
    if let Some(tag) = call.keyed_tag.filter(|_| call.policy.grace_of(Keying::Keyed) > 0) {
        model.spent.insert(tag, now_ms + call.policy.grace_of(Keying::Keyed));
    }
    assert_eq!(Some(rotated.access_expires_ms), model.family.access_expires_ms);
    model.events += usize::from(moved || call.recording == Recording::All);
}

fn same(model: &Model, rotated: &Rotated) {
    let (family, session) = (&model.family, &rotated.session);
    assert_eq!(session.generation, family.generation);
    assert_eq!((session.idle_expires_ms, session.expires_ms), (family.idle_expires_ms, family.expires_ms));
    assert_eq!(session.ended_ms, family.revoked_ms);
    assert_eq!((&session.network, &session.device), (&family.rotated_by.network, &family.rotated_by.device));
}

async fn revoke(world: &World, new: &NewSession, model: &mut Model) {
    let filter = SessionFilter { id: Some(new.id.clone()), ..SessionFilter::default() };
    let event = world.event(Action::SessionRevoked);
    let revoked = world.stores.sessions.revoke(filter, EndReason::Logout, event).await.unwrap();
    let session = world.stores.sessions.find(&new.id).await.unwrap().unwrap();
    if revoked.matched == 1 {
        assert_eq!((model.family.revoked_ms, session.state), (None, SessionState::Ended));
        model.events += 1;
    }
    model.family.revoked_ms = session.ended_ms;
}
