//! What follows the end of a run: its session's end, the retry, the job's counters, in one commit.

use crate::change::{Decision, Effect};
use crate::duration::Duration;
use crate::event::EventType;
use crate::id::UsageId;
use crate::job::{
    AUTO_DISABLE_AFTER, Counters, DEFAULT_TEMPORARY_RETRIES, Job, OnInterrupt, SuspendedBy,
    Suspension,
};
use crate::key::SessionKey;
use crate::plan::{Moment, slots};
use crate::run::{
    self, CancelRequest, Cause, MAX_INTERRUPTIONS, Outcome, Reason, Rejected, Run, RunError, State,
};
use crate::session::{self, EndReason, Session};
use crate::usage::{self, Spent, Usage};

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The run that ends.
    pub run: &'a Run,
    /// Its session, if it has one.
    pub session: Option<&'a Session>,
    /// Its job, unless it has none or the job's record is gone.
    pub job: Option<&'a Job>,
    /// The other runs of the job that have not ended.
    pub others: &'a [Run],
}

/// How a run came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// What went wrong.
    pub error: Option<RunError>,
    /// The answer.
    pub output: Option<String>,
    /// The end of stderr.
    pub stderr: Option<String>,
    /// What it took, report by report.
    pub spent: Vec<Spent>,
    /// What the agent says about a retry.
    pub retry: RetryWish,
}

/// What the agent says about a retry of a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetryWish {
    /// Nothing: the job's policy decides.
    #[default]
    Policy,
    /// The failure is worth retrying (exit code 75).
    Temporary,
    /// As `Temporary`, after this time.
    After(Duration),
    /// It is not.
    Never,
}

impl Ending {
    /// An end without output.
    pub fn plain(outcome: Outcome, reason: Reason) -> Self {
        Self {
            outcome,
            reason,
            error: None,
            output: None,
            stderr: None,
            spent: Vec::new(),
            retry: RetryWish::Policy,
        }
    }
}

/// Ends a run with everything that follows from it.
///
/// # Errors
///
/// [`Rejected`] when the run's state does not allow this outcome, for instance because it has
/// already ended.
pub fn end_run(
    snapshot: Snapshot<'_>,
    ending: Ending,
    moment: &mut Moment,
) -> Result<Decision, Rejected> {
    let Snapshot { run, session, job, others } = snapshot;
    let follow_up = follow_up(snapshot, &ending, moment);
    let (outcome, reason) = match follow_up {
        FollowUp::CrashLoop => (Outcome::Failed, Reason::CrashLoop),
        FollowUp::None | FollowUp::Retry(_) => (ending.outcome, ending.reason),
    };
    let state = run.state.next(run::Event::End { at: moment.now, outcome, reason })?;
    let mut decision = Decision::default();
    if let Some(session) = session.filter(|session| session.is_open()) {
        decision.merge(leave(session, run, &ending, moment));
    }
    let took = usage::total(&ending.spent);
    for report in ending.spent {
        decision.change(reported(run, report, moment));
    }
    let ended = Run {
        state,
        error: ending.error,
        output: ending.output,
        stderr: ending.stderr,
        usage: took,
        ..run.clone()
    };
    let retry = match follow_up {
        FollowUp::Retry(state) => Some(retry_run(&ended, state, moment)),
        FollowUp::None | FollowUp::CrashLoop => None,
    };
    let mut told = moment.tell().run_over(&ended);
    // Its record has no owner any more; who hears of it wants to know whose it was.
    told.subject.epoch = run.owner().map(|owner| owner.epoch);
    decision.change(told);
    decision.change(ended);
    if let Some(job) = job.filter(|job| job.removed_at.is_none()) {
        let end = End { run, outcome, retry: retry.as_ref(), others };
        decision.merge(count(job, end, moment));
    }
    if let Some(retry) = retry {
        decision.change(moment.tell().run(EventType::RunQueued, &retry));
        decision.change(retry);
    }
    Ok(decision)
}

/// The record of what a line of a run's report says that it took.
fn reported(run: &Run, spent: Spent, moment: &Moment) -> Usage {
    Usage {
        id: UsageId::of(run.id, spent.line),
        at: moment.now,
        job: run.job,
        agent: run.agent.clone(),
        run: run.id,
        session: run.session,
        model: spent.model,
        tokens: spent.tokens,
        imported_at: None,
    }
}

