//! One-time password resets: issued by an operator, redeemed by whoever was given the token.

use crate::auth::{Auth, Caller, Refusal};
use crate::domain::{
    account::LoginRecord,
    audit::{Action, Actor, Event},
    clock::random_bytes,
    password::Password,
    secret::Secret,
    token::TokenHash,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

const PREFIX: &str = "apr1_";

impl Auth {
    /// A new reset token: 256 random bits behind a recognisable prefix.
    pub(super) fn new_reset_token(&self) -> Secret {
        let bytes = zeroize::Zeroizing::new(random_bytes::<32>(self.parts.random.as_ref()));
        Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice())))
    }

    /// Sets a password with a one-time reset; all sessions and devices of the account end.
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`], [`Refusal::WeakPassword`] (the token stays good), 503s.
    pub async fn redeem_reset(&self, caller: &Caller, token: &Secret, new: Password) -> Result<(), Refusal> {
        let TokenHash(hash) = TokenHash::of(token.reveal());
        let event = self.event(caller, Action::PasswordReset);
        self.admit_caller(caller, &event).await?;
        let Some(record) = self.owner_of_reset(hash).await? else {
            return Err(self.refuse_reset(event).await);
        };
        self.judge_for(&new, &record.account).await?;
        let password = self.parts.hasher.hash(new).await?;
        let id = record.account.id;
        let event = event.by(Actor::User(id.to_string())).about("user", id.as_str());
        // Of two calls with one token the slower one finds it used.
        let Some((account, revoked)) = self.parts.accounts.redeem_reset(hash, password, event.clone()).await? else {
            return Err(self.refuse_reset(event).await);
        };
        self.remember_ended(&revoked.over);
        self.forget_failures(&account).await;
        Ok(())
    }

    async fn owner_of_reset(&self, token: [u8; 32]) -> Result<Option<LoginRecord>, Refusal> {
        let Some(id) = self.parts.accounts.find_reset(token).await? else { return Ok(None) };
        Ok(self.parts.accounts.find(&id).await?)
    }

    async fn refuse_reset(&self, event: Event) -> Refusal {
        self.note_denial(event.denied("unknown_token")).await.map_or_else(Refusal::from, |_| Refusal::TokenInvalid)
    }
}
