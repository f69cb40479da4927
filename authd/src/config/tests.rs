//! The configuration as a whole: order of sources, problems with their places, what is refused.

use super::source::testing::args;
use super::*;
use shared::time::Span;
use std::{path::PathBuf, time::Duration};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn args(&self, text: &str) -> Args {
        let mut args = args(&[]);
        args.file = Some(self.write("authd.toml", text));
        args
    }
}

fn problems(args: &Args) -> Vec<String> {
    let Err(Problems(list)) = Config::load(args) else { return Vec::new() };
    list.iter().map(|problem| problem.to_string().replace(&dir_of(args), "DIR")).collect()
}

fn dir_of(args: &Args) -> String {
    args.file.as_ref().and_then(|file| file.parent()).map_or_else(|| "\0".to_owned(), |dir| dir.display().to_string())
}

/// The only problem of this file.
fn problem(text: &str) -> String {
    let list = problems(&Dir::new().args(text));
    assert_eq!(list.len(), 1, "{list:#?}");
    list.into_iter().next().unwrap()
}

fn problem_of_env(name: &str, value: &str) -> String {
    let list = problems(&args(&[(name, value)]));
    assert_eq!(list.len(), 1, "{list:#?}");
    list.into_iter().next().unwrap()
}

#[test]
fn without_any_source_the_defaults_run() {
    let loaded = Config::load(&args(&[])).unwrap();
    assert_eq!(loaded.config.server.listen.to_string(), "127.0.0.1:8480");
    assert_eq!(loaded.config.session.idle, Span(Duration::from_secs(14 * 86_400)));
    assert_eq!(loaded.config.limit.login_ip.burst, 20);
    assert_eq!(loaded.config.limit.reauth_session.count, 5);
    assert_eq!(loaded.config.issuer(), "http://127.0.0.1:8480");
    assert!(loaded.origins.is_empty());
    let warned: Vec<_> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(warned, ["server.public_url"]);
}

#[test]
fn every_default_fits_its_own_key_and_bounds() {
    let mut config = Config::load(&args(&[])).unwrap().config;
    for key in keys() {
        let default = value::Raw::Text(key.default.to_owned());
        assert_eq!(key.set(&mut config, &default), Ok(()), "{}", key.id());
        assert!(!key.text().is_empty(), "{}", key.id());
    }
}

#[test]
fn each_later_source_wins_and_is_named() {
    let dir = Dir::new();
    let mut args = dir.args("[server]\nlisten = \"127.0.0.1:1\"\nmax_connections = 1\n[log]\nlevel = \"warn\"\n[limit.\"login.ip\"]\nburst = 9\n");
    dir.write("conf.d/10-a.toml", "log.level = \"debug\"\nserver.max_connections = 2\n");
    dir.write("conf.d/20-b.toml", "server.max_connections = 3\n");
    dir.write("conf.d/ignored.txt", "nonsense");
    args.environment.insert("AUTHD_SERVER__LISTEN".to_owned(), "127.0.0.1:2".to_owned());
    args.environment.insert("AUTHD_LIMIT__LOGIN_IP__RATE".to_owned(), "5/min".to_owned());
    args.environment.insert("AUTHD_ADMIN__ADMIN_GROUPS".to_owned(), "wheel, 42".to_owned());
    args.listen = Some("127.0.0.1:3".to_owned());
    let Loaded { config, origins, .. } = Config::load(&args).unwrap();
    let origin = |key: &str| origins[key].to_string().replace(&dir_of(&args), "DIR");
    assert_eq!((config.server.listen.port(), origin("server.listen").as_str()), (3, "--listen"));
    assert_eq!(
        (config.server.max_connections, origin("server.max_connections").as_str()),
        (3, "DIR/conf.d/20-b.toml:1")
    );
    assert_eq!((config.log.level, origin("log.level").as_str()), (LogLevel::Debug, "DIR/conf.d/10-a.toml:1"));
    assert_eq!((config.limit.login_ip.burst, origin("limit.login.ip.burst").as_str()), (9, "DIR/authd.toml:7"));
    assert_eq!(origin("limit.login.ip.rate"), "AUTHD_LIMIT__LOGIN_IP__RATE");
    assert_eq!(config.admin.admin_groups, [Group::Name("wheel".to_owned()), Group::Id(42)]);
}

#[test]
fn variables_are_toml_of_the_keys_type_else_text() {
    let environment = [
        ("AUTHD_TOKEN__AUDIENCE", "123"),
        ("AUTHD_PASSWORD__BLOCKLIST", "\"\""),
        ("AUTHD_SERVER__CORS_ORIGINS", "[\"https://a.example\", 'https://b.example']"),
        ("AUTHD_PASSWORD__WORKERS", "auto"),
        ("AUTHD_REGISTRATION__OPEN", "false"),
        ("AUTHD_PORT_8480_TCP_ADDR", "10.0.0.1"),
    ];
    let config = Config::load(&args(&environment)).unwrap().config;
    assert_eq!(config.token.audience, "123");
    assert_eq!(config.password.blocklist, None);
    assert_eq!(config.server.cors_origins.len(), 2);
    assert!(!config.registration.open);
}

