//! The seam: what a database has to do for Sexton, and how it says that it could not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use sexton_domain::alert::Alert;
use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::{Change, Guard, Record, RecordId, Version};
use sexton_domain::entry::Entry;
use sexton_domain::event::Event;
use sexton_domain::hook::{Delivery, Hook};
use sexton_domain::id::{DeliveryId, EventId, JobId, ReceiptPartId, RunId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::meta::Meta;
use sexton_domain::name::{HookName, JobKey};
use sexton_domain::node::{Epoch, Node};
use sexton_domain::receipt::ReceiptPart;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_domain::usage::DailyUsage;

use crate::page::{
    DeliveryFilter, Ended, Expired, JobFilter, Page, PageRequest, Queue, RunFilter, SessionFilter,
    Suspects, Tally, Unreadable,
};
use crate::ticket::Ticket;

/// A monotonic clock, as time since an arbitrary start: for measuring, never for deciding.
pub type Monotonic = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A database that keeps Sexton's records.
///
/// Every method takes effect whole or not at all. Reads see every batch that was acknowledged
/// before they began. Nothing here decides: there is no state logic behind this trait.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Applies a batch, all or nothing, and makes it durable before it is acknowledged.
    ///
    /// The batch is queued before this returns: batches committed one after the other by one task
    /// are applied in that order, whether or not their tickets are awaited. Dropping the ticket
    /// does not undo the batch.
    fn commit(&self, changes: Vec<Change>) -> Ticket;

    /// Applies several batches, each for itself all or nothing, in order: as [`Driver::commit`]. For
    /// claims of queued runs, where databases have a better way than one after another.
    fn claim(&self, claims: Vec<Vec<Change>>) -> Vec<Ticket> {
        claims.into_iter().map(|claim| self.commit(claim)).collect()
    }

    /// What the store knows about itself.
    async fn meta(&self) -> Result<Meta, Error>;

    /// One record.
    async fn get(&self, id: RecordId) -> Result<Option<Record>, Error>;

    /// The newest epochs, newest first.
    async fn nodes(&self, limit: u32) -> Result<Vec<Node>, Error>;

    /// Every epoch that has not ended.
    async fn living_nodes(&self) -> Result<Vec<Node>, Error>;

    /// The job of this key that is not removed.
    async fn job_by_key(&self, key: JobKey) -> Result<Option<Job>, Error>;

    /// Jobs, newest first.
    async fn jobs(
        &self,
        filter: JobFilter,
        page: PageRequest<JobId>,
    ) -> Result<Page<Job, JobId>, Error>;

    /// Jobs whose [`Job::due_at`] is not after `now`, the longest due first.
    async fn due_jobs(&self, now: Timestamp, limit: u32) -> Result<Vec<Job>, Error>;

    /// The earliest [`Job::due_at`] of all jobs.
    async fn next_due(&self) -> Result<Option<Timestamp>, Error>;

    /// Runs, newest first.
    async fn runs(
        &self,
        filter: RunFilter,
        page: PageRequest<RunId>,
    ) -> Result<Page<Run, RunId>, Error>;

    /// The runs of a job that have not ended, oldest first.
    async fn active_runs(&self, job: JobId) -> Result<Vec<Run>, Error>;

    /// The run of a job with the newest slot and, for that slot, the highest attempt.
    async fn newest_slot(&self, job: JobId) -> Result<Option<Run>, Error>;

    /// Every run in state `running`, oldest first.
    async fn running(&self) -> Result<Vec<Run>, Error>;

    /// Queued runs in the order of (turn, id).
    async fn queue(&self, queue: Queue) -> Result<Vec<Run>, Error>;

    /// The highest turn of all runs that were ever started; zero without any.
    async fn last_turn(&self) -> Result<u64, Error>;

    /// Waiting runs whose backoff is over at `now`, the longest over first.
    async fn rested_runs(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>, Error>;

    /// When the first backoff of a waiting run is over.
    async fn next_rested(&self) -> Result<Option<Timestamp>, Error>;

    /// Running runs of other epochs than these, oldest first.
    async fn orphan_runs(&self, living: Vec<Epoch>, limit: u32) -> Result<Vec<Run>, Error>;

    /// Open sessions of other epochs than these, oldest first.
    async fn orphan_sessions(&self, living: Vec<Epoch>, limit: u32) -> Result<Vec<Session>, Error>;

    /// The open session behind a key.
    async fn open_session(&self, key: SessionKey) -> Result<Option<Session>, Error>;

    /// Sessions, newest first.
    async fn sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Session, SessionId>, Error>;

    /// Entries of a session with a number above `after`, in order.
    async fn entries(
        &self,
        session: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, Error>;

    /// Events with a number above `after`, in order.
    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, Error>;

    /// The lowest and the highest event number that are stored; none without events.
    async fn event_range(&self) -> Result<Option<(u64, u64)>, Error>;

    /// Daily usage sums from a day on, oldest first.
    async fn daily_usage(&self, from: Date) -> Result<Vec<DailyUsage>, Error>;

    /// Every hook that is known, by name.
    async fn hooks(&self) -> Result<Vec<Hook>, Error>;

    /// An event by its id.
    async fn event(&self, id: EventId) -> Result<Option<Event>, Error>;

    /// Pending deliveries of a hook that may go out at `now`, with their events, the longest due first:
    /// each is the first pending one of its (hook, session), or has no session, or is sent by hand.
    async fn due_deliveries(
        &self,
        hook: HookName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Delivery, Event)>, Error>;

    /// When the first delivery of a hook may go out.
    async fn next_delivery(&self, hook: HookName) -> Result<Option<Timestamp>, Error>;

    /// Pending deliveries of a hook in the order of their events, the oldest first.
    async fn oldest_deliveries(&self, hook: HookName, limit: u32) -> Result<Vec<Delivery>, Error>;

    /// The first deliveries of one hook and each of these sessions, at most `limit` a session, in the
    /// order of their events.
    async fn lanes(
        &self,
        hook: HookName,
        sessions: Vec<SessionId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, Error>;

    /// Deliveries, newest first.
    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<Delivery, DeliveryId>, Error>;

    /// Those of these sessions of which a delivery is pending.
    async fn undelivered(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, Error>;

    /// Those of these sessions that an open session names as the one before it.
    async fn continued(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, Error>;

    /// Open sessions of an epoch, oldest first.
    async fn sessions_of(&self, epoch: Epoch, limit: u32) -> Result<Vec<Session>, Error>;

    /// Open sessions of a kind, other than those of isolated runs, whose [`Session::active_at`] is not
    /// after `until`, the longest silent first.
    async fn idle_sessions(
        &self,
        kind: SessionKind,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, Error>;

    /// Runs on a session key that have not ended, in the order of (turn, id).
    async fn active_on(&self, key: SessionKey) -> Result<Vec<Run>, Error>;

    /// Ended sessions whose [`Session::look_at`] is not after `now`, the longest due first.
    async fn due_sessions(&self, now: Timestamp, limit: u32) -> Result<Vec<Session>, Error>;

    /// The earliest [`Session::look_at`] of all sessions.
    async fn next_due_session(&self) -> Result<Option<Timestamp>, Error>;

    /// How many sessions have a [`Session::look_at`] before `before`, counted up to `limit`.
    async fn overdue_sessions(&self, before: Timestamp, limit: u32) -> Result<u64, Error>;

    /// The newest ended sessions of a job, newest first.
    async fn newest_ended(
        &self,
        job: JobId,
        which: Ended,
        limit: u32,
    ) -> Result<Vec<SessionId>, Error>;

    /// Ended sessions of a job beyond its `keep` newest, not pinned and not held beyond `now`, newest
    /// first.
    async fn ended_beyond(
        &self,
        job: JobId,
        keep: u32,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, Error>;

    /// Jobs, removed ones too, whose spec names a `max_sessions`, in the order of their ids.
    async fn capped_jobs(&self, after: Option<JobId>, limit: u32) -> Result<Vec<Job>, Error>;

    /// Jobs, removed ones too, whose [`Job::reindex`] is set.
    async fn jobs_to_reindex(&self, limit: u32) -> Result<Vec<Job>, Error>;

    /// Jobs that are troubled by [`Job::is_troubled`].
    async fn troubled_jobs(&self, limit: u32) -> Result<Vec<Job>, Error>;

    /// Jobs that have more than `keep` runs.
    async fn jobs_over(&self, keep: u64, limit: u32) -> Result<Vec<JobId>, Error>;

    /// Records whose time is over, the longest over first.
    async fn expired(&self, what: Expired, limit: u32) -> Result<Vec<(RecordId, Version)>, Error>;

    /// Records whose rows cannot be read, among the first `limit` of some. None by default: a driver
    /// whose rows can always be read has none.
    async fn unreadable(&self, _among: Suspects, _limit: u32) -> Result<Vec<Unreadable>, Error> {
        Ok(Vec::new())
    }

    /// Every segment that is not deleted, and those that are, until their stubs go.
    async fn segments(&self) -> Result<Vec<Segment>, Error>;

    /// Archives in a segment in the order of their offsets.
    async fn archives_in(
        &self,
        segment: String,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Archive>, Error>;

    /// Archives, newest session first.
    async fn archives(
        &self,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Archive, SessionId>, Error>;

    /// Alerts that are active, then those that were cleared, each newest first.
    async fn alerts(&self, limit: u32) -> Result<Vec<Alert>, Error>;

    /// What the commits of an import did whose receipt is no file yet, in the order of their ids.
    async fn receipt_parts(
        &self,
        after: Option<ReceiptPartId>,
        limit: u32,
    ) -> Result<Vec<ReceiptPart>, Error>;

    /// How many records there are. Costs the same however many that is.
    async fn tally(&self) -> Result<Tally, Error>;

    /// Waits until everything that was acknowledged is on disk: before something outside the store is
    /// done that cannot be undone. Nothing to do, as by default, where a commit waits for the disk anyway.
    async fn sync(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What the driver has done and what it occupies.
    fn stats(&self) -> Stats;

    /// Finishes what is queued and lets go of the store. Later commits fail with [`Error::Closed`].
    async fn close(&self);
}

/// A batch that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The number of the last event of the batch, if it has any.
    pub last_seq: Option<u64>,
}

/// Why a batch was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Something the decision relied on has changed: read again and decide again.
    #[error("commit: {0}")]
    Conflict(Conflict),
    /// The batch was not stored.
    #[error(transparent)]
    Failed(#[from] Error),
    /// The batch may or may not be stored: read again.
    #[error("commit: the answer was lost, the batch may or may not be stored")]
    AnswerLost,
}

/// What a batch ran into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The record has another version than the one that was read, or is gone, or exists already.
    #[error("{0:?} is not at the expected version")]
    Version(RecordId),
    /// A run of this job, slot and attempt exists.
    #[error("the slot has a run of this attempt")]
    SlotTaken,
    /// An open session has this key.
    #[error("session key {0} has an open session")]
    KeyOpen(SessionKey),
    /// A running run has this session key.
    #[error("session key {0} has a running run")]
    KeyRunning(SessionKey),
    /// A job that is not removed has this key.
    #[error("job key {0} is taken")]
    JobKeyTaken(JobKey),
    /// Another uniqueness rule of the store.
    #[error("{0}")]
    Unique(String),
    /// A guard does not hold.
    #[error("{0:?} does not hold")]
    Guard(Guard),
    /// The session does not have as many entries as the append expects, is not open, or is owned by
    /// another epoch.
    #[error("session {session} does not take entry {first}")]
    Append {
        /// The session.
        session: SessionId,
        /// The number of the first entry.
        first: u64,
    },
}

/// Why the store could not do something. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Try again later: the disk is full, the device fails, the database does not answer.
    #[error("{doing}: {why}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What the database says.
        why: String,
    },
    /// A record is larger than the store takes.
    #[error("store {what} of {bytes} bytes: the limit is {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A row cannot be read. The others are not affected.
    #[error("read {what}: {why}")]
    Corrupt {
        /// Which row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The write was made before, under the same key: see [`crate::once`].
    #[error("make a write again: it was made before, under the same key")]
    Repeated,
    /// The store was closed, or the epoch is over that writes to it.
    #[error("use the store: it is closed")]
    Closed,
    /// The store was opened for reading only.
    #[error("write to the store: it is open for reading only")]
    ReadOnly,
}

/// What a driver has done since it was opened, and what it occupies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Batches that were acknowledged.
    pub commits: u64,
    /// Transactions they were grouped into.
    pub transactions: u64,
    /// Times the disk was waited for (fsync or its like).
    pub syncs: u64,
    /// The time spent in commits of the database, syncs included.
    pub commit_time: Duration,
    /// Bytes of the database.
    pub store_bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
    /// Bytes free on the disk that holds it.
    pub free_bytes: Option<u64>,
    /// The disk is full: what has begun can end in the room that was reserved for it, and nothing new
    /// should begin.
    pub reserve_released: bool,
}
