//! Access tokens and the key set: what is in them, and everything that is not one.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{admin::key, error::ErrorCode};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tests::{
    client::Tokens,
    daemon::Daemon,
    jwt::{Gateway, Jwt, encode, foreign_key, jwk, max_age},
    options::Options,
    own_key::{self, forge},
    wait::{timed, until},
};

/// A daemon and a token that works.
async fn start() -> (Daemon, Tokens) {
    let daemon = Daemon::start(Options::sqlite()).await;
    let tokens = daemon.client().register("ada@example.org").await;
    daemon.client().verify(&tokens.access).await.assert_status(200);
    (daemon, tokens)
}

/// Asserts that a token is refused wherever one is asked for.
async fn assert_refused(daemon: &Daemon, token: &str, what: &str) {
    for path in ["/api/auth/verify", "/api/user/profile"] {
        let answer = daemon.client().get(path).bearer(token).send().await;
        assert_eq!(answer.status, 401, "{what}: {answer}");
    }
}

fn public_jwk(daemon_jwks: &Value, kid: &str) -> Value {
    let keys = daemon_jwks["keys"].as_array().unwrap();
    keys.iter().find(|key| key["kid"] == kid).expect("the key that signed is published").clone()
}

#[tokio::test]
async fn a_token_says_what_it_should_and_nothing_personal() {
    let (daemon, tokens) = start().await;
    let jwt = Jwt::of(&tokens.access);
    assert_eq!((jwt.header["typ"].as_str(), jwt.header["alg"].as_str()), (Some("at+jwt"), Some("EdDSA")));
    let names: BTreeSet<&str> = jwt.claims.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["iss", "sub", "aud", "iat", "exp", "jti", "sid", "auth_time", "amr", "acr"];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(jwt.claims["sub"], tokens.user.as_str());
    assert_eq!(jwt.claims["sid"], tokens.session.as_str());
    assert_eq!(jwt.claims["aud"], "authd");
    assert_eq!(jwt.claims["amr"], json!(["pwd"]));
    assert_eq!(jwt.claims["exp"].as_i64().unwrap() - jwt.claims["iat"].as_i64().unwrap(), 600);
    assert!(!jwt.claims.to_string().contains("ada"), "{}", jwt.claims);
    let verified = daemon.client().verify(&tokens.access).await;
    assert_eq!(verified.header("remote-user"), Some(tokens.user.as_str()));
    assert_eq!(verified.header("x-authd-session"), Some(tokens.session.as_str()));
    assert!(!format!("{:?}", verified.headers).contains("ada@"), "{verified}");
}

#[tokio::test]
async fn a_key_set_is_public_complete_and_may_be_kept() {
    let (daemon, tokens) = start().await;
    let answer = daemon.client().jwks().await;
    answer.assert_status(200);
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    let kids: BTreeSet<&str> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids.len(), keys.len());
    assert!(keys.len() >= 2, "the next key is published before it signs");
    for key in &keys {
        for private in ["d", "p", "q", "k", "dp", "dq", "qi"] {
            assert!(key[private].is_null(), "{key}");
        }
        assert_eq!((key["use"].as_str(), key["alg"].as_str()), (Some("sig"), Some("EdDSA")));
    }
    public_jwk(&answer.json(), Jwt::of(&tokens.access).header["kid"].as_str().unwrap());
    assert_eq!(answer.header("cache-control").and_then(max_age), Some(Duration::from_secs(300)));
    let etag = answer.header("etag").expect("a key set has a tag").to_owned();
    let again = daemon.client().get("/.well-known/jwks.json").header("if-none-match", &etag).send().await;
    again.assert_status(304);
    let mut gateway = Gateway::new(daemon.client());
    assert!(gateway.accepts(&tokens.access).await);
}

#[tokio::test]
async fn a_token_without_a_good_signature_is_refused() {
    let (daemon, tokens) = start().await;
    let good = Jwt::of(&tokens.access);
    for alg in ["none", "nOnE", "NONE", "", "EdDSA ", "eddsa", "ES256", "RS256"] {
        let mut bad = good.clone();
        bad.header["alg"] = json!(alg);
        assert_refused(&daemon, &bad.text(), alg).await;
        bad.signature.clear();
        assert_refused(&daemon, &bad.text(), alg).await;
        assert_refused(&daemon, &bad.signed_part(), alg).await;
    }
    let (head, signature) = tokens.access.rsplit_once('.').unwrap();
    let shapes = [
        format!("{head}."),
        head.to_owned(),
        format!("{head}.{signature}."),
        format!(".{head}.{signature}"),
        format!("{}.{signature}", head.replace('.', "")),
        format!("{head}.{signature}.{signature}"),
        format!("{head}..{signature}"),
        "..".to_owned(),
        ".".to_owned(),
    ];
    for shape in shapes {
        assert_refused(&daemon, &shape, "shape").await;
    }
    let mut longer = good.clone();
    longer.signature.push(0);
    assert_refused(&daemon, &longer.text(), "a longer signature").await;
}

