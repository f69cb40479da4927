use super::*;
use shared::admin::doctor::Verdict;

fn healthy() -> Facts {
    Facts {
        now_ms: 1_000_000,
        database_ms: Some(1_000_100),
        clock_step_ms: None,
        uid_map: Some("         0          0 4294967295\n".to_owned()),
        memory_limit_bytes: Some(1 << 30),
        hash_workers: 4,
        hash_memory_kib: 19_456,
        open_files: Some(65_536),
        wanted_files: 4_400,
        database_kind: "postgres",
        database_settings: vec![("fsync".to_owned(), "on".to_owned())],
        redis: Redis::Up(Some("noeviction".to_owned())),
        trusted_proxies: vec!["192.0.2.1/32".parse().unwrap()],
        public_url: "https://auth.example.org".to_owned(),
        listen: "127.0.0.1:8480".parse().unwrap(),
        is_test_mode: false,
        has_docs: false,
        key_file: KeyFile { path: "/k".to_owned(), mode: Some(0o400), is_credential: false },
        anchor: AnchorFile { path: "/a".to_owned(), age_ms: Some(10), is_beside_database: false },
        backup: Backup::At(999_000),
        room: Some(Room { free: 1 << 40, total: 1 << 41 }),
        log_format: "auto",
        service: Service { is_notifying: true, has_watchdog: true, is_journal: true },
        missing_groups: Vec::new(),
        degraded: Vec::new(),
    }
}

/// The only check that is not well, and how.
fn only(facts: &Facts) -> (String, Verdict) {
    let unwell: Vec<Check> = examine(facts).into_iter().filter(|check| check.result != Verdict::Ok).collect();
    assert_eq!(unwell.len(), 1, "{unwell:?}");
    assert!(unwell.iter().all(|check| check.fix.as_ref().is_some_and(|fix| !fix.contains('\n'))), "{unwell:?}");
    unwell.into_iter().map(|check| (check.check, check.result)).next().unwrap()
}

#[test]
fn a_healthy_daemon_has_nothing_to_put_right() {
    let checks = examine(&healthy());
    assert!(checks.iter().all(|check| check.result == Verdict::Ok && check.fix.is_none()), "{checks:?}");
}

#[test]
fn each_thing_that_is_wrong_is_found_alone_and_has_a_fix() {
    type Change = fn(&mut Facts);
    let cases: [(Change, &str, Verdict); 25] = [
        (|f| f.degraded = vec!["database".to_owned()], "daemon", Verdict::Warn),
        (|f| f.service.has_watchdog = false, "service", Verdict::Warn),
        (|f| f.uid_map = Some("0 100000 65536\n".to_owned()), "uid map", Verdict::Bad),
        (|f| f.uid_map = Some("0 0 1\n1000 1000 1\n".to_owned()), "uid map", Verdict::Bad),
        (|f| f.missing_groups = vec!["authd-admin".to_owned()], "groups", Verdict::Warn),
        (|f| f.memory_limit_bytes = Some(128 << 20), "memory", Verdict::Bad),
        (|f| f.hash_workers = 64, "memory", Verdict::Bad),
        (|f| f.open_files = Some(1_024), "open files", Verdict::Warn),
        (|f| f.room = Some(Room { free: 1 << 20, total: 1 << 30 }), "disk", Verdict::Bad),
        (|f| f.room = Some(Room { free: 500 << 20, total: 1 << 31 }), "disk", Verdict::Warn),
        (|f| f.database_settings = vec![("fsync".to_owned(), "off".to_owned())], "database", Verdict::Bad),
        (|f| f.database_settings.clear(), "database", Verdict::Bad),
        (|f| f.backup = Backup::Never, "backup", Verdict::Warn),
        (|f| f.backup = Backup::Unknown, "backup", Verdict::Warn),
        (|f| f.backup = Backup::At(f.now_ms - 9 * 86_400_000), "backup", Verdict::Warn),
        (|f| f.clock_step_ms = Some(7_200_000), "clock", Verdict::Bad),
        (|f| f.database_ms = Some(1_005_000), "clock", Verdict::Warn),
        (|f| f.database_ms = Some(1_000_000_000), "clock", Verdict::Bad),
        (|f| f.redis = Redis::Up(Some("allkeys-lru".to_owned())), "redis", Verdict::Warn),
        (|f| f.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap()], "proxies", Verdict::Bad),
        (|f| f.trusted_proxies.clear(), "proxies", Verdict::Warn),
        (|f| f.is_test_mode = true, "mode", Verdict::Warn),
        (|f| f.key_file.mode = Some(0o440), "key-encryption key", Verdict::Bad),
        (|f| f.anchor.age_ms = None, "audit anchor", Verdict::Bad),
        (|f| f.log_format = "pretty", "log", Verdict::Warn),
    ];
    for (change, check, verdict) in cases {
        let mut facts = healthy();
        change(&mut facts);
        assert_eq!(only(&facts), (check.to_owned(), verdict));
    }
}

#[test]
fn the_default_address_and_an_open_one_are_told_apart() {
    let mut facts = healthy();
    facts.public_url = DEFAULT_URL.to_owned();
    assert_eq!(only(&facts), ("public url".to_owned(), Verdict::Warn));
    facts.public_url = "http://auth.example.org".to_owned();
    facts.listen = "0.0.0.0:80".parse().unwrap();
    assert_eq!(only(&facts), ("public url".to_owned(), Verdict::Warn));
}

#[test]
fn a_credential_needs_no_mode_and_sqlite_has_settings_of_its_own() {
    let mut facts = healthy();
    facts.key_file = KeyFile { path: "/c".to_owned(), mode: Some(0o444), is_credential: true };
    facts.database_kind = "sqlite";
    facts.database_settings =
        vec![("journal_mode".to_owned(), "wal".to_owned()), ("synchronous".to_owned(), "2".to_owned())];
    assert!(examine(&facts).iter().all(|check| check.result == Verdict::Ok));
    facts.database_settings = vec![("synchronous".to_owned(), "1".to_owned())];
    assert_eq!(only(&facts), ("database".to_owned(), Verdict::Bad));
}
