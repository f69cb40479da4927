//! The breaker against what it promises, over every order of calls, ends and waits.

use super::*;
use proptest::prelude::*;

const SETTINGS: BreakerSettings =
    BreakerSettings { failures: 5, window_ms: 10_000, open_for_ms: 5_000, half_open_max_calls: 1 };

fn call(breaker: &mut Breaker, end: CallEnd, now_ms: i64) -> bool {
    let Some(pass) = breaker.ask(Purpose::Work, now_ms) else { return false };
    breaker.ended(pass, Purpose::Work, end, now_ms);
    true
}

fn opened() -> Breaker {
    let mut breaker = Breaker::new(SETTINGS);
    for _ in 0..5 {
        assert!(call(&mut breaker, CallEnd::Failed, 0));
    }
    breaker
}

#[test]
fn the_fifth_failure_in_a_row_opens_it_and_the_fourth_does_not() {
    let mut breaker = Breaker::new(SETTINGS);
    for at in 0..4 {
        call(&mut breaker, CallEnd::Failed, at);
    }
    assert_eq!((breaker.state(4), breaker.since_ms()), (BreakerState::Closed, None));
    call(&mut breaker, CallEnd::Failed, 5);
    assert_eq!((breaker.state(5), breaker.since_ms()), (BreakerState::Open, Some(5)));
    assert!(breaker.ask(Purpose::Work, 5_004).is_none());
    assert_eq!(breaker.opens_in_ms(2_005), 3_000);
}

#[test]
fn failures_between_successes_or_too_far_apart_do_not_open_it() {
    let mut breaker = Breaker::new(SETTINGS);
    for at in 0..100 {
        let end = if at % 5 == 4 { CallEnd::Answered } else { CallEnd::Failed };
        assert!(call(&mut breaker, end, at));
    }
    let mut breaker = Breaker::new(SETTINGS);
    for at in 0..100 {
        assert!(call(&mut breaker, CallEnd::Failed, at * 2_500));
    }
}

#[test]
fn calls_that_a_dependency_refuses_together_do_not_open_it() {
    let mut breaker = Breaker::new(SETTINGS);
    for at in 0..10 {
        let passes: Vec<Pass> = (0..20).map(|_| breaker.ask(Purpose::Work, at).unwrap()).collect();
        breaker.heard();
        for pass in passes {
            breaker.ended(pass, Purpose::Work, CallEnd::Failed, at);
        }
    }
    assert_eq!(breaker.state(10), BreakerState::Closed);
    for at in 10..15 {
        call(&mut breaker, CallEnd::Failed, at);
    }
    assert_eq!(breaker.state(15), BreakerState::Open, "afterwards its silence counts as ever");
}

#[test]
fn one_call_tries_when_the_time_is_over_and_its_end_decides() {
    for (end, state) in [(CallEnd::Answered, BreakerState::Closed), (CallEnd::Failed, BreakerState::Open)] {
        let mut breaker = opened();
        let pass = breaker.ask(Purpose::Work, 5_000).unwrap();
        assert!(breaker.ask(Purpose::Work, 5_000).is_none(), "one at a time");
        breaker.ended(pass, Purpose::Work, end, 5_001);
        assert_eq!(breaker.state(5_001), state);
        assert_eq!(breaker.since_ms(), (state == BreakerState::Open).then_some(0), "it was never well in between");
    }
}

#[test]
fn a_try_that_was_lost_does_not_keep_it_half_open_for_ever() {
    let mut breaker = opened();
    assert!(breaker.ask(Purpose::Work, 5_000).is_some());
    assert!(breaker.ask(Purpose::Work, 9_999).is_none());
    assert!(breaker.ask(Purpose::Work, 10_000).is_some());
}

#[test]
fn a_probe_heals_it_before_its_time_unless_an_operator_holds_it() {
    let mut breaker = opened();
    let pass = breaker.ask(Purpose::Probe, 1).unwrap();
    breaker.ended(pass, Purpose::Probe, CallEnd::Answered, 2);
    assert_eq!((breaker.state(2), breaker.since_ms()), (BreakerState::Closed, None));
    breaker.hold(Held::Open, 3);
    assert!(breaker.ask(Purpose::Probe, 4).is_none());
    assert_eq!((breaker.state(1_000_000), breaker.since_ms()), (BreakerState::Open, Some(3)));
    breaker.hold(Held::Closed, 5);
    for at in 0..20 {
        assert!(call(&mut breaker, CallEnd::Failed, 6 + at), "held closed");
    }
    assert_eq!((breaker.state(30), breaker.since_ms()), (BreakerState::Closed, None));
}

