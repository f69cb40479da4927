//! The configuration: every text is run or refused with problems that name their lines.

use super::{must, reading};
use authd::config::{Account, Args, Config, Origin, Problem, keys};
use tests::fuzz::{LONG, Target};

/// All defaults, written down.
fn defaults() -> String {
    let is_bare =
        |text: &str| text.parse::<i64>().is_ok() || text == "true" || text == "false" || text.starts_with('[');
    let value = |text: &str| if is_bare(text) { text.to_owned() } else { format!("{text:?}") };
    keys().map(|key| format!("{} = {}\n", key.toml_name(), value(key.default))).collect()
}

const SMALL: &str = r#"
[server]
mode = "test" # a comment
listen = "127.0.0.1:8480"
trusted_proxies = ["10.0.0.0/8", "fd00::/8"]
public_url = "https://id.example.org"
[session]
idle = "14d"
[limit."login.ip"]
rate = "30/min"
burst = 20
[feature.totp]
enabled = false
"#;

/// The problem's line is one of the text, and nothing in it could hurt a terminal.
fn is_plain(problem: &Problem, lines: usize) -> Result<(), String> {
    if let Origin::File { line, .. } = &problem.origin {
        must(*line <= lines, &format!("line {line} of {lines}"))?;
        must(*line > 0 || problem.message.starts_with("cannot be read"), "a problem without its line")?;
    }
    must(!problem.message.is_empty(), "a problem that says nothing")?;
    let shown = problem.to_string();
    must(!shown.chars().any(|c| c.is_control() && c != '\n'), &format!("controls in {shown:?}"))
}

#[test]
fn every_text_is_run_or_refused_with_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = Args::new(Account::Other, []);
    args.file = Some(dir.path().join("authd.toml"));
    args.data_dir = Some(dir.path().join("data"));
    let all = defaults();
    let words = [
        "\n",
        "=",
        "[",
        "]",
        "\"",
        "\"\"\"",
        "'",
        "# ",
        ".",
        "true",
        "-1",
        "0x",
        "1e9",
        "1979-05-27",
        "{a = 1}",
        "9223372036854775808",
        "inf",
        "\\u001b",
        "\\u0000",
        "server.",
        "[limit.\"login.ip\"]",
        "[[server]]",
        "listen",
        "0.0.0.0:0",
        "https://",
        "postgres://u:p@h/d",
        "off",
        "0s",
        "99999999999d",
        "conf.d",
        "/",
        "\u{1b}[31m",
    ];
    Target { name: "configuration", seeds: &[SMALL, &all], words: &words, full_ms: LONG }.run(|input| {
        std::fs::write(args.file.as_ref().ok_or("no file")?, input).map_err(|error| error.to_string())?;
        let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
        let loaded = Config::load(&args);
        let problems = match &loaded {
            Ok(loaded) => &loaded.warnings,
            Err(problems) => &problems.0,
        };
        must(loaded.is_ok() || !problems.is_empty(), "refused without a problem")?;
        problems
            .iter()
            .try_for_each(|problem| is_plain(problem, lines).map_err(|wrong| format!("{wrong}: {problem:?}")))?;
        Ok(reading(&loaded))
    });
}
