//! What the handle measures: how long commits take, and what they say, counted once they are stored.
//!
//! The engine gives it names; see `engine/src/metrics.rs`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use sexton_domain::change::{Change, Record};
use sexton_domain::event::{EventType, NewEvent};
use sexton_domain::hook::{Delivery, DeliveryState};
use sexton_domain::name::HookName;
use sexton_domain::run::{Cause, Outcome, Run};
use sexton_domain::sweep::Summary;

/// What the handle measures.
#[derive(Debug)]
pub struct Metrics {
    /// From the call to the acknowledgement, in seconds.
    pub commit_seconds: Histogram,
    /// Batches that ran into a conflict.
    pub conflicts: Counter,
    /// Batches that failed or whose answer was lost.
    pub failures: Counter,
    /// From a slot to the commit that queues its run, in seconds.
    pub schedule_lag_seconds: Histogram,
    /// From a slot to the commit that starts its run, in seconds.
    pub start_lag_seconds: Histogram,
    /// How long sweeps took, in seconds.
    pub sweep_seconds: Histogram,
    counts: Mutex<Counts>,
}

/// What was stored since the handle was made.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Events by type.
    pub events: BTreeMap<EventType, u64>,
    /// Runs that were started and ended, by outcome.
    pub ended: BTreeMap<Outcome, u64>,
    /// Slots that were not run, by what became of them.
    pub passed: BTreeMap<Outcome, u64>,
    /// Tries of deliveries by what came of them.
    pub tries: BTreeMap<(HookName, Try), u64>,
    /// When the last sweep began that came to its end.
    swept: Option<Timestamp>,
}

/// What came of a try of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Try {
    /// The hook acknowledged it.
    Delivered,
    /// It failed and is tried again.
    Failed,
    /// It was given up.
    Dead,
}

impl Default for Metrics {
    fn default() -> Self {
        // 50 µs to 6.5 s.
        let quick = || Histogram::new(exponential_buckets(0.000_05, 2.0, 18));
        // 1 ms to 9 h.
        let patient = || Histogram::new(exponential_buckets(0.001, 4.0, 13));
        Self {
            commit_seconds: quick(),
            conflicts: Counter::default(),
            failures: Counter::default(),
            schedule_lag_seconds: patient(),
            start_lag_seconds: patient(),
            sweep_seconds: patient(),
            counts: Mutex::default(),
        }
    }
}