#[test]
fn a_late_failure_from_before_it_opened_does_not_count_against_the_try() {
    let mut breaker = Breaker::new(SETTINGS);
    let late: Vec<Pass> = (0..10).map(|_| breaker.ask(Purpose::Work, 0).unwrap()).collect();
    for pass in &late[..5] {
        breaker.ended(*pass, Purpose::Work, CallEnd::Failed, 0);
    }
    let pass = breaker.ask(Purpose::Work, 5_000).unwrap();
    breaker.ended(late[9], Purpose::Work, CallEnd::Failed, 5_000);
    breaker.ended(late[8], Purpose::Work, CallEnd::Answered, 5_000);
    assert_eq!(breaker.state(5_000), BreakerState::HalfOpen);
    breaker.ended(pass, Purpose::Work, CallEnd::Answered, 5_000);
    assert_eq!(breaker.state(5_000), BreakerState::Closed);
}

#[derive(Debug, Clone)]
enum Step {
    Ask(Purpose),
    End(usize, CallEnd),
    Wait(i64),
    Hold(Held),
}

fn step() -> impl Strategy<Value = Step> {
    let purpose = prop_oneof![4 => Just(Purpose::Work), 1 => Just(Purpose::Probe)];
    let end = prop_oneof![1 => Just(CallEnd::Answered), 3 => Just(CallEnd::Failed)];
    let held = prop_oneof![Just(Held::Automatic), Just(Held::Open), Just(Held::Closed)];
    prop_oneof![
        8 => purpose.prop_map(Step::Ask),
        8 => (0usize..8, end).prop_map(|(which, end)| Step::End(which, end)),
        4 => prop_oneof![0i64..100, 0i64..12_000].prop_map(Step::Wait),
        1 => held.prop_map(Step::Hold),
    ]
}

proptest! {
    #[test]
    fn it_keeps_its_promises_in_every_history(
        steps in proptest::collection::vec(step(), 1..200), failures in 1u32..6, tries in 1u32..4,
    ) {
        let settings = BreakerSettings { failures, half_open_max_calls: tries, ..SETTINGS };
        let (mut breaker, mut now_ms, mut open_calls) = (Breaker::new(settings), 1_000_000, Vec::new());
        for step in steps {
            let before = breaker.state(now_ms);
            match step {
                Step::Ask(purpose) => {
                    let pass = breaker.ask(purpose, now_ms);
                    match (before, purpose) {
                        (BreakerState::Closed, _) => prop_assert!(pass.is_some()),
                        (BreakerState::Open, Purpose::Work) => prop_assert!(pass.is_none()),
                        (BreakerState::Open, Purpose::Probe) => {
                            prop_assert_eq!(pass.is_some(), breaker.held() != Held::Open);
                        }
                        (BreakerState::HalfOpen, _) => {}
                    }
                    open_calls.extend(pass.map(|pass| (pass, purpose)));
                }
                Step::End(which, end) if !open_calls.is_empty() => {
                    let (pass, purpose) = open_calls.swap_remove(which % open_calls.len());
                    breaker.ended(pass, purpose, end, now_ms);
                    let after = breaker.state(now_ms);
                    if end == CallEnd::Failed {
                        prop_assert!(!(after == BreakerState::Closed && before != BreakerState::Closed));
                    } else {
                        prop_assert!(!(after == BreakerState::Open && before != BreakerState::Open));
                    }
                }
                Step::End(..) => {}
                Step::Wait(by_ms) => now_ms += by_ms,
                Step::Hold(held) => breaker.hold(held, now_ms),
            }
            prop_assert_eq!(breaker.since_ms().is_none(), breaker.state(now_ms) == BreakerState::Closed);
            prop_assert!(breaker.opens_in_ms(now_ms) <= settings.open_for_ms);
        }
        // Whatever happened: left alone, one success closes it.
        if breaker.held() != Held::Automatic {
            breaker.hold(Held::Automatic, now_ms);
        }
        prop_assert!(call(&mut breaker, CallEnd::Answered, now_ms + 5_000));
        prop_assert_eq!(breaker.state(now_ms + 5_000), BreakerState::Closed);
    }
}
