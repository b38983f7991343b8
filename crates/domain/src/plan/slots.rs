//! What becomes of a job's due slots: each is exactly one of run, skipped, missed or coalesced.

use jiff::Timestamp;

use crate::agent::{self, Agent};
use crate::change::Decision;
use crate::duration::Duration;
use crate::event::EventType;
use crate::job::{Job, Misfire, Overlap};
use crate::key::SessionKey;
use crate::plan::{Moment, ending, turns};
use crate::run::{Cause, Input, Outcome, Range, Reason, Run, State};
use crate::schedule::{DueSlots, SlotRange, Window};

/// A slot that starts later than this after its time was missed and is made up for.
pub const ON_TIME: Duration = Duration::from_secs(60);
/// How many passed slots the misfire policy `all` makes up for.
pub const MAX_CATCH_UP: usize = 100;
/// How many slots one decision looks at; the next decision goes on from there.
pub const MAX_SCAN: usize = 100_000;
/// After this many replacements in a row slots are skipped until the run has ended.
pub const MAX_REPLACED: u32 = 3;

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its runs that have not ended.
    pub active: &'a [Run],
    /// The runs that have not ended on the session key that it shares; none if its runs are isolated.
    pub on_key: &'a [Run],
    /// Its record with the newest slot.
    pub newest: Option<&'a Run>,
    /// Its agent, as far as this node knows it.
    pub settings: Option<&'a Agent>,
    /// The turn of the run that started last, over all jobs.
    pub turn: u64,
}

/// Accounts for every slot of the job that is due at the moment, in one decision.
///
/// Empty when nothing is due. When there are more than [`MAX_SCAN`], the oldest of them only: the
/// job is still due then.
pub fn account(snapshot: Snapshot<'_>, moment: &mut Moment) -> Decision {
    let job = snapshot.job;
    let Some(from) = due_from(job, moment.now) else { return Decision::default() };
    let through = job.delay().before(moment.now);
    let mut due = job.spec.schedule.slots(window(from, through, MAX_CATCH_UP));
    let next = if due.more.is_some() {
        // These are not the newest of all: the next decision begins with them.
        std::mem::take(&mut due.newest).first().copied()
    } else {
        job.slot_after(through)
    };
    let (passed, run) = split(job, &due, through);
    let mut books = Books::open(snapshot);
    books.pass(passed, moment);
    books.run(run, moment);
    books.close(next, moment)
}

/// Accounts for every due slot of a job that is about to leave its schedule: they are missed.
pub(super) fn forgo(job: &mut Job, reason: Reason, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    let through = job.delay().before(moment.now);
    while let Some(from) = due_from(job, moment.now) {
        let due = job.spec.schedule.slots(window(from, through, 0));
        let passed = due.older.map(|range| Passed { range, outcome: Outcome::Missed, reason });
        if let Some(passed) = passed {
            decision.merge(record(job, None, passed, moment));
        }
        job.next_slot = due.more.or_else(|| job.slot_after(through));
    }
    decision
}

/// The first slot that is due and not accounted for.
fn due_from(job: &Job, now: Timestamp) -> Option<Timestamp> {
    job.due_at().filter(|&due| due <= now).and(job.next_slot)
}

fn window(from: Timestamp, through: Timestamp, newest: usize) -> Window {
    Window { from, through, newest, scan_limit: MAX_SCAN }
}

/// Contiguous slots that share a fate and are not executed.
struct Passed {
    range: SlotRange,
    outcome: Outcome,
    reason: Reason,
}

impl Passed {
    /// The slots, which are contiguous, after those of `older`.
    fn new(
        older: Option<SlotRange>,
        slots: &[Timestamp],
        outcome: Outcome,
        reason: Reason,
    ) -> Option<Self> {
        let from = older.map(|older| older.from).or(slots.first().copied())?;
        let to = slots.last().copied().or(older.map(|older| older.to))?;
        let count = older.map_or(0, |older| older.count) + slots.len() as u64;
        Some(Self { range: SlotRange { from, to, count }, outcome, reason })
    }
}

