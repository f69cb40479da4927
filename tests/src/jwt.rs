//! Access tokens from outside: taken apart, forged, and verified as a gateway does that caches the key set.

use crate::client::Client;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The three parts of a compact JWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// Header.
    pub header: Value,
    /// Claims.
    pub claims: Value,
    /// Signature.
    pub signature: Vec<u8>,
}

/// Bytes in base64url without padding.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Jwt {
    /// Takes a token apart.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let parts: Vec<Vec<u8>> =
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url")).collect();
        let [header, claims, signature] = parts.as_slice() else { panic!("three parts, not {}", parts.len()) };
        let json = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
        Self { header: json(header), claims: json(claims), signature: signature.clone() }
    }

    /// What is signed.
    #[must_use]
    pub fn signed_part(&self) -> String {
        format!("{}.{}", encode(self.header.to_string()), encode(self.claims.to_string()))
    }

    /// Puts it together with the signature it has.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}.{}", self.signed_part(), encode(&self.signature))
    }

    /// Puts it together with a signature by a key that is not the daemon's.
    #[must_use]
    pub fn signed_by(&self, key: &SigningKey) -> String {
        let signed = self.signed_part();
        format!("{signed}.{}", encode(key.sign(signed.as_bytes()).to_bytes()))
    }
}

/// A key that the daemon does not know.
#[must_use]
pub fn foreign_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// The public half of a key as a JWK.
#[must_use]
pub fn jwk(key: &SigningKey, kid: &str) -> Value {
    let x = encode(key.verifying_key().to_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x })
}

/// A gateway: it keeps the key set for as long as it was told and asks nobody in between.
#[derive(Debug)]
pub struct Gateway {
    client: Client,
    keys: HashMap<String, VerifyingKey>,
    fresh_until: Option<Instant>,
}

impl Gateway {
    /// One that has fetched nothing yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, keys: HashMap::new(), fresh_until: None }
    }

    /// Whether a token's signature is good by the key set it holds.
    pub async fn accepts(&mut self, token: &str) -> bool {
        if self.fresh_until.is_none_or(|until| Instant::now() >= until) {
            self.fetch().await;
        }
        let jwt = Jwt::of(token);
        let Some(key) = jwt.header["kid"].as_str().and_then(|kid| self.keys.get(kid)) else { return false };
        let Some((signed, _)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = Signature::from_slice(&jwt.signature) else { return false };
        key.verify_strict(signed.as_bytes(), &signature).is_ok()
    }

    async fn fetch(&mut self) {
        let answer = self.client.jwks().await;
        answer.assert_status(200);
        let max_age = answer.header("cache-control").and_then(max_age).expect("the key set says how long it holds");
        let keys = answer.json()["keys"].as_array().expect("a key set").clone();
        self.keys = keys.iter().filter_map(|key| Some((key["kid"].as_str()?.to_owned(), public_key(key)?))).collect();
        self.fresh_until = Some(Instant::now() + max_age);
    }
}

/// `max-age` of a `Cache-Control` header.
#[must_use]
pub fn max_age(header: &str) -> Option<Duration> {
    let seconds = header.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

fn public_key(jwk: &Value) -> Option<VerifyingKey> {
    let bytes = URL_SAFE_NO_PAD.decode(jwk["x"].as_str()?).ok()?;
    VerifyingKey::from_bytes(bytes.as_slice().try_into().ok()?).ok()
}
