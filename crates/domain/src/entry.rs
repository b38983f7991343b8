//! Transcript entries: the gap-free, numbered lines of a session.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The largest entry that is stored, in bytes; the runner splits longer lines.
pub const MAX_ENTRY_BYTES: usize = 256 * 1024;

/// Who an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The prompt.
    User,
    /// What the agent answered.
    Assistant,
    /// A tool's call or result.
    Tool,
    /// A remark by Sexton, such as the mark of a truncated output.
    System,
}

/// One line of a transcript. Its number is unique and gap-free within its session, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3, …
    pub seq: u64,
    /// When it was received.
    pub at: Timestamp,
    /// From whom.
    pub role: Role,
    /// The text, at most [`MAX_ENTRY_BYTES`].
    pub content: String,
}
