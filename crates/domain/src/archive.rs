//! Archives: where a reaped session's compressed transcript lies, outside the store.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::id::SessionId;

/// One session's frame in an append-only segment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// The session; the record's identity.
    pub session: SessionId,
    /// The segment's file name, cut by expiry day.
    pub segment: String,
    /// First byte of the frame.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of the frame, in lower-case hex.
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
