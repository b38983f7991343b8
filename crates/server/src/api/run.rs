//! Runs on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::duration::Duration;
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::run::{self, Cause, Outcome, Reason, State};

use super::origin::Origin;
use super::schema::{Id, OutcomeWord, word};
use super::usage::Usage;

/// One execution, or the record of slots that were not executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Never reused.
    #[schemars(with = "Id")]
    pub id: RunId,
    /// Its job; null for messages.
    #[schemars(with = "Option<Id>")]
    pub job_id: Option<JobId>,
    /// That job's key at the time.
    #[schemars(with = "Option<String>")]
    pub job_key: Option<JobKey>,
    /// Who works.
    #[schemars(with = "String")]
    pub agent: AgentName,
    /// Its session, from its start.
    #[schemars(with = "Option<Id>")]
    pub session_id: Option<SessionId>,
    /// Where it works.
    #[schemars(with = "String")]
    pub session_key: SessionKey,
    /// `schedule`, `catch_up`, `retry`, `manual` or `message`.
    #[schemars(with = "String")]
    pub cause: Cause,
    /// The slot it accounts for; null for manual runs and messages.
    pub slot: Option<Timestamp>,
    /// Set when the record stands for several slots that met the same fate.
    pub range: Option<Range>,
    /// From 1, over the retries of one slot or trigger.
    pub attempt: u32,
    /// What the retry policy has spent.
    pub failures: u32,
    /// The attempt before this one.
    #[schemars(with = "Option<Id>")]
    pub retry_of: Option<RunId>,
    /// Where it stands.
    pub state: RunState,
    /// How it ended.
    #[schemars(with = "Option<OutcomeWord>")]
    pub outcome: Option<Outcome>,
    /// Why it has its outcome: `exit`, `deadline`, `operator`, `overlap`, …
    #[schemars(with = "Option<String>")]
    pub reason: Option<Reason>,
    /// When it was made.
    pub queued_at: Timestamp,
    /// A retry rests until then.
    pub not_before: Option<Timestamp>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it is stopped at the latest, while it runs.
    pub deadline: Option<Timestamp>,
    /// When somebody asked it to stop.
    pub cancel_requested_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// From start to end.
    pub duration_ms: Option<u64>,
    /// What went wrong.
    pub error: Option<RunError>,
    /// What it took, as far as the agent reported it.
    pub usage: Option<Usage>,
}

/// A run with everything that is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDetail {
    /// As in lists.
    #[serde(flatten)]
    pub run: Run,
    /// What happened to it, in order.
    pub timeline: Vec<TimelineEntry>,
    /// What the agent was told; null for slots that were not executed.
    pub prompt: Option<String>,
    /// The job's revision when the run was made.
    pub job_revision: Option<u32>,
    /// The deadline, counted from the start.
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
    /// The longest silence.
    #[schemars(with = "Option<String>")]
    pub idle_timeout: Option<Duration>,
    /// The answer, at most 64 KiB; the transcript has all of it.
    pub output: Option<String>,
    /// The end of what the agent wrote to stderr, at most 16 KiB.
    pub stderr: Option<String>,
    /// When it was imported; its retention counts from then.
    pub imported_at: Option<Timestamp>,
    /// Where it came from, if it was imported.
    pub origin: Option<Origin>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// May start as soon as the limits allow.
    Queued,
    /// A retry that rests until `not_before`.
    Waiting,
    /// Has an owner and a deadline.
    Running,
    /// Is over.
    Ended,
}

/// Slots that share a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// The newest slot; the oldest is the run's `slot`.
    pub to: Timestamp,
    /// How many, both ends included.
    pub count: u64,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunError {
    /// A stable word: `exit`, `signal`, `start`, `deadline`, `idle`, `declared`, `interrupted`.
    pub class: String,
    /// For people.
    pub message: String,
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub what: String,
}

impl From<&run::Run> for Run {
    fn from(run: &run::Run) -> Self {
        let (state, not_before, deadline) = match run.state {
            State::Queued => (RunState::Queued, None, None),
            State::Waiting { until } => (RunState::Waiting, Some(until), None),
            State::Running { deadline, .. } => (RunState::Running, None, Some(deadline)),
            State::Ended { .. } => (RunState::Ended, None, None),
        };
        let span = run.started_at.zip(run.ended_at());
        Self {
            id: run.id,
            job_id: run.job,
            job_key: run.job_key.clone(),
            agent: run.agent.clone(),
            session_id: run.session,
            session_key: run.session_key.clone(),
            cause: run.cause,
            slot: run.slot,
            range: run.range.map(|range| Range { to: range.to, count: range.count }),
            attempt: run.attempt,
            failures: run.failures,
            retry_of: run.retry_of,
            state,
            outcome: run.outcome(),
            reason: run.reason(),
            queued_at: run.queued_at,
            not_before,
            started_at: run.started_at,
            deadline,
            cancel_requested_at: run.cancel.map(|cancel| cancel.at),
            ended_at: run.ended_at(),
            duration_ms: span.map(|(start, end)| Duration::between(start, end).as_millis()),
            error: run.error.as_ref().map(|error| RunError {
                class: error.class.clone(),
                message: error.message.clone(),
            }),
            usage: run.usage.map(Usage::from),
        }
    }
}

impl From<&run::Run> for RunDetail {
    fn from(run: &run::Run) -> Self {
        let input = run.input.as_ref();
        Self {
            run: Run::from(run),
            timeline: timeline(run),
            prompt: input.map(|input| input.prompt.clone()),
            job_revision: input.and_then(|input| input.job_revision),
            timeout: input.map(|input| input.timeout),
            idle_timeout: input.and_then(|input| input.idle_timeout),
            output: run.output.clone(),
            stderr: run.stderr.clone(),
            imported_at: run.imported_at,
            origin: run.origin.as_deref().map(Origin::from),
        }
    }
}

fn timeline(run: &run::Run) -> Vec<TimelineEntry> {
    let mut timeline = Vec::new();
    let mut tell = |at: Option<Timestamp>, what: String| {
        timeline.extend(at.map(|at| TimelineEntry { at, what }));
    };
    let attempt = run.attempt;
    tell(run.slot, "the slot came due".to_owned());
    if let Some(range) = run.range {
        tell(Some(range.to), format!("the last of {} slots came due", range.count));
    }
    tell(Some(run.queued_at), format!("attempt {attempt} was made ({})", word(&run.cause)));
    if let State::Waiting { until } = run.state {
        tell(Some(until), "the backoff is over".to_owned());
    }
    tell(run.started_at, "it was started".to_owned());
    tell(run.cancel.map(|it| it.at), "it was asked to stop".to_owned());
    if let State::Ended { at, outcome, reason } = run.state {
        tell(Some(at), format!("it ended {} ({})", word(&outcome), word(&reason)));
    }
    timeline.sort_by_key(|entry| entry.at);
    timeline
}
