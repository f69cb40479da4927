//! What a call must not carry: a browser that was tricked into speaking to a socket sends these.

use axum::http::{HeaderMap, Uri, header, uri::Authority};

/// Names the daemon answers to.
const HOSTS: [&str; 2] = ["authd", "localhost"];

/// Why a request is not taken, whoever sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It comes from a page of a browser.
    #[error("requests with Origin or Referer are not taken on this socket")]
    Browser,
    /// It is for another host, for several, or for none.
    #[error("the Host of a request on this socket is `authd` or `localhost`")]
    Host,
}

/// Checks the head of a request.
///
/// # Errors
/// [`Foreign`].
pub(super) fn check(target: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
    if headers.contains_key(header::ORIGIN) || headers.contains_key(header::REFERER) {
        return Err(Foreign::Browser);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Foreign::Host) };
    let host: Option<Authority> = host.to_str().ok().and_then(|text| text.parse().ok());
    let is_ours = |authority: &Authority| {
        !authority.as_str().contains('@') && HOSTS.iter().any(|ours| authority.host().eq_ignore_ascii_case(ours))
    };
    let named = [host.as_ref(), target.authority()];
    if host.is_some() && named.into_iter().flatten().all(is_ours) { Ok(()) } else { Err(Foreign::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(target: &str, headers: &[(&'static str, &str)]) -> Result<(), Foreign> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        check(&target.parse().unwrap(), &headers.collect())
    }

    #[test]
    fn our_own_names_pass_with_and_without_a_port() {
        for host in ["authd", "localhost", "LOCALHOST", "localhost:80"] {
            assert_eq!(checked("/v1/status", &[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn foreign_missing_and_ambiguous_hosts_are_refused() {
        for host in ["evil.example", "127.0.0.1", "authd.evil.example", "authd@evil.example", "evil@authd", ""] {
            assert_eq!(checked("/v1/status", &[("host", host)]), Err(Foreign::Host), "{host}");
        }
        assert_eq!(checked("/v1/status", &[]), Err(Foreign::Host));
        assert_eq!(checked("http://evil.example/v1/status", &[("host", "authd")]), Err(Foreign::Host));
        let mut two = HeaderMap::new();
        two.append(header::HOST, "authd".parse().unwrap());
        two.append(header::HOST, "evil.example".parse().unwrap());
        assert_eq!(check(&"/".parse().unwrap(), &two), Err(Foreign::Host));
    }

    #[test]
    fn what_comes_from_a_page_is_refused_even_from_our_own_name() {
        assert_eq!(checked("/", &[("host", "localhost"), ("origin", "http://localhost")]), Err(Foreign::Browser));
        assert_eq!(checked("/", &[("host", "localhost"), ("referer", "http://localhost/")]), Err(Foreign::Browser));
    }
}
