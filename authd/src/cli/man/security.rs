//! authd-security(7): what authd promises, by which rules, and what it cannot promise.

use crate::domain::why::RULES;
use shared::roff::{tagged, tidy, title};

const HEAD: &str = include_str!("authd-security.head.roff");
const TAIL: &str = include_str!("authd-security.tail.roff");

/// authd-security(7) in roff.
#[must_use]
pub fn security_page() -> String {
    let mut page = title("authd\\-security", 7, env!("CARGO_PKG_VERSION"), "authd") + HEAD;
    page += ".SH RULES\nThe names stand in the answers of\n.BR \"authctl why\" .\n\
             A name that is not here is that of a limit\n.RB ( \"authctl limit show\" )\nor of a setting\n\
             .RB ( authd.toml (5)).\n";
    page += &tagged(RULES);
    tidy(&(page + TAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_rule_and_says_what_cannot_be_promised() {
        let page = security_page();
        for (name, _) in RULES {
            assert!(page.contains(&format!(".B \"{}\"\n", shared::roff::escape(name))), "{name}");
        }
        assert!(page.contains("\n.SH \"HONEST LIMITS\"\n"));
    }
}
