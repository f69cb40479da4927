//! Every history of one session, up to a bound: three clients, two instances, a thief, and everything that gets lost.
//!
//! A breadth-first search over [`decide`] itself. Two clients share a token as two tabs do, the third sends an
//! `Idempotency-Key`; requests and replies wait at an instance until it answers, crashes or loses them. Time is how
//! long ago each token was spent, in the steps that the rules tell apart. What is broken is shown with a shortest
//! history.

use super::*;
use std::collections::{HashMap, VecDeque};

/// The graces lie one millisecond apart, so that each age is also the last or the first moment of something.
const POLICY: RotationPolicy = RotationPolicy {
    grace_ms: 10_000,
    keyed_grace_ms: 10_001,
    idle_ms: i64::MAX,
    access_ttl_ms: 600_000,
    quota: None,
    shadow: Shadow::Enforced,
};
/// How often the token rotates in the histories that are looked at.
const ROTATIONS: usize = 2;
const INSTANCES: u8 = 2;
/// The client that sends a key; the others send none.
const KEYED: usize = 2;

/// How long ago a token was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Age {
    /// The clock went back since.
    Future,
    /// Within both graces.
    Fresh,
    /// Within the grace of a key only.
    Later,
    /// After both.
    Old,
}

impl Age {
    fn ms(self) -> i64 {
        match self {
            Self::Future => -60_000,
            Self::Fresh => POLICY.grace_ms,
            Self::Later => POLICY.keyed_grace_ms,
            Self::Old => POLICY.keyed_grace_ms + 1,
        }
    }

    fn is_within(self, grace_ms: i64) -> bool {
        self.ms() <= grace_ms
    }

    /// After the clock has moved so that what was spent just now has this age.
    fn after(self, moved: Self) -> Self {
        if moved == Self::Future && self == Self::Fresh { Self::Future } else { self.max(moved) }
    }
}

/// A token that was spent: with a key or without, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Spent {
    keyed: bool,
    age: Age,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Reply {
    Token(u8),
    Conflict,
    Unauthorised,
}