/// Divides due slots by the misfire policy into those that pass and those that may run.
fn split<'a>(
    job: &Job,
    due: &'a DueSlots,
    through: Timestamp,
) -> (Option<Passed>, &'a [Timestamp]) {
    let newest_within = |limit: Duration| {
        let before = limit.saturating_add(Duration::from_millis(1)).before(through);
        job.spec.schedule.next(before).is_some_and(|slot| slot <= through)
    };
    let (run, others) = match job.spec.misfire {
        Misfire::Skip => (usize::from(newest_within(ON_TIME)), Outcome::Missed),
        Misfire::Latest => (1, Outcome::Coalesced),
        Misfire::All => (MAX_CATCH_UP, Outcome::Missed),
        Misfire::Within(limit) if newest_within(limit.max(ON_TIME)) => (1, Outcome::Coalesced),
        Misfire::Within(_) => (0, Outcome::Missed),
    };
    let (pass, run) = due.newest.split_at(due.newest.len().saturating_sub(run));
    (Passed::new(due.older, pass, others, Reason::Misfire), run)
}

/// The decision under way: the job as it will be, and what has been decided so far.
struct Books<'a> {
    snapshot: Snapshot<'a>,
    job: Job,
    queued: bool,
    decision: Decision,
}

impl<'a> Books<'a> {
    fn open(snapshot: Snapshot<'a>) -> Self {
        let job = snapshot.job.clone();
        Self { snapshot, job, queued: false, decision: Decision::default() }
    }

    /// Records slots that are not executed.
    fn pass(&mut self, passed: Option<Passed>, moment: &mut Moment) {
        if let Some(passed) = passed {
            self.decision.merge(record(&mut self.job, self.snapshot.newest, passed, moment));
        }
    }

    /// Decides about slots that may run: the job's rest first, then the overlap policy.
    fn run(&mut self, slots: &[Timestamp], moment: &mut Moment) {
        let delay = self.job.delay();
        let rested = self.job.backoff_until.unwrap_or(Timestamp::MIN);
        let resting = slots.partition_point(|&slot| delay.after(slot) < rested);
        let (resting, slots) = slots.split_at(resting);
        self.pass(Passed::new(None, resting, Outcome::Skipped, Reason::Backoff), moment);
        let late = |slot| Duration::between(delay.after(slot), moment.now) > ON_TIME;
        match *slots {
            [] => {}
            [slot] if !late(slot) => self.fire(slot, Cause::Schedule, moment),
            [slot] if self.job.spec.misfire != Misfire::All => {
                self.fire(slot, Cause::CatchUp, moment);
            }
            _ => self.queue(slots, Cause::CatchUp, moment),
        }
    }

    /// Decides about one slot by the overlap policy.
    fn fire(&mut self, slot: Timestamp, cause: Cause, moment: &mut Moment) {
        let active = self.snapshot.active;
        let queued = active.iter().any(|run| run.state == State::Queued);
        let overlapping = queued || active.iter().any(|run| run.owner().is_some());
        match self.job.spec.overlap {
            _ if !overlapping => {
                self.job.counters.replaced_streak = 0;
                self.queue(&[slot], cause, moment);
            }
            Overlap::Allow if turns::is_full(self.snapshot.on_key) => {
                self.skip(slot, Reason::QueueFull, moment);
            }
            Overlap::Allow => self.queue(&[slot], cause, moment),
            Overlap::Queue if !queued => self.queue(&[slot], cause, moment),
            Overlap::Skip => self.skip(slot, Reason::Overlap, moment),
            Overlap::Queue => self.skip(slot, Reason::QueueFull, moment),
            Overlap::Replace => self.replace(slot, cause, moment),
        }
    }

    /// Stops what the job is doing; the new run starts after its proven death.
    fn replace(&mut self, slot: Timestamp, cause: Cause, moment: &mut Moment) {
        if self.job.counters.replaced_streak >= MAX_REPLACED {
            return self.skip(slot, Reason::ReplaceLimit, moment);
        }
        for run in self.snapshot.active {
            match run.state {
                State::Queued => self.end(run, Reason::Replaced, moment),
                State::Running { .. } => {
                    self.decision.merge(ending::stop(run, Reason::Replaced, moment));
                }
                State::Waiting { .. } | State::Ended { .. } => {}
            }
        }
        self.job.counters.replaced_streak += 1;
        self.queue(&[slot], cause, moment);
    }

    fn skip(&mut self, slot: Timestamp, reason: Reason, moment: &mut Moment) {
        self.pass(Passed::new(None, &[slot], Outcome::Skipped, reason), moment);
    }

