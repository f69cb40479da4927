//! The edge of HTTP: heads, headers, query parameters and bodies end in a value or in a refusal of a known form.

use super::{must, reading};
use authd::{
    domain::clock::OsRandom,
    http::{
        HttpOptions,
        reading::{BodyOf, bearer, body, caller, has_idempotency_key, parameter, trace_id},
    },
    listener::head::{Framing, HeadScan, Progress},
};
use hyper::{
    HeaderMap, Uri,
    header::{HeaderName, HeaderValue},
};
use serde_json::Value;
use shared::error::{ErrorCode, Problem};
use tests::fuzz::{LONG, Reading, SHORT, Target};

/// A 400 that shows nothing that could hurt a log or a client, and not more of the input than a name.
fn is_plain(problem: &Problem) -> Result<(), String> {
    must(problem.status == 400 && problem.code == ErrorCode::Malformed, "another refusal than MALFORMED")?;
    must(problem.errors.len() <= 1, "more than one error")?;
    let texts = problem.errors.iter().flat_map(|error| [&error.pointer, &error.detail]).chain([&problem.detail]);
    for text in texts {
        must(text.chars().count() <= 200, "a long text in a refusal")?;
    }
    must(problem.errors.iter().all(|error| !error.detail.chars().any(char::is_control)), "controls in a detail")?;
    serde_json::to_string(problem).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_body_is_of_its_type_or_malformed() {
    let seeds = [
        r#"{"email":"ada@example.org","password":"plum-orbit-velvet-93","username":"ada"}"#,
        r#"{"username":"ada","password":"x","device_label":null,"device_token":"d"}"#,
        r#"{"refresh_token":"art1_x"}"#,
        r#"{"refresh_token":null,"scope":"all"}"#,
        r#"{"reset_token":"x","new_password":"plum-orbit-velvet-93"}"#,
        r#"{"current_password":"a","new_password":"b\ud83d\ude00"}"#,
        r#"{"password":"x"}"#,
    ];
    let words = [
        "{",
        "}",
        "[",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "\"",
        "\\u0000",
        "\\ud800",
        "null",
        "true",
        "1e999",
        "-0",
        ",",
        ":",
        "\"password\":",
        "\"email\":",
        "\"scope\":\"others\"",
        "\"a/b~\":1,",
        "{\"$serde_json::private::RawValue\":\"1\"}",
        "\"$serde_json::private::Number\":\"1\"",
        "99999999999999999999999999",
        "\u{2028}",
    ];
    Target { name: "bodies", seeds: &seeds, words: &words, full_ms: LONG }.run(|input| {
        let mut taken = false;
        for of in BodyOf::ALL {
            match body(of, input) {
                Err(problem) => is_plain(&problem).map_err(|wrong| format!("{of:?}: {wrong}: {problem:?}"))?,
                Ok(()) => {
                    taken = true;
                    let value: Value = serde_json::from_slice(input).map_err(|error| format!("{of:?} took {error}"))?;
                    let members = value.as_object().ok_or("something took what is no object")?;
                    let has_nul = |value: &Value| value.as_str().is_some_and(|text| text.contains('\0'));
                    must(!members.values().any(has_nul), "NUL in a text")?;
                    must(members.values().all(|value| value.is_string() || value.is_null()), "more than text")?;
                }
            }
        }
        Ok(if taken { Reading::Taken } else { Reading::Refused })
    });
}

/// Header fields, a line each.
fn fields(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(20) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    headers
}

#[test]
fn headers_are_read_or_refused_and_never_show_up_raw() {
    let seeds = [
        "authorization: Bearer abc.def.ghi\nuser-agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/130.0",
        "idempotency-key: 0123456789abcdef\nx-request-id: a-1_2.3:4/5+6=7@8\nuser-agent: curl/8.5.0",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nauthorization: Basic YTpi",
    ];
    let words = [
        "Bearer ",
        "bearer\t",
        "authorization:",
        "idempotency-key: ",
        "x-request-id:",
        "\n",
        " ",
        ",",
        "\"",
        "Mozilla/5.0",
        "(",
        "\u{e9}",
    ];
    let options = HttpOptions { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..HttpOptions::default() };
    let peers = ["10.0.0.1:1", "203.0.113.9:1"].map(|peer| peer.parse().unwrap());
    Target { name: "headers", seeds: &seeds, words: &words, full_ms: LONG }.run(|input| {
        let headers = fields(input);
        let token = bearer(&headers);
        match &token {
            Ok(Some(token)) => {
                must(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "a token of other bytes")?;
                let sent = headers.get_all("authorization").iter().map(|value| value.to_str().unwrap_or_default());
                let sent: Vec<&str> = sent.collect();
                must(matches!(sent.as_slice(), [one] if one.get(7..) == Some(token)), "not the token that was sent")?;
            }
            Ok(None) => {}
            Err(problem) => is_plain(problem)?,
        }
        let key = has_idempotency_key(&headers);
        match &key {
            Ok(given) => {
                must(*given == headers.contains_key("idempotency-key"), "a key that is not there, or is ignored")?
            }
            Err(problem) => is_plain(problem)?,
        }
        must(
            trace_id(&headers).is_none_or(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())),
            "a trace",
        )?;
        for peer in peers {
            let caller = caller(peer, &headers, &options, &OsRandom);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
            must((1..=128).contains(&caller.request_id.len()), "the length of a request id")?;
            must(caller.request_id.bytes().all(plain), "a request id that a log could misread")?;
            let device = caller.device.as_ref().map_or("-", |device| device.as_str());
            must(device.chars().count() <= 100 && !device.chars().any(char::is_control), "a device that is no label")?;
            let sent = headers.get("x-request-id").is_some_and(|id| id == caller.request_id.as_str());
            must(!sent || peer == peers[0], "the request id of a stranger")?;
        }
        Ok(if token.is_ok() && key.is_ok() { Reading::Taken } else { Reading::Refused })
    });
}

