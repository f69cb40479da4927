//! Reads a request's head strictly, before hyper sees it (RFC 9112; request smuggling).
//!
//! hyper takes a bare LF, a missing Host, equal duplicate Content-Length and Content-Length beside Transfer-Encoding.
//! Another server in front may read those differently, so here they are refused and the connection ends.

/// Longest request target, in bytes (RFC 9112 §3 asks for 8000 at least).
const TARGET_MAX: usize = 8 * 1024;
/// Longest method, in bytes.
const METHOD_MAX: usize = 32;
/// Longest head, in bytes.
pub(super) const HEAD_MAX: usize = 32 * 1024;
/// Longest request line, in bytes.
const LINE_MAX: usize = METHOD_MAX + TARGET_MAX + " HTTP/1.1\r\n".len();
/// Most header fields.
const FIELDS_MAX: usize = 100;

/// How the end of a request's body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes follow.
    Length(u64),
    /// Chunks follow; only hyper knows where they end.
    Chunked,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400.
    Malformed,
    /// 405, for methods that no route has.
    Method,
    /// 408.
    TooSlow,
    /// 414.
    TargetTooLong,
    /// 431.
    TooLarge,
}

/// What is known about the bytes read so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head has not ended.
    Partial,
    /// The first `length` bytes are a good head.
    Complete {
        /// Length of the head with its empty line.
        length: usize,
        /// What follows it.
        framing: Framing,
    },
    /// The head is refused.
    Refused(Refusal),
}

/// Looks at a head as it arrives; every byte is looked at once, however slowly it comes.
#[derive(Default)]
pub struct HeadScan {
    seen: usize,
    line_start: usize,
    lines: usize,
    /// Where the request line starts: one empty line before it is ignored (RFC 9112 §2.2).
    start: usize,
}

impl HeadScan {
    /// Continues with `bytes`, of which the earlier ones are as they were in the last call.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        while let Some(rest) = bytes.get(self.seen..).filter(|rest| !rest.is_empty()) {
            // Both line ends count only as a pair (RFC 9112 §2.2: a bare CR or LF is a difference waiting to be used).
            let ends_line = self.seen.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'\r');
            if ends_line != rest.starts_with(b"\n") {
                return Progress::Refused(Refusal::Malformed);
            }
            if ends_line {
                self.seen += 1;
                if self.seen == self.line_start + 2 {
                    if self.seen > 2 {
                        return self.finish(bytes.get(self.start..self.seen).unwrap_or_default());
                    }
                    self.start = self.seen;
                } else {
                    self.lines += 1;
                }
                self.line_start = self.seen;
            } else {
                // Up to and with the next CR, or up to the next LF, which must not stand there.
                let plain = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                let is_return = rest.get(plain) == Some(&b'\r');
                self.seen += (plain + usize::from(is_return)).min(self.most());
            }
            if let Some(refusal) = self.over_limit() {
                return Progress::Refused(refusal);
            }
        }
        Progress::Partial
    }

    /// So many more bytes are over a limit for sure.
    fn most(&self) -> usize {
        let limit = if self.lines == 0 { LINE_MAX } else { HEAD_MAX };
        limit.saturating_sub(self.seen) + 1
    }

    fn finish(&self, head: &[u8]) -> Progress {
        match inspect(head) {
            Ok(framing) => Progress::Complete { length: self.seen, framing },
            Err(refusal) => Progress::Refused(refusal),
        }
    }

    fn over_limit(&self) -> Option<Refusal> {
        if self.lines == 0 && self.seen > LINE_MAX {
            Some(Refusal::TargetTooLong)
        } else if self.lines > FIELDS_MAX + 1 || self.seen > HEAD_MAX {
            Some(Refusal::TooLarge)
        } else {
            None
        }
    }
}

/// The fields that decide where a request ends and where it goes.
#[derive(Default)]
struct Seen {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

fn inspect(head: &[u8]) -> Result<Framing, Refusal> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let version = request_line(lines.next().unwrap_or_default())?;
    let mut seen = Seen::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        field(line, &mut seen)?;
    }
    if seen.hosts > 1 || (seen.hosts == 0 && version == Version::Http11) {
        return Err(Refusal::Malformed);
    }
    match (seen.chunked, seen.length) {
        (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        // HTTP/1.0 has no transfer codings (RFC 9112 §6.1), and a request has one way to end, not two (§6.3).
        (true, None) if version == Version::Http11 => Ok(Framing::Chunked),
        (true, _) => Err(Refusal::Malformed),
    }
}

#[derive(PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn request_line(line: &[u8]) -> Result<Version, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::Malformed);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(Refusal::Malformed),
    };
    let method_ok = !method.is_empty() && method.len() <= METHOD_MAX && method.iter().copied().all(is_token);
    if !method_ok || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::Malformed);
    }
    if target.len() > TARGET_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Refusal::Method);
    }
    Ok(version)
}

