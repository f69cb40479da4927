//! What is signed verifies; everything that differs in anything does not.

use super::*;
use crate::{
    crypto::{fakes::CountedRandom, kek::Kek},
    domain::wrap::Wrapper,
};
use serde_json::{Value, json};
use shared::id::{SessionId, UserId};

const NOW_MS: i64 = 1_700_000_000_500;
const NOW_S: i64 = 1_700_000_000;
const BOTH: [KeyAlgorithm; 2] = [KeyAlgorithm::EdDsa, KeyAlgorithm::Es256];

struct Bench {
    signer: JwtSigner,
    keys: Vec<SigningKey>,
    pair: KeyPair,
}

fn keks(from: u8, previous: Option<u8>) -> Arc<Keks> {
    let kek = |from: u8| Kek::from_bytes(&std::array::from_fn(|at| at as u8 ^ from)).unwrap();
    Arc::new(Keks::new(kek(from), previous.map(kek)))
}

fn kek() -> Arc<Keks> {
    keks(0, None)
}

/// A new key under the key-encryption key in force.
fn generate(signer: &JwtSigner, id: KeyId, now_ms: i64) -> SigningKey {
    signer.generate(id, now_ms, signer.keks.current().as_str()).unwrap()
}

fn settings(algorithm: KeyAlgorithm) -> TokenSettings {
    TokenSettings {
        issuer: "https://id.example".into(),
        audience: "authd".into(),
        algorithm,
        skew_ms: 60_000,
        expiry_leeway_ms: 0,
    }
}

fn id(number: u8) -> KeyId {
    KeyId::new(i64::from(number), [number; 10])
}

fn bench(algorithm: KeyAlgorithm) -> Bench {
    let signer = JwtSigner::new(settings(algorithm), kek(), Arc::new(CountedRandom::default()));
    let mut key = generate(&signer, id(1), NOW_MS);
    key.state = KeyState::Active;
    key.activated_ms = Some(NOW_MS);
    let private = kek().unwrap(&key.private()).unwrap();
    let pair = KeyPair::from_private(algorithm, &private).unwrap();
    signer.install(std::slice::from_ref(&key)).unwrap();
    Bench { signer, keys: vec![key], pair }
}

fn claims() -> AccessClaims {
    AccessClaims {
        account: UserId::new(NOW_MS, [1; 10]),
        session: SessionId::new(NOW_MS, [2; 10]),
        token_id: "0123456789abcdef".into(),
        issued_s: NOW_S,
        expires_s: NOW_S + 600,
        auth_time_s: NOW_S - 5,
        amr: vec!["pwd".into()],
        acr: "1".into(),
    }
}

fn good_claims() -> Value {
    let claims = claims();
    json!({
        "iss": "https://id.example", "sub": claims.account, "aud": "authd", "iat": NOW_S, "exp": NOW_S + 600,
        "jti": "j", "sid": claims.session, "auth_time": NOW_S, "amr": ["pwd"], "acr": "1",
    })
}

/// How a verification ended, without what the token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Good,
    Expired,
    Invalid,
}

fn end(result: &Result<VerifiedToken, TokenRefusal>) -> End {
    match result {
        Ok(_) => End::Good,
        Err(TokenRefusal::Expired(_)) => End::Expired,
        Err(TokenRefusal::Invalid) => End::Invalid,
    }
}

impl Bench {
    fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": self.pair.algorithm().as_str(), "kid": self.keys[0].id })
    }

    /// A token with a good signature over any two texts.
    fn forge(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", claims::encode(header.as_bytes()), claims::encode(claims.as_bytes()));
        format!("{message}.{}", claims::encode(&self.pair.sign(message.as_bytes())))
    }

    fn try_header(&self, change: impl Fn(&mut Value)) -> Result<VerifiedToken, TokenRefusal> {
        let mut header = self.header();
        change(&mut header);
        self.signer.verify(&self.forge(&header.to_string(), &good_claims().to_string()), NOW_MS)
    }

    fn try_claims(&self, change: impl Fn(&mut Value)) -> Result<VerifiedToken, TokenRefusal> {
        let mut claims = good_claims();
        change(&mut claims);
        self.signer.verify(&self.forge(&self.header().to_string(), &claims.to_string()), NOW_MS)
    }
}

