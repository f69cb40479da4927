//! Types that only the configuration has: choices, sizes, groups, `auto`, header names.

use super::value::{Raw, Setting, Shape, expected};
use crate::domain::address_rule::folded;
use ipnet::IpNet;
use shared::time::Span;
use std::net::IpAddr;

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$item_doc])* $item,)+ }

        impl $name {
            /// The word in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $text,)+ }
            }
        }

        impl Setting for $name {
            const SHAPE: Shape = Shape::Choice(&[$($text,)+]);
            fn read(raw: &Raw) -> Result<Self, String> {
                match raw {
                    $(Raw::Text(text) if text == $text => Ok(Self::$item),)+
                    other => expected(concat!("one of", $(" \"", $text, "\"",)+), other),
                }
            }
            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}

choice!(
    /// Whether this is the real thing.
    Mode {
        /// Everything that would weaken the service is refused.
        Production = "production",
        /// Cheap hashing is permitted, listening beyond loopback is not.
        Test = "test",
    }
);
choice!(
    /// Algorithm of new signing keys.
    KeyAlgorithm {
        /// Ed25519 (RFC 8037).
        EdDsa = "EdDSA",
        /// ECDSA on P-256 (RFC 7518 §3.4), for verifiers without EdDSA.
        Es256 = "ES256",
    }
);
choice!(
    /// What an access token is.
    Strategy {
        /// A signed token (RFC 9068) that anybody with the key set can verify.
        Jwt = "jwt",
        /// A random token that only introspection can tell about.
        Opaque = "opaque",
    }
);
choice!(
    /// What a login does to an account that has as many sessions as it may have.
    OnLimit {
        /// Ends the least recently refreshed session.
        EvictOldest = "evict-oldest",
        /// Refuses the login.
        Refuse = "refuse",
    }
);
choice!(
    /// What a replayed refresh token ends.
    OnReplay {
        /// The session it belonged to.
        Session = "session",
        /// Every session of the account.
        Account = "account",
    }
);
choice!(
    /// Which refreshes are audited.
    AuditRefresh {
        /// Those from another network or device, retries and replays.
        Changes = "changes",
        /// Every one.
        All = "all",
    }
);
choice!(
    /// Form of log lines.
    LogFormat {
        /// The journal if standard error is connected to it, `pretty` on a terminal, else `json`.
        Auto = "auto",
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Pretty = "pretty",
        /// The journal's own fields.
        Journald = "journald",
    }
);
choice!(
    /// How much is logged.
    LogLevel {
        /// Only what failed.
        Error = "error",
        /// Also what needs attention.
        Warn = "warn",
        /// Also what happened.
        Info = "info",
        /// Also how it happened.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
);

/// A value, or the daemon's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto<T> {
    /// The daemon chooses.
    Auto,
    /// This value.
    Is(T),
}

macro_rules! auto {
    ($inner:ty, $shape:ident) => {
        impl Setting for Auto<$inner> {
            const SHAPE: Shape = Shape::$shape;
            fn read(raw: &Raw) -> Result<Self, String> {
                match raw {
                    Raw::Text(text) if text == "auto" => Ok(Self::Auto),
                    other => <$inner>::read(other)
                        .map(Self::Is)
                        .map_err(|reason| reason.replacen("expected ", "expected \"auto\" or ", 1)),
                }
            }
            fn show(&self) -> String {
                match self {
                    Self::Auto => "auto".to_owned(),
                    Self::Is(value) => value.show(),
                }
            }
            fn size(&self) -> Option<u64> {
                match self {
                    Self::Auto => None,
                    Self::Is(value) => value.size(),
                }
            }
        }
    };
}

auto!(u32, WholeOrAuto);
auto!(Span, SpanOrAuto);
auto!(bool, FlagOrAuto);

