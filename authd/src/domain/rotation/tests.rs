//! Random histories of one token family against what the rules promise, in words of the rules and not of the code.

use super::*;
use proptest::prelude::*;

const POLICY: RotationPolicy = RotationPolicy {
    grace_ms: 10_000,
    keyed_grace_ms: 86_400_000,
    idle_ms: 1_000_000,
    access_ttl_ms: 600_000,
    quota: None,
    shadow: Shadow::Enforced,
};

fn hash(token: usize) -> TokenHash {
    TokenHash::of(&token.to_string())
}

fn family() -> Family {
    Family {
        generation: 0,
        current: hash(0),
        previous: None,
        rotated_ms: None,
        access_expires_ms: None,
        sealed: None,
        retries: 0,
        idle_expires_ms: 1_000_000,
        expires_ms: 5_000_000,
        revoked_ms: None,
        epoch: EpochState::Current,
        transport: Transport::Body,
        rate_tat_us: 0,
        rotated_by: Origin::default(),
        strays: Strays::default(),
    }
}

/// What a client does.
#[derive(Debug, Clone)]
enum Act {
    /// Presents the token so many generations old, with this key.
    Present { age: usize, key: Option<u8> },
    /// Waits.
    Wait(i64),
    /// The clock steps back.
    StepBack(i64),
    /// Somebody ends the session.
    Revoke,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = prop_oneof![3 => Just(None), 2 => (0u8..2).prop_map(Some)];
    let act = prop_oneof![
        6 => (0usize..4, key).prop_map(|(age, key)| Act::Present { age, key }),
        3 => prop_oneof![0i64..12_000, 0i64..400_000, 80_000_000i64..90_000_000].prop_map(Act::Wait),
        1 => (0i64..20_000).prop_map(Act::StepBack),
        1 => Just(Act::Revoke),
    ];
    proptest::collection::vec(act, 1..25)
}

/// A session with everything the rules let it remember.
struct World {
    family: Family,
    now_ms: i64,
    /// Per rotation: the key it carried and when it happened; `spent[i]` spent token `i`.
    spent: Vec<(Option<u8>, i64)>,
    replayed: bool,
}

impl World {
    fn present(&mut self, token: usize, key: Option<u8>) -> Decision {
        let opens = |sealed: &Sealed| sealed.bytes == seal(token, key).bytes;
        let tagged = self.spent.get(token).filter(|(used, _)| used.is_some() && *used == key);
        let presented = Presented {
            hash: hash(token),
            keying: keying(key),
            transport: Transport::Body,
            origin: &Origin::default(),
            opens: &opens,
            spent_with_this_key: tagged.is_some_and(|(_, at_ms)| self.now_ms - at_ms <= POLICY.keyed_grace_ms),
        };
        let decision = decide(&self.family, &presented, &POLICY, &Outages::default(), self.now_ms);
        match &decision {
            Decision::Rotate { rate_tat_us } => {
                let successor = Successor { hash: hash(token + 1), sealed: Some(seal(token, key)) };
                self.spent.push((key, self.now_ms));
                self.family = self.family.rotated(successor, Origin::default(), *rate_tat_us, &POLICY, self.now_ms);
            }
            Decision::Retry { strays, .. } => {
                self.family.retries += 1;
                self.family.strays = *strays;
            }
            Decision::Replay(_) => {
                self.family.revoked_ms = Some(self.now_ms);
                self.replayed = true;
            }
            _ => {}
        }
        decision
    }

    fn current(&self) -> usize {
        self.spent.len()
    }

    fn is_over(&self) -> bool {
        let family = &self.family;
        family.revoked_ms.is_some() || self.now_ms >= family.idle_expires_ms || self.now_ms >= family.expires_ms
    }
}

fn keying(key: Option<u8>) -> Keying {
    if key.is_some() { Keying::Keyed } else { Keying::Plain }
}

fn seal(token: usize, key: Option<u8>) -> Sealed {
    Sealed { bytes: format!("{token}/{key:?}").into_bytes(), keying: keying(key) }
}