#[test]
fn what_is_signed_verifies_until_the_millisecond_of_its_end() {
    for algorithm in BOTH {
        let bench = bench(algorithm);
        let token = bench.signer.sign(&claims()).unwrap();
        let verified = VerifiedToken { claims: claims().into() };
        assert_eq!(bench.signer.verify(&token, NOW_MS), Ok(verified.clone()));
        let end_ms = (NOW_S + 600) * 1_000;
        assert_eq!(bench.signer.verify(&token, end_ms - 1), Ok(verified.clone()));
        assert_eq!(bench.signer.verify(&token, end_ms), Err(TokenRefusal::Expired(Box::new(verified.clone()))));
        assert_eq!(bench.signer.verify(&token, NOW_MS), Ok(verified));
    }
}

#[test]
fn no_flipped_bit_is_accepted_whether_the_token_is_remembered_or_not() {
    for algorithm in BOTH {
        let bench = bench(algorithm);
        let token = bench.signer.sign(&claims()).unwrap();
        assert!(bench.signer.verify(&token, NOW_MS).is_ok());
        for bit in 0..token.len() * 8 {
            let mut bytes = token.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert_eq!(bench.signer.verify(&changed, NOW_MS), Err(TokenRefusal::Invalid), "{bit}");
        }
    }
}

#[test]
fn padding_other_alphabets_stray_bits_and_other_numbers_of_parts_are_refused() {
    let bench = bench(KeyAlgorithm::EdDsa);
    let token = bench.signer.sign(&claims()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let stray = |last: char| format!("{}{last}", &token[..token.len() - 1]);
    let accepted: Vec<char> = ('A'..='z').filter(|last| bench.signer.verify(&stray(*last), NOW_MS).is_ok()).collect();
    assert_eq!(accepted, [token.chars().last().unwrap()]);
    for other in [
        format!("{token}="),
        format!("{token}=="),
        format!("{token}."),
        format!(".{token}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{message}."),
        message.to_owned(),
        signature.to_owned(),
        token.replace('.', ""),
        token.replace('_', "/").replace('-', "+") + "A",
        String::new(),
        "..".into(),
        "a".repeat(64 * 1_024),
    ] {
        assert_eq!(bench.signer.verify(&other, NOW_MS), Err(TokenRefusal::Invalid), "{other}");
    }
}

#[test]
fn a_token_over_eight_kibibytes_is_refused_even_if_its_signature_is_good() {
    let bench = bench(KeyAlgorithm::EdDsa);
    assert!(bench.try_claims(|claims| claims["more"] = "x".repeat(1_000).into()).is_ok());
    assert!(bench.try_claims(|claims| claims["more"] = "x".repeat(8_000).into()).is_err());
}

#[test]
fn only_the_type_of_access_tokens_is_accepted() {
    let bench = bench(KeyAlgorithm::EdDsa);
    for typ in ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "Application/AT+jwt"] {
        assert!(bench.try_header(|header| header["typ"] = typ.into()).is_ok(), "{typ}");
    }
    for typ in [json!("JWT"), json!("at+jwt "), json!("logout+jwt"), json!(""), json!("at-jwt"), json!(1), json!(null)]
    {
        assert!(bench.try_header(|header| header["typ"] = typ.clone()).is_err(), "{typ}");
    }
    assert!(bench.try_header(|header| drop(header.as_object_mut().unwrap().remove("typ"))).is_err());
}

#[test]
fn a_header_with_keys_addresses_or_critical_extensions_of_its_own_is_refused() {
    let bench = bench(KeyAlgorithm::EdDsa);
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" })),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AA"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        assert!(bench.try_header(|header| header[name] = value.clone()).is_err(), "{name}");
    }
}

#[test]
fn the_algorithm_is_that_of_the_key_whatever_the_token_says() {
    for algorithm in BOTH {
        let bench = bench(algorithm);
        for alg in ["none", "nOnE", "HS256", "RS256", "EdDSA", "ES256", "ES384", "eddsa", ""] {
            let tried = bench.try_header(|header| header["alg"] = alg.into());
            assert_eq!(tried.is_ok(), alg == algorithm.as_str(), "{alg}");
        }
        for kid in [json!(id(9)), json!(""), json!("../1"), json!(null)] {
            assert!(bench.try_header(|header| header["kid"] = kid.clone()).is_err(), "{kid}");
        }
    }
}

#[test]
fn a_token_signed_with_the_public_key_as_secret_is_refused() {
    let bench = bench(KeyAlgorithm::EdDsa);
    for alg in ["HS256", "EdDSA"] {
        let header = json!({ "typ": "at+jwt", "alg": alg, "kid": bench.keys[0].id }).to_string();
        let message =
            format!("{}.{}", claims::encode(header.as_bytes()), claims::encode(good_claims().to_string().as_bytes()));
        let secret: [u8; 32] = bench.keys[0].public.as_slice().try_into().unwrap();
        let mac = crate::crypto::derive::hmac(&zeroize::Zeroizing::new(secret), message.as_bytes());
        let token = format!("{message}.{}", claims::encode(&mac));
        assert_eq!(bench.signer.verify(&token, NOW_MS), Err(TokenRefusal::Invalid));
    }
}

