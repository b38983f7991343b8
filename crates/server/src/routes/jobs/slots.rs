//! The slots that a job has before it.

use axum::Json as Reply;
use axum::extract::State;
use jiff::Timestamp;
use sexton_domain::duration::Duration;
use sexton_domain::job::{Job, SuspendedBy};
use sexton_engine::handle::{Handle, Placed};

use super::{COUNT, EXPLAIN, find};
use crate::api::{Slot, Slots};
use crate::body::Segment;
use crate::failure::Result;
use crate::query::Query;

/// How many slots are shown unless the caller says otherwise.
const DEFAULT_COUNT: u32 = 5;

pub(super) async fn next(
    State(handle): State<Handle>,
    id: Segment,
    query: Query,
) -> Result<Reply<Slots>> {
    let job = find(&handle, &id.0).await?;
    let count = query.number(&COUNT, 1..=100)?.unwrap_or(DEFAULT_COUNT);
    let explain = query.flag(&EXPLAIN)?.unwrap_or(false);
    let (delay, jitter) = (job.delay(), job.jitter());
    let items = instants(&job, handle.now()).take(count as usize).map(|slot| Slot {
        slot,
        at: delay.after(slot),
        notes: if explain { notes(&job, slot, jitter) } else { Vec::new() },
    });
    let items: Vec<Slot> = items.collect();
    let note = note(&job, handle.now(), items.is_empty());
    Ok(Reply(Slots { items, active: job.is_active(), note }))
}

/// What a preview shows.
pub(super) fn upcoming(job: &Job, placed: Placed, now: Timestamp) -> Vec<Slot> {
    let new = placed == Placed::Added;
    let (delay, jitter) =
        if new { (job.spec.offset, Duration::ZERO) } else { (job.delay(), job.jitter()) };
    let slot = |slot| {
        let mut notes = notes(job, slot, jitter);
        if new && !job.spec.jitter.is_zero() {
            notes.push(format!("plus a jitter of less than {}, once it is added", job.spec.jitter));
        }
        Slot { slot, at: delay.after(slot), notes }
    };
    instants(job, now).take(DEFAULT_COUNT as usize).map(slot).collect()
}

/// The slots from the next one that is not accounted for.
fn instants(job: &Job, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let over = job.removed_at.is_some() || job.done_at.is_some();
    // A job that does not run now would go on with its first slot after the moment it does.
    let first = if job.is_active() { job.next_slot } else { job.slot_after(now) };
    let schedule = job.spec.schedule.clone();
    std::iter::successors(first.filter(|_| !over), move |slot| schedule.next(*slot))
}

fn notes(job: &Job, slot: Timestamp, jitter: Duration) -> Vec<String> {
    let mut notes = job.spec.schedule.explain(slot);
    if !job.spec.offset.is_zero() {
        notes.push(format!("{} later by offset", job.spec.offset));
    }
    if !jitter.is_zero() {
        notes.push(format!("{jitter} later by jitter"));
    }
    notes
}

fn note(job: &Job, now: Timestamp, none: bool) -> Option<String> {
    let key = &job.key;
    let resting = job.backoff_until.filter(|until| *until > now);
    Some(if job.removed_at.is_some() {
        "the job was removed".to_owned()
    } else if job.done_at.is_some() {
        "its only slot is over".to_owned()
    } else if !job.spec.enabled {
        "the job is disabled in its spec: these would be its slots".to_owned()
    } else if let Some(suspension) = job.suspension {
        let by = match suspension.by {
            SuspendedBy::Operator => "by hand",
            SuspendedBy::AutoDisable => "because it kept failing",
        };
        let since = suspension.since;
        format!("the job was suspended {by} at {since}; `sexton job enable {key}` resumes it")
    } else if let Some(until) = resting {
        format!("the job keeps failing: slots before {until} are skipped")
    } else if none {
        "the schedule has no slot any more".to_owned()
    } else {
        return None;
    })
}
