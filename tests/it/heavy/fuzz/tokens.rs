//! Tokens and cursors: nothing but what was issued is accepted, in the one spelling it was issued in.

use super::{must, reading};
use authd::{
    crypto::{
        jwt::{JwtSigner, TokenSettings},
        kek::Kek,
        keks::Keks,
        root::Root,
        seal::Keys,
    },
    domain::{
        clock::OsRandom,
        key::{KeyAlgorithm, KeyState, SigningKey},
        login::{AccessClaims, TokenRefusal, TokenSigner},
        token::{Handle, Recognised, issue, recognise},
    },
};
use serde_json::{Value, json};
use shared::id::{KeyId, SessionId, UserId};
use std::sync::Arc;
use tests::{
    fuzz::{LONG, Reading, Target},
    inprocess::InProcess,
    jwt,
    options::Options,
    refresh_token::{Forgery, parts},
};

const NOW_MS: i64 = 1_700_000_000_500;
const NOW_S: i64 = 1_700_000_000;

fn kek() -> Arc<Keks> {
    Arc::new(Keks::new(Kek::from_bytes(&secret()).unwrap(), None))
}

fn secret() -> [u8; 32] {
    std::array::from_fn(|at| u8::try_from(at).unwrap())
}

/// The token with these bytes laid over it, and an HMAC that nobody recomputed.
fn forged(token: &str, over: &[u8]) -> String {
    let mut forgery: Forgery = parts(token);
    let places =
        std::iter::once(&mut forgery.key).chain(&mut forgery.handle).chain(&mut forgery.secret).chain(&mut forgery.tag);
    places.zip(over).for_each(|(place, byte)| *place ^= byte);
    forgery.text()
}

#[test]
fn of_refresh_tokens_only_those_issued_are_recognised() {
    let keys = Keys::new(&Root::from_bytes(&secret()).unwrap(), Arc::new(OsRandom));
    let issued: Vec<String> = [([7; 16], [9; 32]), ([8; 16], [1; 32])]
        .map(|(handle, secret)| issue(&keys, Handle(handle), &secret).unwrap().text().reveal().to_owned())
        .into();
    let seeds: Vec<&str> = issued.iter().map(String::as_str).collect();
    let target = Target {
        name: "refresh tokens",
        seeds: &seeds,
        words: &["art1_", "art2_", "=", "==", "+", "/", "\0"],
        full_ms: LONG,
    };
    target.run(|input| {
        let laid_over = forged(&issued[0], input);
        let is_foreign = recognise(&keys, &laid_over) == Recognised::Foreign;
        must(is_foreign != (laid_over == issued[0]), "a forged token is recognised")?;
        let Ok(text) = std::str::from_utf8(input) else { return Ok(Reading::Refused) };
        match recognise(&keys, text) {
            Recognised::Foreign => must(!issued.iter().any(|token| token == text), "an issued token is foreign")?,
            Recognised::Issued(token) => {
                must(issued.iter().any(|issued| issued == text), "a text that was not issued is recognised")?;
                must(token.text().reveal() == text, "the token is another than the text")?;
                return Ok(Reading::Taken);
            }
        }
        Ok(Reading::Refused)
    });
}

/// A signer with one key, and the key's private half.
fn signer() -> (JwtSigner, ed25519_dalek::SigningKey, SigningKey) {
    let settings = TokenSettings {
        issuer: "https://id.example".into(),
        audience: "authd".into(),
        algorithm: KeyAlgorithm::EdDsa,
        skew_ms: 60_000,
        expiry_leeway_ms: 0,
    };
    let signer = JwtSigner::new(settings, kek(), Arc::new(OsRandom));
    let mut key = signer.generate(KeyId::new(1, [1; 10]), NOW_MS, kek().current().as_str()).unwrap();
    key.state = KeyState::Active;
    key.activated_ms = Some(NOW_MS);
    signer.install(std::slice::from_ref(&key)).unwrap();
    let private = kek().unwrap(&key.private()).unwrap();
    (signer, ed25519_dalek::SigningKey::from_bytes(private.as_slice().try_into().unwrap()), key)
}

fn claims(number: u8) -> AccessClaims {
    AccessClaims {
        account: UserId::new(NOW_MS, [number; 10]),
        session: SessionId::new(NOW_MS, [number; 10]),
        token_id: format!("{number:016x}"),
        issued_s: NOW_S,
        expires_s: NOW_S + 600,
        auth_time_s: NOW_S - 5,
        amr: vec!["pwd".into()],
        acr: "1".into(),
    }
}

#[test]
fn of_access_tokens_only_those_signed_are_accepted() {
    let (signer, _, _) = signer();
    let signed = [signer.sign(&claims(1)).unwrap(), signer.sign(&claims(2)).unwrap()];
    let none = jwt::encode(r#"{"typ":"at+jwt","alg":"none"}"#);
    let foreign = jwt::Jwt::of(&signed[0]).signed_by(&jwt::foreign_key());
    let seeds = [signed[0].as_str(), signed[1].as_str(), foreign.as_str()];
    let target = Target {
        name: "access tokens",
        seeds: &seeds,
        words: &[&none, ".", "..", "=", "+", "/", "\n", " "],
        full_ms: LONG,
    };
    target.run(|input| {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(Reading::Refused) };
        let verified = signer.verify(text, NOW_MS);
        must(
            verified.is_ok() == signed.iter().any(|token| token == text),
            "another text than a signed one, or not one",
        )?;
        Ok(reading(&verified))
    });
}