#[test]
fn issuer_and_audience_must_be_ours_alone() {
    let bench = bench(KeyAlgorithm::EdDsa);
    for (name, value, is_good) in [
        ("iss", json!("https://id.example/"), false),
        ("iss", json!(["https://id.example"]), false),
        ("aud", json!(["authd"]), true),
        ("aud", json!("other"), false),
        ("aud", json!(["authd", "other"]), false),
        ("aud", json!(["authd", "authd"]), false),
        ("aud", json!([]), false),
        ("aud", json!("AUTHD"), false),
        ("sub", json!("usr_1"), false),
        ("sid", json!("x"), false),
    ] {
        assert_eq!(bench.try_claims(|claims| claims[name] = value.clone()).is_ok(), is_good, "{name} {value}");
    }
    for name in ["iss", "aud", "sub", "exp", "iat", "jti", "sid"] {
        let tried = bench.try_claims(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
        assert_eq!(tried, Err(TokenRefusal::Invalid), "{name}");
    }
}

#[test]
fn times_must_be_whole_numbers_that_make_sense_now() {
    let bench = bench(KeyAlgorithm::EdDsa);
    for (name, value, expected) in [
        ("exp", json!(NOW_S + 1), End::Good),
        ("exp", json!(NOW_S), End::Expired),
        ("exp", json!(-1), End::Expired),
        ("exp", json!("1900000000"), End::Invalid),
        ("exp", json!(1e300), End::Invalid),
        ("exp", json!(1.9e9), End::Invalid),
        ("exp", json!(null), End::Invalid),
        ("exp", json!(i64::MAX), End::Good),
        ("iat", json!(NOW_S + 60), End::Good),
        ("iat", json!(NOW_S + 61), End::Invalid),
        ("nbf", json!(NOW_S - 1), End::Good),
        ("nbf", json!(NOW_S + 3_600), End::Invalid),
        ("nbf", json!("0"), End::Invalid),
    ] {
        assert_eq!(end(&bench.try_claims(|claims| claims[name] = value.clone())), expected, "{name} {value}");
    }
}

#[test]
fn a_token_counts_as_expired_only_when_everything_else_is_good() {
    let bench = bench(KeyAlgorithm::EdDsa);
    let ended = |name: &str, value: Value| {
        end(&bench.try_claims(|claims| {
            claims["exp"] = (NOW_S - 10).into();
            claims[name] = value.clone();
        }))
    };
    assert_eq!(ended("jti", json!("other")), End::Expired);
    assert_eq!(ended("aud", json!("other")), End::Invalid);
    assert_eq!(ended("nbf", json!(NOW_S + 3_600)), End::Invalid);
    assert_eq!(ended("sub", json!("usr_1")), End::Invalid);
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let bench = bench(KeyAlgorithm::EdDsa);
    let (header, claims) = (bench.header().to_string(), good_claims().to_string());
    assert!(bench.signer.verify(&bench.forge(&header, &claims), NOW_MS).is_ok());
    for twice in [r#""sub":"x","#, r#""exp":1,"#, r#""extra":1,"extra":1,"#] {
        let claims = claims.replacen('{', &format!("{{{twice}"), 1);
        assert!(bench.signer.verify(&bench.forge(&header, &claims), NOW_MS).is_err(), "{claims}");
    }
    let header = header.replacen('{', r#"{"alg":"EdDSA","#, 1);
    assert!(bench.signer.verify(&bench.forge(&header, &claims), NOW_MS).is_err());
    for claims in ["[]", "null", "\"\"", "{}", ""] {
        assert!(bench.signer.verify(&bench.forge(&bench.header().to_string(), claims), NOW_MS).is_err(), "{claims}");
    }
}

#[test]
fn a_revoked_key_takes_its_tokens_along_and_a_retiring_one_does_not() {
    let mut bench = bench(KeyAlgorithm::EdDsa);
    let token = bench.signer.sign(&claims()).unwrap();
    assert!(bench.signer.verify(&token, NOW_MS).is_ok());
    let mut next = generate(&bench.signer, id(2), NOW_MS + 1);
    next.state = KeyState::Active;
    bench.keys[0].state = KeyState::Retiring;
    bench.signer.install(&[next.clone(), bench.keys[0].clone()]).unwrap();
    assert!(bench.signer.verify(&token, NOW_MS).is_ok());
    assert_eq!(bench.signer.published(), [id(1).to_string(), id(2).to_string()]);
    bench.keys[0].state = KeyState::Revoked;
    bench.keys[0].wrapped.clear();
    bench.signer.install(&[bench.keys[0].clone(), next]).unwrap();
    assert_eq!(bench.signer.verify(&token, NOW_MS), Err(TokenRefusal::Invalid));
    assert_eq!(bench.signer.published(), [id(2).to_string()]);
}

#[test]
fn keys_that_do_not_unwrap_or_whose_public_half_was_changed_are_left_out() {
    let bench = bench(KeyAlgorithm::EdDsa);
    let before = bench.signer.key_set();
    let random = Arc::new(CountedRandom::default());
    let foreign = JwtSigner::new(settings(KeyAlgorithm::EdDsa), keks(1, None), random);
    // The same randomness made the same pair.
    assert_eq!(generate(&foreign, id(2), NOW_MS).public, bench.keys[0].public);
    let other = generate(&foreign, id(3), NOW_MS);
    let swapped = SigningKey { public: other.public.clone(), ..bench.keys[0].clone() };
    let renamed = SigningKey { id: id(4), ..bench.keys[0].clone() };
    let retold = SigningKey { algorithm: KeyAlgorithm::Es256, ..bench.keys[0].clone() };
    for bad in [other, swapped, renamed, retold] {
        let error = bench.signer.install(&[bench.keys[0].clone(), bad.clone()]).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt(cause) if cause.contains(bad.id.as_str())), "{error}");
        assert_eq!(bench.signer.key_set(), before);
    }
    assert!(bench.signer.sign(&claims()).is_ok());
}

