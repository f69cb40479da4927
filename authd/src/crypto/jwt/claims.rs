//! Header and claims as they stand in the token, read so that nothing has two meanings.

use crate::domain::{key::KeyAlgorithm, login::AccessClaims};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use shared::id::{KeyId, SessionId, UserId};
use std::fmt;

/// What a header may say. Only authd signs with its keys, so every other parameter (`crit`, `jwk`, `jku`, `x5u`, …) is
/// somebody's attempt and refused; so is a repeated one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) typ: String,
    pub(super) alg: String,
    pub(super) kid: String,
}

const TYPE: &str = "at+jwt";

/// Reads the header of a token of three parts whose `typ` is right (RFC 9068 §4; media types know no case, and the
/// prefix may be left out, RFC 7515 §4.1.9).
pub(super) fn read_header(token: &str) -> Option<Header> {
    let mut parts = token.split('.');
    let (header, _, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let typ = header.typ.to_ascii_lowercase();
    (typ.strip_prefix("application/").unwrap_or(&typ) == TYPE).then_some(header)
}

/// `aud`: a text, or a list.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    /// Whether the token is for `ours` and for nobody else.
    pub(super) fn is_only(&self, ours: &str) -> bool {
        match self {
            Self::One(one) => one == ours,
            Self::Many(many) => many.len() == 1 && many.iter().all(|one| one == ours),
        }
    }
}

/// The claims (RFC 9068 §2.2).
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Wire {
    pub(super) iss: String,
    sub: String,
    pub(super) aud: Audience,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
    jti: String,
    sid: String,
    auth_time: i64,
    amr: Vec<String>,
    acr: String,
}

impl Wire {
    pub(super) fn of(claims: &AccessClaims, iss: String, aud: Audience) -> Self {
        Self {
            iss,
            sub: claims.account.to_string(),
            aud,
            iat: claims.issued_s,
            exp: claims.expires_s,
            nbf: None,
            jti: claims.token_id.clone(),
            sid: claims.session.to_string(),
            auth_time: claims.auth_time_s,
            amr: claims.amr.clone(),
            acr: claims.acr.clone(),
        }
    }

    pub(super) fn into_claims(self) -> Option<AccessClaims> {
        Some(AccessClaims {
            account: UserId::parse(&self.sub).ok()?,
            session: SessionId::parse(&self.sid).ok()?,
            token_id: self.jti,
            issued_s: self.iat,
            expires_s: self.exp,
            auth_time_s: self.auth_time,
            amr: self.amr,
            acr: self.acr,
        })
    }
}

/// A JSON object in which every name stands once: a parser that takes the first and one that takes the last of two
/// equal names would otherwise read two different tokens.
pub(super) struct Unique(Map<String, Value>);

impl Unique {
    pub(super) fn into_wire(self) -> Option<Wire> {
        serde_json::from_value(Value::Object(self.0)).ok()
    }
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Unique;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose names are unique")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                }
                Ok(Unique(map))
            }
        }
        from.deserialize_map(Names)
    }
}

/// The part of the token that is signed.
pub(super) fn write(algorithm: KeyAlgorithm, kid: &KeyId, wire: &Wire) -> Option<String> {
    let header = Header { typ: TYPE.to_owned(), alg: algorithm.as_str().to_owned(), kid: kid.to_string() };
    let header = encode(&serde_json::to_vec(&header).ok()?);
    let claims = encode(&serde_json::to_vec(wire).ok()?);
    Some(format!("{header}.{claims}"))
}

/// Base64url without padding (RFC 7515 §2).
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
