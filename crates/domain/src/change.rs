//! Changes: what a decision wants stored, as values that a driver applies all or not at all.

use serde::{Deserialize, Serialize};

use crate::access::{Idempotency, IdempotencyKey, Token};
use crate::alert::{Alert, AlertKey};
use crate::archive::{Archive, Segment};
use crate::entry::Entry;
use crate::event::NewEvent;
use crate::hook::{Delivery, Hook};
use crate::id::{DeliveryId, EventId, JobId, ReceiptPartId, RunId, SessionId, TokenId, UsageId};
use crate::job::Job;
use crate::key::SessionKey;
use crate::name::HookName;
use crate::node::{Epoch, Node};
use crate::receipt::ReceiptPart;
use crate::run::Run;
use crate::session::Session;
use crate::sweep::Reaper;
use crate::usage::Usage;

/// How often a record was replaced. Zero is a record that is not stored yet.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of a record that no store has seen.
    pub const NEW: Self = Self(0);

    /// The version a store gives the record when it accepts it.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One step of a batch. A batch is applied whole or leaves no trace.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Something the decision relied on; the batch conflicts when it is no longer so.
    Require(Guard),
    /// Stores a record under its id. The record carries the version that was read: zero inserts and
    /// conflicts with an existing record, another number replaces just that version and conflicts
    /// with any other. The stored version is one higher.
    Put(Record),
    /// Deletes a record at the version that was read. An event conflicts, too, while a delivery of it is pending.
    Delete(RecordId, Version),
    /// Appends to the transcript of an open session without touching its version.
    Append(Append),
    /// Gives an ended session that is brought back more of its transcript.
    Restore(Restore),
    /// Adds a fact to the event log; the driver numbers it.
    Emit(NewEvent),
}

/// Entries for the end of a transcript.
///
/// Conflicts unless the session is open, is owned by `epoch` and has exactly `first - 1` entries,
/// where `first` is the number of the first entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The session.
    pub session: SessionId,
    /// The epoch that owns it.
    pub epoch: Epoch,
    /// At least one entry, numbered without gaps.
    pub entries: Vec<Entry>,
}

/// Entries for the end of the transcript of a session that comes from elsewhere. Conflicts as an
/// [`Append`] does, unless the session has ended and has exactly `first - 1` entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Restore {
    /// The session.
    pub session: SessionId,
    /// At least one entry, numbered without gaps.
    pub entries: Vec<Entry>,
}

/// What a decision relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The epoch is known and has not ended: the fence before every write of a node.
    Alive(Epoch),
    /// No event has a higher number than this.
    NothingSince(u64),
    /// The record is still at this version; version zero requires that there is none.
    Unchanged(RecordId, Version),
    /// No run of this job is running.
    NothingRunning(JobId),
    /// No run is running on this session key.
    KeyIdle(SessionKey),
    /// No open session names this one as the one before it.
    NotContinued(SessionId),
    /// No delivery of this session's start or end is pending.
    Told(SessionId),
    /// Fewer runs than this are queued on this session key.
    QueueRoom(SessionKey, usize),
}

/// A record that is replaced as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// One life of a node.
    Node(Node),
    /// A job.
    Job(Box<Job>),
    /// A run. At most one per (job, slot, attempt) and at most one running per session key.
    Run(Box<Run>),
    /// A session. At most one open per key. Its entry count and bytes are moved by appends alone.
    Session(Box<Session>),
    /// A hook's switch.
    Hook(Hook),
    /// A delivery. At most one per (event, hook).
    Delivery(Delivery),
    /// A usage report: inserted once, added to its day in the same commit, never replaced. Saving
    /// the same report again changes nothing and is no conflict.
    Usage(Usage),
    /// Where an archived transcript lies.
    Archive(Archive),
    /// A file of archived transcripts.
    Segment(Segment),
    /// Something that needs a look.
    Alert(Alert),
    /// What the reaper remembers: one in a store.
    Reaper(Reaper),
    /// The remembered answer of a write: inserted once.
    Idempotency(Idempotency),
    /// A token. At most one per hash.
    Token(Token),
    /// What one commit of an import did.
    ReceiptPart(ReceiptPart),
}

