//! After the storm: a person asks again whatever nobody answered, compares what works with what the oracle says, and at
//! last presents every token they ever had.

use crate::{
    history::{
        oracle::{Known, Life},
        person::Person,
    },
    outcome::Outcome,
};

/// How often a question is asked again while its answer gets lost.
const TRIES: usize = 20;

impl Person {
    /// Resolves what is in doubt and asks every session that was used what has become of it.
    ///
    /// # Panics
    /// When anything contradicts the oracle, or stays unknown although all is well.
    pub(super) async fn settle(&mut self) {
        self.account.nothing_is_late();
        for _ in 0..TRIES {
            if !self.account.in_doubt() {
                break;
            }
            self.resolve().await;
        }
        assert!(!self.account.in_doubt(), "nobody can tell what became of {:?}", self.account);
        for at in 0..self.account.families.len() {
            self.account.families[at].nothing_is_late();
            if self.family(at).touched {
                self.settle_family(at).await;
                self.account.families[at].touched = false;
            }
        }
    }

    async fn resolve(&mut self) {
        if self.account.exists == Known::Maybe {
            return self.register().await;
        }
        if self.account.disabled != Known::No {
            return self.enable().await;
        }
        for password in self.account.passwords.clone() {
            self.login_with(&password).await;
        }
    }

    async fn settle_family(&mut self, at: usize) {
        match self.family(at).life() {
            Life::Live => {
                self.step(at).await;
                self.retry(at).await;
                self.expect_newest_access(at, Known::Yes).await;
            }
            Life::Unsure => {
                self.refresh_newest(at).await;
                self.end(at).await;
            }
            Life::Over => {
                self.refresh_newest(at).await;
                self.expect_newest_access(at, Known::No).await;
            }
        }
    }

    /// One generation further.
    async fn step(&mut self, at: usize) {
        let before = self.family(at).last();
        for _ in 0..TRIES {
            self.refresh_newest(at).await;
            if self.family(at).last() > before {
                return;
            }
        }
        panic!("a live session is not refreshed: {:?}", self.family(at));
    }

    async fn end(&mut self, at: usize) {
        for _ in 0..TRIES {
            if self.family(at).life() == Life::Over {
                return self.expect_newest_access(at, Known::No).await;
            }
            self.logout(at).await;
        }
        panic!("a session is not ended: {:?}", self.family(at));
    }

    async fn expect_newest_access(&self, at: usize, works: Known) {
        if let Some(access) = self.family(at).accesses().last() {
            self.expect_access(at, access, works).await;
        }
    }

    /// Compares what an access token is good for, on every daemon.
    async fn expect_access(&self, at: usize, access: &str, works: Known) {
        for place in &self.places {
            let call = place.client.get("/api/user/profile").bearer(access);
            let agrees = match call.outcome(self.patience).await {
                Outcome::Done => works == Known::Yes,
                Outcome::Refused(answer) => works == Known::No && answer.status == 401,
                other => panic!("{}: {other:?}", self.name),
            };
            assert!(agrees, "an access token should work: {works:?}; {:?}", self.family(at));
        }
    }

    /// Presents every token of the account, and starts another account; nothing of the tokens works afterwards.
    ///
    /// # Panics
    /// When one works that must not, or does not work that must.
    pub(super) async fn present_everything(&mut self) {
        self.settle().await;
        self.present_account().await;
        self.move_on();
    }

    /// Presents the tokens of the accounts that were left: nothing of them works.
    ///
    /// # Panics
    /// When one does.
    pub(super) async fn present_the_past(&mut self) {
        for number in 0..self.past.len() {
            std::mem::swap(&mut self.account, &mut self.past[number]);
            self.settle().await;
            self.present_account().await;
            std::mem::swap(&mut self.account, &mut self.past[number]);
        }
    }

    async fn present_account(&mut self) {
        for at in 0..self.account.families.len() {
            self.present_family(at).await;
        }
    }

    /// The newest tokens first: a spent one ends the session, and must.
    async fn present_family(&mut self, at: usize) {
        if self.family(at).life() == Life::Live {
            self.step(at).await;
            self.step(at).await;
            self.retry(at).await;
            for access in self.family(at).accesses().to_vec() {
                self.expect_access(at, &access, Known::Yes).await;
            }
        }
        let last = self.family(at).last();
        for generation in (0..last.saturating_sub(1)).chain(last.saturating_sub(1)..=last) {
            self.refresh(at, generation, None).await;
            assert_eq!(self.family(at).last(), last, "a session did not end: {:?}", self.family(at));
        }
        assert_eq!(self.family(at).life(), Life::Over, "a replay did not end its session: {:?}", self.family(at));
        for access in self.family(at).accesses().to_vec() {
            self.expect_access(at, &access, Known::No).await;
        }
    }
}