#[test]
fn a_key_that_was_moved_to_another_key_encryption_key_stays_in_use_where_it_was_opened_before() {
    let (bench, random) = (bench(KeyAlgorithm::EdDsa), CountedRandom::default());
    let moved = keks(1, Some(0)).rewrap(&bench.keys[0].private(), &random).unwrap();
    let moved = SigningKey { wrapped: moved.bytes, kek: moved.kek, ..bench.keys[0].clone() };
    let token = bench.signer.sign(&claims()).unwrap();
    bench.signer.install(std::slice::from_ref(&moved)).unwrap();
    assert!(bench.signer.verify(&token, NOW_MS).is_ok() && bench.signer.sign(&claims()).is_ok());
    let revoked = SigningKey { state: KeyState::Revoked, ..moved.clone() };
    bench.signer.install(&[revoked]).unwrap();
    assert!(bench.signer.verify(&token, NOW_MS).is_err() && bench.signer.sign(&claims()).is_err());
    assert!(bench.signer.install(&[moved]).is_err(), "it was forgotten");
}

#[test]
fn the_key_set_is_public_stable_and_complete() {
    let random = Arc::new(CountedRandom::default());
    let mut keys = Vec::new();
    for (at, algorithm) in [(1, KeyAlgorithm::EdDsa), (2, KeyAlgorithm::Es256)] {
        let signer = JwtSigner::new(settings(algorithm), kek(), random.clone());
        keys.push(generate(&signer, id(at), i64::from(at)));
    }
    keys[0].state = KeyState::Active;
    let signer = JwtSigner::new(settings(KeyAlgorithm::EdDsa), kek(), random);
    let empty = signer.key_set();
    assert_eq!(empty.json, r#"{"keys":[]}"#);
    assert_eq!(signer.sign(&claims()), Err(NoActiveKey));
    signer.install(&keys).unwrap();
    let set = signer.key_set();
    let read: Value = serde_json::from_str(&set.json).unwrap();
    let listed = read["keys"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    for (jwk, (key, names)) in listed.iter().zip(keys.iter().zip([6, 7])) {
        assert_eq!(jwk["kid"], key.id.as_str());
        assert_eq!((&jwk["use"], &jwk["alg"]), (&json!("sig"), &json!(key.algorithm.as_str())));
        assert_eq!(jwk.as_object().unwrap().len(), names);
        assert!(["d", "p", "q", "k"].iter().all(|private| jwk.get(private).is_none()));
    }
    assert_eq!((&listed[0]["kty"], &listed[1]["kty"]), (&json!("OKP"), &json!("EC")));
    keys.reverse();
    signer.install(&keys).unwrap();
    assert_eq!(signer.key_set(), set);
    assert!(set.etag.starts_with('"') && set.etag.ends_with('"') && set.etag != empty.etag);
}

#[test]
fn debug_shows_ids_only() {
    let bench = bench(KeyAlgorithm::EdDsa);
    assert_eq!(format!("{:?}", bench.signer), format!("JwtSigner([\"{}\"])", bench.keys[0].id));
}
