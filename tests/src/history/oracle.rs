//! What one account may look like after what its owner was told: its families of tokens, its password, its standing.
//!
//! Operations on one account are taught in the order in which they happened; of parallel ones, what was granted comes
//! before what was refused and ends come last. Every lesson that cannot be true panics with the reason.

use crate::{client::Tokens, outcome::Outcome};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// How long the parent of the newest token is surely inside its grace; scenarios configure a minute.
const SURELY_IN_GRACE: Duration = Duration::from_secs(25);

/// Whether a session can be alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nothing that could end it was begun.
    Live,
    /// Something that could end it has an unknown outcome.
    Unsure,
    /// It ended; it never lives again.
    Over,
}

/// A refresh token and the `Idempotency-Key` it was spent with.
#[derive(Debug, Clone)]
struct Link {
    token: String,
    key: Option<String>,
}

/// A session: all tokens of it that were ever handed out.
#[derive(Clone)]
pub struct Family {
    session: String,
    chain: Vec<Link>,
    accesses: Vec<String>,
    flight: Option<Option<String>>,
    rotated: Instant,
    late: bool,
    life: Life,
    /// Whether anything was asked of it since this was last cleared.
    pub touched: bool,
}

/// What a failure needs to say: tokens would bury it.
impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<Option<&str>> = self.chain.iter().map(|link| link.key.as_deref()).collect();
        f.debug_struct("Family")
            .field("session", &self.session)
            .field("life", &self.life)
            .field("generations_spent_with", &keys)
            .field("in_flight_with", &self.flight)
            .field("since_rotation", &self.rotated.elapsed())
            .finish_non_exhaustive()
    }
}

impl Family {
    fn new(tokens: &Tokens) -> Self {
        Self {
            session: tokens.session.clone(),
            chain: vec![Link { token: tokens.refresh.clone(), key: None }],
            accesses: vec![tokens.access.clone()],
            flight: None,
            rotated: Instant::now(),
            late: false,
            life: Life::Live,
            touched: true,
        }
    }

    /// Its session's id.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Whether it can be alive.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life
    }

    /// The token of a generation.
    #[must_use]
    pub fn token(&self, generation: usize) -> &str {
        self.chain.get(generation).map_or("", |link| &link.token)
    }

    /// The newest generation that is known.
    #[must_use]
    pub fn last(&self) -> usize {
        self.chain.len().saturating_sub(1)
    }

    /// All access tokens, the newest last.
    #[must_use]
    pub fn accesses(&self) -> &[String] {
        &self.accesses
    }

    /// Whether the newest known token may be spent: it was presented, and no answer came.
    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// The key with which the newest token was presented, when no answer came.
    #[must_use]
    pub fn key_in_flight(&self) -> Option<&str> {
        self.flight.as_ref().and_then(Option::as_deref)
    }

    /// Whether it can be used without harm: a call of unknown outcome may still be on its way, and would be a replay if
    /// it arrived after the successor was used. A key protects from that (R2k).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.life == Life::Live && !self.late
    }

    /// Nothing is on its way any more.
    pub fn nothing_is_late(&mut self) {
        self.late = false;
    }

    /// Whether the parent of the newest token may be presented without harm.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.last() > 0 && !self.in_flight() && self.rotated.elapsed() < SURELY_IN_GRACE
    }

    /// The key with which this generation was spent.
    #[must_use]
    pub fn key_of(&self, generation: usize) -> Option<&str> {
        self.chain.get(generation).and_then(|link| link.key.as_deref())
    }

    /// Something that can end it was begun, beside what is taught next.
    pub fn doubt(&mut self) {
        self.touched = true;
        if self.life == Life::Live {
            self.life = Life::Unsure;
        }
    }

    /// Something that ends it was acknowledged.
    pub fn end(&mut self) {
        self.touched = true;
        self.life = Life::Over;
    }

    /// Something that ends it had this outcome. A refusal ends nothing.
    pub fn learn_end(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done => self.end(),
            Outcome::Unknown(_) => self.doubt(),
            _ => {}
        }
    }

    /// The token of `generation` was presented with this key.
    ///
    /// # Panics
    /// When the outcome cannot be true.
    pub fn learn_refresh(&mut self, generation: usize, key: Option<&str>, outcome: &Outcome) {
        self.touched = true;
        let protected = key.is_some() && (generation == self.last() || key == self.key_of(generation));
        self.late |= outcome.is_unknown() && !protected;
        match outcome {
            Outcome::Granted(tokens) => self.learn_granted(generation, key, tokens),
            Outcome::Refused(answer) if answer.status == 401 => self.learn_refused(generation, outcome),
            Outcome::Refused(answer) if answer.status == 409 => self.learn_conflict(generation, key),
            Outcome::Unknown(_) if generation == self.last() => {
                self.flight.get_or_insert_with(|| key.map(str::to_owned));
            }
            // A spent token ends the session, if it arrived.
            Outcome::Unknown(_) if generation + 1 < self.last() || self.in_flight() => self.doubt(),
            Outcome::Unknown(_) | Outcome::Unsent => {}
            Outcome::Done | Outcome::Refused(_) => panic!("{self:?}: generation {generation}: {outcome:?}"),
        }
    }

    fn learn_granted(&mut self, generation: usize, key: Option<&str>, tokens: &Tokens) {
        assert_ne!(self.life, Life::Over, "a token works after the end of its session: {self:?}: {tokens:?}");
        assert_eq!(tokens.session, self.session, "a refresh changed the session");
        if generation == self.last() {
            assert!(self.chain.iter().all(|link| link.token != tokens.refresh), "a token came twice: {self:?}");
            if let Some(link) = self.chain.last_mut() {
                link.key = key.map(str::to_owned);
            }
            self.chain.push(Link { token: tokens.refresh.clone(), key: None });
            self.flight = None;
            self.rotated = Instant::now();
        } else {
            assert_eq!(generation + 1, self.last(), "a spent token works: {self:?}");
            assert_eq!(tokens.refresh, self.token(self.last()), "two successors of one token: {self:?}");
        }
        self.accesses.push(tokens.access.clone());
    }

    fn learn_refused(&mut self, generation: usize, outcome: &Outcome) {
        let predicted = self.life != Life::Live || generation + 1 < self.last();
        assert!(predicted, "a live session was lost at generation {generation}: {self:?}: {outcome:?}");
        self.life = Life::Over;
    }

    fn learn_conflict(&self, generation: usize, key: Option<&str>) {
        let spent_with = if generation == self.last() { self.key_in_flight() } else { self.key_of(generation) };
        let predicted = generation + 1 >= self.last() && spent_with.is_some() && spent_with != key;
        assert!(predicted, "a conflict without another key at generation {generation}: {self:?}");
    }
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody was told.
    Maybe,
}

