//! What an engine with a fault commits in place of a batch.

use std::sync::PoisonError;

use sexton_domain::change::{Change, Guard, Record, RecordId, Version};
use sexton_domain::duration::Duration;
use sexton_domain::event::{EventType, NewEvent};
use sexton_domain::hook::Delivery;
use sexton_domain::id::{DeliveryId, EventId, RunId, UsageId};
use sexton_domain::run::{Outcome, Reason, Run, State};
use sexton_domain::session::Hold;
use sexton_domain::usage::Usage;
use sexton_store::{CommitError, Committed, Driver};
use uuid::Uuid;

use super::{Plant, Planted};
use crate::ledger::inline;

/// Longer than any world lasts.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
/// More lines than any report has.
const BEYOND_EVERY_REPORT: u64 = 1_000_000;

/// What is committed in place of a batch.
pub(crate) struct Planned {
    /// One after the other, as long as each is stored.
    pub(crate) steps: Vec<Vec<Change>>,
    /// Whoever commits does not wait for the answer and takes it for good.
    pub(crate) acknowledged: bool,
}

impl Plant {
    /// What becomes of a batch that the engine commits.
    pub(crate) fn planned(&self, driver: &dyn Driver, changes: Vec<Change>) -> Planned {
        let drains = |change: &Change| emits(change, EventType::NodeDraining);
        if changes.iter().any(drains) {
            self.drains();
        }
        let acknowledged = self.is(Planted::StartBeforeClaim) && self.claims_first(&changes);
        let steps = match self.fault {
            Some(Planted::SlotBeforeRun) => slot_first(changes),
            Some(Planted::EventsApart) => events_last(changes),
            Some(Planted::LateNote) => self.note_last(changes),
            Some(fault) => vec![edited(fault, driver, changes)],
            None => vec![changes],
        };
        Planned { steps, acknowledged }
    }

    /// Whether a run is claimed that was not before. Else whoever looks would find it queued, and claim it without end.
    fn claims_first(&self, changes: &[Change]) -> bool {
        let claim = changes.iter().find_map(|change| match change {
            Change::Emit(event) if event.kind == EventType::RunStarted => event.subject.run,
            _ => None,
        });
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claim.is_some_and(|run| claimed.insert(run))
    }

    /// A note about a process waits; it follows what ends its run.
    fn note_last(&self, changes: Vec<Change>) -> Vec<Vec<Change>> {
        if let Some(Change::Put(Record::Run(run))) = lone(&changes)
            && run.shim.is_some()
            && run.cancel.is_none()
        {
            self.notes().insert(run.id, (**run).clone());
            return vec![Vec::new()];
        }
        let ended = changes.iter().filter_map(run_of).filter(|run| !run.is_active());
        let notes = ended.filter_map(|run| self.notes().remove(&run.id));
        let notes: Vec<Vec<Change>> = notes.map(|note| vec![note.into()]).collect();
        [changes].into_iter().chain(notes).collect()
    }

    /// A batch as it is when it is applied.
    pub(crate) fn applied(&self, driver: &dyn Driver, mut batch: Vec<Change>) -> Vec<Change> {
        let is_note = |change: &Change| run_of(change).is_some_and(|run| run.shim.is_some());
        let is_late = lone(&batch).is_some_and(is_note);
        if self.is(Planted::NoFencing) || (self.is(Planted::LateNote) && is_late) {
            batch.iter_mut().for_each(|change| overwrite(driver, change));
        }
        batch
    }

    /// What the engine takes an answer for.
    pub(crate) fn answered(
        &self,
        answer: Result<Committed, CommitError>,
    ) -> Result<Committed, CommitError> {
        match answer {
            Err(CommitError::Failed(_)) if self.is(Planted::FailureAcknowledged) => {
                Ok(Committed { last_seq: None })
            }
            answer => answer,
        }
    }
}

fn edited(fault: Planted, driver: &dyn Driver, mut changes: Vec<Change>) -> Vec<Change> {
    let untell = |changes, kind| without_events(changes, |event| event.kind == kind);
    match fault {
        Planted::EndWithoutDelivery => changes.retain(|change| !tells_end(change)),
        Planted::ReaperIgnoresDeliveries => {
            changes.retain(|change| !matches!(change, Change::Require(Guard::Told(_))));
        }
        Planted::ReaperIgnoresSuccessor => {
            changes.retain(|change| !matches!(change, Change::Require(Guard::NotContinued(_))));
        }
        Planted::NoFencing => changes.retain(|change| !matches!(change, Change::Require(_))),
        Planted::LeaseNotRenewed if lone(&changes).is_some_and(renews) => changes.clear(),
        Planted::MisfireLost => {
            return without_slots(changes, |run| run.reason() == Some(Reason::Misfire));
        }
        Planted::SkipLost => {
            return without_slots(changes, |run| run.outcome() == Some(Outcome::Skipped));
        }
        Planted::UsageCountedTwice => count_again(&mut changes),
        Planted::RetryWithoutBackoff => at_once(&mut changes),
        Planted::StopReportLies => say_nothing_is_pending(&mut changes),
        Planted::ReapedUntold => return untell(changes, EventType::SessionReaped),
        Planted::DeadUntold => return untell(changes, EventType::HookDeadLettered),
        Planted::EndToldTwice => tell_again(&mut changes),
        Planted::EndForgetsSession => return without_session(changes),
        Planted::HoldWithoutEnd => put_off(&mut changes),
        Planted::AgeFromStart => true_ends(driver, &mut changes),
        Planted::OverlapIgnored => truly_alone(driver, &mut changes),
        _ => {}
    }
    changes
}

