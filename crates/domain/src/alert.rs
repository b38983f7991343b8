//! Alerts: what needs a look, from the moment it does until it no longer does.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::event::Subject;
use crate::listed::listed;

listed! {
    /// What needs a look. The words are stable.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum AlertCode {
        /// A job's slots fail in a row.
        JobFailing,
        /// A job failed so often in a row that it was suspended.
        JobAutoDisabled,
        /// A job missed slots.
        JobMissed,
        /// A job's runs were replaced so often in a row that its slots are skipped.
        ReplaceLimit,
        /// Deliveries to a hook were given up.
        DeadLetters,
        /// A session is overdue and nothing says why.
        Overdue,
        /// The wall clock jumped; deletion rests.
        ClockJump,
        /// The gateway keeps dying soon after its start.
        BootLoop,
        /// The store is larger than its threshold.
        StoreSize,
        /// The disk is nearly full.
        LowDisk,
        /// Archives cannot be written, or a segment is missing or damaged.
        Archives,
    }
}

/// The identity of an alert: what, and about whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// What.
    pub code: AlertCode,
    /// The job's id, the hook's name, the segment's name, or nothing: about the node or the store.
    pub about: String,
}

impl fmt::Display for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.serialize(&mut *f)?;
        if self.about.is_empty() { Ok(()) } else { write!(f, ":{}", self.about) }
    }
}

/// One alert. Kept until it is cleared, then for 30 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its identity.
    pub key: AlertKey,
    /// For people.
    pub message: String,
    /// About what.
    pub subject: Subject,
    /// Since when.
    pub raised_at: Timestamp,
    /// When it no longer needed a look.
    pub cleared_at: Option<Timestamp>,
    /// Whether `alert.raised` was told for it; one that comes back soon after it was cleared is not
    /// told again.
    pub told: bool,
    /// For compare-and-swap.
    pub version: Version,
}

impl Alert {
    /// Whether it needs a look now.
    pub fn is_active(&self) -> bool {
        self.cleared_at.is_none()
    }
}