/// What waits at an instance for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Call {
    None,
    /// Not decided yet.
    Asked(u8),
    /// Committed, the reply still to be sent.
    Done(u8, Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Client {
    /// The token it has; `None` once it was told that its session is over.
    token: Option<u8>,
    call: Call,
    /// The token of a call that it hung up on; the instance goes on with it all the same (R9).
    abandoned: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct State {
    /// `spent[t]` is how token `t` was spent; the current token is the one after them.
    spent: Vec<Spent>,
    ended: bool,
    /// Somebody ended the session, or used a token in a way that must end it.
    provoked: bool,
    clients: [Client; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// A client sends the token it has: a refresh, or a retry where it sent it before.
    Send {
        client: usize,
        instance: u8,
    },
    /// An instance decides and commits.
    Decide {
        client: usize,
    },
    /// The reply arrives.
    Receive {
        client: usize,
    },
    /// The request or the reply gets lost, and the client notices.
    Lose {
        client: usize,
    },
    /// The client with the key hangs up before its request is decided.
    HangUp,
    /// An instance decides what the client hung up on; nobody hears the reply.
    DecideAbandoned,
    /// An instance dies with everything that waits there.
    Crash {
        instance: u8,
    },
    /// The clock moves: what was spent just now has this age.
    Move {
        to: Age,
    },
    Revoke,
    /// A thief presents a copy of this token.
    Replay {
        token: u8,
    },
}

fn hash(token: u8) -> TokenHash {
    TokenHash([token; 32])
}

fn seal(token: u8, keyed: bool) -> Sealed {
    Sealed { bytes: vec![token, u8::from(keyed)], keying: keying(keyed) }
}

fn keying(keyed: bool) -> Keying {
    if keyed { Keying::Keyed } else { Keying::Plain }
}

impl State {
    fn first() -> Self {
        let client = Client { token: Some(0), call: Call::None, abandoned: None };
        Self { spent: Vec::new(), ended: false, provoked: false, clients: [client; 3] }
    }

    fn current(&self) -> u8 {
        u8::try_from(self.spent.len()).unwrap()
    }

    /// The session's row at the time 0.
    fn family(&self) -> Family {
        let last = self.spent.last();
        let parent = self.current().checked_sub(1);
        Family {
            generation: i64::from(self.current()),
            current: hash(self.current()),
            previous: parent.map(hash),
            rotated_ms: last.map(|spent| -spent.age.ms()),
            access_expires_ms: None,
            sealed: parent.zip(last).map(|(parent, spent)| seal(parent, spent.keyed)),
            retries: 0,
            idle_expires_ms: i64::MAX,
            expires_ms: i64::MAX,
            revoked_ms: self.ended.then_some(0),
            epoch: EpochState::Current,
            transport: Transport::Body,
            rate_tat_us: 0,
            rotated_by: Origin::default(),
            strays: Strays::default(),
        }
    }

    fn ask(&self, token: u8, keyed: bool) -> Decision {
        let used = self.spent.get(usize::from(token)).filter(|spent| keyed && spent.keyed);
        let presented = Presented {
            hash: hash(token),
            keying: keying(keyed),
            transport: Transport::Body,
            origin: &Origin::default(),
            opens: &|sealed| *sealed == seal(token, keyed),
            spent_with_this_key: used.is_some_and(|spent| spent.age.is_within(POLICY.keyed_grace_ms)),
        };
        decide(&self.family(), &presented, &POLICY, &Outages::default(), 0)
    }

    /// Whether the rules protect this use: of the current token, or of its parent by who lost the reply in time.
    fn is_timely(&self, token: u8, keyed: bool) -> bool {
        let Some(spent) = self.spent.get(usize::from(token)) else { return true };
        let is_parent = token + 1 == self.current();
        let grace_ms = if spent.keyed { POLICY.keyed_grace_ms } else { POLICY.grace_ms };
        is_parent && (keyed || !spent.keyed) && spent.age.is_within(grace_ms)
    }

    /// Whether this use is refused without an end: by another tab, or by who sent this key before (R2k).
    fn is_conflict(&self, token: u8, keyed: bool) -> bool {
        let Some(spent) = self.spent.get(usize::from(token)) else { return false };
        let other_tab = token + 1 == self.current() && spent.age.is_within(POLICY.grace_ms);
        spent.keyed && (other_tab || (keyed && spent.age.is_within(POLICY.keyed_grace_ms)))
    }

    /// Presents a token and commits what [`decide`] says.
    fn present(&mut self, token: u8, keyed: bool) -> Result<Reply, &'static str> {
        let must_end = !self.ended && !self.is_timely(token, keyed) && !self.is_conflict(token, keyed);
        self.provoked |= must_end;
        let reply = match self.ask(token, keyed) {
            Decision::Rotate { .. } if token != self.current() => return Err("a token has two successors"),
            Decision::Rotate { .. } => {
                self.spent.push(Spent { keyed, age: Age::Fresh });
                Reply::Token(self.current())
            }
            Decision::Retry { .. } => Reply::Token(self.current()),
            Decision::Conflict => Reply::Conflict,
            Decision::Replay(_) => {
                self.ended = true;
                Reply::Unauthorised
            }
            _ => Reply::Unauthorised,
        };
        if must_end && !self.ended { Err("a replay did not end the session") } else { Ok(reply) }
    }

    /// What must be true in every state.
    fn check(&self) -> Result<(), &'static str> {
        let works = |decision: &Decision| matches!(decision, Decision::Rotate { .. } | Decision::Retry { .. });
        let every = || (0..=self.current()).flat_map(|token| [(token, false), (token, true)]);
        if self.ended && every().any(|(token, keyed)| works(&self.ask(token, keyed))) {
            return Err("something works after the end");
        }
        if self.ended && !self.provoked {
            return Err("a session ended although nothing but replies was lost");
        }
        if every().filter(|(token, keyed)| !keyed && matches!(self.ask(*token, false), Decision::Rotate { .. })).count()
            > 1
        {
            return Err("two tokens are live");
        }
        if !self.ended && every().any(|(token, keyed)| works(&self.ask(token, keyed)) != self.is_timely(token, keyed)) {
            return Err("who retries in time gets the successor, and nobody else");
        }
        let told = |client: &Client| client.token.is_none() && !self.ended;
        if self.clients.iter().any(told) { Err("a client of a live session was sent away") } else { Ok(()) }
    }

    /// Every act that is possible here.
    fn acts(&self) -> Vec<Act> {
        let mut acts = vec![Act::Revoke];
        for (client, of) in self.clients.iter().enumerate() {
            match of.call {
                Call::None if of.token.is_some() => {
                    acts.extend((0..INSTANCES).map(|instance| Act::Send { client, instance }));
                }
                Call::None => {}
                Call::Asked(_) => acts.extend([Act::Decide { client }, Act::Lose { client }]),
                Call::Done(..) => acts.extend([Act::Receive { client }, Act::Lose { client }]),
            }
        }
        let keyed = &self.clients[KEYED];
        if keyed.abandoned.is_some() {
            acts.push(Act::DecideAbandoned);
        } else if matches!(keyed.call, Call::Asked(_)) {
            acts.push(Act::HangUp);
        }
        acts.extend((0..INSTANCES).map(|instance| Act::Crash { instance }));
        acts.extend([Age::Future, Age::Later, Age::Old].map(|to| Act::Move { to }));
        acts.extend((0..=self.current()).map(|token| Act::Replay { token }));
        acts
    }

    /// The state after an act; `None` beyond the bound.
    fn after(&self, act: Act) -> Result<Option<Self>, &'static str> {
        let mut next = self.clone();
        match act {
            Act::Send { client, instance } => next.clients[client].call = Call::Asked(instance),
            Act::Decide { client } => next.answer(client)?,
            Act::Receive { client } => next.receive(client),
            Act::Lose { client } => next.clients[client].call = Call::None,
            Act::HangUp => {
                next.clients[KEYED].abandoned = next.clients[KEYED].token;
                next.clients[KEYED].call = Call::None;
            }
            Act::DecideAbandoned => {
                if let Some(token) = next.clients[KEYED].abandoned.take() {
                    next.present(token, true)?;
                }
            }
            Act::Crash { instance } => next.crash(instance),
            Act::Move { to } => next.spent.iter_mut().for_each(|spent| spent.age = spent.age.after(to)),
            Act::Revoke => (next.ended, next.provoked) = (true, true),
            Act::Replay { token } => _ = next.present(token, false)?,
        }
        Ok((next.spent.len() <= ROTATIONS).then(|| next.canonical()))
    }

    fn answer(&mut self, client: usize) -> Result<(), &'static str> {
        let Client { token: Some(token), call: Call::Asked(instance), .. } = self.clients[client] else {
            return Ok(());
        };
        let reply = self.present(token, client == KEYED)?;
        self.clients[client].call = Call::Done(instance, reply);
        Ok(())
    }

    fn receive(&mut self, client: usize) {
        let of = &mut self.clients[client];
        let Call::Done(_, reply) = std::mem::replace(&mut of.call, Call::None) else { return };
        match reply {
            Reply::Token(token) => of.token = Some(token),
            Reply::Conflict => {}
            Reply::Unauthorised => of.token = None,
        }
    }

    fn crash(&mut self, instance: u8) {
        for client in &mut self.clients {
            if matches!(client.call, Call::Asked(at) | Call::Done(at, _) if at == instance) {
                client.call = Call::None;
            }
        }
    }

    /// Instances are alike, and so are the clients without a key; what was spent when is the same after the end.
    fn canonical(mut self) -> Self {
        if self.ended {
            self.spent.iter_mut().for_each(|spent| *spent = Spent { keyed: false, age: Age::Old });
        }
        let swapped = |call| match call {
            Call::None => Call::None,
            Call::Asked(at) => Call::Asked(1 - at),
            Call::Done(at, reply) => Call::Done(1 - at, reply),
        };
        let mut mirrored = self.clone();
        mirrored.clients.iter_mut().for_each(|client| client.call = swapped(client.call));
        let sorted = |mut state: Self| {
            state.clients[..KEYED].sort();
            state
        };
        sorted(self).min(sorted(mirrored))
    }
}