/// The one thing that a batch does, behind the fence.
fn lone(changes: &[Change]) -> Option<&Change> {
    match changes {
        [change] | [Change::Require(_), change] => Some(change),
        _ => None,
    }
}

fn emits(change: &Change, kind: EventType) -> bool {
    matches!(change, Change::Emit(event) if event.kind == kind)
}

/// A run that the batch stores.
fn run_of(change: &Change) -> Option<&Run> {
    match change {
        Change::Put(Record::Run(run)) => Some(run),
        _ => None,
    }
}

fn tells_end(change: &Change) -> bool {
    let Change::Put(Record::Delivery(delivery)) = change else { return false };
    delivery.version == Version::NEW && delivery.event_type == Some(EventType::SessionEnded)
}

/// A heartbeat; not the record of a start, nor of an end.
fn renews(change: &Change) -> bool {
    let Change::Put(Record::Node(node)) = change else { return false };
    node.end.is_none() && node.version != Version::NEW
}

/// The batch without some of its events, and without their deliveries.
fn without_events(changes: Vec<Change>, which: impl Fn(&NewEvent) -> bool) -> Vec<Change> {
    let gone = changes.iter().filter_map(|change| match change {
        Change::Emit(event) if which(event) => Some(event.id),
        _ => None,
    });
    let gone: Vec<EventId> = gone.collect();
    let stays = |change: &Change| match change {
        Change::Emit(event) => !gone.contains(&event.id),
        Change::Put(Record::Delivery(delivery)) => {
            delivery.version != Version::NEW || !gone.contains(&delivery.event)
        }
        _ => true,
    };
    changes.into_iter().filter(stays).collect()
}

/// The batch without the records of some slots that no run is made for.
fn without_slots(changes: Vec<Change>, which: impl Fn(&Run) -> bool) -> Vec<Change> {
    let lost = changes.iter().filter_map(run_of);
    let lost = lost.filter(|run| run.started_at.is_none() && run.slot.is_some() && which(run));
    let lost: Vec<RunId> = lost.map(|run| run.id).collect();
    let is_lost = |event: &NewEvent| event.subject.run.is_some_and(|run| lost.contains(&run));
    let (mut missed, mut coalesced, mut skipped) = (0, 0, 0);
    for change in &changes {
        let Change::Emit(event) = change else { continue };
        let slots = event.data.get("new_slots").and_then(serde_json::Value::as_u64).unwrap_or(0);
        match event.kind {
            EventType::RunMissed if is_lost(event) => missed += slots,
            EventType::RunCoalesced if is_lost(event) => coalesced += slots,
            EventType::RunSkipped if is_lost(event) => skipped += slots,
            _ => {}
        }
    }
    let mut changes = without_events(changes, is_lost);
    changes.retain(|change| run_of(change).is_none_or(|run| !lost.contains(&run.id)));
    for change in &mut changes {
        if let Change::Put(Record::Job(job)) = change {
            job.counters.missed -= missed;
            job.counters.coalesced -= coalesced;
            job.counters.skipped -= skipped;
        }
    }
    changes
}

/// The job alone, then everything else, where a slot is accounted for.
fn slot_first(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let is_of_slot =
        |run: &Run| run.slot.is_some() && run.attempt == 1 && run.version == Version::NEW;
    let accounts = changes.iter().filter_map(run_of).any(is_of_slot);
    let (job, rest): (Vec<_>, Vec<_>) = (changes.into_iter())
        .partition(|change| accounts && matches!(change, Change::Put(Record::Job(_))));
    [job, rest].into_iter().filter(|step| !step.is_empty()).collect()
}

/// The records, then what is told of them.
fn events_last(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let is_told = |change: &Change| match change {
        Change::Emit(_) => true,
        Change::Put(Record::Delivery(delivery)) => delivery.version == Version::NEW,
        _ => false,
    };
    let (told, records): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_told);
    [records, told].into_iter().filter(|step| !step.is_empty()).collect()
}

