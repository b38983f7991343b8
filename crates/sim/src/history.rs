//! The histories of jobs: which slots were due and which were accounted for, walked independently of the
//! scheduler over what the event log says, in the order of the log. The times in it need not be in order: the
//! wall clock may have been set.

use std::collections::BTreeMap;
use std::time::Duration as Span;

use jiff::Timestamp;
use serde_json::Value;
use sexton_domain::duration::Duration;
use sexton_domain::event::{Event, EventType};
use sexton_domain::id::{JobId, RunId};
use sexton_domain::schedule::Schedule;
use sexton_domain::when;

use crate::diary::{Broken, Promise};
use crate::ledger::Ledger;
use crate::promises::Kept;

/// The histories of all jobs, up to an event.
#[derive(Default)]
pub(crate) struct History {
    read: usize,
    walks: BTreeMap<JobId, Walk>,
}

/// What is looked at where the scheduler had the time to account for what was due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    /// The age of the world since which it had.
    pub(crate) since: Span,
    /// The least that the wall clock has shown since then.
    pub(crate) wall: Timestamp,
}

impl History {
    /// P5: slots are accounted for one after the other, each once, none before it is due, and all that are due
    /// before their job leaves its schedule.
    pub(crate) fn follow(&mut self, ledger: &Ledger) -> Kept {
        for event in &ledger.events[self.read..] {
            let subject = event.fact.subject;
            self.read += 1;
            let Some(job) = subject.job.and_then(|id| ledger.jobs.get(&id)) else { continue };
            let walk = self.walks.entry(job.id).or_default();
            let done = match event.fact.kind {
                kind if is_about_job(kind) => {
                    let stored = ledger.stored_at(event.seq).unwrap_or_default();
                    walk.turn(event, job.delay(), stored)
                }
                _ => match (subject.run, Accounted::by(event)) {
                    (Some(run), Some(slots)) => walk.account(run, &slots, job.delay()),
                    _ => Ok(()),
                },
            };
            done.map_err(|how| Broken::new(Promise::P5, format!("job {}: {how}", job.key)))?;
        }
        Ok(())
    }

    /// P5: what was due for a while is accounted for.
    pub(crate) fn settled(&self, ledger: &Ledger, look: Settled) -> Kept {
        for (id, walk) in &self.walks {
            let Some(job) = ledger.jobs.get(id) else { continue };
            if walk.since < look.since
                && let Some(slot) = walk.due(job.delay(), look.wall)
            {
                let (key, last) = (&job.key, walk.last);
                let how = format!(
                    "job {key}: slot {slot} was due and is not accounted for, the last is {last:?}"
                );
                return Err(Broken::new(Promise::P5, how));
            }
        }
        Ok(())
    }
}

/// Slots that an event accounts for.
struct Accounted {
    /// The first of the record.
    from: Timestamp,
    to: Timestamp,
    /// How many of them are new.
    new: u64,
    /// How many the record stands for.
    all: u64,
    at: Timestamp,
}

impl Accounted {
    /// None where the event is not about slots that were not accounted for before.
    fn by(event: &Event) -> Option<Self> {
        let data = &event.fact.data;
        let number = |name: &str| data.get(name).and_then(Value::as_u64);
        let time = |name: &str| data.get(name)?.as_str()?.parse::<Timestamp>().ok();
        let from = time("slot")?;
        let new = match event.fact.kind {
            EventType::RunQueued if number("attempt") == Some(1) => 1,
            EventType::RunSkipped | EventType::RunMissed | EventType::RunCoalesced => {
                number("new_slots")?
            }
            _ => return None,
        };
        let (to, all) = (time("slot_to").unwrap_or(from), number("slots")?);
        Some(Self { from, to, new, all, at: event.fact.at })
    }
}

/// The history of one job.
#[derive(Default)]
struct Walk {
    /// The schedule as the log has it.
    written: Value,
    schedule: Option<Schedule>,
    enabled: bool,
    suspended: bool,
    over: bool,
    /// The next slot may only be after this.
    after: Timestamp,
    /// The last slot that was accounted for.
    last: Option<Timestamp>,
    /// The age of the world at which it came to be as it is.
    since: Span,
    /// How many slots each record stands for.
    counts: BTreeMap<RunId, u64>,
}

impl Walk {
    fn active(&self) -> bool {
        self.enabled && !self.suspended && !self.over
    }

