//! One person with an account after the other: what they do next, cut off or not, and what they ask when all is well
//! again. Everything is recorded, and taught to the oracle of their account.

use crate::{
    admin::Admin,
    client::{Call, Client},
    clock::SeededRandom,
    history::{
        oracle::{Account, Family, Known},
        recorder::{Act, Recorder},
    },
    outcome::Outcome,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Live sessions that one account has at most.
const SESSIONS: usize = 4;

/// One daemon, as people reach it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its public API.
    pub client: Client,
    /// Its operators' socket.
    pub admin: Admin,
}

/// A person.
#[derive(Debug)]
pub struct Person {
    pub(super) places: Vec<Place>,
    pub(super) account: Account,
    pub(super) past: Vec<Account>,
    pub(super) patience: Duration,
    pub(super) name: String,
    recorder: Arc<Recorder>,
    random: SeededRandom,
}

impl Person {
    /// A person who has no account yet.
    #[must_use]
    pub fn new(name: &str, seed: u64, recorder: Arc<Recorder>) -> Self {
        let random = SeededRandom::new(seed);
        let account = fresh(name, 0, &random);
        let (name, patience) = (name.to_owned(), Duration::ZERO);
        Self { places: Vec::new(), account, past: Vec::new(), patience, name, recorder, random }
    }

    /// Leaves the account and starts another.
    pub(super) fn move_on(&mut self) {
        let next = fresh(&self.name, self.past.len() + 1, &self.random);
        self.past.push(std::mem::replace(&mut self.account, next));
    }