/// The run leaves its session. An isolated session ends with its run; a persistent one only if that
/// was asked for meanwhile, or if its owner died with it.
fn leave(session: &Session, run: &Run, ending: &Ending, moment: &mut Moment) -> Decision {
    let isolated = session.run == Some(run.id);
    let over = isolated || session.closing.is_some() || is_crash(ending.reason);
    let left = Session {
        active_at: (!isolated).then_some(moment.now),
        usage: usage::plus(session.usage, usage::total(&ending.spent)),
        ..session.clone()
    };
    if over {
        let reason = session_reason(ending.outcome, ending.reason);
        return end_session(&left, session.closing.unwrap_or(reason), moment);
    }
    let mut decision = Decision::default();
    decision.change(left);
    decision
}

/// Ends an open session and tells it.
pub fn end_session(session: &Session, reason: EndReason, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    let event = session::Event::End { at: moment.now, reason };
    if let Ok(state) = session.state.next(event) {
        // The reaper's first look sets the true time, by the policy of then.
        let ended = Session { state, expires_at: Some(moment.now), ..session.clone() };
        decision.change(moment.tell().session(EventType::SessionEnded, &ended));
        decision.change(ended);
    }
    decision
}

/// Ends a queued or waiting run as cancelled. The caller stores the job with its counters.
pub(super) fn unstarted(
    run: &Run,
    reason: Reason,
    counters: &mut Counters,
    moment: &mut Moment,
) -> Decision {
    let mut decision = Decision::default();
    let end = run::Event::End { at: moment.now, outcome: Outcome::Cancelled, reason };
    if let Ok(state) = run.state.next(end) {
        counters.cancelled += 1;
        let ended = Run { state, ..run.clone() };
        decision.change(moment.tell().run_over(&ended));
        decision.change(ended);
    }
    decision
}

/// Ends the runs of these that have not started. The caller stores the job with its counters.
pub(super) fn clear(
    active: &[Run],
    reason: Reason,
    counters: &mut Counters,
    moment: &mut Moment,
) -> Decision {
    let mut decision = Decision::default();
    for run in active.iter().filter(|run| run.owner().is_none()) {
        decision.merge(unstarted(run, reason, counters, moment));
    }
    decision
}

/// Takes a job off its schedule: what is due is missed, what has not started is cancelled. The
/// caller says in the job's record why it is inactive, and stores it.
pub(super) fn halt(job: &mut Job, active: &[Run], reason: Reason, moment: &mut Moment) -> Decision {
    let mut decision = slots::forgo(job, reason, moment);
    decision.merge(clear(active, reason, &mut job.counters, moment));
    decision
}

/// Asks the runner of a running run to stop; asking twice changes nothing.
pub(super) fn stop(run: &Run, reason: Reason, moment: &Moment) -> Decision {
    let mut decision = Decision::default();
    if run.cancel.is_none() {
        let cancel = CancelRequest { reason, at: moment.now };
        decision.change(Run { cancel: Some(cancel), ..run.clone() });
    }
    decision.effects.push(Effect::Stop(run.id));
    decision
}

/// Marks a job of which nothing is active as done, if it has no further slot.
pub(super) fn done(job: &mut Job, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    if job.next_slot.is_none() && job.done_at.is_none() {
        job.done_at = Some(moment.now);
        decision.change(moment.tell().job(EventType::JobDone, job));
    }
    decision
}