/// Header and claims, a line each, with a good signature over whatever they are.
#[test]
fn of_tokens_signed_with_the_right_key_only_those_of_authd_s_own_form_are_accepted() {
    let (signer, private, key) = signer();
    let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": key.id }).to_string();
    let of = claims(1);
    let said = json!({
        "iss": "https://id.example", "sub": of.account, "aud": "authd", "iat": NOW_S, "exp": NOW_S + 600, "jti": "j",
        "sid": of.session, "auth_time": NOW_S, "amr": ["pwd"], "acr": "1",
    })
    .to_string();
    let seed = format!("{header}\n{said}");
    let listed = seed.replace("\"authd\"", "[\"authd\"]");
    // Not accepted, and worth starting from.
    let wide = seed.replace("\"authd\"", "[\"authd\",\"x\"]");
    let twice = seed.replace("\"aud\"", "\"aud\":\"x\",\"aud\"");
    let words = [
        "\"aud\":[\"authd\"],",
        "\"nbf\":1700000000,",
        "\"exp\":9223372036854775807,",
        "null",
        "-1",
        "1e300",
        "[]",
        "{}",
        "\"crit\":[],",
        "\"alg\":\"HS256\",",
        "\"\\u0061ud\":\"x\",",
        "authd",
        "application/",
        "\"x\",",
        ",\"x\"",
        "true",
        ",",
        ":",
    ];
    Target { name: "signed claims", seeds: &[&seed, &listed, &wide, &twice], words: &words, full_ms: LONG }.run(
        |input| {
            let mut lines = input.splitn(2, |byte| *byte == b'\n');
            let (header, said) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let message = format!("{}.{}", jwt::encode(header), jwt::encode(said));
            let signature = ed25519_dalek::Signer::sign(&private, message.as_bytes());
            let verified = signer.verify(&format!("{message}.{}", jwt::encode(signature.to_bytes())), NOW_MS);
            let Ok(token) = &verified else {
                // What an expired token said is used by a logout: the rest of it must have been good.
                return match verified {
                    Err(TokenRefusal::Expired(_)) => own_form(header, said, &key).map(|_| Reading::Taken),
                    _ => Ok(Reading::Refused),
                };
            };
            let exp = own_form(header, said, &key)?;
            must(exp == token.claims.expires_s && exp.saturating_mul(1_000) > NOW_MS, "a token works after its end")?;
            Ok(Reading::Taken)
        },
    );
}

/// What every accepted token says; its `exp`.
fn own_form(header: &[u8], said: &[u8], key: &SigningKey) -> Result<i64, String> {
    let read =
        |bytes| serde_json::from_slice::<Value>(bytes).map_err(|error| format!("accepted without JSON: {error}"));
    let (header, said) = (read(header)?, read(said)?);
    must(header["alg"] == "EdDSA" && header["kid"] == key.id.as_str(), "another algorithm or key")?;
    must(header.as_object().is_some_and(|header| header.len() == 3), "a header with more than its three members")?;
    must(said["iss"] == "https://id.example", "another issuer")?;
    must(said["aud"] == "authd" || said["aud"] == json!(["authd"]), "another audience")?;
    let is_id = |name: &str, prefix: &str| said[name].as_str().is_some_and(|id| id.starts_with(prefix));
    must(is_id("sub", "usr_") && is_id("sid", "ses_"), "another kind of id")?;
    said["exp"].as_i64().ok_or_else(|| "an end that is no number".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_cursors_only_those_made_for_the_account_are_opened() {
    let authd = InProcess::start(Options::sqlite()).await;
    let auth = &authd.daemon.auth;
    let (account, other) = (UserId::new(1, [1; 10]), UserId::new(1, [2; 10]));
    let afters = ["1700000000000.ses_01k", "1700000000001.ses_01m", ""];
    let made = afters.map(|after| auth.sign_cursor(&account, after));
    let seeds: Vec<&str> = made.iter().map(String::as_str).collect();
    Target { name: "cursors", seeds: &seeds, words: &["=", "+", "/", "AA", "usr_", ".", "%00"], full_ms: LONG }.run(
        |input| {
            let text = String::from_utf8_lossy(input);
            let opened = auth.open_cursor(&account, &text);
            let expected = made.iter().position(|cursor| *cursor == text).map(|at| afters[at]);
            must(opened.as_deref() == expected, "another cursor than those made, or not one of them")?;
            must(auth.open_cursor(&other, &text).is_none(), "a cursor of another account")?;
            if text.len() <= 200 {
                let own = auth.sign_cursor(&account, &text);
                must(auth.open_cursor(&account, &own).as_deref() == Some(&*text), "a cursor does not come back")?;
            }
            Ok(if opened.is_some() { Reading::Taken } else { Reading::Refused })
        },
    );
}
