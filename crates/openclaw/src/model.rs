//! What a state folder holds, as it was read: their records, with every field that could be read.
//!
//! Times are instants; a field that is absent, or is no time (not finite, not positive, out of range), is
//! `None`. Names and meanings are OpenClaw's.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::Stamp;

/// Where in a file a record stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The file as a whole.
    Whole,
    /// A line, from 1.
    Line(u64),
    /// The value behind this key of the file's object.
    Key(String),
    /// An element of a list, from 0.
    Index(u64),
    /// A row: the table and its primary key.
    Row(String),
    /// The bytes from here on.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("the whole file"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Key(key) => write!(f, "key {key}"),
            Self::Index(index) => write!(f, "element {index}"),
            Self::Row(row) => write!(f, "row {row}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: String,
}

/// What became of the records of one source: everything that was found is either read or dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records that were handed on.
    pub read: u64,
    /// Records that were not, each with its reason.
    pub dropped: Vec<Dropped>,
    /// Bytes that were looked at.
    pub bytes: u64,
}

/// What a session row says about its last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Under way.
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
    /// Was stopped.
    Killed,
    /// Reached a limit.
    Timeout,
}

impl Status {
    /// In their words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Timeout => "timeout",
        }
    }
}

/// Whether a run that ended then is the one that a session row tells of, by when that one began. An end
/// from before that belongs to an earlier run of the same session.
pub fn is_of_this_run(ended_at: Option<Timestamp>, began_at: Option<Timestamp>) -> bool {
    ended_at.zip(began_at).is_none_or(|(ended_at, began_at)| ended_at >= began_at)
}

/// The transcript file that a session row names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pointer {
    /// None: the file follows from the session id.
    Derived,
    /// The row's `sessionFile` as it stands there.
    Named(Box<str>),
}

impl Pointer {
    /// What the row names.
    pub fn named(&self) -> Option<&str> {
        match self {
            Self::Named(file) => Some(file),
            Self::Derived => None,
        }
    }
}

/// Tokens and cost as a session row or a message has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Tokens read, without cached ones.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
    /// Tokens served from a cache.
    pub cache_read: u64,
    /// Tokens stored in a cache.
    pub cache_write: u64,
    /// US dollars.
    pub cost_usd: f64,
}

/// A row of `sessions.json`, or the `entry_json` of a session node, without its large fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionRow {
    /// The key it stands under.
    pub key: Box<str>,
    /// `sessionId`.
    pub session_id: Option<Box<str>>,
    /// `status`; `None` also for a word that is not one of the five.
    pub status: Option<Status>,
    /// `sessionFile`.
    pub pointer: Pointer,
    /// `updatedAt`.
    pub updated_at: Option<Timestamp>,
    /// `sessionStartedAt`.
    pub session_started_at: Option<Timestamp>,
    /// `startedAt`, of the last run.
    pub started_at: Option<Timestamp>,
    /// `endedAt`, of the last run.
    pub ended_at: Option<Timestamp>,
    /// `abortedLastRun`.
    pub aborted_last_run: bool,
    /// `archivedAt` of a node.
    pub archived_at: Option<Timestamp>,
    /// `pinnedAt` of a node.
    pub pinned_at: Option<Timestamp>,
    /// `label`, else `displayName`.
    pub label: Option<Box<str>>,
    /// `model`.
    pub model: Option<Box<str>>,
    /// `spawnedBy`, else `parentSessionKey`.
    pub parent: Option<Box<str>>,
    /// Other sessions of its key: `usageFamilySessionIds`, and `preCompaction` of `compactionCheckpoints`.
    pub earlier: Vec<Box<str>>,
    /// The token fields; `None` if the row has none of them.
    pub usage: Option<Usage>,
    /// The size of the row's value in bytes.
    pub bytes: u64,
    /// The largest of its fields and that one's size in bytes.
    pub largest: Option<(Box<str>, u64)>,
    /// Where the value stands in its file; empty for rows of a database.
    pub range: Range<u64>,
}

impl SessionRow {
    /// When its last run began.
    pub fn run_began_at(&self) -> Option<Timestamp> {
        self.started_at.or(self.session_started_at)
    }
}

/// When a job of theirs is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Once, at the text as it stands there.
    At(String),
    /// `everyMs` and `anchorMs`.
    Every {
        /// The interval in milliseconds, at least 1.
        every_ms: u64,
        /// The start of the grid.
        anchor_ms: Option<u64>,
    },
    /// `expr`, `tz` and `staggerMs`.
    Cron {
        /// The expression as it stands there.
        expr: String,
        /// The zone's name as it stands there.
        tz: Option<String>,
        /// An explicit stagger in milliseconds.
        stagger_ms: Option<u64>,
    },
    /// A kind without a time: `on-exit`, `stream`.
    Other(String),
}

