//! Accounts taken over from other systems, and whether one is there already.

use crate::domain::{
    account::PasswordHash,
    identifier::{Email, Username},
};
use sha2::{Digest, Sha256};
use shared::{hex, id::UserId};

/// An account to take over.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// The id it gets.
    pub id: UserId,
    /// Whether that id was asked for, or is just a new one.
    pub id_is: IdIs,
    /// Its address.
    pub email: Email,
    /// Its user name.
    pub username: Option<Username>,
    /// Whether the address was verified.
    pub email_is: EmailIs,
    /// Whether it may log in.
    pub login_is: LoginIs,
    /// When it was made, in Unix milliseconds; `None`: now.
    pub created_ms: Option<i64>,
    /// When it last logged in.
    pub last_login_ms: Option<i64>,
    /// Its password, as its system hashed it.
    pub password: Option<PasswordHash>,
}

/// Where an id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdIs {
    /// From the line.
    Asked,
    /// Made here.
    New,
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailIs {
    /// Its owner proved it.
    Verified,
    /// Nobody did.
    Unproven,
}

/// Whether an account may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginIs {
    /// It may.
    Open,
    /// It may not.
    Disabled,
}

/// An account that has the address of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its id.
    pub id: UserId,
    /// Its user name, as it is compared.
    pub username: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// Its password.
    pub password: Option<PasswordHash>,
    /// [`origin`] of the hash it was taken over with.
    pub origin: Option<String>,
}

/// What remembers the hash that an account came with, when its password has been re-hashed since.
#[must_use]
pub fn origin(PasswordHash(text): &PasswordHash) -> String {
    format!("import:{}", hex::encode(&Sha256::digest(text)))
}

/// In what an account differs from a line about it; in nothing: the line was taken over before, or need not be. What
/// people and operators may have changed since does not count: their logins, whether it is disabled, a password of one
/// that came without.
#[must_use]
pub fn differences(line: &NewImport, there: &Present) -> Vec<&'static str> {
    let username = line.username.as_ref().map(Username::canonical);
    let is_same_password =
        |hash: &PasswordHash| there.password.as_ref() == Some(hash) || there.origin == Some(origin(hash));
    let found = [
        ("id", line.id_is == IdIs::Asked && line.id != there.id),
        ("username", username != there.username.as_deref()),
        ("created_at", line.created_ms.is_some_and(|ms| ms != there.created_ms)),
        ("password_hash", line.password.as_ref().is_some_and(|hash| !is_same_password(hash))),
    ];
    found.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportFate {
    /// The account was made, or would be.
    Created(UserId),
    /// It is there already.
    Present(UserId),
    /// Another account has the address; this one differs from it in that.
    EmailTaken(Vec<&'static str>),
    /// Another account has the user name.
    UsernameTaken,
    /// Another account has or had the id.
    IdTaken,
}

/// Whether lines are only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trying {
    /// They are taken over.
    No,
    /// Nothing is written.
    Yes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> NewImport {
        NewImport {
            id: UserId::new(1, [1; 10]),
            id_is: IdIs::New,
            email: Email::parse("Ada@Example.org").unwrap(),
            username: Username::parse("Ada").ok(),
            email_is: EmailIs::Unproven,
            login_is: LoginIs::Open,
            created_ms: Some(5),
            last_login_ms: None,
            password: Some(PasswordHash("$2b$12$one".into())),
        }
    }

    fn there() -> Present {
        Present {
            id: UserId::new(2, [2; 10]),
            username: Some("ada".into()),
            created_ms: 5,
            password: Some(PasswordHash("$2b$12$one".into())),
            origin: None,
        }
    }

    #[test]
    fn a_line_that_was_taken_over_before_is_known_again() {
        assert!(differences(&line(), &there()).is_empty());
        let rehashed = Present {
            password: Some(PasswordHash("$argon2id$new".into())),
            origin: Some(origin(&PasswordHash("$2b$12$one".into()))),
            ..there()
        };
        assert!(differences(&line(), &rehashed).is_empty());
        let bare = NewImport { created_ms: None, password: None, ..line() };
        assert!(differences(&bare, &rehashed).is_empty());
    }

    #[test]
    fn an_account_of_somebody_else_with_the_same_address_differs() {
        let other = Present { username: None, password: None, created_ms: 6, ..there() };
        let asked = NewImport { id_is: IdIs::Asked, ..line() };
        assert_eq!(differences(&asked, &other), ["id", "username", "created_at", "password_hash"]);
        let changed = Present { password: Some(PasswordHash("$2b$12$two".into())), ..there() };
        assert_eq!(differences(&line(), &changed), ["password_hash"]);
    }
}