/// A size in bytes, written `16KiB` or `1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Setting for ByteSize {
    const SHAPE: Shape = Shape::Text("size");
    fn read(raw: &Raw) -> Result<Self, String> {
        let what = "a size like \"16KiB\" or \"1MiB\"";
        let number = match raw {
            Raw::Whole(number) => u64::try_from(*number).ok(),
            Raw::Text(text) => SIZE_UNITS.iter().find_map(|(unit, each)| {
                let count: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
                count.checked_mul(*each)
            }),
            _ => None,
        };
        number.map_or_else(|| expected(what, raw), |bytes| Ok(Self(bytes)))
    }
    fn show(&self) -> String {
        let fits = SIZE_UNITS.iter().find(|(_, each)| self.0.is_multiple_of(*each) && self.0 >= *each);
        fits.map_or_else(|| format!("{}B", self.0), |(unit, each)| format!("{}{unit}", self.0 / each))
    }
    fn size(&self) -> Option<u64> {
        Some(self.0)
    }
}

/// A Unix group: its name, or its number where the name cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// Looked up when the daemon starts.
    Name(String),
    /// Used as it is.
    Id(u32),
}

impl Setting for Group {
    const SHAPE: Shape = Shape::Text("group name or number");
    fn read(raw: &Raw) -> Result<Self, String> {
        let what = "a group name or number";
        match raw {
            Raw::Whole(number) => u32::try_from(*number).map(Self::Id).or_else(|_| expected(what, raw)),
            Raw::Text(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map(Self::Id).or_else(|_| expected(what, raw))
            }
            Raw::Text(text) if is_group_name(text) => Ok(Self::Name(text.clone())),
            other => expected(what, other),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Id(id) => id.to_string(),
        }
    }
}

fn is_group_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@\\".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed) && !text.starts_with('-')
}

/// A network, or a single address (which is a network of one); IPv4-mapped ones are IPv4, as peers are.
impl Setting for IpNet {
    const SHAPE: Shape = Shape::Text("address or network");
    fn read(raw: &Raw) -> Result<Self, String> {
        let what = "an address or network like \"10.0.0.0/8\" or \"::1\"";
        let Raw::Text(text) = raw else { return expected(what, raw) };
        let net = text.parse::<Self>().ok().or_else(|| text.parse::<IpAddr>().ok().map(Self::from));
        net.map_or_else(|| expected(what, raw), |net| Ok(folded(net)))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// The name of a header field, in lower case (RFC 9110 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(String);

impl HeaderName {
    /// Lower-case name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for HeaderName {
    const SHAPE: Shape = Shape::Text("header name");
    fn read(raw: &Raw) -> Result<Self, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match raw {
            Raw::Text(text) if !text.is_empty() && text.bytes().all(token) => Ok(Self(text.to_ascii_lowercase())),
            other => expected("the name of a header", other),
        }
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Setting>(text: &str) -> Result<T, String> {
        T::read(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn sizes_read_back() {
        for text in ["16KiB", "1MiB", "3GiB", "1000B"] {
            assert_eq!(read::<ByteSize>(text).map(|size| size.show()), Ok(text.to_owned()));
        }
        for text in ["16", "16kb", "-1KiB", "99999999999999GiB", "KiB"] {
            assert!(read::<ByteSize>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_single_address_is_a_network_of_one_and_host_bits_are_dropped() {
        assert_eq!(read::<IpNet>("127.0.0.1").map(|net| net.show()), Ok("127.0.0.1/32".to_owned()));
        assert_eq!(read::<IpNet>("10.1.2.3/8").map(|net| net.show()), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(read::<IpNet>("::ffff:10.1.2.3").map(|net| net.show()), Ok("10.1.2.3/32".to_owned()));
        assert_eq!(read::<IpNet>("::ffff:10.0.0.0/104").map(|net| net.show()), Ok("10.0.0.0/8".to_owned()));
        assert!(read::<IpNet>("10.0.0.0/33").is_err());
    }

    #[test]
    fn auto_is_a_word_and_everything_else_is_the_value() {
        assert_eq!(read::<Auto<u32>>("auto"), Ok(Auto::Auto));
        assert_eq!(read::<Auto<u32>>("4"), Ok(Auto::Is(4)));
        assert!(read::<Auto<u32>>("many").is_err_and(|reason| reason.contains("\"auto\" or a whole number")));
    }

    #[test]
    fn a_group_may_be_a_number() {
        assert_eq!(read::<Group>("4242"), Ok(Group::Id(4242)));
        assert_eq!(read::<Group>("authd-admin"), Ok(Group::Name("authd-admin".to_owned())));
        assert!(read::<Group>("a b").is_err());
    }
}
