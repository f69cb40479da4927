//! The metrics of the daemon: their names, which are a contract, and their text.
//!
//! Where something happens it is counted in plain numbers (`domain::tally`); a page is made of them when somebody asks.
//! A label's value is one of ours, never a client's: the number of series is known before the first request.

use crate::domain::tally::{BOUNDS_US, Counts, Kind, TimesSeen};
use prometheus::{
    TextEncoder,
    proto::{self, LabelPair, MetricFamily, MetricType},
};
use std::fmt::Write as _;

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: MetricKind::$kind, labels: &$labels, help: $help };
        )*

        /// All of them, in the order of the page.
        pub const ALL: &[Metric] = &[$($constant,)*];
    };
}

metrics! {
    BUILD: Gauge "authd_build_info" ["version"], "Always 1; the label tells the version.";
    START: Gauge "process_start_time_seconds" [], "When the daemon started, in Unix seconds.";
    MEMORY: Gauge "process_resident_memory_bytes" [], "Resident memory.";
    REQUESTS: Counter "authd_http_requests_total" ["route", "class"],
        "Requests on the public API by route and class of status; unmatched stands for every other path.";
    REQUEST_TIMES: Histogram "authd_http_request_duration_seconds" ["route"],
        "Time from the head of a request to the head of its answer.";
    LOGINS: Counter "authd_logins_total" ["outcome"], "Logins by how they ended.";
    REFRESHES: Counter "authd_refreshes_total" ["outcome"],
        "Refreshes: rotated, retried after a lost reply, replayed (the session was ended), or not answered with tokens.";
    LIMITS: Counter "authd_limit_decisions_total" ["policy", "outcome"],
        "Decisions of limits; overloaded: everything was held by checks under way.";
    DENIALS: Counter "authd_denials_total" ["fate"],
        "Refusals that can come in floods: written as an event, counted into one a minute, or spooled while storage is away.";
    SPOOL: Gauge "authd_spool_events" [], "Refusals that wait on disk until storage is back.";
    HASH_WORKERS: Gauge "authd_hash_workers" [], "Threads that hash passwords.";
    HASH_BUSY: Gauge "authd_hash_busy" [], "Of them, at work.";
    HASH_QUEUED: Gauge "authd_hash_queued" [], "Password jobs that wait for a thread.";
    HASH_EVALUATED: Counter "authd_hash_evaluated_total" [], "Passwords checked.";
    HASH_SHED: Counter "authd_hash_shed_total" [], "Password jobs refused because the queue was full or too slow.";
    DATABASE_UP: Gauge "authd_database_up" [], "Whether the database answered the last time it was asked.";
    DATABASE_TIMES: Histogram "authd_database_duration_seconds" ["work"],
        "Time of reads and of transactions, with the wait for a connection.";
    DATABASE_FAILURES: Counter "authd_database_failures_total" ["work"], "Reads and transactions that failed.";
    SESSIONS: Gauge "authd_sessions_live" [],
        "Live sessions of all instances, counted up to 20 times as long ago as counting takes; absent while the database is \
         away.";
    REVOCATION_AGE: Gauge "authd_revocation_age_seconds" [], "Time since ended sessions were last read from the database.";
    KEYS: Gauge "authd_keys" ["state"], "Signing keys by state; absent while the database is away.";
    NEWS: Counter "authd_events_total" ["event"],
        "Events as this instance has logged them, see EVENTS: those of storage and breakers are its own, all others \
         are those of every instance, so do not add instances up.";
    ALARM: Gauge "authd_alarm" ["policy"], "1 while there is an alarm on this instance; login.global: attack mode.";
    MODE: Gauge "authd_mode" ["mode"], "1 for the operating mode in force, 0 for the others.";
    REDIS: Gauge "authd_redis_state" ["state"], "1 for the state of Redis, 0 for the others; off: none is configured.";
    BREAKERS: Gauge "authd_breaker_state" ["breaker", "state"],
        "1 for the state of each circuit breaker, 0 for the others.";
}

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Page(Vec<MetricFamily>);

impl Page {
    /// A metric without labels.
    pub fn number(&mut self, metric: &Metric, value: u64) {
        self.put(metric, vec![sample(metric, &[], value)]);
    }