/// What their scheduler last knew about a job: `state`, `jobs-state.json` or `state_json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JobState {
    /// `nextRunAtMs`.
    pub next_run_at: Option<Timestamp>,
    /// `runningAtMs`.
    pub running_at: Option<Timestamp>,
    /// `lastRunAtMs`.
    pub last_run_at: Option<Timestamp>,
    /// `lastRunStatus`, else `lastStatus`.
    pub last_status: Option<String>,
    /// `lastDurationMs`.
    pub last_duration_ms: Option<u64>,
    /// `lastError`.
    pub last_error: Option<String>,
    /// `consecutiveErrors`.
    pub consecutive_errors: u32,
    /// `runningReceiptId`.
    pub running_receipt: Option<String>,
    /// `autoDisabled` is there.
    pub auto_disabled: bool,
}

/// A job of theirs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRecord {
    /// `id`.
    pub id: String,
    /// `name`.
    pub name: Option<String>,
    /// `declarationKey`: whoever made it declares it again and again.
    pub declaration_key: Option<String>,
    /// `agentId`.
    pub agent: Option<String>,
    /// `enabled`; a missing value is true.
    pub enabled: bool,
    /// `deleteAfterRun`.
    pub delete_after_run: Option<bool>,
    /// `createdAtMs`.
    pub created_at: Option<Timestamp>,
    /// `updatedAtMs`, of the job or of its state row.
    pub updated_at: Option<Timestamp>,
    /// `schedule`, or what is wrong with it.
    pub schedule: Result<Schedule, String>,
    /// `sessionTarget`.
    pub session_target: Option<String>,
    /// `payload.kind`.
    pub payload_kind: Option<String>,
    /// Its state.
    pub state: JobState,
    /// The job as it stands there, its state left out.
    pub raw: Value,
    /// Where in its source.
    pub place: Place,
}

/// Keys of what OpenClaw declares for itself begin so.
const OF_SYSTEM: [&str; 3] = ["heartbeat:", "memory-core:", "skill-collection-review:"];
/// Before there were keys, what its memory plugin makes told itself by this in its description.
const OF_MEMORY_CORE: &str = "[managed-by=memory-core.";

impl JobRecord {
    /// What tells that OpenClaw made it for itself, and makes it anew where it is missing.
    pub fn system_mark(&self) -> Option<&str> {
        let key = self.declaration_key.as_deref();
        let key = key.filter(|key| OF_SYSTEM.iter().any(|start| key.starts_with(start)));
        key.or_else(|| {
            let description = self.raw.get("description")?.as_str()?;
            let at = description.find(OF_MEMORY_CORE)?;
            description[at..].split_inclusive(']').next()
        })
    }
}

/// How a run of theirs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Well.
    Ok,
    /// Badly.
    Error,
    /// Was not started.
    Skipped,
}

/// A finished run: a line of `cron/runs/<job>.jsonl`, or the `detail_json` of a cron task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunEntry {
    /// `jobId`.
    pub job_id: String,
    /// `status`.
    pub status: Option<RunStatus>,
    /// `error`.
    pub error: Option<String>,
    /// `summary`.
    pub summary: Option<String>,
    /// `sessionId`.
    pub session_id: Option<String>,
    /// `sessionKey`.
    pub session_key: Option<String>,
    /// `runId`.
    pub run_id: Option<String>,
    /// `ts`: when it was written down.
    pub at: Option<Timestamp>,
    /// `runAtMs`.
    pub run_at: Option<Timestamp>,
    /// `durationMs`.
    pub duration_ms: Option<u64>,
    /// `provider` and `model`.
    pub model: Option<String>,
    /// `usage`.
    pub usage: Option<Usage>,
}

/// Where a task of theirs stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Not started.
    Queued,
    /// Under way.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Reached a limit.
    TimedOut,
    /// Was stopped.
    Cancelled,
    /// Nobody knows.
    Lost,
}

impl TaskStatus {
    /// In their words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

/// A process that owns something: an id, and when it started in clock ticks since the machine's boot,
/// which tells it from a later process of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// Its start.
    pub started_ticks: Option<u64>,
}

