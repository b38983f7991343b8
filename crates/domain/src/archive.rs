//! Archives: where a reaped session's compressed transcript lies, outside the store.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::id::SessionId;
use crate::key::SessionKey;
use crate::node::Epoch;

/// One session's frame in an append-only segment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// The session; the record's identity.
    pub session: SessionId,
    /// Its key. Absent in rows of version 1, as is its end.
    #[serde(default)]
    pub key: Option<SessionKey>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// The segment's file name, cut by expiry day.
    pub segment: String,
    /// First byte of its two frames: a skippable one with the manifest, and the transcript's.
    pub offset: u64,
    /// The length of both in bytes.
    pub length: u64,
    /// SHA-256 of the first one, in lower-case hex; it holds the SHA-256 of the other.
    pub sha256: String,
    /// How many entries it holds.
    pub entries: u64,
    /// When it was written.
    pub archived_at: Timestamp,
    /// When it may be deleted; none keeps it for ever.
    pub delete_after: Option<Timestamp>,
    /// Set when the frame is gone and only this stub remains (30 days).
    pub deleted_at: Option<Timestamp>,
    /// For compare-and-swap.
    pub version: Version,
}

/// An append-only file of frames whose sessions' archives expire on one day. Kept until it is deleted,
/// then for 30 days as a stub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its file name; the record's identity.
    pub name: String,
    /// The epoch that writes to it: no other one does, or the file would have two ends.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// How many bytes of the file belong to it. What lies beyond is of a write that was not committed.
    pub committed_bytes: u64,
    /// How many frames it holds.
    pub frames: u64,
    /// When all of it may be deleted; none keeps it for ever.
    pub delete_after: Option<Timestamp>,
    /// When its first frame was written.
    pub created_at: Timestamp,
    /// Set when the file is gone.
    pub deleted_at: Option<Timestamp>,
    /// For compare-and-swap.
    pub version: Version,
}
