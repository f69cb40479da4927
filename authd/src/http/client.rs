//! Who calls: the client's address by the trusted-proxy rule, the request's id, the device.

use crate::{
    auth::Caller,
    domain::{clock::Random, session::DeviceSummary},
    http::{device, error::ApiError, request_id, state::HttpOptions},
    listener::Peer,
};
use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// The client of a request; put into its extensions by [`crate::http::layers::surround`].
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Address after the trusted-proxy rule.
    pub(crate) ip: IpAddr,
    /// The request's id.
    pub(crate) request_id: Arc<str>,
    /// An id that came from somebody who is no trusted proxy, for the log.
    pub(crate) foreign_request_id: Option<String>,
    device: Option<DeviceSummary>,
}

impl Client {
    /// Reads the client out of a request's head.
    pub(crate) fn of(request: &Request, options: &HttpOptions, random: &dyn Random) -> Self {
        let headers = request.headers();
        let peer = peer(request);
        let given = request_id::given(headers);
        let (taken, foreign) = if options.is_trusted(peer) { (given, None) } else { (None, given) };
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Self {
            ip: address(peer, headers, options),
            request_id: taken.map_or_else(|| request_id::generate(random), str::to_owned).into(),
            foreign_request_id: foreign.map(str::to_owned),
            device: agent.and_then(device::summary),
        }
    }

    /// The caller as the use cases know it.
    pub(crate) fn caller(&self) -> Caller {
        Caller { request_id: self.request_id.as_ref().to_owned(), ip: self.ip, device: self.device.clone() }
    }

    /// The caller with the label that the app gives its device, if it gives one.
    pub(crate) fn labelled(&self, label: Option<&str>) -> Caller {
        let caller = self.caller();
        Caller { device: label.and_then(DeviceSummary::new).or(caller.device), ..caller }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(|| ApiError::internal("a route runs outside of its layer"))
    }
}

/// The other end of the connection; the accept loop inserts it.
fn peer(request: &Request) -> IpAddr {
    let connection = request.extensions().get::<Peer>();
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip().to_canonical())
}

fn address(peer: IpAddr, headers: &HeaderMap, options: &HttpOptions) -> IpAddr {
    let values = headers.get_all(options.client_ip_header.as_str()).iter().map(HeaderValue::as_bytes);
    let hops = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    // Bytes that are no text make a hop that is none; what a proxy appended to them stands on its own.
    let hops: Vec<&str> = hops.map(|hop| std::str::from_utf8(hop).unwrap_or("?")).collect();
    client_address(peer, &hops, |ip| options.is_trusted(ip))
}

/// The address that counts: the peer, unless it is trusted; then the right-most hop that is not. A hop that is no
/// address ends the chain: who wrote it is the last that is known.
fn client_address(peer: IpAddr, hops: &[&str], is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut known = peer.to_canonical();
    for hop in hops.iter().rev().filter(|hop| !hop.is_empty()) {
        if !is_trusted(known) {
            break;
        }
        let Some(next) = parse_hop(hop) else { break };
        known = next;
    }
    known
}

/// An address as proxies write it: bare, in brackets, with a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match bare {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()?,
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_proxy(ip: IpAddr) -> bool {
        ip.to_string().starts_with("10.")
    }

    #[test]
    fn the_right_most_untrusted_hop_counts() {
        for (peer, hops, expected) in [
            ("203.0.113.9", vec!["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", vec!["1.2.3.4", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", vec!["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", vec!["198.51.100.1", "unknown", "10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", vec!["198.51.100.1", "unknown"], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.1", ""], "198.51.100.1"),
            ("::ffff:10.0.0.1", vec!["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", vec!["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", vec!["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", vec!["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", vec!["[198.51.100.1]"], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.1:99999"], "10.0.0.1"),
        ] {
            assert_eq!(client_address(ip(peer), &hops, is_proxy), ip(expected), "{peer} {hops:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_their_own_hop_only() {
        let options = HttpOptions { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..HttpOptions::default() };
        for (sent, expected) in [
            (&b"\x89, 198.51.100.1"[..], "198.51.100.1"),
            (b"1.2.3.4, \xc3\xa9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            (b"198.51.100.1, \x89", "10.0.0.1"),
            ("\u{a0}198.51.100.1".as_bytes(), "10.0.0.1"),
        ] {
            let value = HeaderValue::from_bytes(sent).unwrap();
            let headers = HeaderMap::from_iter([(header::HeaderName::from_static("x-forwarded-for"), value)]);
            assert_eq!(address(ip("10.0.0.1"), &headers, &options), ip(expected), "{}", sent.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_cannot_choose_its_address(hops in proptest::collection::vec("[0-9a-f.:,\\[\\] x]{0,20}", 0..6)) {
            let hops: Vec<&str> = hops.iter().map(String::as_str).collect();
            prop_assert_eq!(client_address(ip("203.0.113.9"), &hops, is_proxy), ip("203.0.113.9"));
        }

        #[test]
        fn what_a_client_sends_in_front_changes_nothing(
            forged in proptest::collection::vec("[0-9a-f.:x]{0,20}", 0..6),
            real in any::<[u8; 4]>(),
        ) {
            let real = IpAddr::from(real);
            prop_assume!(!is_proxy(real));
            let appended = real.to_string();
            let hops: Vec<&str> = forged.iter().map(String::as_str).chain([appended.as_str(), "10.9.9.9"]).collect();
            prop_assert_eq!(client_address(ip("10.0.0.1"), &hops, is_proxy), real);
        }
    }
}
