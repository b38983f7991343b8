//! What becomes of a job's due slots: each is exactly one of run, skipped, missed or coalesced.

use jiff::Timestamp;

use crate::agent::{self, Agent};
use crate::change::{Decision, Effect};
use crate::duration::Duration;
use crate::event::{EventType, Subject};
use crate::job::{Job, Misfire, Overlap, Target};
use crate::key::SessionKey;
use crate::plan::{Moment, ending};
use crate::run::{CancelRequest, Cause, Input, Outcome, Range, Reason, Run, State};
use crate::schedule::{DueSlots, Window};

/// A slot that starts later than this after its time was missed and is made up for.
pub const ON_TIME: Duration = Duration::from_secs(60);
/// How many passed slots the misfire policy `all` makes up for.
pub const MAX_CATCH_UP: usize = 100;
/// How many slots one decision looks at; the next decision goes on from there.
pub const MAX_SCAN: usize = 100_000;
/// After this many replacements in a row the next slot is skipped.
pub const MAX_REPLACED: u32 = 3;

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its runs that have not ended.
    pub active: &'a [Run],
    /// Its record with the newest slot.
    pub newest: Option<&'a Run>,
    /// Its agent, as far as this node knows it.
    pub settings: Option<&'a Agent>,
    /// The turn of the run that started last, over all jobs.
    pub turn: u64,
}

/// Slots that share a fate.
struct Passed {
    from: Timestamp,
    to: Timestamp,
    count: u64,
    outcome: Outcome,
    reason: Reason,
}

/// Accounts for every slot of the job that is due at the moment, in one decision.
///
/// Empty when nothing is due.
pub fn account(snapshot: Snapshot<'_>, moment: &mut Moment) -> Decision {
    let job = snapshot.job;
    let (Some(from), Some(due)) = (job.next_slot, job.due_at()) else {
        return Decision::default();
    };
    if due > moment.now {
        return Decision::default();
    }
    let through = job.jitter().before(moment.now);
    let window = Window { from, through, newest: MAX_CATCH_UP, scan_limit: MAX_SCAN };
    let due = job.spec.schedule.slots(window);

    let last = due.newest.last().copied().or(due.older.map(|older| older.to));
    let (passed, fire) = split(job, &due, moment.now);
    let mut books = Books::open(snapshot);
    if let Some(passed) = passed {
        books.pass(passed, moment);
    }
    match fire[..] {
        [slot] => books.fire(slot, moment),
        _ => fire.iter().for_each(|&slot| books.queue(slot, Cause::CatchUp, moment)),
    }
    books.close(last, due.more.or_else(|| job.slot_after(through)), moment)
}

/// Divides due slots by the misfire policy into those that pass and those that run.
fn split(job: &Job, due: &DueSlots, now: Timestamp) -> (Option<Passed>, Vec<Timestamp>) {
    let lateness = |slot| Duration::between(job.jitter().after(slot), now);
    let newest_within = |limit| due.newest.last().is_some_and(|&slot| lateness(slot) <= limit);
    let run = match job.spec.misfire {
        // Not all due slots were looked at: the newest of these is not the newest of all.
        _ if due.more.is_some() => 0,
        Misfire::Skip => usize::from(newest_within(ON_TIME)),
        Misfire::Latest => 1.min(due.newest.len()),
        Misfire::All => due.newest.len(),
        Misfire::Within(limit) => usize::from(newest_within(limit.max(ON_TIME))),
    };
    let (rest, fire) = due.newest.split_at(due.newest.len() - run);
    let outcome = match job.spec.misfire {
        Misfire::Latest => Outcome::Coalesced,
        Misfire::Within(_) if run > 0 => Outcome::Coalesced,
        _ => Outcome::Missed,
    };
    let older = due.older;
    let passed = older.map(|older| older.from).or(rest.first().copied()).map(|from| Passed {
        from,
        to: rest.last().copied().or(older.map(|older| older.to)).unwrap_or(from),
        count: older.map_or(0, |older| older.count) + rest.len() as u64,
        outcome,
        reason: Reason::Misfire,
    });
    (passed, fire.to_vec())
}

/// The decision under way: the job as it will be, and what has been decided so far.
struct Books<'a> {
    snapshot: Snapshot<'a>,
    job: Job,
    newest: Option<Run>,
    queued: bool,
    decision: Decision,
}

impl<'a> Books<'a> {
    fn open(snapshot: Snapshot<'a>) -> Self {
        let newest = snapshot.newest.cloned();
        let job = snapshot.job.clone();
        Self { snapshot, job, newest, queued: false, decision: Decision::default() }
    }

    /// Records slots that are not executed. A range that goes on where the newest record ends, with
    /// the same fate, becomes part of that record.
    fn pass(&mut self, passed: Passed, moment: &mut Moment) {
        let Passed { from, to, count, outcome, reason } = passed;
        let counters = &mut self.job.counters;
        match outcome {
            Outcome::Skipped => counters.skipped += count,
            Outcome::Coalesced => counters.coalesced += count,
            _ => counters.missed += count,
        }
        let state = State::Ended { at: moment.now, outcome, reason };
        let same_fate = |run: &Run| {
            let end = run.range.map(|range| range.to).or(run.slot);
            run.outcome() == Some(outcome)
                && run.reason() == Some(reason)
                && end.is_some()
                && end == self.job.last_slot
        };
        let record = match self.newest.take().filter(same_fate) {
            Some(mut run) => {
                let before = run.range.map_or(1, |range| range.count);
                run.range = Some(Range { to, count: before + count });
                run.state = state;
                run
            }
            None => {
                let mut run = blank_run(&self.job, Some(from), Cause::Schedule, moment);
                run.state = state;
                run.range = (count > 1).then_some(Range { to, count });
                run
            }
        };
        self.job.last_slot = Some(to);
        let event = moment.tell().run_over(&record);
        self.decision.change(record.clone());
        self.decision.change(event);
        // Stored in the same batch, the record has its next version.
        self.newest = None;
    }