/// One account, as its owner knows it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its e-mail address.
    pub email: String,
    /// The `Idempotency-Key` of its registration.
    pub key: String,
    /// Whether it exists.
    pub exists: Known,
    /// Whether it is disabled.
    pub disabled: Known,
    /// What its password can be; one, unless a change has an unknown outcome.
    pub passwords: Vec<String>,
    /// Its sessions, also those that ended.
    pub families: Vec<Family>,
    /// An end of many that nobody confirmed may come late, and take along what was opened since.
    late_end: bool,
}

impl Account {
    /// One that does not exist yet.
    #[must_use]
    pub fn new(email: String, key: String, password: String) -> Self {
        let passwords = vec![password];
        Self { email, key, exists: Known::No, disabled: Known::No, passwords, families: Vec::new(), late_end: false }
    }

    /// Whether something about the account itself is not known.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.exists == Known::Maybe || self.disabled == Known::Maybe || self.passwords.len() != 1
    }

    /// A registration with its key, for the first time or again.
    ///
    /// # Panics
    /// When the outcome cannot be true.
    pub fn learn_registration(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Granted(tokens) => {
                self.exists = Known::Yes;
                self.open(tokens);
            }
            Outcome::Unknown(_) => self.exists = Known::Maybe,
            Outcome::Unsent => {}
            Outcome::Done | Outcome::Refused(_) => panic!("the registration of {}: {outcome:?}", self.email),
        }
    }

    /// A login with this password.
    ///
    /// # Panics
    /// When the outcome cannot be true.
    pub fn learn_login(&mut self, password: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Granted(tokens) => {
                assert_ne!(self.disabled, Known::Yes, "{} is disabled and lets in", self.email);
                assert!(self.passwords.iter().any(|known| known == password), "{}: not its password", self.email);
                self.passwords = vec![password.to_owned()];
                self.disabled = Known::No;
                self.open(tokens);
            }
            Outcome::Refused(answer) => {
                let lost = self.exists == Known::Yes && self.disabled == Known::No && self.passwords == [password];
                assert!(!lost && answer.status == 401, "{} does not let in: {answer}", self.email);
            }
            Outcome::Unknown(_) | Outcome::Unsent => {}
            Outcome::Done => panic!("the login of {}: {outcome:?}", self.email),
        }
    }

    fn open(&mut self, tokens: &Tokens) {
        let known = self.families.iter().any(|family| family.session == tokens.session);
        assert!(!known, "a session was opened twice: {tokens:?}");
        let mut family = Family::new(tokens);
        if self.late_end {
            family.doubt();
        }
        self.families.push(family);
    }

    /// A change to this password, made in the session of `keep`.
    ///
    /// # Panics
    /// When the outcome cannot be true.
    pub fn learn_password(&mut self, new: String, keep: usize, outcome: &Outcome) {
        match outcome {
            Outcome::Done => self.passwords = vec![new],
            Outcome::Unknown(_) => self.passwords.push(new),
            Outcome::Refused(answer) => self.expect_over(keep, answer.status),
            Outcome::Unsent => {}
            Outcome::Granted(_) => panic!("a password change gave tokens"),
        }
        self.learn_end_of_others(Some(keep), outcome);
    }

    /// Something that ends every session but `keep` had this outcome.
    pub fn learn_end_of_others(&mut self, keep: Option<usize>, outcome: &Outcome) {
        self.late_end |= outcome.is_unknown();
        for (at, family) in self.families.iter_mut().enumerate() {
            if Some(at) != keep {
                family.learn_end(outcome);
            }
        }
    }

    /// No end of many is on its way any more.
    pub fn nothing_is_late(&mut self) {
        self.late_end = false;
    }

    /// A refusal of what the session `at` asked for means that it is over.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn expect_over(&mut self, at: usize, status: u16) {
        let Some(family) = self.families.get_mut(at) else { return };
        assert!(status == 401 && family.life != Life::Live, "a live session was refused with {status}: {family:?}");
        family.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Answer;

    fn granted(refresh: &str) -> Outcome {
        let tokens = Tokens {
            access: "a".into(),
            refresh: refresh.into(),
            session: "ses_1".into(),
            user: "usr_1".into(),
            device: None,
        };
        Outcome::Granted(Box::new(tokens))
    }

    fn refused(status: u16) -> Outcome {
        Outcome::Refused(Box::new(Answer { status, headers: Default::default(), body: Default::default() }))
    }

    fn cut() -> Outcome {
        Outcome::Unknown("cut".into())
    }

    /// A family of the tokens `t0`, `t1`, `t2`; `t1` was spent with a key.
    fn family() -> Family {
        let Outcome::Granted(first) = granted("t0") else { panic!("tokens") };
        let mut family = Family::new(&first);
        family.learn_refresh(0, None, &granted("t1"));
        family.learn_refresh(1, Some("key"), &granted("t2"));
        family
    }

    /// Whether the oracle believes these lessons about [`family`].
    fn believes(lessons: impl FnOnce(&mut Family) + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(|| lessons(&mut family())).is_ok()
    }

    #[test]
    fn the_oracle_believes_what_the_rules_allow() {
        assert!(believes(|family| family.learn_refresh(1, Some("key"), &granted("t2"))), "a lost reply");
        assert!(believes(|family| family.learn_refresh(1, None, &refused(409))), "another tab");
        let replay = |family: &mut Family| {
            family.learn_refresh(0, None, &refused(401));
            family.learn_refresh(2, None, &refused(401));
        };
        assert!(believes(replay), "a replay ends the session");
        let unsure = |family: &mut Family| {
            family.learn_end(&cut());
            family.learn_refresh(2, None, &granted("t3"));
            family.learn_refresh(3, None, &refused(401));
        };
        assert!(believes(unsure), "an end that nobody confirmed may come late");
        let flight = |family: &mut Family| {
            family.learn_refresh(2, Some("k"), &cut());
            assert_eq!((family.key_in_flight(), family.is_usable()), (Some("k"), true));
            family.learn_refresh(2, Some("k"), &granted("t3"));
        };
        assert!(believes(flight), "a cut refresh is asked for again");
    }

    #[test]
    fn the_oracle_believes_nothing_that_the_rules_forbid() {
        assert!(!believes(|family| family.learn_refresh(2, None, &refused(401))), "a live session is lost");
        assert!(!believes(|family| family.learn_refresh(1, Some("key"), &refused(401))), "a lost reply ends it");
        assert!(!believes(|family| family.learn_refresh(1, Some("key"), &granted("t9"))), "two successors");
        assert!(!believes(|family| family.learn_refresh(0, None, &granted("t1"))), "a spent token works");
        assert!(!believes(|family| family.learn_refresh(2, None, &granted("t1"))), "a token comes twice");
        assert!(!believes(|family| family.learn_refresh(1, Some("key"), &refused(409))), "a conflict of one key");
        assert!(!believes(|family| family.learn_refresh(2, None, &refused(500))), "a bug");
        let revived = |family: &mut Family| {
            family.learn_end(&Outcome::Done);
            family.learn_refresh(2, None, &granted("t3"));
        };
        assert!(!believes(revived), "it lives after its end");
        let after_replay = |family: &mut Family| {
            family.learn_refresh(0, None, &refused(401));
            family.learn_refresh(2, None, &granted("t3"));
        };
        assert!(!believes(after_replay), "it lives after a replay");
    }

    #[test]
    fn a_password_is_one_of_two_until_one_of_them_lets_in() {
        let mut account = Account::new("ada@example.org".into(), "k".into(), "old".into());
        account.learn_registration(&granted("t0"));
        account.learn_password("new".into(), 0, &cut());
        assert!(account.in_doubt());
        account.learn_login("new", &refused(401));
        assert!(account.in_doubt(), "it may still change");
        account.learn_password("new".into(), 0, &Outcome::Done);
        assert_eq!(account.passwords, ["new"]);
        let lost = std::panic::catch_unwind(move || account.learn_login("new", &refused(401)));
        assert!(lost.is_err());
    }
}