    /// The first slot that is due by a time of the wall clock and not accounted for.
    ///
    /// A slot is due its delay after its instant. Whatever happens to the job at that very millisecond comes
    /// after it.
    fn due(&self, delay: Duration, wall: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref().filter(|_| self.active())?;
        next(schedule, self.after).filter(|slot| delay.after(*slot) <= wall)
    }

    fn account(&mut self, run: RunId, slots: &Accounted, delay: Duration) -> Result<(), String> {
        let Accounted { from, to, new, all, at } = *slots;
        let Some(schedule) = self.schedule.clone().filter(|_| self.active()) else {
            return Err(format!("{run} accounts for slots from {from} to {to} off schedule"));
        };
        let count = self.counts.entry(run).or_default();
        let begins = *count == 0;
        *count += new;
        if *count != all || new == 0 {
            return Err(format!(
                "{run} accounts for {new} slots more, {all} in all; told were {count}"
            ));
        }
        let first = next(&schedule, self.after);
        if begins && first != Some(from) {
            return Err(format!(
                "{run} accounts for slots from {from}, the next one was {first:?}"
            ));
        }
        for _ in 0..new {
            let slot = next(&schedule, self.after).filter(|slot| *slot <= to);
            let Some(slot) = slot else {
                let last = self.after;
                return Err(format!(
                    "{run} accounts for {new} slots more up to {to}, it has none after {last}"
                ));
            };
            self.after = slot;
        }
        self.last = Some(self.after);
        if self.after != to {
            let last = self.after;
            return Err(format!(
                "{run} accounts for {new} slots more up to {to}, they end with {last}"
            ));
        }
        match delay.after(to) <= at {
            true => Ok(()),
            false => Err(format!("{run} accounts at {at} for slot {to}, which is not due")),
        }
    }

    /// Something happens to the job. One that begins, is resumed or gets another schedule starts with the first
    /// slot that is due after that and was not accounted for; a one-shot may be a little late.
    fn turn(&mut self, event: &Event, delay: Duration, stored: Span) -> Result<(), String> {
        let (at, data, due) = (event.fact.at, &event.fact.data, self.due(delay, event.fact.at));
        let was_active = self.active();
        self.enabled = data.get("enabled").and_then(Value::as_bool).unwrap_or(false);
        self.suspended = data.get("suspension").is_some_and(|suspension| !suspension.is_null());
        let written = data.get("schedule").cloned().unwrap_or_default();
        let rescheduled = written != self.written;
        if rescheduled {
            self.schedule = serde_json::from_value(written.clone()).ok();
            self.written = written;
        }
        self.over = match event.fact.kind {
            EventType::JobRemoved | EventType::JobDone => true,
            EventType::JobChanged if rescheduled => false,
            _ => self.over,
        };
        let leaves = was_active && (rescheduled || !self.active());
        if let Some(slot) = due.filter(|_| leaves) {
            return Err(format!(
                "at {at} it leaves its schedule, slot {slot} is not accounted for"
            ));
        }
        if rescheduled || (self.active() && !was_active) {
            let once = matches!(self.schedule, Some(Schedule::At { .. }));
            let grace = if once { when::GRACE } else { Duration::ZERO };
            let last = self.last.unwrap_or(Timestamp::MIN);
            self.after = last.max(delay.saturating_add(grace).before(at));
        }
        if rescheduled || self.active() != was_active {
            self.since = stored;
        }
        Ok(())
    }
}

/// The first slot after an instant. Grids are computed here, in another way than the scheduler's.
fn next(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    match schedule {
        Schedule::At { at } => (*at > after).then_some(*at),
        Schedule::Every { every, anchor } => {
            if after < *anchor {
                return Some(*anchor);
            }
            let (width, begin) = (i64::try_from(every.as_millis()).ok()?, anchor.as_millisecond());
            let past = after.as_millisecond() - begin;
            Timestamp::from_millisecond(after.as_millisecond() - past % width + width).ok()
        }
        Schedule::Cron { .. } => schedule.next(after),
    }
}

fn is_about_job(kind: EventType) -> bool {
    use EventType::{JobAdded, JobChanged, JobDisabled, JobDone, JobEnabled, JobRemoved};
    matches!(kind, JobAdded | JobChanged | JobRemoved | JobEnabled | JobDisabled | JobDone)
}
