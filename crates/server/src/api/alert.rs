//! Alerts on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::alert;
use sexton_domain::id::JobId;

use super::schema::{Id, word};

/// Something that needs a look, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// A stable word: `job_failing`, `job_auto_disabled`, `job_missed`, `replace_limit`, `dead_letters`,
    /// `overdue`, `clock_jump`, `boot_loop`, `store_size`, `low_disk`, `archives`.
    pub code: String,
    /// The job's id, the hook's or the segment's name, or empty: about the node or the store.
    pub about: String,
    /// What it is and what to do.
    pub message: String,
    /// The job it is about.
    #[schemars(with = "Option<Id>")]
    pub job_id: Option<JobId>,
    /// Since when.
    pub raised_at: Timestamp,
    /// When it no longer needed a look.
    pub cleared_at: Option<Timestamp>,
}

impl From<&alert::Alert> for Alert {
    fn from(alert: &alert::Alert) -> Self {
        Self {
            code: word(&alert.key.code),
            about: alert.key.about.clone(),
            message: alert.message.clone(),
            job_id: alert.subject.job,
            raised_at: alert.raised_at,
            cleared_at: alert.cleared_at,
        }
    }
}
