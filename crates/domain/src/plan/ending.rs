//! What follows the end of a run: its session's end, the retry, the job's counters, in one commit.

use jiff::Timestamp;

use crate::change::Decision;
use crate::duration::Duration;
use crate::event::{EventType, NewEvent, Subject};
use crate::job::{
    AUTO_DISABLE_AFTER, Counters, DEFAULT_TEMPORARY_RETRIES, Job, OnInterrupt, SuspendedBy,
    Suspension,
};
use crate::key::SessionKey;
use crate::plan::Moment;
use crate::run::{
    self, Cause, MAX_INTERRUPTIONS, Outcome, Reason, Rejected, Run, RunError, State,
};
use crate::session::{self, EndReason, Session};
use crate::usage::Tokens;

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
    /// What it took.
    pub usage: Option<Tokens>,
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
            usage: None,
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
    let Snapshot { run, session, job, .. } = snapshot;
    let retry = follow_up(snapshot, &ending, moment);
    let (mut outcome, mut reason) = (ending.outcome, ending.reason);
    if retry == FollowUp::CrashLoop {
        (outcome, reason) = (Outcome::Failed, Reason::CrashLoop);
    }
    let state = run.state.next(run::Event::End { at: moment.now, outcome, reason })?;
    let ended = Run {
        state,
        error: ending.error,
        output: ending.output,
        stderr: ending.stderr,
        usage: ending.usage,
        ..run.clone()
    };
    let mut decision = Decision::default();
    // An isolated session ends with its run; a persistent one only if its owner died with it.
    let owner_died = matches!(ending.reason, Reason::Crash | Reason::NodeLost);
    let over = session.filter(|session| session.run == Some(run.id) || owner_died);
    if let Some(session) = over {
        let reason = session_reason(ending.outcome, ending.reason);
        decision.merge(end_session(session, reason, moment));
    }
    let event = moment.tell().run_over(&ended);
    decision.change(ended);
    decision.change(event);
    let next = match retry {
        FollowUp::Retry(state) => Some(retry_run(run, outcome, state, moment)),
        FollowUp::None | FollowUp::CrashLoop => None,
    };
    if let Some(job) = job.filter(|job| job.removed_at.is_none()) {
        let idle = next.is_none() && snapshot.others.is_empty();
        let after = After { outcome, retried: next.is_some(), idle };
        decision.merge(count(job, after, moment));
    }
    if let Some(next) = next {
        let event = moment.tell().run(EventType::RunQueued, &next);
        decision.change(next);
        decision.change(event);
    }
    Ok(decision)
}

/// Ends an open session and tells it.
pub fn end_session(session: &Session, reason: EndReason, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    let event = session::Event::End { at: moment.now, reason };
    if let Ok(state) = session.state.next(event) {
        let ended = Session { state, ..session.clone() };
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

/// Marks a job as done: it has no further slot and nothing of it is active.
pub(super) fn done(job: &mut Job, moment: &mut Moment) -> NewEvent {
    job.done_at = Some(moment.now);
    moment.tell().job(EventType::JobDone, job)
}

/// The session's reason that goes with a run's end.
fn session_reason(outcome: Outcome, reason: Reason) -> EndReason {
    match (outcome, reason) {
        (Outcome::Ok, _) => EndReason::Completed,
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
    // A later slot that already waits to start supersedes the retry of this one.
    let superseded = run.cause != Cause::CatchUp
        && others.iter().any(|other| other.state == State::Queued && other.slot > run.slot);
    if superseded || run.cancel.is_some() {
        return FollowUp::None;
    }
    match ending.outcome {
        Outcome::Interrupted if job.spec.on_interrupt == OnInterrupt::Retry => {
            match ending.reason {
                Reason::Crash | Reason::NodeLost if run.interruptions + 1 >= MAX_INTERRUPTIONS => {
                    FollowUp::CrashLoop
                }
                _ => FollowUp::Retry(State::Queued),
            }
        }
        Outcome::Failed | Outcome::TimedOut => {
            let temporary = matches!(ending.retry, RetryWish::Temporary | RetryWish::After(_));
            let unset = if temporary { DEFAULT_TEMPORARY_RETRIES } else { 0 };
            let budget = job.spec.retries.unwrap_or(unset);
            if ending.retry == RetryWish::Never || run.failures >= budget {
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

/// The next attempt of a run that ended with `outcome`.
fn retry_run(run: &Run, outcome: Outcome, state: State, moment: &mut Moment) -> Run {
    let id = moment.ids.mint();
    let interrupted = outcome == Outcome::Interrupted;
    let isolated = |id| run.job_key.as_ref().map(|job| SessionKey::for_run(&run.agent, job, id));
    let session_key = match isolated(run.id) {
        Some(own) if own == run.session_key => isolated(id).unwrap_or(own),
        _ => run.session_key.clone(),
    };
    Run {
        id,
        session_key,
        attempt: run.attempt + 1,
        failures: run.failures + u32::from(!interrupted),
        interruptions: run.interruptions + u32::from(interrupted),
        retry_of: Some(run.id),
        cause: Cause::Retry,
        state,
        session: None,
        shim: None,
        cancel: None,
        queued_at: moment.now,
        started_at: None,
        version: crate::change::Version::NEW,
        ..run.clone()
    }
}

struct After {
    outcome: Outcome,
    retried: bool,
    idle: bool,
}

/// Keeps the job's books: counters, the failing streak, its rest, suspension and being done.
fn count(job: &Job, after: After, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    let mut job = job.clone();
    let counters = &mut job.counters;
    match after.outcome {
        Outcome::Ok => counters.ok += 1,
        Outcome::Failed => counters.failed += 1,
        Outcome::TimedOut => counters.timed_out += 1,
        Outcome::Cancelled => counters.cancelled += 1,
        Outcome::Interrupted => counters.interrupted += 1,
        Outcome::Skipped | Outcome::Missed | Outcome::Coalesced => {}
    }
    match after.outcome {
        Outcome::Ok => {
            counters.failing_streak = 0;
            counters.replaced_streak = 0;
            job.backoff_until = None;
        }
        Outcome::Failed | Outcome::TimedOut if !after.retried => {
            counters.failing_streak += 1;
            job.backoff_until = Some(rest(&job, moment.now));
            if job.counters.failing_streak >= AUTO_DISABLE_AFTER && job.suspension.is_none() {
                decision.merge(auto_disable(&mut job, moment));
            }
        }
        _ => {}
    }
    if after.idle && job.next_slot.is_none() && job.done_at.is_none() {
        decision.change(done(&mut job, moment));
    }
    decision.change(job);
    decision
}

/// When a failing job may run again: slots before that are skipped.
fn rest(job: &Job, now: Timestamp) -> Timestamp {
    job.spec.backoff.delay(job.counters.failing_streak).after(now)
}

fn auto_disable(job: &mut Job, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    job.suspension = Some(Suspension { by: SuspendedBy::AutoDisable, since: moment.now });
    decision.change(moment.tell().job(EventType::JobDisabled, job));
    let message = format!(
        "job {} failed {} times in a row and was disabled; `sexton job enable {}` brings it back",
        job.key, job.counters.failing_streak, job.key
    );
    let subject = Subject { job: Some(job.id), ..Subject::default() };
    decision.change(moment.tell().alert("job_auto_disabled", &message, subject));
    decision
}
