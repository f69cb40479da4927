//! Every section and key with its default, bounds, effect and meaning: the one table everything else is made from.

use super::{
    key::{Effect, Key, Lens},
    types::{
        AuditRefresh, Auto, ByteSize, Group, HeaderName, KeyAlgorithm, LogFormat, LogLevel, Mode, OnLimit, OnReplay,
        Strategy,
    },
    url::{DatabaseUrl, SecretUrl, WebOrigin},
    value::{Raw, Setting},
};
use ipnet::IpNet;
use shared::time::Span;
use std::{net::SocketAddr, path::PathBuf};

pub(super) fn from_default<T: Setting>(text: &str) -> Result<T, String> {
    T::read(&Raw::Text(text.to_owned()))
}

macro_rules! sections {
    ($($(#[doc = $section_doc:literal])* [$section:ident] $name:ident {
        $($(#[doc = $doc:literal])+ $effect:ident $key:ident: $ty:ty = $default:literal $([$low:literal, $high:literal])?;)+
    })+) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $name {
                $($(#[doc = $doc])+ pub $key: $ty,)+
            }

            impl $name {
                pub(super) fn from_defaults() -> Result<Self, String> {
                    Ok(Self { $($key: from_default($default)?,)+ })
                }
            }
        )+

        /// Every key but those of the limits, in the order of the manual.
        pub(super) static SECTION_KEYS: &[Key] = &[$($(Key {
            section: stringify!($section),
            name: stringify!($key),
            default: $default,
            bounds: bounds!($($low, $high)?),
            effect: Effect::$effect,
            doc: &[$($doc),+],
            field: &Lens::<$ty> {
                get: |config| &config.$section.$key,
                get_mut: |config| &mut config.$section.$key,
            },
        },)+)+];

        /// What the sections are for.
        pub(super) const SECTION_DOCS: &[(&str, &[&str])] = &[$((stringify!($section), &[$($section_doc),*]),)+];
    };
}

macro_rules! bounds {
    () => {
        None
    };
    ($low:literal, $high:literal) => {
        Some(($low, $high))
    };
}

sections! {
    /// The public HTTP listener.
    [server] Server {
        /// `test` permits cheap hashing and refuses to listen beyond loopback.
        Restart mode: Mode = "production";
        /// Address of the public API; port 0 takes any free one.
        Restart listen: SocketAddr = "127.0.0.1:8480";
        /// The address clients use: issuer of tokens and base of links. It is never taken from a request.
        Restart public_url: WebOrigin = "http://127.0.0.1:8480";
        /// Proxies (addresses or networks) whose `client_ip_header` and `X-Request-Id` are believed.
        Live trusted_proxies: Vec<IpNet> = "";
        /// The header in which trusted proxies tell the client's address.
        Live client_ip_header: HeaderName = "x-forwarded-for";
        /// Largest request body.
        Restart body_limit: ByteSize = "16KiB" ["1KiB", "1MiB"];
        /// Time for the first byte of a connection, and for a whole request head.
        Restart header_timeout: Span = "10s" ["50ms", "60s"];
        /// How long a connection may stay idle between two requests.
        /// Make it longer than the proxy keeps idle connections.
        Restart keepalive_timeout: Span = "75s" ["50ms", "1h"];
        /// Connections at once; fewer where the bound on open files leaves no room for so many.
        Restart max_connections: u32 = "4096" ["1", "1000000"];
        /// Connections at once from one network (/24, /48); trusted proxies are not counted.
        Restart max_connections_per_network: u32 = "64" ["1", "1000000"];
        /// Other origins whose pages may call the API.
        Live cors_origins: Vec<WebOrigin> = "";
        /// Whether `/api/docs` is served.
        Later docs: bool = "false";
    }

    /// The two Unix sockets for operators.
    [admin] Admin {
        /// Where administrators connect; empty: the place described under FILES.
        Restart socket: Option<PathBuf> = "";
        /// Where readers connect; empty: the place described under FILES.
        Restart read_socket: Option<PathBuf> = "";
        /// Groups whose members may do everything.
        Restart admin_groups: Vec<Group> = "authd-admin";
        /// Groups whose members may read.
        Restart read_groups: Vec<Group> = "authd-read";
        /// Groups whose members may fetch the metrics and nothing else.
        Restart metrics_groups: Vec<Group> = "";
        /// Whether the user that the daemon runs as counts as an administrator;
        /// `auto`: not under the service manager of the system.
        Restart trust_own_uid: Auto<bool> = "auto";
    }

    /// Where everything that lasts is kept.
    [database] Database {
        /// `sqlite:` (in the data directory), `sqlite:/file` or `postgres://user@host/database`.
        Restart url: DatabaseUrl = "sqlite:";
        /// Connections to PostgreSQL; SQLite has one writer and a few readers.
        Restart max_connections: u32 = "16" ["1", "1000"];
        /// How long a request waits for a connection.
        Restart acquire_timeout: Span = "500ms" ["10ms", "60s"];
        /// How long one statement may take.
        Restart statement_timeout: Span = "2s" ["10ms", "60s"];
        /// How long a start waits for the database before it gives up with exit code 69.
        Restart start_timeout: Span = "60s" ["1s", "1h"];
    }

    /// Counters that several instances share: all limits but `login.spray`, `login.spray_net`, the alarms
    /// `login.global` and `register.global`, and `admin.uid`, which each instance counts for itself, and those that
    /// are in the database.
    [redis] Redis {
        /// Where Redis is: `redis://host`, `rediss://user:password@host` or `redis+unix:///path`, one server; empty:
        /// each instance counts its share for itself, as it does while Redis is away.
        Restart url: Option<SecretUrl> = "";
        /// How long one call may take; those of one request take at most 100ms in all.
        Restart timeout: Span = "50ms" ["1ms", "10s"];
    }

    /// Who may make an account.
    [registration] Registration {
        /// Whether anybody may register; else accounts are made with `authctl user create`.
        Live open: bool = "true";
    }

    /// What passwords must be and how they are hashed (Argon2id, RFC 9106).
    [password] Password {
        /// Fewest code points (NIST SP 800-63B-4 asks for eight at least).
        Live min_length: u32 = "10" ["8", "64"];
        /// Most code points; longer passwords are refused, never cut.
        Live max_length: u32 = "256" ["64", "4096"];
        /// Least strength by the estimate of zxcvbn, 0 to 4.
        Live min_strength: u32 = "3" ["0", "4"];
        /// A file with further passwords to refuse, one a line.
        Restart blocklist: Option<PathBuf> = "";
        /// Memory of one hash in KiB.
        Restart memory_kib: u32 = "19456" ["8", "4194304"];
        /// Passes over the memory.
        Restart iterations: u32 = "2" ["1", "1000"];
        /// Lanes of one hash.
        Restart parallelism: u32 = "1" ["1", "16"];
        /// Threads that hash; `auto`: one for each processor.
        Restart workers: Auto<u32> = "auto" ["1", "256"];
        /// Passwords that may wait to be hashed; beyond it requests are answered 503.
        Restart queue: u32 = "64" ["1", "65536"];
        /// How long one may wait, before the request is answered 503.
        Restart wait: Span = "2s" ["10ms", "30s"];
        /// Earliest answer to a failed login after it came, so that the time does not tell which accounts there are;
        /// `auto`: half as long again as the slowest hash in use takes.
        Live failure_floor: Auto<Span> = "auto" ["0s", "10s"];
    }

    /// Access tokens.
    [token] Token {
        /// Claim `iss`; empty: `server.public_url`.
        Restart issuer: Option<String> = "";
        /// Claim `aud`, which verifiers must check.
        Restart audience: String = "authd";
        /// Algorithm of new signing keys: Ed25519, or P-256 for verifiers without it.
        Restart algorithm: KeyAlgorithm = "EdDSA";
        /// Life of an access token. A verifier that only checks signatures accepts it for so long after a logout.
        Restart access_ttl: Span = "10m" ["1s", "24h"];
        /// What an access token is.
        Later strategy: Strategy = "jwt";
        /// How far the clocks of verifiers may be off.
        Restart clock_skew: Span = "60s" ["0s", "5m"];
    }

    /// How long sessions live and what ends them.
    [session] Session {
        /// Ends a session that was not refreshed for this long.
        Live idle: Span = "14d" ["1s", "3650d"];
        /// Ends every session this long after its login.
        Live absolute: Span = "90d" ["1s", "3650d"];
        /// Most sessions of one account.
        Live max_per_account: u32 = "50" ["1", "10000"];
        /// What a login does when there are as many: ends the least recently refreshed one, or is refused (409).
        Live on_limit: OnLimit = "evict-oldest";
        /// How long a refresh whose reply was lost can be repeated with the same answer; 0s: not at all.
        Live grace: Span = "10s" ["0s", "60s"];
        /// The same for calls with an `Idempotency-Key`; 0s: not at all.
        Live keyed_grace: Span = "24h" ["0s", "7d"];
        /// What a spent refresh token that comes back ends: its session, or every session of its account.
        Live on_replay: OnReplay = "session";
        /// How long a session is kept after its absolute end: so long it is listed, though it is over. Of one account only
        /// the newest 1000 that are over are sure to be; its next logins erase older ones. The audit log tells of all for
        /// audit.retention.
        Live keep: Span = "30d" ["1d", "36500d"];
    }

    /// Signing keys, and the key that encrypts them.
    [key] SigningKey {
        /// How often a new key starts to sign.
        Restart rotate_every: Span = "30d" ["1m", "3650d"];
        /// How long a key is published before it signs, so that verifiers know it by then.
        Restart stage: Span = "24h" ["0s", "365d"];
        /// How long verifiers may keep the key set (`Cache-Control: max-age`).
        Restart jwks_max_age: Span = "5m" ["0s", "24h"];
        /// File with the key-encryption key: 32 bytes in base64, as `authd generate-key` prints them, the same for all
        /// instances. Empty: the credential `kek`; else, with SQLite only, a file that is made in the data directory.
        Restart encryption_key: Option<PathBuf> = "";
        /// File with the key-encryption key before this one, while another takes its place: what is encrypted under it
        /// is moved to the new one. Empty: the credential `kek.old`, if there is one. `authctl status` says when it can
        /// go.
        Restart previous_encryption_key: Option<PathBuf> = "";
    }

    /// When calls to a failing dependency (database, Redis) are no longer tried.
    [breaker] Breaker {
        /// Failures in a row, within the window, that open it.
        Restart failures: u32 = "5" ["1", "10000"];
        /// The window.
        Restart window: Span = "10s" ["100ms", "1h"];
        /// How long it stays open.
        Restart open_for: Span = "5s" ["100ms", "1h"];
        /// Calls that may try whether it is well again.
        Restart half_open_max_calls: u32 = "1" ["1", "1000"];
    }

    /// The audit log.
    [audit] Audit {
        /// Which refreshes write an event: those from another network or device, retries and replays; or all.
        Restart refresh: AuditRefresh = "changes";
        /// How long events are kept. Older ones are deleted in whole ranges between two checkpoints, a day after these
        /// were written to the file below, and leave a signed tombstone.
        Live retention: Span = "400d" ["30d", "36500d"];
        /// File with the last checkpoint of the audit log, so that a restored or shortened database is noticed; it may
        /// be on another disk or machine. Empty: `audit.anchor` in the data directory.
        Restart checkpoint_file: Option<PathBuf> = "";
    }

    /// The daemon's own log, on standard error.
    [log] Log {
        /// Form of its lines; `auto`: the journal if standard error is connected to it, `pretty` on a terminal,
        /// else `json`.
        Restart format: LogFormat = "auto";
        /// How much is logged. Passwords, tokens and bodies are not logged at any level.
        Live level: LogLevel = "info";
    }

    /// Metrics for Prometheus.
    [metrics] Metrics {
        /// Address of a listener of their own; empty: none.
        Later listen: Option<SocketAddr> = "";
    }
}