fn field(line: &[u8], seen: &mut Seen) -> Result<(), Refusal> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::Malformed)?;
    let (name, rest) = line.split_at(colon);
    let value = rest.strip_prefix(b":").unwrap_or(rest);
    // A name that starts with a space is a folded line, one that ends with it is read differently by many (RFC 9112
    // §5).
    if name.is_empty() || !name.iter().copied().all(is_token) || value.iter().copied().any(is_forbidden) {
        return Err(Refusal::Malformed);
    }
    if name.eq_ignore_ascii_case(b"host") {
        seen.hosts += 1;
        return if is_host(value.trim_ascii()) { Ok(()) } else { Err(Refusal::Malformed) };
    }
    if name.eq_ignore_ascii_case(b"content-length") {
        let length = content_length(value).ok_or(Refusal::Malformed)?;
        return if seen.length.replace(length).is_none() { Ok(()) } else { Err(Refusal::Malformed) };
    }
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        let chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        let first = !std::mem::replace(&mut seen.chunked, true);
        return if chunked && first { Ok(()) } else { Err(Refusal::Malformed) };
    }
    Ok(())
}

/// Digits only, after the one space that everybody writes.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b" ").unwrap_or(value);
    let valid = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| valid)?.parse().ok()
}

/// The characters of `uri-host [":" port]` (RFC 9110 §7.2).
fn is_host(value: &[u8]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    value.len() <= 300 && value.iter().copied().all(allowed)
}

/// The characters of `token` (RFC 9110 §5.6.2), one entry a byte: every byte of every name is looked up.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

fn is_forbidden(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(head: &str) -> Progress {
        HeadScan::default().advance(head.as_bytes())
    }

    fn post(fields: &str) -> Progress {
        scan(&format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
    }

    #[test]
    fn a_good_head_tells_how_its_body_ends() {
        let get = "GET / HTTP/1.1\r\nHost: a:8480\r\n\r\n";
        assert_eq!(scan(get), Progress::Complete { length: get.len(), framing: Framing::Length(0) });
        assert!(matches!(post("Content-Length: 12"), Progress::Complete { framing: Framing::Length(12), .. }));
        assert!(matches!(post("transfer-encoding: Chunked"), Progress::Complete { framing: Framing::Chunked, .. }));
        assert!(matches!(scan("GET / HTTP/1.0\r\n\r\n"), Progress::Complete { .. }));
        assert!(matches!(post("X: caf\u{e9}\ty"), Progress::Complete { .. }));
        assert!(matches!(scan(&format!("\r\n{get}")), Progress::Complete { .. }));
    }

    #[test]
    fn what_two_servers_could_read_differently_is_refused() {
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3, 3",
            "Content-Length: +5",
            "Content-Length:  5",
            "Content-Length: 0x5",
            "Content-Length: 5 ",
            "Content-Length:",
            "Content-Length: 9999999999999999999999",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "X: a\r\n folded",
            "Y : space",
            " Z: lead",
            "no colon",
            ": nameless",
            "X: a\rb",
            "X: a\0b",
            "Host: b",
            "Host: a/b",
            "Host: a@b",
        ] {
            assert_eq!(post(fields), Progress::Refused(Refusal::Malformed), "{fields:?}");
        }
        for head in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(scan(head), Progress::Refused(Refusal::Malformed), "{head:?}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_before_the_head_ends() {
        assert_eq!(scan("GET / HTTP/1.1\n"), Progress::Refused(Refusal::Malformed));
    }

    #[test]
    fn limits_answer_with_their_own_status() {
        let long = "a".repeat(16 * 1024);
        assert_eq!(
            scan(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
            Progress::Refused(Refusal::TargetTooLong)
        );
        let over = "a".repeat(TARGET_MAX);
        assert_eq!(
            scan(&format!("GET /{over} HTTP/1.1\r\nHost: a\r\n\r\n")),
            Progress::Refused(Refusal::TargetTooLong)
        );
        assert_eq!(post(&format!("X: {}", "a".repeat(64 * 1024))), Progress::Refused(Refusal::TooLarge));
        assert!(matches!(post(&vec!["X: 1"; 99].join("\r\n")), Progress::Complete { .. }));
        assert_eq!(post(&vec!["X: 1"; 100].join("\r\n")), Progress::Refused(Refusal::TooLarge));
        for method in ["CONNECT a:1", "TRACE /"] {
            assert_eq!(scan(&format!("{method} HTTP/1.1\r\nHost: a\r\n\r\n")), Progress::Refused(Refusal::Method));
        }
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_arrive(
            bytes in proptest::collection::vec(proptest::sample::select(b"GET / HTTP/1.1\r\n:HostContent-Length5 ".to_vec()), 0..200),
            good in any::<bool>(),
            step in 1_usize..40,
        ) {
            let mut all = if good { b"POST / HTTP/1.1\r\nHost: a\r\n".to_vec() } else { Vec::new() };
            all.extend(bytes);
            all.extend(b"\r\n\r\n");
            let whole = HeadScan::default().advance(&all);
            let mut scan = HeadScan::default();
            let mut pieces = Progress::Partial;
            for end in (step..all.len()).step_by(step).chain([all.len()]) {
                pieces = scan.advance(&all[..end]);
                if pieces != Progress::Partial {
                    break;
                }
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
