//! What a status screen shows, health, and stopping, on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::id::JobId;
use sexton_domain::key::SessionKind;
use sexton_domain::name::JobKey;
use sexton_domain::node::EndReason;
use sexton_domain::plan::drain::{Patience, Step};
use sexton_domain::run::Outcome;
use sexton_engine::drain::Progress;

use super::schema::{Id, KindWord, OutcomeWord};
use super::{Alert, Node, ReaperStatus, Run, RunState};

/// Everything a status screen shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Where the engine stands.
    pub phase: Phase,
    /// What needs a look, the newest first; at most 50.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// How far a stop has come.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// This life of this node; the newest one when the daemon is not running.
    pub node: Option<Node>,
    /// The life before it.
    #[serde(default)]
    pub before: Option<Node>,
    /// The clock of the answer.
    pub now: Timestamp,
    /// Jobs that are not removed.
    pub jobs: u64,
    /// Sessions by kind; kinds without any are left out.
    pub sessions: Vec<SessionCount>,
    /// Runs by state and outcome.
    pub runs: Vec<RunCount>,
    /// Events in the log.
    pub events: u64,
    /// Running runs and open sessions without a live owner; must be 0. Counted up to 200.
    pub ownerless: usize,
    /// The jobs whose slots come next, the next first.
    pub next: Vec<NextSlot>,
    /// Running runs, the oldest first.
    pub running: Vec<Run>,
    /// What hooks are still to be told, and what was given up.
    #[serde(default)]
    pub outbox: Outbox,
    /// How the reaper stands, and how much it has archived.
    pub reaper: ReaperStatus,
    /// What the store has done since it was opened, and what it occupies.
    pub store: StoreStatus,
}

/// Where the engine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Ending what a dead life left behind; nothing is scheduled yet.
    Reconciling,
    /// At work.
    Ready,
    /// Refusing new work, on its way to stop or restart.
    Draining,
    /// Done.
    Stopped,
    /// Not running: the store was read directly.
    Offline,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drain {
    /// `shutdown` or `restart`.
    #[schemars(with = "StopReason")]
    pub reason: EndReason,
    /// What the node does now: `runs` (running runs may end by themselves), `cancel`, `sessions`,
    /// `deliveries`, `record`, `store`, `answers`.
    #[schemars(with = "String")]
    pub step: Step,
    /// When the stop is over at the latest.
    pub until: Timestamp,
}

impl From<Progress> for Drain {
    fn from(progress: Progress) -> Self {
        let Progress { reason, step, until, .. } = progress;
        Self { reason, step, until }
    }
}

/// How many sessions of a kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionCount {
    /// The kind.
    #[schemars(with = "KindWord")]
    pub kind: SessionKind,
    /// Not ended.
    pub open: u64,
    /// Ended and still stored.
    pub ended: u64,
}

/// How many runs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunCount {
    /// In this state.
    pub state: RunState,
    /// With this outcome, once ended.
    #[schemars(with = "Option<OutcomeWord>")]
    pub outcome: Option<Outcome>,
    /// So many.
    pub count: u64,
}

/// The deliveries of all hooks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outbox {
    /// Still to be delivered.
    pub pending: u64,
    /// Since when the oldest of them waits.
    pub oldest_at: Option<Timestamp>,
    /// Given up and still stored.
    pub dead: u64,
}

/// The next slot of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextSlot {
    /// The job.
    #[schemars(with = "Id")]
    pub job_id: JobId,
    /// Its key.
    #[schemars(with = "String")]
    pub job_key: JobKey,
    /// The instant that identifies the slot.
    pub slot: Timestamp,
    /// When it starts, with offset and jitter.
    pub at: Timestamp,
}

/// What the store has done since it was opened, and what it occupies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoreStatus {
    /// Batches that were acknowledged.
    pub commits: u64,
    /// Transactions they were grouped into.
    pub transactions: u64,
    /// Times the disk was waited for.
    pub syncs: u64,
    /// The time spent in commits of the database.
    pub commit_ms: f64,
    /// Bytes of the database.
    pub store_bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
    /// Bytes free on its disk.
    pub free_bytes: Option<u64>,
}

/// The answer of `/healthz` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok` or `ready`.
    pub status: String,
    /// This life of the node: another one after a restart.
    pub epoch: Option<String>,
}

/// The body of `POST /v1/stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Becomes the reason of the sessions that end.
    pub reason: StopReason,
    /// How much time running runs get: what `[drain] runs` says (`budget`), none (`cancel`), or until
    /// their deadlines (`deadlines`). Asking again can only make it less.
    #[serde(default)]
    #[schemars(with = "PatienceWord")]
    pub patience: Patience,
}

/// How much time running runs get when a node stops.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum PatienceWord {
    Cancel,
    Budget,
    Deadlines,
}

/// Why a node is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// For good.
    Shutdown,
    /// To start again.
    Restart,
}

impl From<StopReason> for EndReason {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Shutdown => Self::Shutdown,
            StopReason::Restart => Self::Restart,
        }
    }
}

/// The answer of `POST /v1/stop`: the stop has begun, and the connection closes when it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopping {
    /// Where the engine stands now.
    pub phase: Phase,
    /// The life that ends.
    pub epoch: Option<String>,
    /// How far the stop has come.
    pub drain: Option<Drain>,
}