#[test]
fn all_problems_are_listed_with_their_places() {
    let text = "[server]\nlisen = \"x\"\nmode = \"tset\"\n\n[sesion]\nidle = \"1d\"\n[session]\ngrace = \"2m\"\n[token]\naccess_ttl = 600\n";
    let list = problems(&Dir::new().args(text));
    let wanted = [
        "DIR/authd.toml:2: server.lisen: no such key\n    did you mean listen?",
        "DIR/authd.toml:6: sesion.idle: no such section or key\n    did you mean [session]?",
        "DIR/authd.toml:3: server.mode: expected one of \"production\" \"test\", found \"tset\"",
        "DIR/authd.toml:8: session.grace: 2m is not between 0s and 60s",
        "DIR/authd.toml:10: token.access_ttl: expected a duration like",
    ];
    assert_eq!(list.len(), wanted.len(), "{list:#?}");
    for start in wanted {
        assert!(list.iter().any(|problem| problem.starts_with(start)), "{start}\n{list:#?}");
    }
}

#[test]
fn a_syntax_error_has_a_line_and_does_not_show_it() {
    let text = problem("[server]\nbody_limit = \"8KiB\"\n[database]\nurl = \"postgres://a:s3cr3t@db\n");
    assert!(text.starts_with("DIR/authd.toml:4: ") && !text.contains("s3cr3t"), "{text}");
}

#[test]
fn a_value_of_a_secret_key_is_not_repeated() {
    let text = problem_of_env("AUTHD_DATABASE__URL", "mysql://a:s3cr3t@db");
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[test]
fn setting_a_key_twice_in_one_file_is_told() {
    let text = problem("[limit.\"login.ip\"]\nburst = 3\n[limit.login.ip]\nburst = 4\n");
    assert_eq!(text, "DIR/authd.toml:4: limit.login.ip.burst: already set in line 2");
}

#[test]
fn what_later_versions_have_is_refused_by_name() {
    assert!(
        problem("[limit.\"login.planet\"]\nrate = \"10/min\"\n")
            .contains("this version has no limit policy login.planet")
    );
    assert!(problem("[feature.totp]\nenabled = true\n").contains("this version has no feature totp"));
    assert!(problem_of_env("AUTHD_FEATURE__TOTP__ENABLED", "true").contains("no feature totp"));
    assert!(problem_of_env("AUTHD_LIMIT__VERIFY_CLIENT__RATE", "1/s").contains("no limit policy verify_client"));
    assert_eq!(problems(&Dir::new().args("[feature.totp]\nenabled = false\n")), Vec::<String>::new());
}

#[test]
fn the_lanes_of_login_hard_have_a_hundred_together() {
    let too_many = problem("[limit.\"login.hard\"]\nunknown = 90\n");
    assert!(too_many.contains("more than 100 together"), "{too_many}");
    assert_eq!(problems(&Dir::new().args("[limit.\"login.hard\"]\nunknown = 90\nknown = 10\n")), Vec::<String>::new());
}

#[test]
fn mistyped_variables_are_told_and_foreign_ones_left_alone() {
    assert!(problem_of_env("AUTHD_SERVER_LISTEN", "x").contains("write AUTHD_SERVER__LISTEN"));
    assert!(problem_of_env("AUTHD_SERVER__LISTN", "x").contains("did you mean AUTHD_SERVER__LISTEN?"));
    assert_eq!(
        problems(&args(&[("AUTHD_SERVICE_HOST", "10.0.0.1"), ("AUTHD_PORT", "tcp://10.0.0.1")])),
        Vec::<String>::new()
    );
}

#[test]
fn a_named_file_must_exist() {
    let mut args = args(&[]);
    args.file = Some(PathBuf::from("/nonexistent/a.toml"));
    assert!(problems(&args)[0].contains("cannot be read"));
}

#[test]
fn cheap_hashing_runs_only_in_test_mode_on_loopback() {
    assert!(problem("[password]\nmemory_kib = 64\niterations = 1\n").contains("too cheap"));
    assert!(problem("[password]\niterations = 1\n").contains("too cheap"));
    assert_eq!(problems(&Dir::new().args("[password]\nmemory_kib = 47104\niterations = 1\n")), Vec::<String>::new());
    let test = "server.mode = \"test\"\npassword.memory_kib = 64\npassword.iterations = 1\n";
    assert_eq!(problems(&Dir::new().args(test)), Vec::<String>::new());
    assert!(problem("server.mode = \"test\"\nserver.listen = \"0.0.0.0:1\"\n").contains("loopback only"));
}

#[test]
fn postgres_without_a_key_encryption_key_is_refused_with_the_command() {
    let text = problem_of_env("AUTHD_DATABASE__URL", "postgres://authd@db/authd");
    assert!(text.contains("authd generate-key") && text.contains("key.encryption_key"), "{text}");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for text in [
        "session.idle = \"2d\"\nsession.absolute = \"1d\"\n",
        "key.stage = \"1m\"\n",
        "key.rotate_every = \"12h\"\n",
        "password.min_length = 7\n",
        "audit.retention = \"29d\"\n",
        "server.public_url = \"https://a/b\"\n",
        "server.trusted_proxies = [\"0.0.0.0/0\"]\n",
        "limit.\"login.account\".first_delay = \"1h\"\n",
        "admin.socket = \"/run/a\"\nadmin.read_socket = \"/run/a\"\n",
        "key.encryption_key = \"/nonexistent/kek\"\n",
    ] {
        problem(text);
    }
}

#[test]
fn a_key_that_could_not_be_read_causes_no_second_problem() {
    problem("session.absolute = \"soon\"\nsession.idle = \"3000d\"\n");
}
