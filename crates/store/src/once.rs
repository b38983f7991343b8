//! Once: a write that somebody may ask for twice is remembered in the commit that makes it, so that no
//! crash and no twin makes it again.
//!
//! It holds for every write that goes through [`Attempts`](crate::Attempts) in the task of the request:
//! the first commit of the request carries the record. A request that commits several times is not made
//! again either; what its later commits would have done is then left to whoever finds it half done. It
//! does not hold for what the request merely sets in motion, such as a stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sexton_domain::access::{Idempotency, IdempotencyKey};
use sexton_domain::change::{Change, Record, RecordId, Version};
use tokio::task_local;

use crate::driver::{CommitError, Conflict};

task_local! {
    static CURRENT: Once;
}

/// One write, asked for under a key. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Once(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: IdempotencyKey,
    body_sha256: String,
    at: Timestamp,
    standing: Mutex<Standing>,
}

/// What has become of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is stored.
    Open,
    /// It is stored, and remembered with it.
    Made,
    /// It was stored before, by a twin or by the commit whose answer was lost.
    Repeated,
}

impl Once {
    /// A write under this key, with a body of this hash.
    pub fn new(id: IdempotencyKey, body_sha256: String, at: Timestamp) -> Self {
        let standing = Mutex::new(Standing::Open);
        Self(Arc::new(Inner { id, body_sha256, at, standing }))
    }

    /// Does the work; the first commit in it is this write.
    pub async fn scope<T>(&self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), work).await
    }

    /// What has become of it.
    pub fn standing(&self) -> Standing {
        *self.lock()
    }

    /// The write of the work that is going on, if it is one that is made once.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The record that goes along with a batch, unless it is stored already. What the answer will be is
    /// not known yet: until it is, the record has no status and says what the batch is about.
    pub(crate) fn record(&self, changes: &[Change]) -> Option<Change> {
        let open = *self.lock() == Standing::Open;
        open.then(|| self.remembered(0, subjects(changes)).into())
    }

    /// What it is asked for under.
    pub fn id(&self) -> &IdempotencyKey {
        &self.0.id
    }

    /// Notes what became of a batch that carried the record.
    pub(crate) fn note<T>(&self, answer: &Result<T, CommitError>) {
        match answer {
            Ok(_) => *self.lock() = Standing::Made,
            Err(CommitError::Conflict(Conflict::Version(RecordId::Idempotency(id))))
                if *id == self.0.id =>
            {
                *self.lock() = Standing::Repeated;
            }
            Err(_) => {}
        }
    }

    /// The record with an answer.
    pub fn remembered(&self, status: u16, result: String) -> Idempotency {
        let Inner { id, body_sha256, at, .. } = &*self.0;
        Idempotency { id: id.clone(), body_sha256: body_sha256.clone(), status, result, at: *at }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most records that stand for a write whose answer is not known.
const MAX_SUBJECTS: usize = 8;

/// What a batch is about: jobs, runs and sessions that it stores, one on a line, new ones first.
fn subjects(changes: &[Change]) -> String {
    let mut named: Vec<(bool, String)> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Put(record) => Some((record.version() != Version::NEW, name(record)?)),
            _ => None,
        })
        .collect();
    named.sort_by_key(|(old, _)| *old);
    let names: Vec<String> = named.into_iter().map(|(_, name)| name).take(MAX_SUBJECTS).collect();
    names.join("\n")
}

fn name(record: &Record) -> Option<String> {
    match record {
        Record::Run(run) => Some(format!("run {}", run.id)),
        Record::Job(job) => Some(format!("job {}", job.id)),
        Record::Session(session) => Some(format!("session {}", session.id)),
        _ => None,
    }
}
