//! What the build may pull in, read from `Cargo.lock`: the bans and sources of `.deny.toml`, without its tool.

use std::path::PathBuf;

fn root_file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table(name: &str) -> toml::Table {
    root_file(name).parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `(name, source)` of every locked package.
fn locked() -> Vec<(String, Option<String>)> {
    let lock = table("Cargo.lock");
    let packages = lock["package"].as_array().expect("a lock file lists packages").clone();
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    packages.iter().map(|package| (text(package, "name").expect("a name"), text(package, "source"))).collect()
}

#[test]
fn no_banned_package_is_locked() {
    let policy = table(".deny.toml");
    let banned: Vec<String> = policy["bans"]["deny"]
        .as_array()
        .expect("a list of bans")
        .iter()
        .map(|ban| ban["crate"].as_str().expect("a name").to_owned())
        .collect();
    for must in ["openssl", "openssl-sys", "native-tls", "rsa", "aws-lc-sys", "cmake"] {
        assert!(banned.iter().any(|name| name == must), "{must} is no longer banned");
    }
    let found: Vec<_> = locked().into_iter().map(|(name, _)| name).filter(|name| banned.contains(name)).collect();
    assert!(found.is_empty(), "banned packages in Cargo.lock: {found:?} (`cargo tree -i NAME` says why)");
}

#[test]
fn every_package_comes_from_crates_io() {
    let foreign: Vec<_> = locked()
        .into_iter()
        .filter(|(_, source)| {
            source.as_deref().is_some_and(|from| from != "registry+https://github.com/rust-lang/crates.io-index")
        })
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
