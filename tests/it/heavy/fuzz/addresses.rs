//! The client's address: what stands left of the right-most untrusted hop never counts.

use super::must;
use authd::{
    domain::clock::OsRandom,
    http::{HttpOptions, reading::caller},
};
use hyper::{HeaderMap, header::HeaderValue};
use std::net::{IpAddr, SocketAddr};
use tests::fuzz::{LONG, Reading, Target};

const HEADER: &str = "x-forwarded-for";

fn options() -> HttpOptions {
    let trusted_proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into();
    HttpOptions { trusted_proxies, ..HttpOptions::default() }
}

/// The header once a line, then `appended` by the proxies themselves.
fn headers(input: &[u8], appended: &[&str]) -> HeaderMap {
    let given = input.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let own = appended.iter().map(|hop| HeaderValue::from_str(hop).unwrap());
    let mut headers = HeaderMap::new();
    for value in given.chain(own) {
        headers.append(HEADER, value);
    }
    headers
}

/// The last line with the proxies' own hop behind it, as proxies do that append to the line they got.
fn appended_to_the_line(input: &[u8], hop: &str) -> HeaderMap {
    headers(&[input, b", ", hop.as_bytes()].concat(), &[])
}

#[test]
fn nobody_chooses_their_address() {
    let options = options();
    let ip = |peer: &str, headers: &HeaderMap| {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        caller(peer, headers, &options, &OsRandom).ip
    };
    let seeds = [
        "198.51.100.1",
        "1.2.3.4, 198.51.100.1",
        "::ffff:198.51.100.1",
        "[2001:db8::1]:4711\nunknown, 10.0.0.3",
        "10.1.1.1:80,10.2.2.2",
    ];
    let words = [
        ",",
        ", ",
        "10.0.0.9",
        "::ffff:10.0.0.1",
        "fd00::1",
        "[",
        "]",
        ":80",
        "unknown",
        "%eth0",
        "0x7f.1",
        "for=",
        "\n",
        "_x",
    ];
    Target { name: "forwarded addresses", seeds: &seeds, words: &words, full_ms: LONG }.run(|input| {
        let given = headers(input, &[]);
        must(ip("203.0.113.9", &given) == parsed("203.0.113.9"), "an untrusted peer chose its address")?;
        let real = parsed("203.0.113.77");
        for chain in
            [&["203.0.113.77"][..], &["203.0.113.77", "10.0.0.2"], &["::ffff:203.0.113.77", "fd00::2, 10.9.9.9:80"]]
        {
            must(ip("10.0.0.1", &headers(input, chain)) == real, "a hop left of the right-most untrusted one counts")?;
        }
        if HeaderValue::from_bytes(input.rsplit(|byte| *byte == b'\n').next().unwrap_or_default()).is_ok() {
            let appended = appended_to_the_line(input, "203.0.113.77");
            must(ip("::ffff:10.0.0.1", &appended) == real, "a hop left of the right-most untrusted one counts")?;
        }
        let found = ip("10.0.0.1", &given);
        must(found == found.to_canonical(), "an IPv4 address in the clothes of an IPv6 one")?;
        let shown = named(&given, found);
        must(shown || found == parsed("10.0.0.1"), "an address that stands nowhere")?;
        Ok(if found == parsed("10.0.0.1") { Reading::Refused } else { Reading::Taken })
    });
}

fn parsed(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Whether one of the hops is this address.
fn named(headers: &HeaderMap, ip: IpAddr) -> bool {
    let texts = headers.get_all(HEADER).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let hops: Vec<String> =
        texts.flat_map(|text| text.split(',').map(|hop| hop.trim().to_owned()).collect::<Vec<_>>()).collect();
    let reads = |hop: &str| {
        let bare = hop.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))
    };
    hops.iter().filter_map(|hop| reads(hop)).any(|hop| hop.to_canonical() == ip)
}
