//! What their session keys address, and how their runs are told from each other.

use jiff::Timestamp;
use sexton_domain::key::{SessionKey, SessionKind, Shape};

use crate::model::Receipt;
use crate::read::names;

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

/// A run of a job by the job and its start: task, log and receipt of one execution agree on both.
pub fn cron_id(job: &str, began_at: Timestamp) -> String {
    format!("{job}@{}", began_at.as_millisecond())
}

/// The transcript that a row means, of those that are there: the file that it names, else that of its session,
/// else that of its run. Some versions named the files of runs after the run, whatever their rows said.
pub fn transcript<T>(
    key: &str,
    named: Option<&str>,
    session: Option<&str>,
    there: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let of_id = |id: &str| there(&format!("{id}.jsonl"));
    let run = || match Address::of(key) {
        Address::Run { run, .. } => of_id(&run),
        _ => None,
    };
    let named = named.and_then(names::named).and_then(&there);
    named.or_else(|| session.and_then(of_id)).or_else(run)
}

/// A job's own row and those of its runs may share a session: older versions kept one object in both.
pub fn is_family(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (Address::of(a), Address::of(b)) {
        (
            Address::Job(a) | Address::Run { job: a, .. },
            Address::Job(b) | Address::Run { job: b, .. },
        ) => a == b,
        _ => a.starts_with(&format!("{b}:")) || b.starts_with(&format!("{a}:")),
    }
}
