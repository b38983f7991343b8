//! Jobs: a schedule, a prompt, an agent and policies.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::duration::{Duration, Keep};
use crate::id::JobId;
use crate::key::SessionKey;
use crate::name::{AgentName, JobKey};
use crate::origin::Origin;
use crate::retry::Backoff;
use crate::schedule::{self, Schedule};
use crate::when;

/// A job is suspended after this many failures in a row.
pub const AUTO_DISABLE_AFTER: u32 = 10;
/// So many failed slots in a row raise an alert.
pub const FAILING_STREAK: u32 = 2;
/// The longest prompt, in bytes.
pub const MAX_PROMPT_BYTES: usize = 1024 * 1024;
/// How often a failure that asks for it is retried where the job names no number.
pub const DEFAULT_TEMPORARY_RETRIES: u32 = 3;

/// An offset is shorter than this.
const OFFSET_LIMIT: Duration = Duration::from_secs(86_400);

/// Why a delay is no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a delay must be shorter than a day")]
pub struct OffsetTooLong;

/// A delay as the offset of a job.
///
/// # Errors
///
/// [`OffsetTooLong`] of a day or more: that is another schedule.
pub fn offset(delay: Duration) -> Result<Duration, OffsetTooLong> {
    if delay < OFFSET_LIMIT { Ok(delay) } else { Err(OffsetTooLong) }
}

/// Who declared a job and may change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Made by command or over HTTP.
    Api,
    /// Declared in the config source of this name.
    Config(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api => f.write_str("api"),
            Self::Config(name) => f.write_str(name),
        }
    }
}

/// Which session a job's runs use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A session of its own for each run.
    #[default]
    Isolated,
    /// The agent's main session.
    Main,
    /// The session behind this key.
    Key(SessionKey),
}

/// What happens to a slot that comes due while an earlier run of the job is active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The slot is skipped.
    #[default]
    Skip,
    /// It waits; at most one does.
    Queue,
    /// The earlier run is stopped, and the new one starts after its proven death.
    Replace,
    /// Both run.
    Allow,
}

/// What happens to slots that passed while nobody could start them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// They are missed.
    Skip,
    /// The newest runs late, the others are coalesced into it.
    #[default]
    Latest,
    /// The newest hundred run, one after the other; older ones are missed.
    All,
    /// As [`Misfire::Latest`] where the newest is no older than this; else all are missed.
    Within(Duration),
}

/// What happens to a slot whose run was interrupted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// Nothing more: the work may have been half done.
    #[default]
    Fail,
    /// It runs again: at least once.
    Retry,
}

/// How long a job's sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retain {
    /// By age since the end, or for ever.
    Keep(Keep),
    /// Successful ones go at once; the others by their kind's policy.
    OnFailure,
}

/// A job's own retention; what it leaves open follows the session's kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// By age.
    pub retain: Option<Retain>,
    /// The newest ones stay whatever their age.
    pub keep_last: Option<u32>,
    /// The newest failed ones stay whatever their age.
    pub keep_last_failures: Option<u32>,
    /// No more than this many ended ones stay, whatever their age.
    pub max_sessions: Option<u32>,
}

/// What its owner says about a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// For people.
    pub name: Option<String>,
    /// Who works.
    pub agent: AgentName,
    /// When.
    pub schedule: Schedule,
    /// Delays each slot by a fixed part of this, different from job to job. Zero is none.
    pub jitter: Duration,
    /// Delays each slot by this, beside the jitter; see [`offset`].
    #[serde(default, skip_serializing_if = "is_none")]
    pub offset: Duration,
    /// What the agent is told, at most [`MAX_PROMPT_BYTES`].
    pub prompt: String,
    /// Where it works.
    pub target: Target,
    /// The deadline of a run; else the agent's.
    pub timeout: Option<Duration>,
    /// The longest silence; else the agent's.
    pub idle_timeout: Option<Duration>,
    /// See [`Overlap`].
    pub overlap: Overlap,
    /// See [`Misfire`].
    pub misfire: Misfire,
    /// How often a failure is retried. Where it says nothing, failures that ask for it (exit code
    /// 75) are retried [`DEFAULT_TEMPORARY_RETRIES`] times and others not at all.
    pub retries: Option<u32>,
    /// The waits between retries, and between slots while a job keeps failing.
    pub backoff: Backoff,
    /// See [`OnInterrupt`].
    pub on_interrupt: OnInterrupt,
    /// See [`Retention`].
    pub retention: Retention,
    /// Whether it runs at all.
    pub enabled: bool,
}

/// A job without an offset is stored as one from before there were offsets.
fn is_none(offset: &Duration) -> bool {
    offset.is_zero()
}