fn count_again(changes: &mut Vec<Change>) {
    let reports = changes.iter().filter_map(|change| match change {
        Change::Put(Record::Usage(usage)) => Some(usage.clone()),
        _ => None,
    });
    let again = reports
        .zip(BEYOND_EVERY_REPORT..)
        .map(|(usage, line)| Change::from(Usage { id: UsageId::of(usage.run, line), ..usage }));
    let again: Vec<Change> = again.collect();
    changes.extend(again);
}

/// Retries are queued that should wait.
fn at_once(changes: &mut [Change]) {
    let mut hurried = Vec::new();
    for change in &mut *changes {
        if let Change::Put(Record::Run(run)) = change
            && matches!(run.state, State::Waiting { .. })
            && run.version == Version::NEW
        {
            run.state = State::Queued;
            hurried.push(run.id);
        }
    }
    for change in changes {
        if let Change::Emit(event) = change
            && event.subject.run.is_some_and(|run| hurried.contains(&run))
        {
            event.data["state"] = State::Queued.name().into();
            event.data["not_before"] = serde_json::Value::Null;
        }
    }
}

fn say_nothing_is_pending(changes: &mut [Change]) {
    for change in changes {
        if let Change::Put(Record::Node(node)) = change
            && let Some(drained) = &mut node.drained
        {
            drained.deliveries.pending = 0;
        }
    }
}

/// Each end of a session once more, as another event with its own deliveries.
fn tell_again(changes: &mut Vec<Change>) {
    let other = |id: EventId| EventId::from(Uuid::from_u128(id.uuid().as_u128() ^ 1));
    let again = changes.iter().filter_map(|change| match change {
        Change::Emit(event) if event.kind == EventType::SessionEnded => {
            Some(Change::Emit(NewEvent { id: other(event.id), ..event.clone() }))
        }
        Change::Put(Record::Delivery(delivery)) if tells_end(change) => {
            let event = other(delivery.event);
            let id = DeliveryId::of(event, &delivery.hook);
            Some(Delivery { id, event, ..delivery.clone() }.into())
        }
        _ => None,
    });
    let again: Vec<Change> = again.collect();
    changes.extend(again);
}

/// The end of a run without the end of its session.
fn without_session(changes: Vec<Change>) -> Vec<Change> {
    let ends = changes.iter().any(|change| emits(change, EventType::RunEnded));
    if !ends {
        return changes;
    }
    let mut changes = without_events(changes, |event| event.kind == EventType::SessionEnded);
    changes.retain(
        |change| !matches!(change, Change::Put(Record::Session(session)) if !session.is_open()),
    );
    changes
}

fn put_off(changes: &mut [Change]) {
    for change in changes {
        if let Change::Put(Record::Session(session)) = change
            && let Some(Hold { until, .. }) = &mut session.hold
        {
            *until = CENTURY.after(*until);
        }
    }
}

/// Nobody writes down the ends that [`Plant::due_sessions`] has told wrong.
fn true_ends(driver: &dyn Driver, changes: &mut [Change]) {
    for change in changes {
        if let Change::Put(Record::Session(session)) = change
            && let Some(Record::Session(stored)) = inline(driver.get(RecordId::Session(session.id)))
            && stored.ended_at().is_some()
        {
            session.state = stored.state;
        }
    }
}

/// Nobody writes down what [`Plant::queue`] has told wrong.
fn truly_alone(driver: &dyn Driver, changes: &mut [Change]) {
    for change in changes {
        if let Change::Put(Record::Run(run)) = change
            && let Some(Record::Run(stored)) = inline(driver.get(RecordId::Run(run.id)))
        {
            run.alone = stored.alone;
        }
    }
}

/// A record goes over whatever version is stored.
fn overwrite(driver: &dyn Driver, change: &mut Change) {
    let stored = |id: RecordId| inline(driver.get(id)).map_or(Version::NEW, |it| it.version());
    match change {
        Change::Put(record) => {
            let version = stored(record.id());
            set_version(record, version);
        }
        Change::Delete(id, version) if !matches!(id, RecordId::Event(_)) => {
            *version = stored(id.clone());
        }
        _ => {}
    }
}

fn set_version(record: &mut Record, version: Version) {
    match record {
        Record::Node(node) => node.version = version,
        Record::Job(job) => job.version = version,
        Record::Run(run) => run.version = version,
        Record::Session(session) => session.version = version,
        Record::Hook(hook) => hook.version = version,
        Record::Delivery(delivery) => delivery.version = version,
        Record::Archive(archive) => archive.version = version,
        Record::Segment(segment) => segment.version = version,
        Record::Alert(alert) => alert.version = version,
        Record::Reaper(reaper) => reaper.version = version,
        Record::Token(token) => token.version = version,
        Record::ReceiptPart(part) => part.version = version,
        Record::Usage(_) | Record::Idempotency(_) => {}
    }
}
