//! The wire: what goes over HTTP in either direction, for the server and for its clients.
//!
//! Names are those of `job add` in snake case and of the event payloads. Times are RFC 3339 in UTC,
//! durations are texts such as `1h30m`, and fields that end in `_ms` are whole milliseconds.

mod alert;
mod archive;
mod event;
mod hook;
mod job;
mod message;
mod node;
mod origin;
mod problem;
mod run;
mod schema;
mod session;
mod spec;
mod status;
mod sweep;
mod usage;

pub(crate) use schema::word;

pub use alert::Alert;
pub use archive::{Archive, Checkup, Finding, Segment, Segments};
pub use event::{Event, EventPage, Gap, Lagged};
pub use hook::{Delivery, Hook, HookAnswer, HookSpec, HookTest};
pub use job::{Counters, Job, JobPreview, Placed, Slot, Slots, Suspension};
pub use message::{NewMessage, Turn};
pub use node::{Drained, DrainedDeliveries, DrainedRuns, LeftBehind, Node};
pub use origin::Origin;
pub use problem::{Code, Problem};
pub use run::{Range, Run, RunDetail, RunError, RunState, TimelineEntry};
pub use session::{Entry, Hold, Owner, Session};
pub use spec::{Backoff, Context, FieldError, JobSpec, Misfire, Past, Setting, Within};
pub use status::{
    Drain, Health, NextSlot, Outbox, Phase, RunCount, SessionCount, Status, Stop, StopReason,
    Stopping, StoreStatus,
};
pub use sweep::{
    ArchiveFault, Judgement, ReaperStatus, Reconciled, Sweep, SweepReport, SweepSummary, Swept,
};
pub use usage::{Usage, UsageSum, UsageSums};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Some items of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// Newest first; transcripts and events in their own order.
    pub items: Vec<T>,
    /// What to send as `cursor` (as `after` for transcripts and events) to get the next page; null
    /// at the end. A page may be short, or empty, and still have a next one.
    pub next: Option<String>,
}
