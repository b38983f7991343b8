//! The scrape: what `/metrics` shows, read when somebody asks. It costs the same however many sessions
//! there are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use sexton_domain::duration::Duration;
use sexton_domain::event::EventType;
use sexton_domain::name::HookName;
use sexton_domain::node::Drained;
use sexton_domain::run::Outcome;
use sexton_store::metrics::{Counts, Metrics, Try};
use sexton_store::page::Tally;
use sexton_store::{Error as StoreError, Stats};

use super::{Error, Handle, Phase, Status};
use crate::metrics::{self as names, Sheet};

/// How many of the newest lives are looked at for one that came to rest by itself.
const RECENT: u32 = 16;

impl Handle {
    /// Every metric as of now.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn metrics(&self) -> Result<Sheet, Error> {
        let (now, status) = (self.now(), self.status().await?);
        let nodes = self.0.store.read().nodes(RECENT).await?;
        let mut sheet = Sheet::default();
        node(&mut sheet, &status, now);
        drain(&mut sheet, nodes.iter().find_map(|node| node.drained));
        records(&mut sheet, &status, now);
        reaper(&mut sheet, &status, now);
        hooks(
            &mut sheet,
            &status.tally,
            status.oldest_deliveries.iter().map(|(hook, at)| ([hook.to_string()], age(*at, now))),
        );
        let measured = self.0.store.metrics();
        let told = status.oldest_deliveries.iter().map(|(hook, _)| hook);
        counted(&mut sheet, measured, &measured.counts(), told);
        store(&mut sheet, measured, &status.stats);
        Ok(sheet)
    }

    /// Since when the oldest pending delivery of each hook waits.
    pub(super) async fn oldest_deliveries(
        &self,
    ) -> Result<Vec<(HookName, Option<Timestamp>)>, StoreError> {
        let read = self.0.store.read();
        let mut oldest = Vec::new();
        for hook in read.hooks().await? {
            let first = read.oldest_deliveries(hook.name.clone(), 1).await?.pop();
            oldest.push((hook.name, first.map(|delivery| delivery.created_at)));
        }
        Ok(oldest)
    }
}

fn node(sheet: &mut Sheet, status: &Status, now: Timestamp) {
    let version = status.node.as_ref().map(|node| node.software.clone()).unwrap_or_default();
    sheet.gauges(names::BUILD, [([version], 1.0)]);
    sheet.gauge(names::READY, f64::from(u8::from(status.phase == Phase::Ready)));
    let beat = status.node.as_ref().map(|node| node.heartbeat_at);
    sheet.gauge(names::LEASE_AGE, age(beat, now));
}

/// What the newest life that came to rest by itself came to.
fn drain(sheet: &mut Sheet, last: Option<Drained>) {
    let Some(Drained { took_ms, runs, sessions_ended, deliveries }) = last else { return };
    sheet.gauge(names::LAST_DRAIN, took_ms as f64 / 1e3);
    let came_to = [
        ("runs_finished", runs.finished),
        ("runs_interrupted", runs.interrupted),
        ("runs_unproven", runs.unproven),
        ("sessions_ended", sessions_ended),
        ("deliveries_delivered", deliveries.delivered),
        ("deliveries_failed", deliveries.failed),
        ("deliveries_pending", deliveries.pending),
    ];
    let came_to = came_to.map(|(what, count)| ([what.to_owned()], count as f64));
    sheet.gauges(names::DRAINED, came_to);
}

fn records(sheet: &mut Sheet, status: &Status, now: Timestamp) {
    let Status { tally, .. } = status;
    sheet.gauge(names::JOBS, tally.jobs as f64);
    sheet.gauge(names::TROUBLED, tally.troubled as f64);
    let sessions = tally.sessions.iter().map(|((kind, open), count)| {
        let state = if *open { "open" } else { "ended" };
        ([word(kind), state.to_owned()], *count as f64)
    });
    sheet.gauges(names::SESSIONS, sessions);
    let runs = tally.runs.iter().map(|((state, outcome), count)| {
        ([state.name().to_owned(), outcome.map(|it| word(&it)).unwrap_or_default()], *count as f64)
    });
    sheet.gauges(names::RUNS, runs);
    let started = status.running.iter().filter_map(|run| run.started_at).min();
    sheet.gauge(names::OLDEST_RUNNING, age(started, now));
    sheet.gauge(names::OWNERLESS, status.ownerless as f64);
    sheet.gauge(names::ALERTS, tally.alerts as f64);
    let rows = rows(status).map(|(kind, count)| ([kind.to_owned()], count as f64));
    sheet.gauges(names::ROWS, rows);
}

