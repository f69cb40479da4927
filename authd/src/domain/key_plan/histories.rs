//! Random histories of instances, verifiers and operators, in which no live token may ever lack its key.

use super::tests::key;
use super::*;
use crate::domain::instance::INSTANCE_LIVE_MS;
use std::collections::BTreeMap;

const PLAN: KeyPlan =
    KeyPlan { rotate_every_ms: 300_000, stage_ms: 100_000, cache_ms: 30_000, skew_ms: 6_000, access_ttl_ms: 60_000 };
const STEP_MS: i64 = 500;
const BEAT_MS: i64 = 5_000;

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A process: what it has in memory of the keys, and until when it is halted.
struct Instance {
    name: String,
    published: Vec<KeyId>,
    signing: Option<KeyId>,
    halted_until_ms: i64,
    next_beat_ms: i64,
}

/// A verifier with the key set it fetched last.
#[derive(Default)]
struct Gateway {
    known: Vec<KeyId>,
    fetched_ms: Option<i64>,
}

struct World {
    now_ms: i64,
    dice: Dice,
    keys: Vec<SigningKey>,
    beats: BTreeMap<String, Heartbeat>,
    instances: Vec<Instance>,
    gateways: Vec<Gateway>,
    tokens: Vec<(KeyId, i64)>,
    signed_by: std::collections::BTreeSet<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            now_ms: 0,
            dice: Dice(seed),
            keys: Vec::new(),
            beats: BTreeMap::new(),
            instances: Vec::new(),
            gateways: (0..4).map(|_| Gateway::default()).collect(),
            tokens: Vec::new(),
            signed_by: std::collections::BTreeSet::new(),
        };
        (0..3).for_each(|_| world.start_instance());
        world
    }

    fn start_instance(&mut self) {
        let name = format!("{:016x}", self.dice.below(u64::MAX));
        let new = Instance { name, published: vec![], signing: None, halted_until_ms: 0, next_beat_ms: 0 };
        self.instances.push(new);
        // It is ready once it has beaten.
        for _ in 0..3 {
            self.beat(self.instances.len() - 1);
        }
    }

    fn published(&self) -> Vec<KeyId> {
        self.keys.iter().filter(|key| key.state.is_published()).map(|key| key.id.clone()).collect()
    }

    fn poll(&mut self, at: usize) {
        let published = self.published();
        let signing = self.keys.iter().find(|key| key.state == KeyState::Active).map(|key| key.id.clone());
        let instance = &mut self.instances[at];
        (instance.published, instance.signing) = (published, signing);
    }

    fn beat(&mut self, at: usize) {
        self.poll(at);
        let (now_ms, instance) = (self.now_ms, &mut self.instances[at]);
        instance.next_beat_ms = now_ms + BEAT_MS;
        let before = self.beats.remove(&instance.name).unwrap_or_default();
        let since = |id: &KeyId| (id.to_string(), before.serving.get(id.as_str()).copied().unwrap_or(now_ms));
        let beat = Heartbeat {
            instance: instance.name.clone(),
            beat_ms: now_ms,
            serving: instance.published.iter().map(since).collect(),
            ..Heartbeat::default()
        };
        self.beats.insert(beat.instance.clone(), beat);
        let beats: Vec<Heartbeat> = self.beats.values().cloned().collect();
        for step in plan_steps(&self.keys, &beats, &PLAN, now_ms) {
            self.take(&step);
        }
        self.poll(at);
    }

    fn take(&mut self, step: &KeyStep) {
        let now_ms = self.now_ms;
        match step {
            KeyStep::Stage => {
                // Two keys of one moment must not share an id.
                let random = u8::try_from(self.keys.len() % 256).unwrap();
                self.keys.push(key(random, KeyState::Staged, now_ms));
            }
            KeyStep::Activate(id) => {
                for key in &mut self.keys {
                    match key.state {
                        KeyState::Active => (key.state, key.retiring_ms) = (KeyState::Retiring, Some(now_ms)),
                        _ if key.id == *id => (key.state, key.activated_ms) = (KeyState::Active, Some(now_ms)),
                        _ => {}
                    }
                }
            }
            KeyStep::Retire(id) => {
                self.keys.iter_mut().filter(|key| key.id == *id).for_each(|key| key.state = KeyState::Retired);
            }
        }
    }

    fn turn(&mut self) {
        self.now_ms += STEP_MS;
        let now_ms = self.now_ms;
        for at in 0..self.instances.len() {
            if self.instances[at].halted_until_ms > now_ms {
                continue;
            }
            if self.dice.one_in(2_000) {
                let halt_ms = i64::try_from(self.dice.below(400)).unwrap() * STEP_MS;
                self.instances[at].halted_until_ms = now_ms + halt_ms;
                continue;
            }
            // A poll may be late by three steps; it is always made before a halted instance signs again.
            let was_halted = self.instances[at].halted_until_ms > now_ms - STEP_MS;
            if was_halted || self.dice.one_in(2) {
                self.poll(at);
            }
            if self.instances[at].next_beat_ms <= now_ms {
                self.beat(at);
            }
            if let Some(id) = self.instances[at].signing.clone().filter(|_| self.dice.one_in(4)) {
                self.signed_by.insert(id.to_string());
                self.tokens.push((id, now_ms + PLAN.access_ttl_ms));
            }
        }
        if self.dice.one_in(400) {
            let staged = self.keys.iter_mut().find(|key| key.state == KeyState::Staged);
            staged.into_iter().for_each(|key| key.promote_after_ms = Some(now_ms));
        }
        if self.dice.one_in(1_500) {
            self.start_instance();
        }
        if self.instances.len() > 3 && self.dice.one_in(1_500) {
            self.instances.remove(0);
        }
        self.fetch();
        self.tokens.retain(|(_, ends_ms)| *ends_ms > now_ms);
    }

    /// Verifiers whose copy is older than its `max-age` fetch another, from any instance that answers.
    fn fetch(&mut self) {
        let now_ms = self.now_ms;
        let answering: Vec<&Instance> =
            self.instances.iter().filter(|instance| instance.halted_until_ms <= now_ms).collect();
        for gateway in &mut self.gateways {
            let is_old = gateway.fetched_ms.is_none_or(|since_ms| now_ms - since_ms > PLAN.cache_ms);
            if !answering.is_empty() && is_old {
                let at = usize::try_from(self.dice.below(answering.len() as u64)).unwrap();
                gateway.known.clone_from(&answering[at].published);
                gateway.fetched_ms = Some(now_ms);
            }
        }
    }

    fn check(&self, seed: u64) {
        let published = self.published();
        for (id, ends_ms) in &self.tokens {
            let left_ms = ends_ms - self.now_ms;
            assert!(published.contains(id), "seed {seed}: a key left with {left_ms} ms of a token to go");
            for gateway in self.gateways.iter().filter(|gateway| gateway.fetched_ms == Some(self.now_ms)) {
                assert!(gateway.known.contains(id), "seed {seed}: a fresh key set lacks the key of a live token");
            }
            for gateway in self.gateways.iter().filter(|gateway| gateway.fetched_ms.is_some()) {
                let is_kept = gateway.fetched_ms.is_some_and(|since_ms| self.now_ms - since_ms <= PLAN.cache_ms);
                assert!(!is_kept || gateway.known.contains(id), "seed {seed}: a verifier met an unknown key");
            }
        }
        let signing = self.keys.iter().filter(|key| key.state == KeyState::Active).count();
        assert_eq!(signing, 1, "seed {seed}");
    }
}

#[test]
fn in_no_history_is_there_an_instant_at_which_a_live_token_lacks_its_key() {
    const { assert!(BEAT_MS < INSTANCE_LIVE_MS && 3 * STEP_MS < KEYS_KNOWN_MS) };
    let mut keys = 0;
    for seed in 0..40 {
        let mut world = World::new(seed);
        for _ in 0..4_000 {
            world.turn();
            world.check(seed);
        }
        keys += world.signed_by.len();
    }
    assert!(keys > 40 * 5, "only {keys} keys have signed");
}
