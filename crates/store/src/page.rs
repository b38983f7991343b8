//! Pages, filters and counts: the shapes of typed reads.
//!
//! Lists of jobs, runs and sessions go from the newest id to the oldest. An id says when its record was
//! made, and it is this time that `since` and `until` mean: they are a range of the list itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sexton_domain::change::{RecordId, Version};
use sexton_domain::hook::DeliveryState;
use sexton_domain::id::{EventId, JobId, RunId, SessionId};
use sexton_domain::job::Source;
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::{AgentName, HookName};
use sexton_domain::run::Outcome;
use sexton_domain::session::EndReason;

/// The most items of a page.
pub const MAX_PAGE: u32 = 500;
/// How many rows a read looks at for one page when its filters have no index in common.
pub const SCAN_WINDOW: u32 = 10_000;

/// Which page: the items after `after` in the order of the list, at most `limit` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest<I> {
    /// The last item of the page before; none for the first page.
    pub after: Option<I>,
    /// 1 to [`MAX_PAGE`]; drivers clamp.
    pub limit: u32,
}

impl<I> PageRequest<I> {
    /// The first page.
    pub fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}

/// Some items of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, I> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end. A page that looked at [`SCAN_WINDOW`] rows, or whose
    /// items are very large, may have fewer of them than asked for, or none, and still a next one.
    pub next: Option<I>,
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this source.
    pub source: Option<Source>,
    /// Of this agent.
    pub agent: Option<AgentName>,
    /// Also those that were removed.
    pub removed: bool,
}

/// Which runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this job.
    pub job: Option<JobId>,
    /// Of this agent.
    pub agent: Option<AgentName>,
    /// In this state: `queued`, `waiting`, `running` or `ended`.
    pub state: Option<RunState>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// Made at or after, by the time in its id.
    pub since: Option<Timestamp>,
    /// Made before, by the time in its id.
    pub until: Option<Timestamp>,
}

/// The state of a run without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunState {
    /// May start.
    Queued,
    /// Rests before a retry.
    Waiting,
    /// Has an owner.
    Running,
    /// Is over.
    Ended,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Waiting, Self::Running, Self::Ended];

    /// The word for it, the same as [`sexton_domain::run::State::name`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Behind this key.
    pub key: Option<SessionKey>,
    /// Of these kinds; empty is all.
    pub kinds: Vec<SessionKind>,
    /// Of this agent.
    pub agent: Option<AgentName>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Open or ended.
    pub open: Option<bool>,
    /// Ended for this reason.
    pub reason: Option<EndReason>,
    /// Opened at or after, by the time in its id.
    pub since: Option<Timestamp>,
}

/// Which part of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    /// Runs of these agents are left out.
    pub without: Vec<AgentName>,
    /// The last run of the part before.
    pub after: Option<(u64, RunId)>,
    /// At most this many.
    pub limit: u32,
}

/// Which deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// To this hook.
    pub hook: Option<HookName>,
    /// In this state.
    pub state: Option<Standing>,
    /// About this session.
    pub session: Option<SessionId>,
}

/// The state of a delivery without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// To be tried.
    Pending,
    /// Acknowledged.
    Delivered,
    /// Given up.
    Dead,
}

impl Standing {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// That of a delivery.
    pub fn of(state: &DeliveryState) -> Self {
        match state {
            DeliveryState::Pending { .. } => Self::Pending,
            DeliveryState::Delivered { .. } => Self::Delivered,
            DeliveryState::Dead { .. } => Self::Dead,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// Which ended sessions of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All of them.
    All,
    /// Those whose end counts as a failure.
    Failures,
}

/// Which records of a kind may go: those whose time was over before an instant, or that are too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expired {
    /// Nodes that ended before.
    Nodes(Timestamp),
    /// Jobs that were removed before and have no session left.
    Tombstones(Timestamp),
    /// Jobs made by command or over HTTP that are not removed and were done before.
    DoneJobs(Timestamp),
    /// Runs that ended before.
    Runs(Timestamp),
    /// Ended runs of a job beyond its newest so many.
    RunsBeyond(JobId, u64),
    /// Events that happened before, unless a delivery of them is pending or dead.
    Events(Timestamp),
    /// Deliveries that were acknowledged before.
    Delivered(Timestamp),
    /// Deliveries that were given up before.
    Dead(Timestamp),
    /// Usage reports that were made before; the daily sums stay.
    Usage(Timestamp),
    /// Archives that were deleted before, of which a stub is left.
    Stubs(Timestamp),
    /// Segments that were deleted before.
    Segments(Timestamp),
    /// Remembered answers that were given before.
    Idempotency(Timestamp),
    /// Alerts that were cleared before.
    Alerts(Timestamp),
}

/// Where rows that cannot be read are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspects {
    /// Nodes, the newest first.
    Nodes,
    /// Hooks.
    Hooks,
    /// Alerts, active ones first.
    Alerts,
    /// What the reaper remembers.
    Reaper,
    /// What is pending for a hook, the oldest first.
    Deliveries(HookName),
}

/// A record whose row cannot be read: what its key columns say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Which record it is.
    pub id: RecordId,
    /// The version it is at, for replacing or deleting it.
    pub version: Version,
    /// The event that a delivery is of.
    pub event: Option<EventId>,
}

/// How many records there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions by kind and whether they are open.
    pub sessions: BTreeMap<(SessionKind, bool), u64>,
    /// Runs by state and, once ended, outcome.
    pub runs: BTreeMap<(RunState, Option<Outcome>), u64>,
    /// Jobs that are not removed.
    pub jobs: u64,
    /// Events.
    pub events: u64,
    /// Deliveries by hook and state.
    pub deliveries: BTreeMap<(HookName, Standing), u64>,
    /// Archives that are not deleted, and the bytes of their frames.
    pub archives: (u64, u64),
    /// Jobs that are troubled.
    pub troubled: u64,
    /// Alerts that are active.
    pub alerts: u64,
}
