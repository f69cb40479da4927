//! Counters at one moment, and what happened per second between two moments.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How often something happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// What: `logins`, `refreshes`, `refusals`, `requests`, `hashes`.
    pub what: String,
    /// Which of them: `succeeded`, `login.ip`, `5xx`.
    pub which: String,
    /// How many in a second.
    pub per_second: f64,
}

/// What is told of, the counter behind it and the label that tells one from another; of decisions only refusals.
const TOLD: [(&str, &str, &str); 5] = [
    ("logins", "authd_logins_total", "outcome"),
    ("refreshes", "authd_refreshes_total", "outcome"),
    ("refusals", "authd_limit_decisions_total", "policy"),
    ("requests", "authd_http_requests_total", "class"),
    ("hashes", "authd_hash_evaluated_total", ""),
];

/// One series: its metric and its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    metric: String,
    labels: Vec<(String, String)>,
}

impl Series {
    fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.as_str())
    }
}

/// Counters at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample(BTreeMap<Series, f64>);

impl Sample {
    /// Reads Prometheus's text; what is no number is left out.
    pub(super) fn read(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(series).collect())
    }

    /// All series of a metric together.
    pub(super) fn sum(&self, metric: &str) -> f64 {
        self.0.iter().filter(|(series, _)| series.metric == metric).map(|(_, value)| value).sum()
    }

    /// What happened since; a daemon that started anew counts from zero.
    pub(super) fn since(&self, before: &Self, passed: Duration) -> Vec<Rate> {
        let seconds = passed.as_secs_f64().max(0.001);
        let mut rates: Vec<Rate> = Vec::new();
        for (what, metric, label) in TOLD {
            let mut of: BTreeMap<&str, f64> = BTreeMap::new();
            let told = self.0.iter().filter(|(series, _)| series.metric == metric);
            for (series, value) in told.filter(|(series, _)| what != "refusals" || series.label("outcome") == "denied")
            {
                let earlier = before.0.get(series).copied().unwrap_or(0.0);
                let more = if *value >= earlier { value - earlier } else { *value };
                *of.entry(series.label(label)).or_default() += more;
            }
            rates.extend(of.into_iter().map(|(which, more)| Rate {
                what: what.to_owned(),
                which: which.to_owned(),
                per_second: more / seconds,
            }));
        }
        rates
    }
}

/// `name{a="b",c="d"} 1`; a label's value of ours has neither quote nor comma.
fn series(line: &str) -> Option<(Series, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let (metric, labels) = head.split_once('{').unwrap_or((head, ""));
    let labels = labels.trim_end_matches('}').split(',').filter_map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    Some((Series { metric: metric.to_owned(), labels: labels.collect() }, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP x y\nauthd_logins_total{outcome=\"succeeded\"} 10\n\
        authd_limit_decisions_total{policy=\"login.ip\",outcome=\"allowed\"} 5\n\
        authd_limit_decisions_total{policy=\"login.ip\",outcome=\"denied\"} 1\nauthd_hash_evaluated_total 7\n";

    fn rate(rates: &[Rate], what: &str, which: &str) -> Option<f64> {
        rates.iter().find(|rate| rate.what == what && rate.which == which).map(|rate| rate.per_second)
    }

    #[test]
    fn rates_are_what_was_counted_between_two_looks() {
        let after = BEFORE
            .replace("} 10", "} 14")
            .replace("\"denied\"} 1", "\"denied\"} 7")
            .replace("allowed\"} 5", "allowed\"} 99");
        let rates = Sample::read(&after).since(&Sample::read(BEFORE), Duration::from_secs(2));
        assert_eq!(rate(&rates, "logins", "succeeded"), Some(2.0));
        assert_eq!(rate(&rates, "refusals", "login.ip"), Some(3.0));
        assert_eq!(rate(&rates, "hashes", ""), Some(0.0));
    }

    #[test]
    fn a_daemon_that_started_anew_counts_from_zero() {
        let after = BEFORE.replace("} 10", "} 4");
        let rates = Sample::read(&after).since(&Sample::read(BEFORE), Duration::from_secs(1));
        assert_eq!(rate(&rates, "logins", "succeeded"), Some(4.0));
        assert_eq!(Sample::read(BEFORE).sum("authd_limit_decisions_total"), 6.0);
    }
}
