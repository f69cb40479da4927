//! What of a new configuration takes effect at once, and what waits for a restart.

use super::{Config, Effect, Key, keys};

/// A key in which two configurations differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its dotted name as TOML writes it.
    pub key: String,
    /// The value before, secrets masked: a changed secret looks the same before and after.
    pub from: String,
    /// The value after.
    pub to: String,
    /// When it takes effect.
    pub effect: Effect,
}

/// Compares a running configuration with a new one, in the order of the manual.
#[must_use]
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let difference = |key: &'static Key| Difference {
        key: key.toml_name(),
        from: key.show(old),
        to: key.show(new),
        effect: key.effect,
    };
    keys().filter(|key| key.differs(old, new)).map(difference).collect()
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

    fn names(old: &Config, new: &Config, effect: Effect) -> Vec<String> {
        let changed = differences(old, new).into_iter().filter(|change| change.effect == effect);
        changed.map(|change| change.key).collect()
    }

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
        assert_eq!(names(&old, &new, Effect::Live), ["limit.\"login.ip\".burst", "log.level"]);
        assert_eq!(names(&old, &new, Effect::Restart), ["password.workers"]);
        let next = old.with_live_of(&new);
        assert_eq!(next.limit, new.limit);
        assert_eq!(next.password, old.password);
        assert_eq!(names(&next, &new, Effect::Live), Vec::<String>::new());
    }

    #[test]
    fn a_changed_secret_is_a_change_although_it_looks_the_same() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kek"), "x").unwrap();
        let credentials = directory.path().to_str().unwrap();
        let with = |url| config(&[("CREDENTIALS_DIRECTORY", credentials), ("AUTHD_DATABASE__URL", url)]);
        let [change] =
            <[_; 1]>::try_from(differences(&with("postgres://a:1@db/x"), &with("postgres://a:2@db/x"))).unwrap();
        assert_eq!((change.key.as_str(), &change.from), ("database.url", &change.to));
        assert!(change.to.contains("***"), "{}", change.to);
    }
}