#[tokio::test]
async fn the_public_key_is_no_shared_secret() {
    let (daemon, tokens) = start().await;
    let mut jwt = Jwt::of(&tokens.access);
    let kid = jwt.header["kid"].as_str().unwrap().to_owned();
    let jwk = public_jwk(&daemon.client().jwks().await.json(), &kid);
    let x = jwk["x"].as_str().unwrap().to_owned();
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &x).unwrap();
    // SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 §4).
    let der = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &raw].concat();
    let pem_body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem_body}\n-----END PUBLIC KEY-----\n");
    let secrets = [
        raw,
        der,
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        jwk.to_string().into_bytes(),
        x.into_bytes(),
    ];
    for alg in ["HS256", "HS384"] {
        jwt.header["alg"] = json!(alg);
        let signed = jwt.signed_part();
        for secret in &secrets {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
            mac.update(signed.as_bytes());
            let token = format!("{signed}.{}", encode(mac.finalize().into_bytes()));
            assert_refused(&daemon, &token, alg).await;
        }
    }
}

#[tokio::test]
async fn a_token_that_brings_its_own_key_is_refused_and_nobody_is_asked() {
    let (daemon, tokens) = start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys.json", listener.local_addr().unwrap());
    let good = Jwt::of(&tokens.access);
    let kid = good.header["kid"].clone();
    let foreign = foreign_key();
    let own = own_key::of(&daemon).await;
    let headers = [
        json!({ "jwk": jwk(&foreign, kid.as_str().unwrap()) }),
        json!({ "jwk": jwk(&foreign, "mine"), "kid": "mine" }),
        json!({ "jku": url }),
        json!({ "x5u": url }),
        json!({ "x5c": [encode([1, 2, 3])] }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "kid": "../../../../dev/null" }),
        json!({ "kid": "' OR 1=1--" }),
        json!({ "kid": null }),
        json!({ "kid": 7 }),
    ];
    for extra in headers {
        let mut jwt = good.clone();
        for (name, value) in extra.as_object().unwrap() {
            jwt.header[name] = value.clone();
        }
        assert_refused(&daemon, &jwt.signed_by(&foreign), &extra.to_string()).await;
        assert_refused(&daemon, &jwt.signed_by(&own), &extra.to_string()).await;
    }
    daemon.client().verify(&good.signed_by(&own)).await.assert_status(200);
    assert!(listener.accept().is_err(), "the daemon connected to an address of the token's choice");
}

#[tokio::test]
async fn a_well_signed_token_of_another_kind_place_or_time_is_refused() {
    let (daemon, tokens) = start().await;
    let key = own_key::of(&daemon).await;
    let now = Jwt::of(&tokens.access).claims["iat"].as_i64().unwrap();
    let claims = [
        ("nbf", json!(now + 3_600)),
        ("nbf", json!("soon")),
        ("iat", json!(now + 3_600)),
        ("iss", json!("http://elsewhere.example")),
        ("iss", json!("http://127.0.0.1:8480/")),
        ("iss", Value::Null),
        ("aud", json!("others")),
        ("aud", json!(["authd", "others"])),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("exp", json!(now - 1)),
        ("exp", Value::Null),
        ("exp", json!("9999999999")),
        ("exp", json!(1e300)),
        ("sub", Value::Null),
        ("sid", Value::Null),
        ("sub", json!("usr_01jcq4z5d0e0a8r9w9s8h7k6m5")),
        ("sid", json!("ses_01jcq4z5d0e0a8r9w9s8h7k6m5")),
    ];
    for (name, value) in claims {
        let token = forge(&key, &tokens.access, |_, claims| claims[name] = value.clone());
        let answer = daemon.client().profile(&token).await;
        assert_eq!(answer.status, 401, "{name}={value}: {answer}");
        if !matches!(name, "sub" | "sid") || value.is_null() {
            assert_refused(&daemon, &token, &format!("{name}={value}")).await;
        }
    }
    for typ in [json!("JWT"), json!("jwt"), json!("at+jws"), json!(""), json!(7), Value::Null, json!("id+jwt")] {
        let token = forge(&key, &tokens.access, |header, _| header["typ"] = typ.clone());
        assert_refused(&daemon, &token, &format!("typ={typ}")).await;
    }
    let bob = daemon.client().register("bob@example.org").await;
    for (name, value) in [("sub", &bob.user), ("sid", &bob.session)] {
        let mixed = forge(&key, &tokens.access, |_, claims| claims[name] = json!(value));
        daemon.client().profile(&mixed).await.assert_refused(ErrorCode::TokenInvalid);
    }
    let untyped = forge(&key, &tokens.access, |header, _| drop(header.as_object_mut().unwrap().remove("typ")));
    assert_refused(&daemon, &untyped, "no typ").await;
}