/// The identity of a stored record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordId {
    /// See [`Record::Node`].
    Node(Epoch),
    /// See [`Record::Job`].
    Job(JobId),
    /// See [`Record::Run`].
    Run(RunId),
    /// See [`Record::Session`]. Deleting a session deletes its entries.
    Session(SessionId),
    /// An event; events have no version.
    Event(EventId),
    /// See [`Record::Hook`].
    Hook(HookName),
    /// See [`Record::Delivery`].
    Delivery(DeliveryId),
    /// See [`Record::Usage`]. Deleting a report leaves the daily sums.
    Usage(UsageId),
    /// See [`Record::Archive`].
    Archive(SessionId),
    /// See [`Record::Segment`].
    Segment(String),
    /// See [`Record::Alert`].
    Alert(AlertKey),
    /// See [`Record::Reaper`].
    Reaper,
    /// See [`Record::Idempotency`].
    Idempotency(IdempotencyKey),
    /// See [`Record::Token`].
    Token(TokenId),
    /// See [`Record::ReceiptPart`].
    ReceiptPart(ReceiptPartId),
}

impl Record {
    /// Under which identity it is stored.
    pub fn id(&self) -> RecordId {
        match self {
            Self::Node(node) => RecordId::Node(node.epoch),
            Self::Job(job) => RecordId::Job(job.id),
            Self::Run(run) => RecordId::Run(run.id),
            Self::Session(session) => RecordId::Session(session.id),
            Self::Hook(hook) => RecordId::Hook(hook.name.clone()),
            Self::Delivery(delivery) => RecordId::Delivery(delivery.id),
            Self::Usage(usage) => RecordId::Usage(usage.id),
            Self::Archive(archive) => RecordId::Archive(archive.session),
            Self::Segment(segment) => RecordId::Segment(segment.name.clone()),
            Self::Alert(alert) => RecordId::Alert(alert.key.clone()),
            Self::Reaper(_) => RecordId::Reaper,
            Self::Idempotency(answer) => RecordId::Idempotency(answer.id.clone()),
            Self::Token(token) => RecordId::Token(token.id),
            Self::ReceiptPart(part) => RecordId::ReceiptPart(part.id),
        }
    }

    /// The version it was read at; zero for records that are only ever inserted.
    pub fn version(&self) -> Version {
        match self {
            Self::Node(node) => node.version,
            Self::Job(job) => job.version,
            Self::Run(run) => run.version,
            Self::Session(session) => session.version,
            Self::Hook(hook) => hook.version,
            Self::Delivery(delivery) => delivery.version,
            Self::Archive(archive) => archive.version,
            Self::Segment(segment) => segment.version,
            Self::Alert(alert) => alert.version,
            Self::Reaper(reaper) => reaper.version,
            Self::Token(token) => token.version,
            Self::ReceiptPart(part) => part.version,
            Self::Usage(_) | Self::Idempotency(_) => Version::NEW,
        }
    }
}

macro_rules! put {
    ($($type:ident,)*) => {$(
        impl From<$type> for Change {
            fn from(record: $type) -> Self {
                Self::Put(Record::$type(record.into()))
            }
        }
    )*};
}

put! { Node, Job, Run, Session, Hook, Delivery, Usage, Archive, Segment, Alert, Reaper, Idempotency, Token, ReceiptPart, }

impl From<NewEvent> for Change {
    fn from(event: NewEvent) -> Self {
        Self::Emit(event)
    }
}

/// What a decision asks for: first store the changes, then, if they were accepted, act.
///
/// Effects may be lost, because a process can die between the two; each is found again by a loop
/// that reads the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// All or nothing.
    pub changes: Vec<Change>,
    /// Only after the changes are on disk.
    pub effects: Vec<Effect>,
}

impl Decision {
    /// Adds a change.
    pub fn change(&mut self, change: impl Into<Change>) {
        self.changes.push(change.into());
    }

    /// Appends another decision.
    pub fn merge(&mut self, other: Decision) {
        self.changes.extend(other.changes);
        self.effects.extend(other.effects);
    }

    /// True when there is nothing to store and nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.effects.is_empty()
    }
}

/// Something to do in the world once a decision is on disk.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start the claimed run.
    Start {
        /// As it was stored.
        run: Box<Run>,
        /// Its session, as it was stored.
        session: Box<Session>,
    },
    /// Stop a running run: its record now asks for it.
    Stop(RunId),
}