/// What the rules promise for this call, in their own words.
fn promised(world: &World, token: usize, key: Option<u8>, decision: &Decision) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{why}: {decision:?}"));
    let worked = matches!(decision, Decision::Rotate { .. } | Decision::Retry { .. });
    if world.is_over() {
        let is_current = token == world.current();
        let expired = world.family.revoked_ms.is_none() && is_current;
        let fits = if expired { *decision == Decision::Expired } else { *decision == Decision::Ended };
        return if fits { Ok(()) } else { wrong("nothing of an ended session works, and nothing ends it again") };
    }
    if matches!(decision, Decision::Rotate { .. }) != (token == world.current()) {
        return wrong("the current token rotates, and only it");
    }
    let Some((spent_with, at_ms)) = world.spent.get(token).copied() else { return Ok(()) };
    let elapsed_ms = (world.now_ms - at_ms).max(0);
    let successor_unused = token + 1 == world.current();
    let honest = successor_unused && spent_with == key;
    let plain_in_grace = successor_unused && spent_with.is_none() && elapsed_ms <= POLICY.grace_ms;
    let limited = world.family.retries >= MAX_RETRIES;
    let must_retry = plain_in_grace || (honest && key.is_some() && elapsed_ms <= POLICY.keyed_grace_ms);
    if must_retry && !limited && !worked {
        return wrong("a lost reply is answered again within its grace");
    }
    if !must_retry && worked {
        return wrong("nobody else gets the successor");
    }
    let same_key = key.is_some() && spent_with == key && elapsed_ms <= POLICY.keyed_grace_ms;
    let other_tab = successor_unused && spent_with.is_some() && elapsed_ms <= POLICY.grace_ms;
    let is_retry = must_retry || same_key || other_tab;
    match (matches!(decision, Decision::Replay(_)), is_retry) {
        (true, true) => wrong("no session ends for a retry"),
        (false, false) => wrong("every other use of a spent token ends the session"),
        _ => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_family_keeps_its_promises_in_every_history(acts in acts()) {
        let mut world = World { family: family(), now_ms: 0, spent: Vec::new(), replayed: false };
        for act in acts {
            match act {
                Act::Wait(ms) => world.now_ms += ms,
                Act::StepBack(ms) => world.now_ms -= ms,
                Act::Revoke => { world.family.revoked_ms.get_or_insert(world.now_ms); }
                Act::Present { age, key } => {
                    let Some(token) = world.current().checked_sub(age) else { continue };
                    let before = world.family.clone();
                    let over = world.is_over();
                    let snapshot = World { family: before.clone(), now_ms: world.now_ms, spent: world.spent.clone(), replayed: world.replayed };
                    let decision = world.present(token, key);
                    if let Err(broken) = promised(&snapshot, token, key, &decision) {
                        return Err(TestCaseError::fail(broken));
                    }
                    prop_assert_eq!(world.family.expires_ms, before.expires_ms, "the absolute end never moves");
                    let rotated = matches!(decision, Decision::Rotate { .. });
                    prop_assert_eq!(world.family.generation - before.generation, i64::from(rotated));
                    if !rotated {
                        prop_assert_eq!(world.family.idle_expires_ms, before.idle_expires_ms, "only a rotation moves the idle end");
                        prop_assert_eq!(world.family.current, before.current, "at most one successor");
                    }
                    let worked = rotated || matches!(decision, Decision::Retry { .. });
                    prop_assert!(!over || !worked);
                }
            }
        }
    }
}

fn retried(family: &Family, origin: &Origin, now_ms: i64) -> Decision {
    let presented = Presented {
        hash: hash(usize::try_from(family.generation).unwrap() - 1),
        keying: Keying::Plain,
        transport: Transport::Body,
        origin,
        opens: &|_| true,
        spent_with_this_key: false,
    };
    decide(family, &presented, &POLICY, &Outages::default(), now_ms)
}

fn rotated(family: &Family, now_ms: i64) -> Family {
    let next = usize::try_from(family.generation).unwrap() + 1;
    let sealed = Some(seal(next - 1, None));
    family.rotated(Successor { hash: hash(next), sealed }, home(), 0, &POLICY, now_ms)
}

fn home() -> Origin {
    Origin { network: Some(Network::stored("192.0.2.0/24".into())), device: DeviceSummary::new("Firefox on Linux") }
}

#[test]
fn somebody_who_keeps_in_step_from_elsewhere_is_caught_in_the_third_generation() {
    let elsewhere =
        Origin { network: Some(Network::stored("198.51.100.0/24".into())), device: DeviceSummary::new("curl") };
    let mut family = family();
    for generation in 1..=3 {
        family = rotated(&family, 1_000 * generation);
        for again in 0..2 {
            match retried(&family, &elsewhere, 1_000 * generation) {
                Decision::Retry { strays, remark, .. } => {
                    assert!(generation < 3, "third generation, retry {again}");
                    assert_eq!(remark, Some(Remark::Elsewhere));
                    family.strays = strays;
                }
                decision => assert_eq!((generation, decision), (3, Decision::Replay(ReplayKind::Follower))),
            }
        }
    }
}