    /// Decides about one slot that may run: backoff first, then the overlap policy.
    fn fire(&mut self, slot: Timestamp, moment: &mut Moment) {
        let due = self.job.jitter().after(slot);
        let late = Duration::between(due, moment.now) > ON_TIME;
        let cause = if late { Cause::CatchUp } else { Cause::Schedule };
        if self.job.backoff_until.is_some_and(|until| due < until) {
            return self.skip(slot, Reason::Backoff, moment);
        }
        let active = self.snapshot.active;
        let waiting = active.iter().filter(|run| matches!(run.state, State::Waiting { .. }));
        for retry in waiting {
            self.end(retry, Reason::Superseded, moment);
        }
        let mut others = active.iter().filter(|run| !matches!(run.state, State::Waiting { .. }));
        let queued = active.iter().any(|run| run.state == State::Queued);
        let overlapping = others.next().is_some();
        match self.job.spec.overlap {
            _ if !overlapping => {
                self.job.counters.replaced_streak = 0;
                self.queue(slot, cause, moment);
            }
            Overlap::Allow => self.queue(slot, cause, moment),
            Overlap::Queue if !queued => self.queue(slot, cause, moment),
            Overlap::Skip => self.skip(slot, Reason::Overlap, moment),
            Overlap::Queue => self.skip(slot, Reason::QueueFull, moment),
            Overlap::Replace => self.replace(slot, cause, moment),
        }
    }

    /// Stops what the job is doing; the new run starts after its proven death.
    fn replace(&mut self, slot: Timestamp, cause: Cause, moment: &mut Moment) {
        if self.job.counters.replaced_streak >= MAX_REPLACED {
            let subject = Subject { job: Some(self.job.id), ..Subject::default() };
            let message = format!(
                "job {} was replaced {MAX_REPLACED} times in a row before it could finish",
                self.job.key
            );
            let alert = moment.tell().alert("replace_limit", &message, subject);
            self.decision.change(alert);
            self.job.counters.replaced_streak = 0;
            return self.skip(slot, Reason::ReplaceLimit, moment);
        }
        for run in self.snapshot.active {
            match run.state {
                State::Queued => self.end(run, Reason::Replaced, moment),
                State::Running { .. } if run.cancel.is_none() => {
                    let cancel = CancelRequest { reason: Reason::Replaced, at: moment.now };
                    self.decision.change(Run { cancel: Some(cancel), ..run.clone() });
                    self.decision.effects.push(Effect::Stop(run.id));
                }
                _ => {}
            }
        }
        self.job.counters.replaced_streak += 1;
        self.queue(slot, cause, moment);
    }

    fn skip(&mut self, slot: Timestamp, reason: Reason, moment: &mut Moment) {
        let outcome = Outcome::Skipped;
        self.pass(Passed { from: slot, to: slot, count: 1, outcome, reason }, moment);
    }

    fn queue(&mut self, slot: Timestamp, cause: Cause, moment: &mut Moment) {
        let run = new_run(&mut self.job, self.snapshot, Some(slot), cause, moment);
        self.job.last_slot = Some(slot);
        self.queued = true;
        let event = moment.tell().run(EventType::RunQueued, &run);
        self.decision.change(run);
        self.decision.change(event);
        // A later range does not go on from a run that is executed.
        self.newest = None;
    }

    /// Ends a run of the job that has not started.
    fn end(&mut self, run: &Run, reason: Reason, moment: &mut Moment) {
        let ended = ending::unstarted(run, reason, &mut self.job.counters, moment);
        self.decision.merge(ended);
    }

    /// Moves the job to its next slot.
    fn close(
        mut self,
        last: Option<Timestamp>,
        next: Option<Timestamp>,
        moment: &mut Moment,
    ) -> Decision {
        self.job.last_slot = self.job.last_slot.max(last);
        self.job.next_slot = next;
        let idle = !self.queued && !self.snapshot.active.iter().any(Run::is_active);
        if next.is_none() && idle {
            let done = ending::done(&mut self.job, moment);
            self.decision.change(done);
        }
        self.decision.change(self.job);
        self.decision
    }
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
    run.turn = snapshot.turn.max(job.last_turn + 1);
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
    }
}

fn blank_run(job: &Job, slot: Option<Timestamp>, cause: Cause, moment: &mut Moment) -> Run {
    let id = moment.ids.mint();
    Run {
        id,
        job: Some(job.id),
        job_key: Some(job.key.clone()),
        agent: job.spec.agent.clone(),
        session_key: match &job.spec.target {
            Target::Isolated => SessionKey::for_run(&job.spec.agent, &job.key, id),
            Target::Main => SessionKey::main(&job.spec.agent),
            Target::Key(key) => key.clone(),
        },
        slot,
        range: None,
        attempt: 1,
        failures: 0,
        interruptions: 0,
        retry_of: None,
        turn: 0,
        alone: cause == Cause::CatchUp || job.spec.overlap != Overlap::Allow,
        cause,
        state: State::Queued,
        input: None,
        session: None,
        shim: None,
        cancel: None,
        queued_at: moment.now,
        started_at: None,
        error: None,
        output: None,
        stderr: None,
        usage: None,
        version: crate::change::Version::NEW,
    }
}