/// A row of `task_runs`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// `task_id`.
    pub id: String,
    /// `runtime`: `cron`, `subagent`, `acp`, `cli`.
    pub runtime: String,
    /// `source_id`: the job of a cron task.
    pub source_id: Option<String>,
    /// `child_session_key`.
    pub session_key: Option<String>,
    /// `run_id`.
    pub run_id: Option<String>,
    /// `status`; `None` for a word that is not one of theirs.
    pub status: Option<TaskStatus>,
    /// `started_at`, else `created_at`.
    pub started_at: Option<Timestamp>,
    /// `ended_at`.
    pub ended_at: Option<Timestamp>,
    /// `last_event_at`.
    pub last_event_at: Option<Timestamp>,
    /// `error`.
    pub error: Option<String>,
    /// `terminal_summary`.
    pub summary: Option<String>,
    /// `execution_owner_pid` and `execution_owner_start_identity`.
    pub owner: Option<Process>,
    /// The finished run in `detail_json`, where there is one.
    pub run: Option<RunEntry>,
}

/// Where a receipt of theirs stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptStatus {
    /// Claimed.
    Running,
    /// Ended well.
    Ok,
    /// Ended badly.
    Error,
    /// Was not started.
    Skipped,
    /// Its owner died.
    Interrupted,
    /// Another claim took its place.
    Superseded,
}

/// A row of `cron_run_receipts`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Receipt {
    /// `receipt_id`.
    pub id: String,
    /// `job_id`.
    pub job_id: String,
    /// `status`.
    pub status: Option<ReceiptStatus>,
    /// `owner_pid` and `owner_start_time`.
    pub owner: Process,
    /// `started_at_ms`.
    pub started_at: Option<Timestamp>,
    /// `finished_at_ms`.
    pub finished_at: Option<Timestamp>,
    /// `error_text`.
    pub error: Option<String>,
}

/// A row of `gateway_boot_lifecycle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Boot {
    /// `boot_id`.
    pub id: String,
    /// `pid`.
    pub pid: u32,
    /// `started_at_ms`.
    pub started_at: Option<Timestamp>,
    /// `completed_at_ms`.
    pub completed_at: Option<Timestamp>,
    /// `outcome`.
    pub outcome: Option<String>,
}

/// A row of `agent_database_leases`: a process that has an agent's database open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// `lease_id`.
    pub id: String,
    /// `owner_pid` and `owner_start_time`.
    pub owner: Process,
}

/// A row of `migration_sources` for session files that stay until a plugin has taken its part of them. While they
/// are not as they were when they were imported, their gateway does not go on with that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// `imported_at`.
    pub imported_at: Option<Timestamp>,
    /// The files, as `report_json` names them, and what they held.
    pub sources: Vec<(String, Stamp)>,
}

/// A row of `session_windows`: one generation of a key's transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// `session_id`.
    pub session_id: Box<str>,
    /// `session_key`.
    pub key: Box<str>,
    /// `previous_session_id`.
    pub previous: Option<Box<str>>,
    /// `reason`.
    pub reason: Option<Box<str>>,
    /// `created_at`.
    pub created_at: Option<Timestamp>,
    /// `started_at`.
    pub started_at: Option<Timestamp>,
    /// `ended_at`.
    pub ended_at: Option<Timestamp>,
    /// `updated_at`.
    pub updated_at: Option<Timestamp>,
    /// `status`.
    pub status: Option<Status>,
}

/// How an archived transcript is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Compressed with Zstandard.
    Zstd,
}

/// A row of `session_transcript_archives`, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DbArchive {
    /// `session_id`.
    pub session_id: Box<str>,
    /// `generation`.
    pub generation: Box<str>,
    /// `session_key`.
    pub key: Box<str>,
    /// `reason`: `deleted` or `reset`.
    pub reason: Box<str>,
    /// `encoding`.
    pub encoding: Encoding,
    /// `archive_name`: the file beside the sessions, once it is published.
    pub name: Box<str>,
    /// `archive_sha256`, of the bytes as they are stored.
    pub sha256: Box<str>,
    /// `created_at`.
    pub created_at: Option<Timestamp>,
    /// `published_at`.
    pub published_at: Option<Timestamp>,
}

/// Whose lock a lock file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// The lock file, relative to the folder.
    pub path: PathBuf,
    /// The name of the file that it locks.
    pub of: String,
    /// Who holds it; `None` if the file does not say.
    pub owner: Option<Process>,
    /// `createdAt`, else when the lock file was last written.
    pub created_at: Timestamp,
}
