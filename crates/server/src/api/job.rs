//! Jobs and their slots on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sexton_domain::id::JobId;
use sexton_domain::job;
use sexton_domain::name::JobKey;
use sexton_domain::schedule::Schedule;

use super::JobSpec;
use super::origin::Origin;
use super::schema::Id;

/// A job: what its owner says (`spec`), and what Sexton says about it (the rest).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Stable over edits.
    #[schemars(with = "Id")]
    pub id: JobId,
    /// Unique among jobs that are not removed.
    #[schemars(with = "String")]
    pub key: JobKey,
    /// `api`, or the name of the config source that declares it.
    pub source: String,
    /// In the form that `POST` and `PUT` take. Lists leave out the prompt.
    pub spec: JobSpec,
    /// The schedule in words: `0 7 * * * Europe/Berlin`.
    pub schedule: String,
    /// The first slot of the grid, for `every`.
    pub anchor: Option<Timestamp>,
    /// Whether its slots are started: enabled, not suspended, not done, not removed.
    pub active: bool,
    /// Why it does not run for now.
    pub suspension: Option<Suspension>,
    /// The next slot that is not accounted for.
    pub next_slot: Option<Timestamp>,
    /// When that slot starts: with offset and jitter, and only while the job is active.
    pub next_at: Option<Timestamp>,
    /// The newest slot that is accounted for.
    pub last_slot: Option<Timestamp>,
    /// Slots before this are skipped because the job keeps failing.
    pub backoff_until: Option<Timestamp>,
    /// What became of its slots so far.
    pub counters: Counters,
    /// When its only slot was over.
    pub done_at: Option<Timestamp>,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When its spec last changed.
    pub updated_at: Timestamp,
    /// How often its spec changed, from 1; the `ETag`.
    pub revision: u32,
    /// Where it came from, if it was brought in from another system. Lists leave out its data.
    pub origin: Option<Origin>,
}

/// Why an enabled job does not run for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspension {
    /// `operator` or `auto_disable`.
    #[schemars(with = "String")]
    pub by: job::SuspendedBy,
    /// Since when.
    pub since: Timestamp,
}

/// What became of a job's slots so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Ended well.
    pub ok: u64,
    /// Ended badly, each attempt.
    pub failed: u64,
    /// Reached a deadline, each attempt.
    pub timed_out: u64,
    /// Were cancelled.
    pub cancelled: u64,
    /// Were cut off by a crash, a shutdown or a lost node.
    pub interrupted: u64,
    /// Slots that were skipped.
    pub skipped: u64,
    /// Slots that were missed.
    pub missed: u64,
    /// Slots that were merged into a later one.
    pub coalesced: u64,
    /// Failures in a row.
    pub failing_streak: u32,
}

/// How a job came to be as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Placed {
    /// It is new.
    Added,
    /// It was changed.
    Changed,
    /// It was like that.
    Unchanged,
}

/// What `POST /v1/jobs?dry_run=true` would do. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobPreview {
    /// What would become of the job.
    pub placed: Placed,
    /// The spec as it would be stored, with every default.
    pub spec: JobSpec,
    /// The schedule in words.
    pub schedule: String,
    /// Its next slots. The jitter of a new job depends on its id, which it does not have yet: it is
    /// left out and mentioned in the notes.
    pub next: Vec<Slot>,
}

/// One slot to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// The instant that identifies it.
    pub slot: Timestamp,
    /// When its run starts: the slot with the job's offset and jitter.
    pub at: Timestamp,
    /// Local time, changes of clock, offset, jitter; only with `explain`.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The next slots of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slots {
    /// In order; empty when there will be no more.
    pub items: Vec<Slot>,
    /// False when the job would not start them as it stands; `note` says why.
    pub active: bool,
    /// Why there are none, or why none would start.
    pub note: Option<String>,
}

impl Job {
    /// Without the prompt and the data of its origin, which may be large, for lists.
    #[must_use]
    pub fn listed(mut self) -> Self {
        self.spec.prompt = None;
        if let Some(origin) = &mut self.origin {
            origin.data = Value::Null;
        }
        self
    }
}

impl From<&job::Job> for Job {
    fn from(job: &job::Job) -> Self {
        let anchor = match job.spec.schedule {
            Schedule::Every { anchor, .. } => Some(anchor),
            _ => None,
        };
        Self {
            id: job.id,
            key: job.key.clone(),
            source: job.source.to_string(),
            spec: JobSpec { key: Some(job.key.to_string()), ..JobSpec::from(&job.spec) },
            schedule: job.spec.schedule.describe(),
            anchor,
            active: job.is_active(),
            suspension: job.suspension.map(|it| Suspension { by: it.by, since: it.since }),
            next_slot: job.next_slot,
            next_at: job.due_at(),
            last_slot: job.last_slot,
            backoff_until: job.backoff_until,
            counters: Counters::from(job.counters),
            done_at: job.done_at,
            removed_at: job.removed_at,
            created_at: job.created_at,
            updated_at: job.updated_at,
            revision: job.revision,
            origin: job.origin.as_ref().map(Origin::from),
        }
    }
}

impl From<job::Counters> for Counters {
    fn from(counters: job::Counters) -> Self {
        Self {
            ok: counters.ok,
            failed: counters.failed,
            timed_out: counters.timed_out,
            cancelled: counters.cancelled,
            interrupted: counters.interrupted,
            skipped: counters.skipped,
            missed: counters.missed,
            coalesced: counters.coalesced,
            failing_streak: counters.failing_streak,
        }
    }
}