impl Metrics {
    /// What was stored so far.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Counts a batch that is stored.
    pub(crate) fn stored(&self, facts: Facts) {
        let mut counts = self.lock();
        for fact in facts.0 {
            match fact {
                Fact::Event(kind) => *counts.events.entry(kind).or_default() += 1,
                Fact::Ended(outcome) => *counts.ended.entry(outcome).or_default() += 1,
                Fact::Passed(outcome, slots) => *counts.passed.entry(outcome).or_default() += slots,
                Fact::Tried(hook, came_of_it) => {
                    *counts.tries.entry((hook, came_of_it)).or_default() += 1;
                }
                Fact::QueuedAfter(seconds) => self.schedule_lag_seconds.observe(seconds),
                Fact::StartedAfter(seconds) => self.start_lag_seconds.observe(seconds),
                // The reaper's record is stored for other reasons, too.
                Fact::Swept(sweep) if counts.swept == Some(sweep.started_at) => {}
                Fact::Swept(sweep) => {
                    counts.swept = Some(sweep.started_at);
                    self.sweep_seconds.observe(sweep.took_ms as f64 / 1e3);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a batch says that is worth counting; to be told from it before it is given away.
#[derive(Debug)]
pub(crate) struct Facts(Vec<Fact>);

#[derive(Debug, PartialEq)]
enum Fact {
    Event(EventType),
    Ended(Outcome),
    Passed(Outcome, u64),
    Tried(HookName, Try),
    QueuedAfter(f64),
    StartedAfter(f64),
    Swept(Summary),
}

impl Facts {
    pub(crate) fn of(changes: &[Change]) -> Self {
        let mut facts = Vec::new();
        for change in changes {
            match change {
                Change::Emit(event) => {
                    facts.push(Fact::Event(event.kind));
                    facts.extend(of_run(event, changes));
                }
                Change::Put(Record::Delivery(delivery)) => {
                    facts.extend(of_try(delivery).map(|it| Fact::Tried(delivery.hook.clone(), it)));
                }
                Change::Put(Record::Reaper(reaper)) => facts.extend(reaper.last.map(Fact::Swept)),
                _ => {}
            }
        }
        Self(facts)
    }
}

/// What an event says about the run that is stored with it.
fn of_run(event: &NewEvent, changes: &[Change]) -> Option<Fact> {
    let id = event.subject.run?;
    let run = changes.iter().find_map(|change| match change {
        Change::Put(Record::Run(run)) if run.id == id => Some(&**run),
        _ => None,
    })?;
    match event.kind {
        EventType::RunQueued => lag(run, event.at).map(Fact::QueuedAfter),
        EventType::RunStarted => lag(run, event.at).map(Fact::StartedAfter),
        EventType::RunEnded => run.outcome().map(Fact::Ended),
        EventType::RunSkipped | EventType::RunMissed | EventType::RunCoalesced => {
            let slots = event.data["new_slots"].as_u64().unwrap_or(1);
            run.outcome().map(|outcome| Fact::Passed(outcome, slots))
        }
        _ => None,
    }
}

/// How long after its slot something happens to a scheduled run. Retries, and slots that are made up
/// for, are late on purpose.
fn lag(run: &Run, at: Timestamp) -> Option<f64> {
    let slot = run.slot.filter(|_| run.cause == Cause::Schedule)?;
    Some(at.duration_since(slot).as_secs_f64().max(0.0))
}

fn of_try(delivery: &Delivery) -> Option<Try> {
    match delivery.state {
        DeliveryState::Delivered { .. } => Some(Try::Delivered),
        DeliveryState::Dead { .. } => Some(Try::Dead),
        DeliveryState::Pending { .. } => (delivery.attempts > 0).then_some(Try::Failed),
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::conformance::specimens;

    /// Whatever a batch says is counted when it is stored, by kinds whose number is bounded.
    #[test]
    fn a_stored_batch_is_counted_by_what_it_says() {
        let (records, _) = specimens();
        let run = records.iter().find_map(|record| match record {
            Record::Run(run) if run.slot.is_some() => Some((**run).clone()),
            _ => None,
        });
        let run = Run { cause: Cause::Schedule, ..run.expect("there is a run of a slot") };
        let slot = run.slot.expect("it was looked for");
        let at = slot + jiff::SignedDuration::from_millis(1_500);
        let event = |kind, data| {
            let mut ids = sexton_domain::id::Ids::new(at, 1);
            let subject = sexton_domain::event::Subject { run: Some(run.id), ..Default::default() };
            Change::Emit(NewEvent { id: ids.mint(), kind, at, subject, data })
        };
        let none = serde_json::Value::Null;
        let batch = vec![run.clone().into(), event(EventType::RunStarted, none)];
        assert_eq!(
            Facts::of(&batch).0,
            [Fact::Event(EventType::RunStarted), Fact::StartedAfter(1.5)]
        );
        let state = sexton_domain::run::State::Ended {
            at,
            outcome: Outcome::Missed,
            reason: sexton_domain::run::Reason::Misfire,
        };
        let missed = Run { state, ..run.clone() };
        let slots = serde_json::json!({ "new_slots": 4 });
        let batch = vec![missed.into(), event(EventType::RunMissed, slots)];
        let metrics = Metrics::default();
        metrics.stored(Facts::of(&batch));
        metrics.stored(Facts::of(&batch));
        let counts = metrics.counts();
        assert_eq!(counts.events[&EventType::RunMissed], 2);
        assert_eq!(counts.passed[&Outcome::Missed], 8);
        assert!(counts.ended.is_empty());
    }
}