/// The session's reason that goes with a run's end.
fn session_reason(outcome: Outcome, reason: Reason) -> EndReason {
    match (outcome, reason) {
        (Outcome::Ok | Outcome::Skipped, _) => EndReason::Completed,
        (Outcome::TimedOut, _) => EndReason::TimedOut,
        (Outcome::Cancelled, _) => EndReason::Cancelled,
        (Outcome::Interrupted, Reason::Shutdown) => EndReason::Shutdown,
        (Outcome::Interrupted, Reason::Restart) => EndReason::Restart,
        (Outcome::Interrupted, _) => EndReason::Interrupted,
        _ => EndReason::Failed,
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum FollowUp {
    None,
    Retry(State),
    CrashLoop,
}

/// Whether another attempt follows, and in which state it is born.
fn follow_up(snapshot: Snapshot<'_>, ending: &Ending, moment: &Moment) -> FollowUp {
    let Snapshot { run, job, others, .. } = snapshot;
    let Some(job) = job.filter(|job| job.is_active()) else { return FollowUp::None };
    // A later slot that already waits to start takes the place of a retry of this one, unless all
    // of them are made up for.
    let superseded = others.iter().any(|other| {
        other.state == State::Queued && other.cause != Cause::CatchUp && other.slot > run.slot
    });
    if superseded || run.cancel.is_some() {
        return FollowUp::None;
    }
    match (ending.outcome, ending.reason) {
        (Outcome::Interrupted, reason) if job.spec.on_interrupt == OnInterrupt::Retry => {
            let crashes = run.interruptions + u32::from(is_crash(reason));
            match crashes {
                ..MAX_INTERRUPTIONS => FollowUp::Retry(State::Queued),
                _ => FollowUp::CrashLoop,
            }
        }
        (Outcome::Failed | Outcome::TimedOut, _) => {
            let temporary = matches!(ending.retry, RetryWish::Temporary | RetryWish::After(_));
            let unset = if temporary { DEFAULT_TEMPORARY_RETRIES } else { 0 };
            let budget = job.spec.retries.unwrap_or(unset);
            let tired = failing_streak(job, run) >= AUTO_DISABLE_AFTER;
            if tired || ending.retry == RetryWish::Never || run.failures >= budget {
                return FollowUp::None;
            }
            let delay = match ending.retry {
                RetryWish::After(delay) => delay,
                _ => job.spec.backoff.delay(run.failures + 1),
            };
            FollowUp::Retry(State::Waiting { until: delay.after(moment.now) })
        }
        _ => FollowUp::None,
    }
}

/// The job's failing streak after a failure of this run. It counts slots, not attempts, and counts
/// a slot when it fails first: a retry that is superseded would else leave no trace.
fn failing_streak(job: &Job, run: &Run) -> u32 {
    job.counters.failing_streak + u32::from(run.failures == 0)
}

fn is_crash(reason: Reason) -> bool {
    matches!(reason, Reason::Crash | Reason::NodeLost)
}

/// The next attempt of a run that has just ended.
fn retry_run(run: &Run, state: State, moment: &mut Moment) -> Run {
    let id = moment.ids.mint();
    let interrupted = run.outcome() == Some(Outcome::Interrupted);
    let crashed = interrupted && run.reason().is_some_and(is_crash);
    let session_key = match run.job_key.as_ref().filter(|_| run.is_isolated()) {
        Some(job) => SessionKey::for_run(&run.agent, job, id),
        None => run.session_key.clone(),
    };
    Run {
        job: run.job,
        job_key: run.job_key.clone(),
        slot: run.slot,
        range: run.range,
        attempt: run.attempt + 1,
        failures: run.failures + u32::from(!interrupted),
        interruptions: run.interruptions + u32::from(crashed),
        retry_of: Some(run.id),
        turn: run.turn + 1,
        alone: run.alone,
        state,
        input: run.input.clone(),
        ..Run::queued(id, run.agent.clone(), session_key, Cause::Retry, moment.now)
    }
}

/// The end of a run as its job's books see it.
struct End<'a> {
    run: &'a Run,
    outcome: Outcome,
    retry: Option<&'a Run>,
    others: &'a [Run],
}

/// Keeps the job's books: counters, the failing streak, its rest, suspension and being done.
fn count(job: &Job, end: End<'_>, moment: &mut Moment) -> Decision {
    let End { run, outcome, retry, others } = end;
    let mut decision = Decision::default();
    let mut job = job.clone();
    let mut idle = retry.is_none() && others.is_empty();
    let counters = &mut job.counters;
    match outcome {
        Outcome::Ok => counters.ok += 1,
        Outcome::Failed => counters.failed += 1,
        Outcome::TimedOut => counters.timed_out += 1,
        Outcome::Cancelled => counters.cancelled += 1,
        Outcome::Interrupted => counters.interrupted += 1,
        Outcome::Skipped => counters.skipped += 1,
        Outcome::Missed | Outcome::Coalesced => {}
    }
    match outcome {
        Outcome::Ok | Outcome::Skipped => {
            counters.failing_streak = 0;
            counters.replaced_streak = 0;
            counters.missed_streak = 0;
            job.backoff_until = None;
        }
        Outcome::Failed | Outcome::TimedOut => {
            job.counters.failing_streak = failing_streak(&job, run);
            if retry.is_none() {
                let rest = job.spec.backoff.delay(job.counters.failing_streak);
                job.backoff_until = Some(rest.after(moment.now));
            }
            if job.counters.failing_streak >= AUTO_DISABLE_AFTER && job.is_active() {
                decision.merge(auto_disable(&mut job, others, moment));
                idle = others.iter().all(|other| other.owner().is_none());
            }
        }
        Outcome::Cancelled | Outcome::Interrupted | Outcome::Missed | Outcome::Coalesced => {}
    }
    job.last_turn = job.last_turn.max(retry.map_or(0, |retry| retry.turn));
    if idle {
        decision.merge(done(&mut job, moment));
    }
    decision.change(job);
    decision
}

fn auto_disable(job: &mut Job, others: &[Run], moment: &mut Moment) -> Decision {
    let mut decision = halt(job, others, Reason::JobDisabled, moment);
    job.suspension = Some(Suspension { by: SuspendedBy::AutoDisable, since: moment.now });
    decision.change(moment.tell().job(EventType::JobDisabled, job));
    decision
}

#[cfg(test)]
mod tests;