#[test]
fn a_query_parameter_stands_there_once_or_not_at_all() {
    let seeds =
        ["/api/auth/sessions?limit=10&after=abc", "/x?after=%41+b&keep=current", "/?limit", "/x?limit=1&limit=2"];
    let words = ["&", "=", "?", "%", "%00", "%ff", "+", "#", "limit", "after=", "%6cimit="];
    Target { name: "query parameters", seeds: &seeds, words: &words, full_ms: SHORT }.run(|input| {
        let Ok(uri) = Uri::try_from(input) else { return Ok(Reading::Refused) };
        let read = parameter(&uri, "limit");
        match &read {
            Ok(Some(_)) => must(uri.query().is_some(), "a parameter without a query")?,
            Ok(None) => must(!uri.query().unwrap_or_default().starts_with("limit="), "a parameter is overlooked")?,
            Err(problem) => is_plain(problem)?,
        }
        Ok(reading(&read))
    });
}

#[test]
fn a_head_has_one_meaning() {
    let seeds = [
        "GET / HTTP/1.1\r\nHost: a:8480\r\n\r\n",
        "POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"a\":\"bcde\"}",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\r\nGET /x?y HTTP/1.0\r\nX: 1\r\n\r\n",
    ];
    let words = [
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Host: b\r\n",
        "chunked",
        "HTTP/1.0",
        "HTTP/1.1",
        "HTTP/2.0",
        "CONNECT",
        "TRACE",
        "\r\n ",
        "content-length:",
        "+5",
        "\u{b}",
        "identity",
    ];
    Target { name: "heads", seeds: &seeds, words: &words, full_ms: SHORT }.run(|input| {
        let whole = HeadScan::default().advance(input);
        let mut slow = HeadScan::default();
        let verdicts = (1..=input.len()).map(|end| slow.advance(&input[..end]));
        let pieces =
            verdicts.filter(|verdict| *verdict != Progress::Partial).take(1).last().unwrap_or(Progress::Partial);
        must(pieces == whole, "the verdict depends on how the bytes arrive")?;
        match whole {
            Progress::Complete { length, framing } => one_meaning(&input[..length], framing).map(|()| Reading::Taken),
            Progress::Partial | Progress::Refused(_) => Ok(Reading::Refused),
        }
    });
}

/// Reads an accepted head again, as plainly as it can be read.
fn one_meaning(head: &[u8], framing: Framing) -> Result<(), String> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    must(head.ends_with(b"\r\n\r\n"), "a head without its empty line")?;
    let text = String::from_utf8_lossy(head);
    let lines: Vec<&str> = text.trim_end_matches("\r\n").split("\r\n").collect();
    must(lines.iter().all(|line| !line.is_empty() && !line.contains(['\r', '\n', '\0'])), "a bare line end")?;
    let is_new = lines[0].ends_with(" HTTP/1.1");
    must(is_new || lines[0].ends_with(" HTTP/1.0"), "another version")?;
    must(lines[0].split(' ').count() == 3, "a request line of other parts")?;
    let named = |name: &str| -> Vec<&str> {
        let fields = lines[1..].iter().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    };
    must(
        lines[1..].iter().all(|line| line.contains(':') && !line.starts_with([' ', '\t'])),
        "a line that is no field",
    )?;
    let hosts = named("host").len();
    must(hosts == 1 || (hosts == 0 && !is_new), "none or several hosts")?;
    match (named("content-length").as_slice(), named("transfer-encoding").as_slice(), framing) {
        ([], [], Framing::Length(0)) => Ok(()),
        ([length], [], Framing::Length(read)) => must(length.parse() == Ok(read), "another length"),
        ([], [coding], Framing::Chunked) => must(is_new && coding.eq_ignore_ascii_case("chunked"), "another coding"),
        _ => Err("an end that can be read in two ways".to_owned()),
    }
}
