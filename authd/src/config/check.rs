//! What no single key can tell: contradictions, and what must not run in production.

use super::{Auto, Config, DatabaseUrl, KekPlace, Mode, Origin, Origins, Problem, later};
use std::path::Path;

/// Argon2id parameters that count as safe: at least this much memory (KiB) with at least so many passes
/// (OWASP Password Storage Cheat Sheet; the second pair costs an attacker the same).
const SAFE_HASHING: [(u32, u32); 2] = [(19_456, 2), (47_104, 1)];

/// What was found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) refused: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

struct Checker<'a> {
    config: &'a Config,
    origins: &'a Origins,
    failed: &'a [String],
    found: Findings,
}

/// Looks for contradictions; keys in `failed` could not be read and are not judged again.
pub(super) fn run(config: &Config, origins: &Origins, failed: &[String]) -> Findings {
    let mut checker = Checker { config, origins, failed, found: Findings::default() };
    checker.mode();
    checker.hashing();
    checker.public_url();
    checker.later_versions();
    checker.key_encryption_key();
    checker.lives();
    checker.limits();
    checker.files();
    checker.found
}

impl Checker<'_> {
    /// A problem of these keys; it is told where the first of them was written.
    fn problem(&self, keys: &[&str], message: &str) -> Option<Problem> {
        if keys.iter().any(|key| self.failed.iter().any(|failed| failed == key)) {
            return None;
        }
        let written = keys.iter().find_map(|key| self.origins.get(*key).map(|origin| (*key, origin.clone())));
        let (key, origin) = written.unwrap_or_else(|| (keys.first().copied().unwrap_or_default(), Origin::Default));
        Some(Problem::new(origin, key, message))
    }

    fn refuse(&mut self, keys: &[&str], message: &str, hint: &str) {
        let problem = self.problem(keys, message);
        self.found.refused.extend(problem.map(|problem| problem.hint(hint)));
    }

    fn warn(&mut self, keys: &[&str], message: &str, hint: &str) {
        let problem = self.problem(keys, message);
        self.found.warnings.extend(problem.map(|problem| problem.hint(hint)));
    }

    fn mode(&mut self) {
        if self.config.server.mode != Mode::Test {
            return;
        }
        if !self.config.server.listen.ip().is_loopback() {
            let hint = "listen on 127.0.0.1 or [::1], or set server.mode = \"production\"";
            self.refuse(&["server.listen", "server.mode"], "test mode listens on loopback only", hint);
        }
        self.warn(&["server.mode"], "test mode: passwords may be hashed cheaply", "never use this data in production");
    }

    fn hashing(&mut self) {
        let password = &self.config.password;
        let (memory, iterations) = (password.memory_kib, password.iterations);
        let safe = SAFE_HASHING.iter().any(|(least_memory, least)| memory >= *least_memory && iterations >= *least);
        let keys = ["password.memory_kib", "password.iterations", "server.mode"];
        if !safe && self.config.server.mode == Mode::Production {
            let message = format!("{memory} KiB and {iterations} passes are too cheap to protect passwords");
            let hint =
                "use at least 19456 KiB with 2 passes or 47104 KiB with 1; only server.mode = \"test\" permits less";
            self.refuse(&keys, &message, hint);
        }
        if memory < 8 * password.parallelism {
            let hint = "Argon2 needs 8 KiB for each lane (RFC 9106 §3.1)";
            self.refuse(&["password.memory_kib", "password.parallelism"], "less memory than the lanes need", hint);
        }
        if password.min_length > password.max_length {
            let keys = ["password.min_length", "password.max_length"];
            self.refuse(&keys, "the shortest password is longer than the longest", "raise password.max_length");
        }
        let workers = match password.workers {
            Auto::Is(workers) => u64::from(workers),
            Auto::Auto => 1,
        };
        if workers * u64::from(memory) > 64 * 1024 * 1024 {
            let keys = ["password.memory_kib", "password.workers"];
            self.refuse(
                &keys,
                "the hash workers would hold more than 64 GiB",
                "lower password.workers or password.memory_kib",
            );
        }
    }

    fn public_url(&mut self) {
        let key = ["server.public_url"];
        if !self.origins.contains_key("server.public_url") {
            let hint = "set it to the address clients use: it is the issuer of every token and the base of links";
            let message = format!("not set: tokens are issued for {}", self.config.server.public_url.as_str());
            self.warn(&key, &message, hint);
        } else if !self.config.server.public_url.is_https() && self.config.server.mode == Mode::Production {
            self.warn(&key, "not https: tokens can be read on the way", "put a TLS proxy in front");
        }
        if self.config.server.trusted_proxies.iter().any(|net| net.prefix_len() == 0) {
            let message = "everybody is trusted to tell any client address";
            self.refuse(&["server.trusted_proxies"], message, "name the addresses of the proxies");
        }
    }

    fn later_versions(&mut self) {
        for later::Ignored { id, message, hint } in later::ignored(self.config) {
            self.refuse(&[&id], &message, hint);
        }
    }

    fn key_encryption_key(&mut self) {
        if !matches!(self.config.database.url, DatabaseUrl::Postgres(_)) {
            return;
        }
        if matches!(self.config.places.kek, KekPlace::Generated(_)) {
            let message = "PostgreSQL needs a key-encryption key, the same for all instances";
            let hint = "run: (umask 077; authd generate-key > /etc/authd/kek)   and set key.encryption_key = \"/etc/authd/kek\", \
                        or give the credential `kek` to the service";
            self.refuse(&["key.encryption_key", "database.url"], message, hint);
        }
    }

    fn lives(&mut self) {
        let (token, session, key) = (&self.config.token, &self.config.session, &self.config.key);
        if session.idle > session.absolute {
            self.refuse(
                &["session.idle", "session.absolute"],
                "longer than session.absolute",
                "lower it, or raise session.absolute",
            );
        }
        if token.access_ttl > session.absolute {
            let hint = "lower token.access_ttl";
            self.refuse(&["token.access_ttl", "session.absolute"], "a token would outlive its session", hint);
        }
        if session.keyed_grace.0 > std::time::Duration::ZERO && session.keyed_grace < session.grace {
            let hint = "raise session.keyed_grace, or set it to 0s";
            self.refuse(&["session.keyed_grace", "session.grace"], "shorter than session.grace", hint);
        }
        if key.stage >= key.rotate_every {
            let hint = "a key is published for key.stage before it signs: make key.rotate_every longer";
            self.refuse(&["key.stage", "key.rotate_every"], "not shorter than key.rotate_every", hint);
        }
        if key.stage.0 < key.jwks_max_age.0.saturating_add(token.clock_skew.0) {
            let hint = "a key must be published for key.jwks_max_age and token.clock_skew before it signs";
            self.refuse(
                &["key.stage", "key.jwks_max_age", "token.clock_skew"],
                "verifiers would meet an unknown key",
                hint,
            );
        }
    }

    fn limits(&mut self) {
        let ladder = &self.config.limit.login_account;
        if ladder.first_delay > ladder.max_delay {
            let keys = ["limit.login.account.first_delay", "limit.login.account.max_delay"];
            self.refuse(&keys, "longer than max_delay", "lower first_delay, or raise max_delay");
        }
        let hard = &self.config.limit.login_hard;
        if hard.unknown + hard.known > 100 {
            let keys = ["limit.login.hard.unknown", "limit.login.hard.known"];
            let hint = "nobody may guess more often in a row (NIST SP 800-63B-4 §3.2.2): lower one of them";
            self.refuse(&keys, "unknown and known are more than 100 together", hint);
        }
        if ladder.forget < ladder.max_delay {
            let keys = ["limit.login.account.forget", "limit.login.account.max_delay"];
            self.refuse(
                &keys,
                "shorter than max_delay: the delay would be forgotten before it is over",
                "raise forget",
            );
        }
    }

    fn files(&mut self) {
        let named = [
            ("key.encryption_key", &self.config.key.encryption_key),
            ("key.previous_encryption_key", &self.config.key.previous_encryption_key),
            ("password.blocklist", &self.config.password.blocklist),
        ];
        for (key, file) in named {
            let missing = file.as_deref().is_some_and(|file: &Path| !file.exists());
            if missing && key == "key.encryption_key" {
                let hint = "make one: (umask 077; authd generate-key > FILE)   or correct the path";
                self.refuse(&[key], "there is no such file", hint);
            } else if missing && key == "key.previous_encryption_key" {
                let hint = "restore it; or remove the line, if `authctl status` said that it can go";
                self.refuse(&[key], "there is no such file", hint);
            } else if missing {
                self.refuse(&[key], "there is no such file", "correct the path");
            }
        }
        let places = &self.config.places;
        if places.admin_socket == places.read_socket {
            let hint = "give each socket its own path";
            self.refuse(&["admin.socket", "admin.read_socket"], "both sockets have the same path", hint);
        }
        // sun_path holds 108 bytes with its end (unix(7)).
        let too_long = |path: &Path| path.as_os_str().len() > 107;
        if too_long(&places.admin_socket) || too_long(&places.read_socket) {
            let hint = "set admin.socket and admin.read_socket to shorter paths, or use a shorter --data-dir";
            self.refuse(&["admin.socket", "admin.read_socket"], "a socket's path may have 107 bytes", hint);
        }
    }
}
