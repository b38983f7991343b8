//! What their session keys address.

use sexton_domain::key::{SessionKey, SessionKind, Shape};

use crate::model::Receipt;

/// What a session key addresses, as far as anybody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A job's own row.
    Job(String),
    /// The row of a run of a job, or of what belongs to it.
    Run {
        /// The job.
        job: String,
        /// The run: the id of the session that it was begun with.
        run: String,
    },
    /// Anything else.
    Other(SessionKind),
}

impl Address {
    /// Reads it from a key.
    pub fn of(key: &str) -> Self {
        let Ok(key) = SessionKey::parse(key) else { return Self::Other(SessionKind::Other) };
        match key.shape() {
            Shape::Cron { job, suffix: None } => Self::Job(job.to_owned()),
            Shape::CronRun { job, run, .. } => {
                Self::Run { job: job.to_owned(), run: run.to_owned() }
            }
            shape => Self::Other(shape.kind()),
        }
    }

    /// The receipt of the work at it, among those that are running. A job has one of them at most.
    pub fn receipt<'a>(&self, running: &'a [Receipt]) -> Option<&'a Receipt> {
        let (Self::Run { job, .. } | Self::Job(job)) = self else { return None };
        running.iter().find(|receipt| receipt.job_id.eq_ignore_ascii_case(job))
    }
}
