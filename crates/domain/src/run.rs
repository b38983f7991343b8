//! Runs: one execution of a slot, of a manual trigger or of a message, from queued to ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::change::Version;
use crate::duration::Duration;
use crate::id::{JobId, RunId, SessionId};
use crate::key::SessionKey;
use crate::listed::listed;
use crate::name::{AgentName, JobKey};
use crate::node::{Owner, ProcessId};
use crate::origin::{self, Origin};
use crate::usage::Tokens;

/// The longest answer a run's record keeps, in bytes; the transcript has all of it.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// The longest tail of stderr a run's record keeps, in bytes.
pub const MAX_STDERR_BYTES: usize = 16 * 1024;
/// Crashes in the middle of one slot after which it fails instead of running again.
pub const MAX_INTERRUPTIONS: u32 = 3;

listed! {
    /// Why a run exists.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Cause {
        /// Its slot came due.
        Schedule,
        /// Its slot had passed while nobody could start it.
        CatchUp,
        /// An earlier attempt failed or was interrupted.
        Retry,
        /// A person or a program asked.
        Manual,
        /// A message was sent to a session.
        Message,
    }
}

listed! {
    /// How a run ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Outcome {
        /// Success.
        Ok,
        /// Failure.
        Failed,
        /// The deadline or the idle limit was reached.
        TimedOut,
        /// Somebody or a policy stopped it.
        Cancelled,
        /// Cut off by a crash, a stop or the loss of its node.
        Interrupted,
        /// The slot was not started, on purpose, or its agent declared that there was nothing to do.
        Skipped,
        /// The slot passed and is not made up for.
        Missed,
        /// The slot was merged into a later one.
        Coalesced,
    }
}

listed! {
    /// Why a run has its outcome.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Reason {
        /// The agent's exit code or signal.
        Exit,
        /// The agent declared it.
        Declared,
        /// The agent could not be started.
        StartFailed,
        /// The deadline.
        Deadline,
        /// The idle limit.
        IdleLimit,
        /// A person or a program.
        Operator,
        /// A later slot, by the overlap policy `replace`.
        Replaced,
        /// A later slot, while this attempt was still waiting for its backoff.
        Superseded,
        /// Its job was disabled.
        JobDisabled,
        /// Its job was removed.
        JobRemoved,
        /// Its job got another schedule before it was accounted for.
        Rescheduled,
        /// The gateway died.
        Crash,
        /// The node's lease ran out.
        NodeLost,
        /// The gateway was asked to stop.
        Shutdown,
        /// The gateway was asked to restart.
        Restart,
        /// Cut off by [`MAX_INTERRUPTIONS`] crashes.
        CrashLoop,
        /// An earlier run of the job is active.
        Overlap,
        /// One run of the job is already waiting, or as many turns as may on the session key it shares.
        QueueFull,
        /// Too many replacements in a row.
        ReplaceLimit,
        /// The job keeps failing and rests.
        Backoff,
        /// The misfire policy.
        Misfire,
    }
}

impl Reason {
    /// The outcomes that it can be the reason of.
    pub fn outcomes(self) -> &'static [Outcome] {
        use Outcome::{Cancelled, Coalesced, Failed, Interrupted, Missed, Ok, Skipped, TimedOut};
        match self {
            Self::Exit => &[Ok, Failed],
            Self::Declared => &[Ok, Failed, Skipped],
            Self::StartFailed | Self::CrashLoop => &[Failed],
            Self::Deadline | Self::IdleLimit => &[TimedOut],
            Self::Operator | Self::Replaced | Self::Superseded => &[Cancelled],
            Self::JobDisabled | Self::JobRemoved => &[Cancelled, Missed],
            Self::Rescheduled => &[Missed],
            Self::Crash | Self::NodeLost | Self::Shutdown | Self::Restart => &[Interrupted],
            Self::Overlap | Self::QueueFull | Self::ReplaceLimit | Self::Backoff => &[Skipped],
            Self::Misfire => &[Missed, Coalesced],
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// May start as soon as the limits allow.
    Queued,
    /// A retry that rests.
    Waiting {
        /// Until then.
        until: Timestamp,
    },
    /// Claimed by a live owner.
    Running {
        /// By whom.
        owner: Owner,
        /// When it is stopped at the latest.
        deadline: Timestamp,
    },
    /// Over, for good.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// Why.
        reason: Reason,
    },
}