/// Looks at everything that can come after the first state; returns how many states there are.
fn search() -> Result<usize, String> {
    let first = State::first().canonical();
    let mut came_by: HashMap<State, Option<(State, Act)>> = HashMap::from([(first.clone(), None)]);
    let mut waiting = VecDeque::from([first]);
    while let Some(state) = waiting.pop_front() {
        for act in state.acts() {
            match state.after(act) {
                Ok(Some(next)) if !came_by.contains_key(&next) => {
                    if let Err(broken) = next.check() {
                        return Err(history(&came_by, &state, act, broken));
                    }
                    came_by.insert(next.clone(), Some((state.clone(), act)));
                    waiting.push_back(next);
                }
                Ok(_) => {}
                Err(broken) => return Err(history(&came_by, &state, act, broken)),
            }
        }
    }
    Ok(came_by.len())
}

/// A shortest way to what is broken. Alike clients and instances may change places between two steps.
fn history(came_by: &HashMap<State, Option<(State, Act)>>, state: &State, act: Act, broken: &str) -> String {
    let mut steps = vec![format!("{act:?}")];
    let mut at = state;
    while let Some(Some((before, act))) = came_by.get(at) {
        steps.push(format!("{act:?} -> {at:?}"));
        at = before;
    }
    steps.reverse();
    format!("{broken}, after {} steps:\n{}", steps.len(), steps.join("\n"))
}

#[test]
fn no_history_of_losses_crashes_and_thefts_breaks_a_promise() {
    match search() {
        Ok(states) => {
            println!("{states} distinct states");
            assert!(states > 10_000, "only {states} states: the search looks at nothing");
        }
        Err(history) => panic!("{history}"),
    }
}
