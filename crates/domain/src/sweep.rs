//! What the reaper remembers from one sweep to the next. One record in a store, kept always.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::id::SessionId;
use crate::key::SessionKind;
use crate::retention::Policies;

/// What the reaper remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaper {
    /// The policies by which ended sessions are indexed; none before the first sweep.
    pub indexed: Option<Policies>,
    /// Kinds whose policy changed, and how far each has been indexed anew.
    pub reindex: Vec<Reindex>,
    /// Until when nothing is deleted, because the wall clock is not to be trusted.
    pub deletion_held_until: Option<Timestamp>,
    /// The last sweep that came to its end.
    pub last: Option<Summary>,
    /// What is wrong with the archives, until a sweep finds it right again.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// For compare-and-swap.
    pub version: Version,
}

impl Reaper {
    /// Until when nothing is deleted, if that is still to come.
    pub fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.deletion_held_until.filter(|until| now < *until)
    }
}

/// A kind that is being indexed by another policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reindex {
    /// The kind.
    pub kind: SessionKind,
    /// The last session that was looked at, from the newest to the oldest; none at the beginning.
    pub after: Option<SessionId>,
}

impl Reindex {
    /// All of a kind.
    pub fn whole(kind: SessionKind) -> Self {
        Self { kind, after: None }
    }
}

/// Something that is wrong with the archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The segment's name; empty for the folder.
    pub segment: String,
    /// For people.
    pub message: String,
}

/// What a sweep came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Sessions that were archived.
    pub archived: u64,
    /// Sessions that were deleted.
    pub reaped: u64,
    /// Sessions that were held.
    pub held: u64,
    /// Other records that were deleted.
    pub records: u64,
}