impl Spec {
    /// The key of the session that its runs share; none if each has its own.
    pub fn shared_key(&self) -> Option<SessionKey> {
        match &self.target {
            Target::Isolated => None,
            Target::Main => Some(SessionKey::main(&self.agent)),
            Target::Key(key) => Some(key.clone()),
        }
    }
}

/// Why an enabled job does not run for now. Survives a config reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// By whom.
    pub by: SuspendedBy,
    /// Since when.
    pub since: Timestamp,
}

/// Who suspended a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspendedBy {
    /// A person.
    Operator,
    /// [`AUTO_DISABLE_AFTER`] failures in a row.
    AutoDisable,
}

/// What became of a job's slots so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Slots in a row that failed, each counted once, with its first failure.
    pub failing_streak: u32,
    /// Replacements in a row.
    pub replaced_streak: u32,
    /// Slots that were missed since a run of the job last ended well.
    #[serde(default)]
    pub missed_streak: u64,
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Stable over edits.
    pub id: JobId,
    /// Unique among jobs that are not removed.
    pub key: JobKey,
    /// Who may change it.
    pub source: Source,
    /// What its owner says.
    pub spec: Spec,
    /// Why it does not run for now.
    pub suspension: Option<Suspension>,
    /// The next slot that is not accounted for; none when there will be no more.
    pub next_slot: Option<Timestamp>,
    /// The newest slot that is accounted for.
    pub last_slot: Option<Timestamp>,
    /// Slots before this are skipped because the job keeps failing.
    pub backoff_until: Option<Timestamp>,
    /// The turn of the newest run that was queued for it.
    pub last_turn: u64,
    /// So far.
    pub counters: Counters,
    /// A one-shot whose slot is over.
    pub done_at: Option<Timestamp>,
    /// The tombstone.
    pub removed_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When its spec last changed.
    pub updated_at: Timestamp,
    /// How often its spec changed, from 1.
    pub revision: u32,
    /// Its retention was edited, and the sessions it has are still indexed by the one before.
    #[serde(default)]
    pub reindex: bool,
    /// Where it came from, if it was brought in from another system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// For compare-and-swap.
    pub version: Version,
}

impl Job {
    /// Whether slots of it are started.
    pub fn is_active(&self) -> bool {
        self.spec.enabled
            && self.suspension.is_none()
            && self.done_at.is_none()
            && self.removed_at.is_none()
    }

    /// Whether something about it needs a look: its streaks, its suspension.
    pub fn is_troubled(&self) -> bool {
        let auto_disabled =
            self.suspension.is_some_and(|suspension| suspension.by == SuspendedBy::AutoDisable);
        self.removed_at.is_none()
            && (auto_disabled
                || self.counters.failing_streak >= FAILING_STREAK
                || self.counters.missed_streak > 0
                || self.counters.replaced_streak >= crate::plan::slots::MAX_REPLACED)
    }

    /// The part of its delay that is drawn from its id.
    pub fn jitter(&self) -> Duration {
        schedule::jitter(self.id.uuid(), self.spec.jitter)
    }

    /// By how much each of its slots is delayed: its offset and its jitter.
    pub fn delay(&self) -> Duration {
        self.spec.offset.saturating_add(self.jitter())
    }

    /// When the scheduler has to look at it: its next slot plus its delay, while it is active.
    pub fn due_at(&self) -> Option<Timestamp> {
        let slot = self.next_slot.filter(|_| self.is_active())?;
        Some(self.delay().after(slot))
    }

    /// The first slot after both `now` and every slot that is already accounted for: it never
    /// goes back, whatever the clock does.
    pub fn slot_after(&self, now: Timestamp) -> Option<Timestamp> {
        let floor = self.last_slot.map_or(now, |last| last.max(now));
        self.spec.schedule.next(floor)
    }

    /// The first slot of a job that is added, rescheduled or resumed: the first that is not accounted
    /// for and, with its delay, still to come. A one-shot may be as late as a time that is read.
    pub fn first_slot(&self, now: Timestamp) -> Option<Timestamp> {
        let grace = if self.spec.schedule.is_once() { when::GRACE } else { Duration::ZERO };
        self.slot_after(self.delay().saturating_add(grace).before(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_shorter_than_a_day() {
        let day = Duration::from_secs(86_400);
        let just_below = Duration::from_millis(day.as_millis() - 1);
        assert_eq!(offset(Duration::ZERO), Ok(Duration::ZERO));
        assert_eq!(offset(just_below), Ok(just_below));
        assert_eq!(offset(day), Err(OffsetTooLong));
    }
}