    /// A metric with one series for each combination of labels.
    pub fn series<'a>(&mut self, metric: &Metric, series: impl IntoIterator<Item = (Vec<&'a str>, u64)>) {
        let samples = series.into_iter().map(|(labels, value)| sample(metric, &labels, value)).collect();
        self.put(metric, samples);
    }

    /// A metric with one series a kind.
    pub fn counts<K: Kind>(&mut self, metric: &Metric, counts: &Counts<K>) {
        self.series(metric, counts.all().map(|(kind, count)| (vec![kind.name()], count)));
    }

    /// Times, with one label.
    pub fn times<'a>(&mut self, metric: &Metric, series: impl IntoIterator<Item = (&'a str, TimesSeen)>) {
        let samples = series.into_iter().map(|(label, seen)| {
            let mut sample = proto::Metric::from_label(labelled(metric, &[label]));
            sample.set_histogram(histogram(&seen));
            sample
        });
        let samples = samples.collect();
        self.put(metric, samples);
    }

    fn put(&mut self, metric: &Metric, samples: Vec<proto::Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(match metric.kind {
            MetricKind::Counter => MetricType::COUNTER,
            MetricKind::Gauge => MetricType::GAUGE,
            MetricKind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(samples);
        self.0.push(family);
    }

    /// Prometheus's text.
    #[must_use]
    pub fn text(&self) -> String {
        // Fails for a family without a sample only, and what was written before stays.
        let mut text = String::new();
        let _ = TextEncoder::new().encode_utf8(&self.0, &mut text);
        text
    }
}

fn labelled(metric: &Metric, values: &[&str]) -> Vec<LabelPair> {
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    metric.labels.iter().zip(values).map(pair).collect()
}

fn sample(metric: &Metric, labels: &[&str], value: u64) -> proto::Metric {
    let mut sample = proto::Metric::from_label(labelled(metric, labels));
    if metric.kind == MetricKind::Counter {
        let mut counter = proto::Counter::default();
        counter.set_value(value as f64);
        sample.set_counter(counter);
    } else {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value as f64);
        sample.set_gauge(gauge);
    }
    sample
}

fn histogram(seen: &TimesSeen) -> proto::Histogram {
    let seconds = |us: u64| us as f64 / 1e6;
    let buckets = BOUNDS_US.iter().zip(&seen.at_most).map(|(bound_us, count)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(seconds(*bound_us));
        bucket.set_cumulative_count(*count);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(seen.count);
    histogram.set_sample_sum(seconds(seen.sum_us));
    histogram
}

/// The section of authd(8) about metrics.
#[must_use]
pub fn man_section() -> String {
    let mut section = String::from(
        ".SH METRICS\n\
         The read socket answers\n.B GET /metrics\nin Prometheus\\(aqs text format to root, administrators, readers and \
         members of\n.BR admin.metrics_groups .\n\
         Nothing of it comes from clients: no addresses, no ids, no paths.\nNames and labels stay what they are.\n\
         .IP\n.EX\n\
         curl \\-\\-unix\\-socket /run/authd/read.sock http://authd/metrics\n.EE\n",
    );
    for metric in ALL {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels = match metric.labels {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(", ")),
        };
        let _ =
            write!(section, ".TP\n.BR {} {labels}\n{}\n({kind})\n", metric.name, metric.help.replace('\'', "\\(aq"));
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tally::{LoginOutcome, Times};

    #[test]
    fn a_page_is_prometheus_text() {
        let (counts, times) = (Counts::default(), Times::default());
        counts.count(LoginOutcome::Succeeded);
        times.took(300);
        times.took(6_000_000);
        let mut page = Page::default();
        page.number(&DATABASE_UP, 1);
        page.counts(&LOGINS, &counts);
        page.times(&DATABASE_TIMES, [("read", times.seen())]);
        let text = page.text();
        for line in [
            "# TYPE authd_database_up gauge",
            "authd_database_up 1",
            "authd_logins_total{outcome=\"succeeded\"} 1",
            "authd_logins_total{outcome=\"limited\"} 0",
            "authd_database_duration_seconds_bucket{work=\"read\",le=\"0.00025\"} 0",
            "authd_database_duration_seconds_bucket{work=\"read\",le=\"0.0005\"} 1",
            "authd_database_duration_seconds_bucket{work=\"read\",le=\"+Inf\"} 2",
            "authd_database_duration_seconds_sum{work=\"read\"} 6.0003",
            "authd_database_duration_seconds_count{work=\"read\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn names_are_unique_and_say_their_kind() {
        for (place, metric) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(place + 1).all(|other| other.name != metric.name), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == MetricKind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
