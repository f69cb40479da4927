//! authd-failures(7): the failure table as a manual.

use super::escape as escaped;
use crate::domain::failure::{Behaviour, Condition, Flow, cell};
use shared::roff::{tidy, title};
use std::fmt::Write as _;

const HEAD: &str = include_str!("authd-failures.head.roff");
const TAIL: &str = include_str!("authd-failures.tail.roff");
const BEHAVIOURS: [Behaviour; 4] = [Behaviour::Closed, Behaviour::Degraded, Behaviour::Open, Behaviour::Unaffected];

/// authd-failures(7) in roff.
#[must_use]
pub fn failures_page() -> String {
    let mut page = title("authd\\-failures", 7, env!("CARGO_PKG_VERSION"), "authd") + HEAD;
    page += ".SH \"WHAT A FLOW CAN DO\"\n";
    for behaviour in BEHAVIOURS {
        let _ = write!(page, ".TP\n.B {}\n{}\n", behaviour.name(), prose(behaviour.meaning()));
    }
    page += ".SH FLOWS\n";
    for flow in Flow::ALL {
        let _ = write!(page, ".TP\n.B {}\n{}.\n", escape(flow.name()), escape(flow.scope()));
    }
    page += &overview();
    for condition in Condition::ALL {
        page += &section(condition);
    }
    tidy(&(page + TAIL))
}

/// Text for roff; what stands in backticks is bold.
fn escape(text: &str) -> String {
    let parts = escaped(text);
    let bold =
        |(number, part): (usize, &str)| if number % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() };
    parts.split('`').enumerate().map(bold).collect()
}

/// The same, a line for each sentence.
fn prose(text: &str) -> String {
    escape(text).replace(". ", ".\n")
}

/// The whole table in letters.
fn overview() -> String {
    let mut text = ".SH \"AT A GLANCE\"\n".to_owned();
    let letters: Vec<String> =
        BEHAVIOURS.iter().map(|behaviour| format!("{} {}", letter(*behaviour), behaviour.name())).collect();
    let _ = write!(text, "{}.\nThe columns are numbered:\n.PP\n.EX\n", escape(&letters.join(", ")));
    for (number, condition) in (1..).zip(Condition::ALL) {
        let _ = writeln!(text, "  {number}  {}", escape(condition.name()));
    }
    let width = Flow::ALL.into_iter().map(|flow| flow.name().len()).max().unwrap_or_default();
    let numbers: String = (1..=Condition::ALL.len()).map(|number| format!("  {number}")).collect();
    let _ = write!(text, "\n{:width$}{numbers}\n", "");
    for flow in Flow::ALL {
        let cells = Condition::ALL.map(|condition| format!("  {}", letter(cell(flow, condition).behaviour)));
        let _ = writeln!(text, "{:width$}{}", flow.name(), cells.concat().replace('-', "\\-"));
    }
    text + ".EE\n"
}

fn letter(behaviour: Behaviour) -> char {
    match behaviour {
        Behaviour::Closed => 'C',
        Behaviour::Degraded => 'D',
        Behaviour::Open => 'O',
        Behaviour::Unaffected => '-',
    }
}

/// One condition: how it comes to be, what is seen, what to do, and what each flow does that notices it.
fn section(condition: Condition) -> String {
    let mut text = format!(".SH \"{}\"\n{}\n", escape(&condition.name().to_uppercase()), prose(condition.cause()));
    for (title, told) in [("What you see", condition.signs()), ("What to do", condition.remedy())] {
        let _ = write!(text, ".SS {title}\n{}\n", prose(told));
    }
    text += ".SS What each flow does\n";
    let mut quiet = Vec::new();
    for flow in Flow::ALL {
        let cell = cell(flow, condition);
        if cell.effect.is_empty() {
            quiet.push(flow.name());
            continue;
        }
        let (flow, word) = (escape(flow.name()), cell.behaviour.name());
        let _ = write!(text, ".TP\n.BR \"{flow}\" \": {word}\"\n{}\n", prose(cell.effect));
    }
    if !quiet.is_empty() {
        let _ = write!(text, ".PP\nUnaffected: {}.\n", escape(&quiet.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_cell_of_the_table() {
        let page = failures_page();
        for condition in Condition::ALL {
            let text = section(condition);
            assert!(page.contains(tidy(&text).trim_end()), "{condition:?}");
            for flow in Flow::ALL {
                let effect = prose(cell(flow, condition).effect);
                assert!(text.contains(&effect) && text.contains(&escape(flow.name())), "{flow:?} under {condition:?}");
            }
        }
        assert!(!page.lines().any(|line| line.len() > 400), "a paragraph of the manual is a page");
    }
}
