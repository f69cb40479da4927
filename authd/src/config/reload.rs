//! What of a new configuration takes effect at once, and what waits for a restart.

use super::{Config, Effect, keys};

/// The keys in which two configurations differ, as TOML writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadDiff {
    /// They take effect now.
    pub changed_live: Vec<String>,
    /// They take effect at the next start.
    pub needs_restart: Vec<String>,
}

/// Compares a running configuration with a new one.
#[must_use]
pub fn reload_diff(old: &Config, new: &Config) -> ReloadDiff {
    let mut diff = ReloadDiff::default();
    for key in keys().filter(|key| key.differs(old, new)) {
        match key.effect {
            Effect::Live => diff.changed_live.push(key.toml_name()),
            Effect::Restart | Effect::Later => diff.needs_restart.push(key.toml_name()),
        }
    }
    diff
}

impl Config {
    /// This configuration with the live values of `new`: what a reload puts into force.
    #[must_use]
    pub fn with_live_of(&self, new: &Self) -> Self {
        let mut next = self.clone();
        keys().filter(|key| key.effect == Effect::Live).for_each(|key| key.adopt(&mut next, new));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::testing::args;

    fn config(environment: &[(&str, &str)]) -> Config {
        Config::load(&args(environment)).unwrap().config
    }

    #[test]
    fn a_reload_tells_live_changes_from_those_that_wait() {
        let old = config(&[]);
        let new = config(&[
            ("AUTHD_LOG__LEVEL", "debug"),
            ("AUTHD_LIMIT__LOGIN_IP__BURST", "7"),
            ("AUTHD_PASSWORD__WORKERS", "3"),
        ]);
        let diff = reload_diff(&old, &new);
        assert_eq!(diff.changed_live, ["limit.\"login.ip\".burst", "log.level"]);
        assert_eq!(diff.needs_restart, ["password.workers"]);
        let next = old.with_live_of(&new);
        assert_eq!(next.limit, new.limit);
        assert_eq!(next.password, old.password);
        assert_eq!(reload_diff(&next, &new).changed_live, Vec::<String>::new());
    }

    #[test]
    fn a_changed_secret_is_a_change_although_it_looks_the_same() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kek"), "x").unwrap();
        let credentials = directory.path().to_str().unwrap();
        let with = |url| config(&[("CREDENTIALS_DIRECTORY", credentials), ("AUTHD_DATABASE__URL", url)]);
        let diff = reload_diff(&with("postgres://a:1@db/x"), &with("postgres://a:2@db/x"));
        assert_eq!(diff.needs_restart, ["database.url"]);
    }
}
