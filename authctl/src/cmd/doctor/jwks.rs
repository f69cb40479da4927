//! The key set as clients fetch it: through the public address, as seen from this machine.

use crate::{client::Client, error::Error};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shared::admin::{self, doctor::Check, key::Jwks};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

const NAME: &str = "key set";
const PATH: &str = "/.well-known/jwks.json";
/// How long the public address may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest key set, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// Ids of keys.
type Kids = BTreeSet<String>;

/// Whether clients get the keys that the daemon signs with.
pub(super) async fn check(client: &Client, public_url: &str) -> Check {
    let own = match client.call::<Jwks>(&admin::Empty {}).await {
        Ok(set) => kids(&set),
        Err(error) => return Check::warn(NAME, error.line(), "authctl key jwks"),
    };
    let fetched = match tokio::time::timeout(PATIENCE, fetch(public_url)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    judge(public_url, &own, fetched)
}

fn kids(set: &Value) -> Kids {
    let keys = set.get("keys").and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(|key| key.get("kid")?.as_str().map(str::to_owned)).collect()
}

fn judge(url: &str, own: &Kids, fetched: Result<(u16, Vec<u8>), String>) -> Check {
    let place = format!("{url}{PATH}");
    let (status, body) = match fetched {
        Ok(answer) => answer,
        Err(cause) => {
            let fix = "if clients cannot reach it either: look at the proxy, DNS and server.public_url";
            return Check::warn(NAME, format!("{place} cannot be fetched from this machine: {cause}"), fix);
        }
    };
    let theirs = serde_json::from_slice::<Value>(&body).map(|set| kids(&set)).unwrap_or_default();
    if status != 200 || theirs.is_empty() {
        let fix = "have the proxy pass /.well-known/jwks.json on to authd, unchanged";
        return Check::bad(NAME, format!("{place} answers {status} and no key set"), fix);
    }
    if theirs != *own {
        let fix = "look for a cache, or another daemon, between this address and authd; server.public_url may be wrong";
        return Check::bad(NAME, format!("{place} has other keys than this daemon"), fix);
    }
    Check::ok(NAME, format!("{place} has the {} keys of this daemon", own.len()))
}

/// Where an origin is.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    host: &'a str,
    port: u16,
    is_encrypted: bool,
}

/// Reads `https://host[:port]`.
fn place(url: &str) -> Option<Place<'_>> {
    let (is_encrypted, authority) = match url.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    let authority = authority.split('/').next()?;
    let behind_host = authority.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match authority.get(behind_host..)?.rfind(':') {
        Some(colon) => (authority.get(..behind_host + colon)?, authority.get(behind_host + colon + 1..)?.parse().ok()?),
        None => (authority, if is_encrypted { 443 } else { 80 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some(Place { host, port, is_encrypted })
}

async fn fetch(url: &str) -> Result<(u16, Vec<u8>), String> {
    let place = place(url).ok_or_else(|| format!("{url} is no address"))?;
    let stream = TcpStream::connect((place.host, place.port)).await.map_err(|error| error.to_string())?;
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    if !place.is_encrypted {
        return ask(stream, authority).await.map_err(|error| error.to_string());
    }
    let name = ServerName::try_from(place.host.to_owned()).map_err(|error| error.to_string())?;
    let tls = TlsConnector::from(trust()?).connect(name, stream).await.map_err(|error| error.to_string())?;
    ask(tls, authority).await.map_err(|error| error.to_string())
}

/// The certificate authorities of this machine.
fn trust() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine trusts no certificate authority (is ca-certificates installed?)".to_owned());
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(Arc::new(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth()))
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
) -> Result<(u16, Vec<u8>), Error> {
    let broken = |error: &dyn std::fmt::Display| Error::Broken(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    let request = Request::get(PATH).header(header::HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| broken(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.map_err(|error| broken(&error))?;
    Ok((status, body.to_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::admin::doctor::Verdict;

    #[test]
    fn an_origin_is_read_with_and_without_a_port() {
        let read = |url| place(url).map(|place| (place.host, place.port, place.is_encrypted));
        assert_eq!(read("https://auth.example.org"), Some(("auth.example.org", 443, true)));
        assert_eq!(read("http://127.0.0.1:8480"), Some(("127.0.0.1", 8480, false)));
        assert_eq!(read("https://[2001:db8::1]:8443"), Some(("2001:db8::1", 8443, true)));
        assert_eq!(read("https://[2001:db8::1]"), Some(("2001:db8::1", 443, true)));
        assert_eq!(read("ftp://x"), None);
        assert_eq!(read("https://"), None);
    }

    #[test]
    fn other_keys_are_bad_and_an_address_out_of_reach_is_not_known() {
        let own: Kids = ["key_1".to_owned(), "key_2".to_owned()].into();
        let set = |kids: &[&str]| {
            let keys: Vec<Value> = kids.iter().map(|kid| serde_json::json!({"kid": kid})).collect();
            serde_json::json!({"keys": keys}).to_string().into_bytes()
        };
        let judged = |fetched| judge("https://x", &own, fetched).result;
        assert_eq!(judged(Ok((200, set(&["key_2", "key_1"])))), Verdict::Ok);
        assert_eq!(judged(Ok((200, set(&["key_1"])))), Verdict::Bad);
        assert_eq!(judged(Ok((404, set(&["key_2", "key_1"])))), Verdict::Bad);
        assert_eq!(judged(Ok((200, b"<html>".to_vec()))), Verdict::Bad);
        assert_eq!(judged(Err("refused".to_owned())), Verdict::Warn);
    }
}
