//! One-time password resets: issued by an operator, redeemed by whoever was given the token.

use crate::auth::{Auth, Caller, Refusal};
use crate::domain::{
    audit::{Action, Actor},
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
        let Some(account) = self.parts.accounts.find_reset(hash).await? else {
            self.note_denial(event.denied("unknown_token")).await?;
            return Err(Refusal::TokenInvalid);
        };
        let record = self.parts.accounts.find(&account).await?.ok_or(Refusal::TokenInvalid)?;
        self.judge_for(&new, &record.account).await?;
        let password = self.parts.hasher.hash(new).await?;
        let event = event.by(Actor::User(account.to_string())).about("user", account.as_str());
        let redeemed = self.parts.accounts.redeem_reset(hash, password, event).await?;
        let (account, revoked) = redeemed.ok_or(Refusal::TokenInvalid)?;
        self.revoked.add(&revoked.over, self.forget_ms());
        self.forget_failures(&account).await;
        Ok(())
    }
}