#[test]
fn a_quiet_generation_in_between_starts_the_count_afresh() {
    let elsewhere = Origin { network: None, device: None };
    let mut family = family();
    for generation in 1..=9 {
        family = rotated(&family, 1_000 * generation);
        if generation % 3 != 0 {
            let Decision::Retry { strays, .. } = retried(&family, &elsewhere, 1_000 * generation) else {
                panic!("generation {generation}");
            };
            family.strays = strays;
        }
    }
}

#[test]
fn the_grace_ends_after_its_last_millisecond_and_an_outage_does_not_count() {
    let family = rotated(&family(), 0);
    let at = |now_ms, outages: &Outages| {
        let presented = Presented {
            hash: hash(0),
            keying: Keying::Plain,
            transport: Transport::Body,
            origin: &home(),
            opens: &|_| true,
            spent_with_this_key: false,
        };
        decide(&family, &presented, &POLICY, outages, now_ms)
    };
    let none = Outages::default();
    assert!(matches!(at(10_000, &none), Decision::Retry { access_expires_ms: 600_000, .. }));
    assert_eq!(at(10_001, &none), Decision::Replay(ReplayKind::LateParent));
    assert!(matches!(at(-5, &none), Decision::Retry { remark: Some(Remark::ClockWentBack), .. }));
    let mut outage = Outages::default();
    outage.failed(1_000);
    outage.answered(61_000);
    assert!(matches!(at(70_000, &outage), Decision::Retry { .. }));
    assert_eq!(at(70_001, &outage), Decision::Replay(ReplayKind::LateParent));
}

#[test]
fn a_key_never_shortens_the_grace() {
    let sealed = Some(seal(0, Some(1)));
    let family = family().rotated(Successor { hash: hash(1), sealed }, home(), 0, &POLICY, 0);
    let short = RotationPolicy { keyed_grace_ms: 0, ..POLICY };
    let at = |key, now_ms| {
        let presented = Presented {
            hash: hash(0),
            keying: Keying::Keyed,
            transport: Transport::Body,
            origin: &home(),
            opens: &|sealed| sealed.bytes == seal(0, Some(key)).bytes,
            spent_with_this_key: false,
        };
        decide(&family, &presented, &short, &Outages::default(), now_ms)
    };
    assert!(matches!(at(1, 10_000), Decision::Retry { .. }));
    assert_eq!(at(2, 10_000), Decision::Conflict);
    assert_eq!(at(1, 10_001), Decision::Replay(ReplayKind::LateParent));
}

#[test]
fn a_grace_of_zero_answers_no_retry_at_all() {
    let family = rotated(&family(), 0);
    let strict = RotationPolicy { grace_ms: 0, keyed_grace_ms: 0, ..POLICY };
    let presented = Presented {
        hash: hash(0),
        keying: Keying::Plain,
        transport: Transport::Body,
        origin: &home(),
        opens: &|_| true,
        spent_with_this_key: false,
    };
    let decision = decide(&family, &presented, &strict, &Outages::default(), 0);
    assert_eq!(decision, Decision::Replay(ReplayKind::LateParent));
}

#[test]
fn a_refused_rotation_leaves_the_token_good_and_retries_are_not_charged() {
    let quota = Quota::new("60/h".parse().unwrap(), 1);
    let policy = RotationPolicy { quota, ..POLICY };
    let presented = |token| Presented {
        hash: hash(token),
        keying: Keying::Plain,
        transport: Transport::Body,
        origin: &Origin { network: None, device: None },
        opens: &|_| true,
        spent_with_this_key: false,
    };
    let none = Outages::default();
    let Decision::Rotate { rate_tat_us } = decide(&family(), &presented(0), &policy, &none, 0) else { panic!() };
    let successor = Successor { hash: hash(1), sealed: Some(seal(0, None)) };
    let family = family().rotated(successor, Origin::default(), rate_tat_us, &policy, 0);
    assert_eq!(decide(&family, &presented(1), &policy, &none, 0), Decision::Limited { retry_after_ms: 60_000 });
    assert!(matches!(decide(&family, &presented(0), &policy, &none, 0), Decision::Retry { .. }));
    assert!(matches!(decide(&family, &presented(1), &policy, &none, 60_000), Decision::Rotate { .. }));
}

#[test]
fn a_token_that_travels_the_wrong_way_is_refused_without_effect() {
    let presented = Presented {
        hash: hash(0),
        keying: Keying::Plain,
        transport: Transport::Cookie,
        origin: &home(),
        opens: &|_| true,
        spent_with_this_key: false,
    };
    let decision = decide(&family(), &presented, &POLICY, &Outages::default(), 0);
    assert_eq!(decision, Decision::WrongTransport);
}