    /// A number below `bound`.
    pub(super) fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.random.next() % bound).unwrap_or(0)
    }

    fn place(&self) -> &Place {
        &self.places[self.below(self.places.len())]
    }

    pub(super) fn family(&self, at: usize) -> &Family {
        &self.account.families[at]
    }

    /// Does one thing, unless the account itself is in doubt: then it waits until all is well again.
    pub(super) async fn act(&mut self) {
        if self.account.in_doubt() {
            return tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.account.exists == Known::No {
            return self.register().await;
        }
        let open: Vec<usize> = self.usable();
        if open.is_empty() || (open.len() < SESSIONS && self.below(12) == 0) {
            return self.login().await;
        }
        let at = open[self.below(open.len())];
        if self.family(at).in_flight() {
            return self.refresh_newest(at).await;
        }
        match self.below(100) {
            0..45 => self.refresh_newest(at).await,
            45..56 => self.refresh_twice(at).await,
            56..68 if self.family(at).may_retry() => self.retry(at).await,
            68..72 if self.family(at).may_retry() => self.retry_with_another_key(at).await,
            72..75 if self.family(at).last() > 1 => self.replay(at).await,
            75..79 => self.logout(at).await,
            79..83 => self.logout_among_refreshes(at).await,
            83..86 => self.logout_many(at).await,
            86..90 => self.revoke(at).await,
            90..94 => self.change_password(at).await,
            94..96 => self.disable().await,
            96..98 => self.login().await,
            98 if self.owes_nothing() => self.move_on(),
            _ => self.refresh_newest(at).await,
        }
    }

    /// Whether no answer is awaited: the grace of what is in flight ends long before an account that was left is asked.
    fn owes_nothing(&self) -> bool {
        !self.account.families.iter().any(Family::in_flight)
    }

    fn usable(&self) -> Vec<usize> {
        let families = self.account.families.iter().enumerate();
        families.filter(|(_, family)| family.is_usable()).map(|(at, _)| at).collect()
    }

    async fn send(&self, act: Act, call: Call) -> Outcome {
        let send = |id: String| async move { call.header("x-request-id", id).outcome(self.patience).await };
        self.recorder.record(act, send).await
    }

    async fn operate(&self, act: Act, path: &str, subject: serde_json::Value) -> Outcome {
        let admin = self.place().admin.clone();
        let send = |id: String| async move {
            let mut body = subject;
            body["ticket"] = json!(id);
            admin.outcome(path, &body.to_string(), self.patience).await
        };
        self.recorder.record(act, send).await
    }

    /// Registers; a repeat with the same key is the same registration, and opens a session of its own.
    pub(super) async fn register(&mut self) {
        let Account { email, key, passwords, .. } = &self.account;
        let body = json!({ "email": email, "password": passwords[0] });
        let call = self.place().client.post("/api/auth/register", &body).header("idempotency-key", key);
        let outcome = self.send(Act::Register, call).await;
        self.account.learn_registration(&outcome);
    }

    pub(super) async fn login(&mut self) {
        let password = self.account.passwords[self.account.passwords.len() - 1].clone();
        self.login_with(&password).await;
    }

    pub(super) async fn login_with(&mut self, password: &str) {
        let body = json!({ "email": self.account.email, "password": password });
        let outcome = self.send(Act::Login, self.place().client.post("/api/auth/login", &body)).await;
        self.account.learn_login(password, &outcome);
    }

    /// Presents a token.
    pub(super) async fn present(&self, token: &str, key: Option<&str>) -> Outcome {
        let call = self.place().client.refresh_call(token);
        let call = if let Some(key) = key { call.header("idempotency-key", key) } else { call };
        self.send(Act::Refresh, call).await
    }

    pub(super) async fn refresh(&mut self, at: usize, generation: usize, key: Option<String>) {
        let outcome = self.present(self.family(at).token(generation), key.as_deref()).await;
        self.account.families[at].learn_refresh(generation, key.as_deref(), &outcome);
    }

    /// Presents the newest token, again with its key if nobody said what became of it.
    pub(super) async fn refresh_newest(&mut self, at: usize) {
        let family = self.family(at);
        let key = if family.in_flight() { family.key_in_flight().map(str::to_owned) } else { self.any_key() };
        self.refresh(at, family.last(), key).await;
    }

    async fn refresh_twice(&mut self, at: usize) {
        let (generation, key) = (self.family(at).last(), self.any_key());
        let token = self.family(at).token(generation).to_owned();
        let (one, other) = tokio::join!(self.present(&token, key.as_deref()), self.present(&token, key.as_deref()));
        for outcome in granted_first([one, other]) {
            self.account.families[at].learn_refresh(generation, key.as_deref(), &outcome);
        }
    }

    pub(super) async fn retry(&mut self, at: usize) {
        let parent = self.family(at).last() - 1;
        let key = self.family(at).key_of(parent).map(str::to_owned);
        self.refresh(at, parent, key).await;
    }

    /// Another tab, or none: refused without harm, if the first call had a key.
    async fn retry_with_another_key(&mut self, at: usize) {
        let parent = self.family(at).last() - 1;
        let key = self.family(at).key_of(parent).map(|key| format!("{key}-of-another-tab"));
        self.refresh(at, parent, key).await;
    }

    async fn replay(&mut self, at: usize) {
        let spent = self.below(self.family(at).last() - 1);
        self.refresh(at, spent, None).await;
    }

    fn logout_call(&self, at: usize) -> Call {
        let (client, family) = (self.place().client, self.family(at));
        match family.accesses().last() {
            Some(access) if self.below(2) == 0 => client.post("/api/auth/logout", &json!({})).bearer(access),
            _ => {
                let token = family.token(self.below(family.last() + 1));
                client.post("/api/auth/logout", &json!({ "refresh_token": token }))
            }
        }
    }

    pub(super) async fn logout(&mut self, at: usize) {
        let outcome = self.send(Act::Logout, self.logout_call(at)).await;
        never_refused(&outcome);
        self.account.families[at].learn_end(&outcome);
    }

    async fn logout_among_refreshes(&mut self, at: usize) {
        let generation = self.family(at).last();
        let token = self.family(at).token(generation).to_owned();
        let logout = self.send(Act::Logout, self.logout_call(at));
        let (one, other, end) = tokio::join!(self.present(&token, None), self.present(&token, None), logout);
        let family = &mut self.account.families[at];
        family.doubt();
        for outcome in granted_first([one, other]) {
            family.learn_refresh(generation, None, &outcome);
        }
        never_refused(&end);
        family.learn_end(&end);
    }

    async fn logout_many(&mut self, at: usize) {
        let keep = (self.below(2) == 0).then_some(at);
        let scope = if keep.is_some() { "others" } else { "all" };
        let access = self.family(at).accesses().last().cloned().unwrap_or_default();
        let call = self.place().client.post("/api/auth/logout", &json!({ "scope": scope })).bearer(&access);
        let outcome = self.send(Act::Logout, call).await;
        if let Some(status) = outcome.refusal() {
            self.account.expect_over(at, status);
        }
        self.account.learn_end_of_others(keep, &outcome);
    }

    async fn revoke(&mut self, at: usize) {
        let subject = json!({ "id": self.family(at).session() });
        let outcome = self.operate(Act::RevokeSession, "/v1/session/revoke", subject).await;
        never_refused(&outcome);
        self.account.families[at].learn_end(&outcome);
    }

    async fn change_password(&mut self, at: usize) {
        let new = strong(&self.random);
        let access = self.family(at).accesses().last().cloned().unwrap_or_default();
        let body = json!({ "current_password": self.account.passwords[0], "new_password": new });
        let call = self.place().client.call("PATCH", "/api/user/password").json(&body).bearer(&access);
        let outcome = self.send(Act::ChangePassword, call).await;
        self.account.learn_password(new, at, &outcome);
    }

    async fn disable(&mut self) {
        let subject = json!({ "user": self.account.email });
        let outcome = self.operate(Act::Disable, "/v1/user/disable", subject).await;
        never_refused(&outcome);
        match outcome {
            Outcome::Done => self.account.disabled = Known::Yes,
            Outcome::Unknown(_) => self.account.disabled = Known::Maybe,
            _ => {}
        }
        self.account.learn_end_of_others(None, &outcome);
        if outcome.is_done() {
            self.login().await;
            self.enable().await;
        }
    }

    pub(super) async fn enable(&mut self) {
        let subject = json!({ "user": self.account.email });
        let outcome = self.operate(Act::Enable, "/v1/user/enable", subject).await;
        never_refused(&outcome);
        self.account.disabled = if outcome.is_done() { Known::No } else { Known::Maybe };
    }

    fn any_key(&self) -> Option<String> {
        (self.below(3) == 0).then(|| format!("key-{:016x}", self.random.next()))
    }
}

/// What always ends well, also when it was done before (R15).
fn never_refused(outcome: &Outcome) {
    assert_eq!(outcome.refusal(), None, "{outcome:?}");
}

fn granted_first<const N: usize>(mut outcomes: [Outcome; N]) -> [Outcome; N] {
    outcomes.sort_by_key(|outcome| !matches!(outcome, Outcome::Granted(_)));
    outcomes
}

fn fresh(name: &str, number: usize, random: &SeededRandom) -> Account {
    let key = format!("registration-{:016x}", random.next());
    Account::new(format!("{name}-{number}@example.org"), key, strong(random))
}

fn strong(random: &SeededRandom) -> String {
    format!("{:016x}-tide", random.next())
}
