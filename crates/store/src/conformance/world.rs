//! The world of one case: a store, opened and opened again, and records to put into it.

use std::sync::Arc;

use sexton_domain::change::{Change, Record, RecordId, Version};
use sexton_domain::entry::Entry;
use sexton_domain::id::SessionId;
use sexton_domain::job::Job;
use sexton_domain::run::Run;
use sexton_domain::session::Session;

use super::make::Make;
use super::{Fault, Harness};
use crate::driver::{CommitError, Committed, Conflict, Driver, Error};

/// The world of one case.
pub struct World {
    harness: Box<dyn Harness>,
    driver: Option<Arc<dyn Driver>>,
    pub(super) make: Make,
}

impl World {
    /// Around a harness whose store is empty.
    pub async fn open(harness: impl Harness) -> Self {
        let mut harness: Box<dyn Harness> = Box::new(harness);
        let driver = Some(harness.open().await);
        Self { harness, driver, make: Make::default() }
    }

    pub(super) fn driver(&self) -> &Arc<dyn Driver> {
        self.driver.as_ref().expect("the store is open between calls")
    }

    /// Closes the store as it should be and opens it again.
    pub(super) async fn reopen(&mut self) {
        self.driver().close().await;
        self.crash().await;
    }

    /// Lets go of the store without a word and opens it again.
    pub(super) async fn crash(&mut self) {
        self.driver = None;
        self.driver = Some(self.harness.open().await);
    }

    pub(super) fn break_next(&self, fault: Fault) {
        self.harness.break_next(fault);
    }

    /// Commits what must be stored.
    #[track_caller]
    pub(super) fn store(&self, batch: Vec<Change>) -> impl Future<Output = Committed> + use<> {
        let caller = std::panic::Location::caller();
        let ticket = self.driver().commit(batch);
        async move { ticket.await.unwrap_or_else(|error| panic!("{caller}: {error}")) }
    }

    /// Commits a record that must be stored.
    #[track_caller]
    pub(super) fn put<T: Into<Change>>(
        &self,
        record: T,
    ) -> impl Future<Output = Committed> + use<T> {
        self.store(vec![record.into()])
    }

    /// Commits what must conflict.
    #[track_caller]
    pub(super) fn conflict(&self, batch: Vec<Change>) -> impl Future<Output = Conflict> + use<> {
        let caller = std::panic::Location::caller();
        let ticket = self.driver().commit(batch);
        async move {
            match ticket.await {
                Err(CommitError::Conflict(conflict)) => conflict,
                answer => panic!("{caller}: expected a conflict, got {answer:?}"),
            }
        }
    }

    /// Commits what must fail.
    #[track_caller]
    pub(super) fn fail(&self, batch: Vec<Change>) -> impl Future<Output = Error> + use<> {
        let caller = std::panic::Location::caller();
        let ticket = self.driver().commit(batch);
        async move {
            match ticket.await {
                Err(CommitError::Failed(error)) => error,
                answer => panic!("{caller}: expected a failure, got {answer:?}"),
            }
        }
    }

    pub(super) async fn get(&self, id: RecordId) -> Option<Record> {
        self.driver().get(id).await.expect("the record can be read")
    }

    /// As it is stored, or none.
    pub(super) async fn stored(&self, record: impl Into<Change>) -> Option<Record> {
        self.get(id_of(record)).await
    }

    pub(super) async fn session(&self, id: SessionId) -> Session {
        match self.get(RecordId::Session(id)).await {
            Some(Record::Session(session)) => *session,
            other => panic!("expected a session, got {other:?}"),
        }
    }

    pub(super) async fn run(&self, run: &Run) -> Run {
        match self.get(RecordId::Run(run.id)).await {
            Some(Record::Run(run)) => *run,
            other => panic!("expected a run, got {other:?}"),
        }
    }

    pub(super) async fn job(&self, job: &Job) -> Job {
        match self.get(RecordId::Job(job.id)).await {
            Some(Record::Job(job)) => *job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    pub(super) async fn entries(&self, session: &Session) -> Vec<Entry> {
        let entries = self.driver().entries(session.id, 0, u32::MAX).await;
        entries.expect("the transcript can be read")
    }
}

/// Under which identity a record is stored.
pub(super) fn id_of(record: impl Into<Change>) -> RecordId {
    match record.into() {
        Change::Put(record) => record.id(),
        other => panic!("{other:?} is not a record"),
    }
}

/// The record as the store has it once it has accepted it.
pub(super) fn accepted(mut record: Record) -> Record {
    match &mut record {
        Record::Node(node) => bump(&mut node.version),
        Record::Job(job) => bump(&mut job.version),
        Record::Run(run) => bump(&mut run.version),
        Record::Session(session) => bump(&mut session.version),
        Record::Hook(hook) => bump(&mut hook.version),
        Record::Delivery(delivery) => bump(&mut delivery.version),
        Record::Archive(archive) => bump(&mut archive.version),
        Record::Segment(segment) => bump(&mut segment.version),
        Record::Alert(alert) => bump(&mut alert.version),
        Record::Reaper(reaper) => bump(&mut reaper.version),
        Record::Token(token) => bump(&mut token.version),
        Record::ReceiptPart(part) => bump(&mut part.version),
        Record::Usage(_) | Record::Idempotency(_) => {}
    }
    record
}

fn bump(version: &mut Version) {
    *version = version.next();
}