/// What can happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its backoff is over.
    Rested,
    /// A node takes it.
    Claim {
        /// The node.
        owner: Owner,
        /// Its deadline.
        deadline: Timestamp,
    },
    /// It ends.
    End {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// Why.
        reason: Reason,
    },
}

/// A transition that the state machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("apply {event:?} to a run that is {state:?}")]
pub struct Rejected {
    state: State,
    event: Event,
}

impl State {
    /// The only way a run's state moves. Slots that are not started are born ended.
    ///
    /// # Errors
    ///
    /// [`Rejected`] for every pair that is not listed.
    pub fn next(self, event: Event) -> Result<Self, Rejected> {
        use Outcome::{Cancelled, Failed, Interrupted, Ok as Success, Skipped, TimedOut};
        match (self, event) {
            (Self::Waiting { .. }, Event::Rested) => Ok(Self::Queued),
            (Self::Queued, Event::Claim { owner, deadline }) => {
                Ok(Self::Running { owner, deadline })
            }
            (
                Self::Queued | Self::Waiting { .. },
                Event::End { at, outcome: outcome @ Cancelled, reason },
            )
            | (
                Self::Running { .. },
                Event::End {
                    at,
                    outcome:
                        outcome @ (Success | Failed | TimedOut | Cancelled | Interrupted | Skipped),
                    reason,
                },
            ) => Ok(Self::Ended { at, outcome, reason }),
            (state, event) => Err(Rejected { state, event }),
        }
    }

    /// The word for it in lists and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting { .. } => "waiting",
            Self::Running { .. } => "running",
            Self::Ended { .. } => "ended",
        }
    }
}

/// What a run works from: fixed when the run is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What the agent is told.
    pub prompt: String,
    /// How the agent works. Absent if the config did not know the agent when the run was made.
    pub settings: Option<Agent>,
    /// The job's revision at the time.
    pub job_revision: Option<u32>,
    /// The deadline, counted from the start.
    pub timeout: Duration,
    /// The longest silence.
    pub idle_timeout: Option<Duration>,
    /// It opens a fresh session on its key. Absent in rows of version 1.
    #[serde(default)]
    pub fresh: bool,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// A stable word: `exit`, `signal`, `start`, `deadline`, `idle`, `declared`, `interrupted`.
    pub class: String,
    /// For people.
    pub message: String,
}

/// Someone wants the run to stop. Set once, obeyed by the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Why: it becomes the run's reason.
    pub reason: Reason,
    /// Since when.
    pub at: Timestamp,
}

/// More slots than one that met the same fate and share a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The newest slot; the oldest is the run's own `slot`.
    pub to: Timestamp,
    /// How many slots, both ends included.
    pub count: u64,
}

/// One execution, or the record of slots that were not executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Never reused.
    pub id: RunId,
    /// The job; none for messages.
    pub job: Option<JobId>,
    /// That job's key at the time.
    pub job_key: Option<JobKey>,
    /// Who works.
    pub agent: AgentName,
    /// Where it works: at most one run is running on a key.
    pub session_key: SessionKey,
    /// The slot it accounts for; none for manual runs and messages.
    pub slot: Option<Timestamp>,
    /// Set when the record stands for several slots.
    pub range: Option<Range>,
    /// A number that only grows, from 1, over the retries of one slot or trigger.
    pub attempt: u32,
    /// What the retry policy has spent: attempts that failed or timed out before this one.
    pub failures: u32,
    /// Attempts before this one that a crash or the loss of a node cut off.
    pub interruptions: u32,
    /// The attempt before this one.
    pub retry_of: Option<RunId>,
    /// Its place in the queue: lower starts first. See [`crate::plan::admission`].
    pub turn: u64,
    /// It starts only while no other run of its job is running.
    pub alone: bool,
    /// Why it exists.
    pub cause: Cause,
    /// Where it stands.
    pub state: State,
    /// What it works from; none for slots that were not executed.
    pub input: Option<Input>,
    /// Its session, from its start.
    pub session: Option<SessionId>,
    /// The shim that holds its processes.
    pub shim: Option<ProcessId>,
    /// Someone wants it to stop.
    pub cancel: Option<CancelRequest>,
    /// When it was made.
    pub queued_at: Timestamp,
    /// When it was claimed.
    pub started_at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<RunError>,
    /// The answer, at most [`MAX_OUTPUT_BYTES`].
    pub output: Option<String>,
    /// The end of what the agent wrote to stderr, at most [`MAX_STDERR_BYTES`].
    pub stderr: Option<String>,
    /// What it took, as far as the agent reported it.
    pub usage: Option<Tokens>,
    /// Where it came from, if it was brought in from another system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
    /// When it was brought in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_at: Option<Timestamp>,
    /// For compare-and-swap.
    pub version: Version,
}