#[tokio::test]
async fn a_token_is_for_one_issuer_and_audience_and_outlives_a_restart() {
    let (mut daemon, tokens) = start().await;
    daemon.restart().await;
    daemon.client().verify(&tokens.access).await.assert_status(200);
    daemon.restart_with(|options| options.config("[token]\naudience = \"others\"")).await;
    daemon.client().verify(&tokens.access).await.assert_status(401);
    daemon
        .restart_with(|options| options.config("[token]\naudience = \"authd\"\nissuer = \"https://a.example\""))
        .await;
    daemon.client().verify(&tokens.access).await.assert_status(401);
    let renewed = daemon.client().refresh(&tokens).await;
    daemon.client().verify(&renewed.access).await.assert_status(200);
}

#[tokio::test]
async fn an_expired_token_is_told_from_a_bad_one() {
    let (daemon, tokens) = start().await;
    let key = own_key::of(&daemon).await;
    let expired = forge(&key, &tokens.access, |_, claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 120));
    daemon.client().profile(&expired).await.assert_refused(ErrorCode::TokenExpired);
    let foreign = Jwt::of(&expired).signed_by(&foreign_key());
    daemon.client().profile(&foreign).await.assert_refused(ErrorCode::TokenInvalid);
}

#[tokio::test]
async fn only_one_spelling_of_a_token_is_accepted() {
    let (daemon, tokens) = start().await;
    let (head, signature) = tokens.access.rsplit_once('.').unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(signature.chars().last().unwrap()).unwrap();
    let mut spellings = vec![
        format!("{head}.{signature}="),
        format!("{head}.{signature}=="),
        format!("{}=.{signature}", head),
        tokens.access.replace('-', "+").replace('_', "/"),
        tokens.access.to_uppercase(),
    ];
    // 64 bytes leave four bits of the last character unused.
    for other in (0..64).filter(|other| other >> 4 == last >> 4 && *other != last) {
        let stray = alphabet.chars().nth(other).unwrap();
        spellings.push(format!("{head}.{}{stray}", &signature[..signature.len() - 1]));
    }
    for spelling in spellings.iter().filter(|spelling| **spelling != tokens.access) {
        assert_refused(&daemon, spelling, "spelling").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flipped_bit_is_accepted() {
    let (daemon, tokens) = start().await;
    let (client, token) = (daemon.client(), tokens.access.clone());
    let bits = token.len() * 8;
    let mut accepted = Vec::new();
    for chunk in (0..bits).collect::<Vec<_>>().chunks(64) {
        let chunk = chunk.to_vec();
        let flips = tests::wait::together(chunk.len(), |number| {
            let mut bytes = token.clone().into_bytes();
            let bit = chunk[number];
            bytes[bit / 8] ^= 1 << (bit % 8);
            async move {
                let header = [b"Bearer ".as_slice(), &bytes].concat();
                // Control characters cannot be sent at all; everything else is for the daemon to refuse.
                if bytes.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
                    return None;
                }
                Some((bit, client.get("/api/auth/verify").header("authorization", header).send().await.status))
            }
        })
        .await;
        accepted.extend(flips.into_iter().flatten().filter(|(_, status)| *status < 400 || *status >= 500));
    }
    assert!(accepted.is_empty(), "{accepted:?}");
    client.verify(&token).await.assert_status(200);
}

#[tokio::test]
async fn a_huge_token_is_refused_at_once() {
    let (daemon, tokens) = start().await;
    for size in [9_000, 64 << 10] {
        let huge = format!("{}{}", tokens.access, "A".repeat(size));
        let call = daemon.client().get("/api/auth/verify").bearer(&huge);
        let (answer, took) = timed(call.try_send()).await;
        if let Ok(answer) = answer {
            assert!(matches!(answer.status, 401 | 431), "{answer}");
        }
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
    let ten_mebibytes = daemon.client().get("/api/auth/verify").bearer(&"A".repeat(10 << 20));
    let answer = ten_mebibytes.try_send().await;
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 431), "{answer:?}");
    daemon.client().verify(&tokens.access).await.assert_status(200);
}

