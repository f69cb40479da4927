//! A coarse device summary from the user agent: `Firefox on Linux`, no versions.

use crate::domain::session::DeviceSummary;

/// Browsers by a token of theirs; the more particular first, because browsers name each other.
const PROGRAMS: [(&str, &str); 12] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
];

const SYSTEMS: [(&str, &str); 8] = [
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

const LONGEST_PRODUCT: usize = 40;

/// What a `User-Agent` says about the device, coarsely; `None` when it says nothing.
pub(crate) fn summary(user_agent: &str) -> Option<DeviceSummary> {
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(token, _)| user_agent.contains(token)).map(|(_, name)| *name)
    };
    let program = named(&PROGRAMS).map_or_else(|| product(user_agent), str::to_owned);
    match named(&SYSTEMS) {
        Some(system) if program.is_empty() => DeviceSummary::new(system),
        Some(system) => DeviceSummary::new(&format!("{program} on {system}")),
        None => DeviceSummary::new(&program),
    }
}

/// The first product's name (RFC 9110 §10.1.5), without its version.
fn product(user_agent: &str) -> String {
    let name = user_agent.split(['/', ' ', '(']).next().unwrap_or_default();
    let legal = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    if name == "Mozilla" { String::new() } else { name.chars().take_while(legal).take(LONGEST_PRODUCT).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_program_and_system_without_versions() {
        for (agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", Some("Firefox on Linux")),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 \
                 Safari/537.36 Edg/126.0",
                Some("Edge on Windows"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1 Version/17.5 Safari/604.1",
                Some("Safari on iOS"),
            ),
            ("curl/8.5.0", Some("curl")),
            ("okhttp/4.9.3", Some("okhttp")),
            ("Mozilla/5.0", None),
            ("", None),
            ("\u{202e}evil", None),
        ] {
            assert_eq!(summary(agent).as_ref().map(DeviceSummary::as_str), expected, "{agent}");
        }
    }
}