impl Run {
    /// A first attempt that is queued now, for nobody's slot, without anything to work from yet.
    pub fn queued(
        id: RunId,
        agent: AgentName,
        session_key: SessionKey,
        cause: Cause,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            job: None,
            job_key: None,
            agent,
            session_key,
            slot: None,
            range: None,
            attempt: 1,
            failures: 0,
            interruptions: 0,
            retry_of: None,
            turn: 0,
            alone: false,
            cause,
            state: State::Queued,
            input: None,
            session: None,
            shim: None,
            cancel: None,
            queued_at: now,
            started_at: None,
            error: None,
            output: None,
            stderr: None,
            usage: None,
            origin: None,
            imported_at: None,
            version: Version::NEW,
        }
    }

    /// Whether it is still to be ended.
    pub fn is_active(&self) -> bool {
        !matches!(self.state, State::Ended { .. })
    }

    /// Whether its session is its own and ends with it. Other runs are turns: they share the session
    /// behind their key.
    pub fn is_isolated(&self) -> bool {
        let own = |job| SessionKey::for_run(&self.agent, job, self.id);
        self.job_key.as_ref().is_some_and(|job| own(job) == self.session_key)
    }

    /// Its owner while it runs.
    pub fn owner(&self) -> Option<Owner> {
        match self.state {
            State::Running { owner, .. } => Some(owner),
            _ => None,
        }
    }

    /// Its outcome once it has ended.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// The reason once it has ended.
    pub fn reason(&self) -> Option<Reason> {
        match self.state {
            State::Ended { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Ended { at, .. } => Some(at),
            _ => None,
        }
    }

    /// From when its age counts: its end, or when it was brought in after that.
    pub fn aged_from(&self) -> Option<Timestamp> {
        self.ended_at().map(|at| origin::aged_from(at, self.imported_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Ids;
    use crate::node::Epoch;

    /// P4, P5: every (state, event) pair. What is not in the list of legal ones is rejected.
    #[test]
    fn a_run_moves_only_along_the_listed_transitions() {
        let at = Timestamp::UNIX_EPOCH;
        let owner = Owner { node: Ids::new(at, 1).mint(), epoch: Epoch::new(1, 1) };
        let end = |outcome| Event::End { at, outcome, reason: Reason::Exit };
        let ended = |outcome| State::Ended { at, outcome, reason: Reason::Exit };
        let claim = Event::Claim { owner, deadline: at };
        let running = State::Running { owner, deadline: at };
        let waiting = State::Waiting { until: at };

        let mut legal = vec![
            (waiting, Event::Rested, State::Queued),
            (State::Queued, claim, running),
            (State::Queued, end(Outcome::Cancelled), ended(Outcome::Cancelled)),
            (waiting, end(Outcome::Cancelled), ended(Outcome::Cancelled)),
        ];
        for outcome in [
            Outcome::Ok,
            Outcome::Failed,
            Outcome::TimedOut,
            Outcome::Cancelled,
            Outcome::Interrupted,
            Outcome::Skipped,
        ] {
            legal.push((running, end(outcome), ended(outcome)));
        }

        let states = [State::Queued, waiting, running].into_iter().chain(Outcome::ALL.map(ended));
        let events: Vec<Event> =
            [Event::Rested, claim].into_iter().chain(Outcome::ALL.map(end)).collect();
        let mut accepted = 0;
        for state in states {
            for &event in &events {
                let expected = legal.iter().find(|(s, e, _)| *s == state && *e == event);
                match (state.next(event), expected) {
                    (Ok(next), Some((.., legal))) => {
                        assert_eq!(next, *legal);
                        accepted += 1;
                    }
                    (Err(rejected), None) => assert_eq!(rejected, Rejected { state, event }),
                    (got, _) => panic!("{state:?} + {event:?} gave {got:?}"),
                }
            }
        }
        assert_eq!(accepted, legal.len());
    }
}
