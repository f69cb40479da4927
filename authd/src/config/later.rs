//! Keys of later versions. They are known, so that a refusal can say why, and take only their defaults:
//! a setting without effect would be a promise that nobody keeps.

use super::{Config, Effect, Key, keys, value::Raw};

/// What this version lacks.
struct Lack {
    /// A key, or a section with all its keys.
    of: &'static str,
    /// Fits behind "this version has no".
    what: &'static str,
    /// What to do, and what there is instead.
    instead: &'static str,
}

const fn lack(of: &'static str, what: &'static str, instead: &'static str) -> Lack {
    Lack { of, what, instead }
}

const LACKS: &[Lack] = &[
    lack("server.docs", "page at /api/docs", "remove it: the document itself is at /api/openapi.json"),
    lack("token.strategy", "opaque access tokens", "remove it: access tokens are JWTs"),
    lack("metrics", "listener for metrics", "remove it: fetch /metrics on the read socket"),
];

/// A key that was given a value this version would ignore.
pub(super) struct Ignored {
    pub(super) id: String,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// Every value that would be ignored.
pub(super) fn ignored(config: &Config) -> Vec<Ignored> {
    keys().filter(|key| key.effect == Effect::Later).filter_map(|key| judge(key, config)).collect()
}

fn judge(key: &Key, config: &Config) -> Option<Ignored> {
    let id = key.id();
    let lack = lack_of(key);
    if is(key, config, key.default) {
        return None;
    }
    let hint = lack.map_or("remove it", |lack| lack.instead);
    Some(Ignored { id, message: format!("this version has no {}", lacking(key)), hint })
}

/// What this version lacks, so that the key has no effect; fits behind "this version has no".
pub(super) fn lacking(key: &Key) -> &'static str {
    lack_of(key).map_or("such thing", |lack| lack.what)
}

fn lack_of(key: &Key) -> Option<&'static Lack> {
    LACKS.iter().find(|lack| covers(lack, &key.id()))
}

fn covers(lack: &Lack, id: &str) -> bool {
    id.strip_prefix(lack.of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is(key: &Key, config: &Config, value: &str) -> bool {
    let mut other = config.clone();
    key.set(&mut other, &Raw::Text(value.to_owned())).is_ok() && !key.differs(config, &other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::testing::args;

    /// A value that each of them must refuse.
    const WRITTEN: &[(&str, &str)] =
        &[("server.docs", "true"), ("token.strategy", "opaque"), ("metrics.listen", "127.0.0.1:9")];

    #[test]
    fn a_value_that_would_be_ignored_is_refused_and_the_default_is_not() {
        let later: Vec<String> = keys().filter(|key| key.effect == Effect::Later).map(Key::id).collect();
        assert_eq!(later, WRITTEN.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for (key, (id, value)) in keys().filter(|key| key.effect == Effect::Later).zip(WRITTEN) {
            let problems = Config::load(&args(&[(&key.env_name(), value)])).unwrap_err().0;
            assert_eq!(problems.len(), 1, "{problems:#?}");
            assert_eq!(problems[0].key, *id);
            assert!(problems[0].message.starts_with("this version has no "), "{problems:#?}");
            assert!(problems[0].hint.as_deref().is_some_and(|hint| hint.starts_with("remove it")), "{problems:#?}");
            assert!(Config::load(&args(&[(&key.env_name(), key.default)])).is_ok(), "{id}");
        }
    }

    #[test]
    fn every_lack_is_of_a_key_and_every_key_of_later_versions_has_one() {
        for key in keys() {
            let lacking = LACKS.iter().any(|lack| covers(lack, &key.id()));
            assert_eq!(lacking, key.effect == Effect::Later, "{}", key.id());
        }
        for lack in LACKS {
            assert!(keys().any(|key| covers(lack, &key.id())), "{}", lack.of);
        }
    }
}
