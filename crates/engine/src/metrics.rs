//! Metrics: every name, unit, label and word of help. `docs/metrics.md` is written from here.
//!
//! Counters and histograms are counted by the [`Store`](sexton_store::Store) from what is committed, and
//! by the loops; gauges are read from the store when somebody asks. No label is a job, a run or a session:
//! the number of time series does not grow with use.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up while the process lives; `_total` is added to its name.
    Counter,
    /// Counts in buckets; `_bucket`, `_sum` and `_count` are added to its name.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Its name without suffixes.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($const:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            pub(crate) const $const: Definition = Definition {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// Every metric.
        pub const ALL: &[Definition] = &[$($const),*];
    };
}

metrics! {
    BUILD = Gauge "sexton_build_info" ["version"] "Always 1; the version that runs";
    READY = Gauge "sexton_ready" [] "Whether the node is at work: 1, or 0 while it reconciles or drains";
    LEASE_AGE = Gauge "sexton_lease_age_seconds" [] "Time since the node's lease was renewed";
    LAST_DRAIN = Gauge "sexton_last_drain_seconds" [] "How long the last drain took";
    DRAINED = Gauge "sexton_last_drain" ["what"] "What the last drain came to: runs finished, interrupted, unproven; sessions ended; deliveries delivered, failed, pending";

    JOBS = Gauge "sexton_jobs" [] "Jobs that are not removed";
    TROUBLED = Gauge "sexton_jobs_troubled" [] "Jobs that fail, miss slots, or were suspended for it";
    SESSIONS = Gauge "sexton_sessions" ["kind", "state"] "Sessions that are stored; state is open or ended";
    RUNS = Gauge "sexton_runs" ["state", "outcome"] "Runs that are stored; outcome is empty while there is none";
    OLDEST_RUNNING = Gauge "sexton_oldest_running_seconds" [] "Age of the run that runs longest; 0 when none does";
    OWNERLESS = Gauge "sexton_ownerless" [] "Running runs and open sessions without a live owner, counted up to 200; must be 0";
    OVERDUE = Gauge "sexton_overdue_rows" [] "Sessions that are due for the reaper and stay without a reason, counted up to 10,000; must be 0";

    ENDED = Counter "sexton_runs_ended" ["outcome"] "Runs that ended after they were started";
    PASSED = Counter "sexton_slots_passed" ["outcome"] "Slots that were not run: skipped, missed or coalesced";
    EVENTS = Counter "sexton_events" ["type"] "Events that this process recorded";
    SCHEDULE_LAG = Histogram "sexton_schedule_lag_seconds" [] "From a slot to the commit that queues its run";
    START_LAG = Histogram "sexton_start_lag_seconds" [] "From a slot to the commit that starts its run";

    DELIVERIES = Gauge "sexton_deliveries" ["hook", "state"] "Deliveries that are stored; state is pending, delivered or dead";
    OUTBOX_OLDEST = Gauge "sexton_outbox_oldest_seconds" ["hook"] "Age of the oldest pending delivery; 0 when none is";
    TRIES = Counter "sexton_delivery_tries" ["hook", "result"] "Tries of deliveries; result is delivered, failed or dead";

    SWEEPS = Histogram "sexton_sweep_seconds" [] "How long sweeps took";
    LAST_SWEEP_AGE = Gauge "sexton_last_sweep_age_seconds" [] "Time since the last sweep began that came to its end";
    SWEPT = Gauge "sexton_last_sweep" ["what"] "What the last sweep came to: archived, reaped, held (sessions), records";
    DELETION_HELD = Gauge "sexton_deletion_held_seconds" [] "For how long nothing is deleted yet, because the wall clock jumped";
    ARCHIVES = Gauge "sexton_archives" [] "Archives that are not deleted";
    ARCHIVE_BYTES = Gauge "sexton_archive_bytes" [] "Bytes of the archives that are not deleted";
    ARCHIVE_FAULTS = Gauge "sexton_archive_faults" [] "Things that are wrong with the archives: a folder, or segments";
    ALERTS = Gauge "sexton_alerts" [] "Alerts that are active";

    COMMIT_SECONDS = Histogram "sexton_store_commit_seconds" [] "From a commit to its acknowledgement";
    CONFLICTS = Counter "sexton_store_conflicts" [] "Batches that were decided again";
    FAILURES = Counter "sexton_store_failures" [] "Batches that failed or whose answer was lost";
    BATCHES = Counter "sexton_store_batches" [] "Batches that were acknowledged; per transaction: the size of a group";
    TRANSACTIONS = Counter "sexton_store_transactions" [] "Transactions that the batches were grouped into";
    TRANSACTION_SECONDS = Counter "sexton_store_transaction_seconds" [] "Time in commits of the database, nearly all of it waiting for the disk";
    SYNCS = Counter "sexton_store_syncs" [] "Times the disk was waited for";
    ROWS = Gauge "sexton_store_rows" ["kind"] "Rows by the kind of their record: hook, job, run, session, event, delivery, archive; the other kinds have no counter and are not counted";
    STORE_BYTES = Gauge "sexton_store_bytes" [] "Bytes of the database";
    WAL_BYTES = Gauge "sexton_store_wal_bytes" [] "Bytes of the write-ahead log";
    FREE_BYTES = Gauge "sexton_store_free_disk_bytes" [] "Bytes free on the disk of the store";
}

/// A form of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

/// Metrics at one moment, ready to be written.
#[derive(Debug, Default)]
pub struct Sheet(Registry);

type Labels = Vec<(&'static str, String)>;

impl Sheet {
    /// A gauge without labels.
    pub(crate) fn gauge(&mut self, of: Definition, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(of.name, of.help, gauge);
    }

    /// A gauge, by the values of its labels.
    pub(crate) fn gauges<const N: usize>(
        &mut self,
        of: Definition,
        values: impl IntoIterator<Item = ([String; N], f64)>,
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&named(of, labels)).set(value);
        }
        self.0.register(of.name, of.help, family);
    }

    /// A counter without labels.
    pub(crate) fn counter(&mut self, of: Definition, value: f64) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(value);
        self.0.register(of.name, of.help, counter);
    }

    /// A counter, by the values of its labels.
    pub(crate) fn counters<const N: usize>(
        &mut self,
        of: Definition,
        values: impl IntoIterator<Item = ([String; N], f64)>,
    ) {
        let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&named(of, labels)).inc_by(value);
        }
        self.0.register(of.name, of.help, family);
    }

    /// A histogram that is counted elsewhere.
    pub(crate) fn histogram(&mut self, of: Definition, counted: Histogram) {
        self.0.register(of.name, of.help, counted);
    }

    /// The exposition.
    ///
    /// # Errors
    ///
    /// Never, as far as is known: writing to a text does not fail.
    pub fn write(&self, form: Form) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0)?;
        Ok(match form {
            Form::OpenMetrics => text,
            Form::Prometheus => for_prometheus(&text),
        })
    }
}

fn named<const N: usize>(of: Definition, values: [String; N]) -> Labels {
    debug_assert_eq!(of.labels.len(), N, "{}", of.name);
    of.labels.iter().copied().zip(values).collect()
}

/// The text format of Prometheus differs from OpenMetrics in what it calls a counter: by the name of its
/// sample. It knows no units and no end.
fn for_prometheus(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests;