fn reaper(sheet: &mut Sheet, status: &Status, now: Timestamp) {
    let Status { tally, reaper, .. } = status;
    sheet.gauge(names::OVERDUE, status.overdue as f64);
    let held_for =
        reaper.deletion_held_until.map_or(Duration::ZERO, |until| Duration::between(now, until));
    sheet.gauge(names::DELETION_HELD, held_for.as_secs_f64());
    sheet.gauge(names::LAST_SWEEP_AGE, age(reaper.last.map(|sweep| sweep.started_at), now));
    let swept = reaper.last.iter().flat_map(|sweep| {
        [
            ("archived", sweep.archived),
            ("reaped", sweep.reaped),
            ("held", sweep.held),
            ("records", sweep.records),
        ]
    });
    sheet.gauges(names::SWEPT, swept.map(|(what, count)| ([what.to_owned()], count as f64)));
    sheet.gauge(names::ARCHIVES, tally.archives.0 as f64);
    sheet.gauge(names::ARCHIVE_BYTES, tally.archives.1 as f64);
    sheet.gauge(names::ARCHIVE_FAULTS, reaper.faults.len() as f64);
}

/// Kinds that are counted as they are written; none is counted by a scan.
fn rows(status: &Status) -> [(&'static str, u64); 7] {
    let Status { tally, oldest_deliveries, .. } = status;
    [
        ("hook", oldest_deliveries.len() as u64),
        ("job", tally.jobs),
        ("run", tally.runs.values().sum()),
        ("session", tally.sessions.values().sum()),
        ("event", tally.events),
        ("delivery", tally.deliveries.values().sum()),
        ("archive", tally.archives.0),
    ]
}

fn hooks(sheet: &mut Sheet, tally: &Tally, oldest: impl Iterator<Item = ([String; 1], f64)>) {
    let stored = tally
        .deliveries
        .iter()
        .map(|((hook, state), count)| ([hook.to_string(), state.name().to_owned()], *count as f64));
    sheet.gauges(names::DELIVERIES, stored);
    sheet.gauges(names::OUTBOX_OLDEST, oldest);
}

fn counted<'a>(
    sheet: &mut Sheet,
    measured: &Metrics,
    counts: &'a Counts,
    hooks: impl Iterator<Item = &'a HookName>,
) {
    // From zero on, so that the first of a kind is an increase.
    let count = |of: &BTreeMap<Outcome, u64>, outcome: Outcome| {
        ([word(&outcome)], of.get(&outcome).copied().unwrap_or_default() as f64)
    };
    let is_end = |it: &Outcome| !matches!(it, Outcome::Missed | Outcome::Coalesced);
    let ends = Outcome::ALL.into_iter().filter(is_end);
    sheet.counters(names::ENDED, ends.map(|it| count(&counts.ended, it)));
    let passed = [Outcome::Skipped, Outcome::Missed, Outcome::Coalesced];
    sheet.counters(names::PASSED, passed.map(|it| count(&counts.passed, it)));
    let events = EventType::ALL.iter().map(|kind| {
        let count = counts.events.get(kind).copied().unwrap_or_default();
        ([kind.name().to_owned()], count as f64)
    });
    sheet.counters(names::EVENTS, events);
    let results = [(Try::Delivered, "delivered"), (Try::Failed, "failed"), (Try::Dead, "dead")];
    let known = counts.tries.keys().map(|(hook, _)| hook).chain(hooks);
    let known: BTreeSet<&HookName> = known.collect();
    let tries = known.into_iter().flat_map(|hook| {
        results.map(|(result, name)| {
            let count = counts.tries.get(&(hook.clone(), result)).copied().unwrap_or_default();
            ([hook.to_string(), name.to_owned()], count as f64)
        })
    });
    sheet.counters(names::TRIES, tries);
    sheet.histogram(names::SCHEDULE_LAG, measured.schedule_lag_seconds.clone());
    sheet.histogram(names::START_LAG, measured.start_lag_seconds.clone());
    sheet.histogram(names::SWEEPS, measured.sweep_seconds.clone());
}

fn store(sheet: &mut Sheet, measured: &Metrics, stats: &Stats) {
    sheet.histogram(names::COMMIT_SECONDS, measured.commit_seconds.clone());
    sheet.counter(names::CONFLICTS, measured.conflicts.get() as f64);
    sheet.counter(names::FAILURES, measured.failures.get() as f64);
    sheet.counter(names::BATCHES, stats.commits as f64);
    sheet.counter(names::TRANSACTIONS, stats.transactions as f64);
    sheet.counter(names::TRANSACTION_SECONDS, stats.commit_time.as_secs_f64());
    sheet.counter(names::SYNCS, stats.syncs as f64);
    sheet.gauge(names::STORE_BYTES, stats.store_bytes as f64);
    sheet.gauge(names::WAL_BYTES, stats.wal_bytes as f64);
    if let Some(free) = stats.free_bytes {
        sheet.gauge(names::FREE_BYTES, free as f64);
    }
}

/// Seconds since then; none is zero.
fn age(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(0.0, |since| Duration::between(since, now).as_secs_f64())
}

/// The word of a value on the wire.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