    /// Queues a run for each slot, in place of a retry that still waits.
    fn queue(&mut self, slots: &[Timestamp], cause: Cause, moment: &mut Moment) {
        for run in self.snapshot.active {
            if let State::Waiting { .. } = run.state {
                self.end(run, Reason::Superseded, moment);
            }
        }
        for &slot in slots {
            let run = new_run(&mut self.job, self.snapshot, Some(slot), cause, moment);
            self.job.last_slot = Some(slot);
            self.decision.change(moment.tell().run(EventType::RunQueued, &run));
            self.decision.change(run);
        }
        self.queued = true;
    }

    /// Ends a run of the job that has not started.
    fn end(&mut self, run: &Run, reason: Reason, moment: &mut Moment) {
        let ended = ending::unstarted(run, reason, &mut self.job.counters, moment);
        self.decision.merge(ended);
    }

    /// Moves the job to its next slot.
    fn close(mut self, next: Option<Timestamp>, moment: &mut Moment) -> Decision {
        self.job.next_slot = next;
        if !self.queued && self.snapshot.active.is_empty() {
            self.decision.merge(ending::done(&mut self.job, moment));
        }
        self.decision.change(self.job);
        self.decision
    }
}

/// Records slots that are not executed and counts them. Slots that follow on those of the `newest`
/// record, with the same fate, become part of it.
fn record(job: &mut Job, newest: Option<&Run>, passed: Passed, moment: &mut Moment) -> Decision {
    let Passed { range: SlotRange { from, to, count: new }, outcome, reason } = passed;
    match outcome {
        Outcome::Skipped => job.counters.skipped += new,
        Outcome::Coalesced => job.counters.coalesced += new,
        _ => job.counters.missed += new,
    }
    if reason == Reason::Misfire && outcome == Outcome::Missed {
        job.counters.missed_streak += new;
    }
    let extends = |run: &&Run| {
        let end = run.range.map(|range| range.to).or(run.slot);
        run.outcome() == Some(outcome)
            && run.reason() == Some(reason)
            && end.and_then(|end| job.spec.schedule.next(end)) == Some(from)
    };
    let (run, count) = match newest.filter(extends) {
        Some(run) => (run.clone(), run.range.map_or(1, |range| range.count) + new),
        None => (blank_run(job, Some(from), Cause::Schedule, moment), new),
    };
    let range = (count > 1).then_some(Range { to, count });
    let run = Run { state: State::Ended { at: moment.now, outcome, reason }, range, ..run };
    job.last_slot = Some(to);
    let mut decision = Decision::default();
    let mut told = moment.tell().run_over(&run);
    told.data["new_slots"] = new.into();
    decision.change(told);
    decision.change(run);
    decision
}

/// A run of the job with everything it works from, queued. Counts up the job's turn.
pub(super) fn new_run(
    job: &mut Job,
    snapshot: Snapshot<'_>,
    slot: Option<Timestamp>,
    cause: Cause,
    moment: &mut Moment,
) -> Run {
    let mut run = blank_run(job, slot, cause, moment);
    run.input = Some(input(job, snapshot.settings));
    run.turn = snapshot.turn.max(job.last_turn + 1).max(turns::behind(snapshot.on_key));
    job.last_turn = run.turn;
    run
}

/// What a run of the job works from.
fn input(job: &Job, settings: Option<&Agent>) -> Input {
    Input {
        prompt: job.spec.prompt.clone(),
        settings: settings.cloned(),
        job_revision: Some(job.revision),
        timeout: (job.spec.timeout)
            .or(settings.map(|agent| agent.timeout))
            .unwrap_or(agent::DEFAULT_TIMEOUT),
        idle_timeout: job.spec.idle_timeout.or(settings.and_then(|agent| agent.idle_timeout)),
        fresh: false,
    }
}

fn blank_run(job: &Job, slot: Option<Timestamp>, cause: Cause, moment: &mut Moment) -> Run {
    let (id, agent) = (moment.ids.mint(), job.spec.agent.clone());
    let own = || SessionKey::for_run(&agent, &job.key, id);
    let session_key = job.spec.shared_key().unwrap_or_else(own);
    Run {
        job: Some(job.id),
        job_key: Some(job.key.clone()),
        slot,
        alone: cause == Cause::CatchUp || job.spec.overlap != Overlap::Allow,
        ..Run::queued(id, agent, session_key, cause, moment.now)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod accounting;