#[tokio::test]
async fn the_scheme_may_be_in_any_case_and_the_rest_of_the_header_may_not_be_odd() {
    let (daemon, tokens) = start().await;
    let access = &tokens.access;
    let ask = |value: String| daemon.client().get("/api/user/profile").header("authorization", value);
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        ask(format!("{scheme} {access}")).send().await.assert_status(200);
    }
    for odd in [
        format!("Bearer  {access}"),
        format!("Bearer\t{access}"),
        format!("Bearer {access} x"),
        format!("Bearer {access},{access} x"),
    ] {
        ask(odd.clone()).send().await.assert_refused(ErrorCode::Malformed);
    }
    let twice = ask(format!("Bearer {access}")).header("authorization", format!("Bearer {access}")).send().await;
    twice.assert_refused(ErrorCode::Malformed);
    let none = daemon.client().get("/api/user/profile").send().await;
    none.assert_refused(ErrorCode::MissingToken);
    for other in ["Basic YWRhOng=", "Bearer", "Bearer "] {
        ask(other.to_owned()).send().await.assert_refused(ErrorCode::MissingToken);
    }
}

on_both! {
    async fn no_gateway_that_caches_keys_notices_rotations(options) {
        let config = "[key]\njwks_max_age = \"6s\"\nstage = \"7s\"\n[token]\nclock_skew = \"1s\"";
        let daemon = Daemon::start(options.config(config)).await;
        let client = daemon.client();
        let mut tokens = client.register("ada@example.org").await;
        let first = tokens.clone();
        // Gateways that fetched at different times: one of them just before a key was made.
        let mut gateways = vec![Gateway::new(client)];
        // The first key to come has been published since the start, the second is made only when the first signs:
        // that one would meet gateways that have never seen it, were it to sign too early.
        assert!(gateways[0].accepts(&first.access).await);
        let mut newest = Instant::now();
        for switch in 1..=2 {
            let before = Jwt::of(&tokens.access).header["kid"].clone();
            daemon.admin().call::<key::Rotate>(&key::RotateRequest::default()).await;
            let end = Instant::now() + Duration::from_secs(30);
            let mut after = 0;
            while after < 20 {
                assert!(Instant::now() < end, "switch {switch} never came");
                tokens = client.refresh(&tokens).await;
                for gateway in &mut gateways {
                    assert!(gateway.accepts(&tokens.access).await, "a gateway met a key it had not seen");
                    assert!(gateway.accepts(&first.access).await, "a gateway lost a key that still has tokens");
                }
                if gateways.len() < 12 && newest.elapsed() > Duration::from_millis(500) {
                    gateways.push(Gateway::new(client));
                    newest = Instant::now();
                }
                client.verify(&tokens.access).await.assert_status(200);
                client.verify(&first.access).await.assert_status(200);
                after += u32::from(Jwt::of(&tokens.access).header["kid"] != before);
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
        assert!(daemon.admin().events("key.activated").await.len() >= 2);
    }
}

#[tokio::test]
async fn a_forced_rotation_signs_with_the_next_key_at_once_and_names_the_risk() {
    let (daemon, tokens) = start().await;
    let before = Jwt::of(&tokens.access).header["kid"].clone();
    let request = key::RotateRequest { force: true, ..Default::default() };
    let rotation = daemon.admin().call::<key::Rotate>(&request).await;
    assert!(!rotation.warnings.is_empty());
    let renewed = until(Duration::from_secs(3), "the next key signs", || async {
        let login = daemon.client().login("ada@example.org").await;
        (Jwt::of(&login.access).header["kid"] != before).then_some(login)
    })
    .await;
    daemon.client().verify(&renewed.access).await.assert_status(200);
    daemon.client().verify(&tokens.access).await.assert_status(200);
}
