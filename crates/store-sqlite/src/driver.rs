//! The driver: SQLite behind the storage seam.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use sexton_domain::alert::Alert;
use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::{Change, Record, RecordId, Version};
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
use sexton_store::page::{
    DeliveryFilter, Ended, Expired, JobFilter, Page, PageRequest, Queue, RunFilter, SessionFilter,
    Suspects, Tally, Unreadable,
};
use sexton_store::{CommitError, Driver, Error, Stats, Ticket};

use crate::counters::Counters;
use crate::fail::Fail;
use crate::inline::Inline;
use crate::queue;
use crate::read::{self, View};
use crate::readers::Readers;
use crate::reserve::Reserve;
use crate::{place, record};

/// A store in one SQLite file, or in memory.
///
/// Dropped without [`Driver::close`], it holds the store until the group that is being committed is
/// done.
pub struct SqliteDriver {
    pub(crate) engine: Engine,
    pub(crate) counters: Arc<Counters>,
    /// The database file; none in memory.
    pub(crate) path: Option<PathBuf>,
    /// The same, where commits do not wait for the disk.
    pub(crate) unsynced: Option<PathBuf>,
    /// None in memory, when it was not asked for, and when the store is only read.
    pub(crate) reserve: Option<Arc<Reserve>>,
}

/// Where statements run.
pub(crate) enum Engine {
    /// On the blocking pool. Without a queue nothing can be written.
    Pool { queue: Option<Arc<queue::Queue>>, readers: Readers },
    /// On the calling task.
    Inline(Inline),
}

impl fmt::Debug for SqliteDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteDriver").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteDriver {
    fn queue(&self, batches: Vec<Vec<Change>>) -> Vec<Ticket> {
        match &self.engine {
            Engine::Pool { queue: Some(queue), .. } => queue.push(batches),
            Engine::Pool { queue: None, .. } => {
                batches.iter().map(|_| Ticket::ready(Err(Error::ReadOnly.into()))).collect()
            }
            Engine::Inline(inline) => {
                inline.apply(batches).into_iter().map(Ticket::ready).collect()
            }
        }
    }

    /// How many rows each table has, counted one by one: for measuring a store that works inline.
    ///
    /// # Errors
    ///
    /// When the store fails, or does not work inline.
    pub fn rows(&self) -> Result<BTreeMap<String, u64>, Error> {
        let doing = "count rows";
        match &self.engine {
            Engine::Inline(inline) => inline.read(doing, |view| read::meta::rows(view.db)),
            Engine::Pool { .. } => {
                Err(Error::Unavailable { doing, why: "the store works on a pool".to_owned() })
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&View<'_>) -> Result<T, Fail> + Send + 'static,
    ) -> Result<T, Error> {
        match &self.engine {
            Engine::Pool { readers, .. } => readers.read(doing, read).await,
            Engine::Inline(inline) => inline.read(doing, read),
        }
    }
}

#[async_trait]
impl Driver for SqliteDriver {
    fn commit(&self, changes: Vec<Change>) -> Ticket {
        let ticket = self.queue(vec![changes]).pop();
        ticket.unwrap_or_else(|| Ticket::ready(Err(CommitError::AnswerLost)))
    }

    /// The claims form one group, or as few as they fit into.
    fn claim(&self, claims: Vec<Vec<Change>>) -> Vec<Ticket> {
        self.queue(claims)
    }

    async fn meta(&self) -> Result<Meta, Error> {
        self.read("read what the store knows about itself", |view| read::meta::meta(view.db)).await
    }

    async fn get(&self, id: RecordId) -> Result<Option<Record>, Error> {
        self.read("read a record", move |view| record::get(view.db, &id)).await
    }

    async fn nodes(&self, limit: u32) -> Result<Vec<Node>, Error> {
        self.read("list nodes", move |view| read::nodes::newest(view, limit)).await
    }

    async fn living_nodes(&self) -> Result<Vec<Node>, Error> {
        self.read("list living nodes", read::nodes::living).await
    }

    async fn job_by_key(&self, key: JobKey) -> Result<Option<Job>, Error> {
        self.read("read a job by its key", move |view| read::jobs::by_key(view, &key)).await
    }

    async fn jobs(
        &self,
        filter: JobFilter,
        page: PageRequest<JobId>,
    ) -> Result<Page<Job, JobId>, Error> {
        self.read("list jobs", move |view| read::jobs::page(view, &filter, page)).await
    }

    async fn due_jobs(&self, now: Timestamp, limit: u32) -> Result<Vec<Job>, Error> {
        self.read("list due jobs", move |view| read::jobs::due(view, now, limit)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        self.read("find the next due job", read::jobs::next_due).await
    }

    async fn runs(
        &self,
        filter: RunFilter,
        page: PageRequest<RunId>,
    ) -> Result<Page<Run, RunId>, Error> {
        self.read("list runs", move |view| read::runs::page(view, &filter, page)).await
    }

    async fn active_runs(&self, job: JobId) -> Result<Vec<Run>, Error> {
        self.read("list a job's active runs", move |view| read::runs::active(view, job)).await
    }

    async fn newest_slot(&self, job: JobId) -> Result<Option<Run>, Error> {
        self.read("find a job's newest slot", move |view| read::runs::newest_slot(view, job)).await
    }

    async fn running(&self) -> Result<Vec<Run>, Error> {
        self.read("list running runs", read::runs::running).await
    }

    async fn queue(&self, queue: Queue) -> Result<Vec<Run>, Error> {
        self.read("list queued runs", move |view| read::runs::queue(view, &queue)).await
    }

    async fn last_turn(&self) -> Result<u64, Error> {
        self.read("read the last turn", read::runs::last_turn).await
    }

    async fn rested_runs(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>, Error> {
        self.read("list rested runs", move |view| read::runs::rested(view, now, limit)).await
    }

    async fn next_rested(&self) -> Result<Option<Timestamp>, Error> {
        self.read("find the next rested run", read::runs::next_rested).await
    }

    async fn orphan_runs(&self, living: Vec<Epoch>, limit: u32) -> Result<Vec<Run>, Error> {
        self.read("list runs of dead nodes", move |view| read::runs::orphans(view, &living, limit))
            .await
    }

    async fn orphan_sessions(&self, living: Vec<Epoch>, limit: u32) -> Result<Vec<Session>, Error> {
        self.read("list sessions of dead nodes", move |view| {
            read::sessions::orphans(view, &living, limit)
        })
        .await
    }

    async fn open_session(&self, key: SessionKey) -> Result<Option<Session>, Error> {
        self.read("read an open session", move |view| read::sessions::open(view, &key)).await
    }

    async fn sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Session, SessionId>, Error> {
        self.read("list sessions", move |view| read::sessions::page(view, &filter, page)).await
    }

    async fn entries(
        &self,
        session: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, Error> {
        self.read("read a transcript", move |view| {
            read::sessions::entries(view, session, after, limit)
        })
        .await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, Error> {
        self.read("read events", move |view| read::log::events(view, after, limit)).await
    }

    async fn event_range(&self) -> Result<Option<(u64, u64)>, Error> {
        self.read("read the range of events", read::log::range).await
    }

    async fn daily_usage(&self, from: Date) -> Result<Vec<DailyUsage>, Error> {
        self.read("read daily usage", move |view| read::log::days(view, from)).await
    }

    async fn hooks(&self) -> Result<Vec<Hook>, Error> {
        self.read("list hooks", read::deliveries::hooks).await
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, Error> {
        self.read("read an event", move |view| read::log::event(view, id)).await
    }

    async fn due_deliveries(
        &self,
        hook: HookName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Delivery, Event)>, Error> {
        self.read("list due deliveries", move |view| read::deliveries::due(view, &hook, now, limit))
            .await
    }

    async fn next_delivery(&self, hook: HookName) -> Result<Option<Timestamp>, Error> {
        self.read("find the next delivery", move |view| read::deliveries::next(view, &hook)).await
    }

    async fn oldest_deliveries(&self, hook: HookName, limit: u32) -> Result<Vec<Delivery>, Error> {
        self.read("list a hook's oldest deliveries", move |view| {
            read::deliveries::oldest(view, &hook, limit)
        })
        .await
    }

    async fn lanes(
        &self,
        hook: HookName,
        sessions: Vec<SessionId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, Error> {
        self.read("list the first deliveries of lanes", move |view| {
            read::deliveries::lanes(view, &hook, sessions, limit)
        })
        .await
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<Delivery, DeliveryId>, Error> {
        self.read("list deliveries", move |view| read::deliveries::page(view, &filter, page)).await
    }

    async fn undelivered(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, Error> {
        self.read("find undelivered sessions", move |view| {
            read::deliveries::undelivered(view, sessions)
        })
        .await
    }

    async fn continued(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, Error> {
        self.read("find continued sessions", move |view| read::sessions::continued(view, sessions))
            .await
    }

    async fn sessions_of(&self, epoch: Epoch, limit: u32) -> Result<Vec<Session>, Error> {
        self.read("list a node's open sessions", move |view| read::sessions::of(view, epoch, limit))
            .await
    }

    async fn idle_sessions(
        &self,
        kind: SessionKind,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, Error> {
        self.read("list idle sessions", move |view| read::sessions::idle(view, kind, until, limit))
            .await
    }

    async fn active_on(&self, key: SessionKey) -> Result<Vec<Run>, Error> {
        self.read("list a key's active runs", move |view| read::runs::active_on(view, &key)).await
    }

    async fn due_sessions(&self, now: Timestamp, limit: u32) -> Result<Vec<Session>, Error> {
        self.read("list due sessions", move |view| read::sessions::due(view, now, limit)).await
    }

    async fn next_due_session(&self) -> Result<Option<Timestamp>, Error> {
        self.read("find the next due session", read::sessions::next_due).await
    }

    async fn overdue_sessions(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.read("count overdue sessions", move |view| {
            read::sessions::overdue(view, before, limit)
        })
        .await
    }

    async fn newest_ended(
        &self,
        job: JobId,
        which: Ended,
        limit: u32,
    ) -> Result<Vec<SessionId>, Error> {
        self.read("list a job's newest sessions", move |view| {
            read::sessions::newest_ended(view, job, which, limit)
        })
        .await
    }

    async fn ended_beyond(
        &self,
        job: JobId,
        keep: u32,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, Error> {
        self.read("list a job's surplus sessions", move |view| {
            read::sessions::ended_beyond(view, job, keep, now, limit)
        })
        .await
    }

    async fn capped_jobs(&self, after: Option<JobId>, limit: u32) -> Result<Vec<Job>, Error> {
        self.read("list capped jobs", move |view| read::jobs::capped(view, after, limit)).await
    }

    async fn jobs_to_reindex(&self, limit: u32) -> Result<Vec<Job>, Error> {
        self.read("list jobs to reindex", move |view| read::jobs::to_reindex(view, limit)).await
    }

    async fn troubled_jobs(&self, limit: u32) -> Result<Vec<Job>, Error> {
        self.read("list troubled jobs", move |view| read::jobs::troubled(view, limit)).await
    }

    async fn jobs_over(&self, keep: u64, limit: u32) -> Result<Vec<JobId>, Error> {
        self.read("list jobs with too many runs", move |view| read::jobs::over(view, keep, limit))
            .await
    }

    async fn expired(&self, what: Expired, limit: u32) -> Result<Vec<(RecordId, Version)>, Error> {
        self.read("list expired records", move |view| read::expired::expired(view, &what, limit))
            .await
    }

    async fn unreadable(&self, among: Suspects, limit: u32) -> Result<Vec<Unreadable>, Error> {
        self.read("look for unreadable rows", move |view| {
            read::unreadable::unreadable(view, &among, limit)
        })
        .await
    }

    async fn segments(&self) -> Result<Vec<Segment>, Error> {
        self.read("list segments", read::archives::segments).await
    }

    async fn archives_in(
        &self,
        segment: String,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Archive>, Error> {
        self.read("list the archives of a segment", move |view| {
            read::archives::in_segment(view, &segment, after, limit)
        })
        .await
    }

    async fn archives(
        &self,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Archive, SessionId>, Error> {
        self.read("list archives", move |view| read::archives::page(view, page)).await
    }

    async fn alerts(&self, limit: u32) -> Result<Vec<Alert>, Error> {
        self.read("list alerts", move |view| read::alerts::alerts(view, limit)).await
    }

    async fn receipt_parts(
        &self,
        after: Option<ReceiptPartId>,
        limit: u32,
    ) -> Result<Vec<ReceiptPart>, Error> {
        self.read("list the parts of a receipt", move |view| {
            read::receipts::parts(view, after, limit)
        })
        .await
    }

    async fn tally(&self) -> Result<Tally, Error> {
        self.read("count records", read::meta::tally).await
    }

    async fn sync(&self) -> Result<(), Error> {
        let Some(path) = self.unsynced.clone() else { return Ok(()) };
        let synced = match &self.engine {
            Engine::Inline(_) => place::sync_log(&path),
            Engine::Pool { .. } => tokio::task::spawn_blocking(move || place::sync_log(&path))
                .await
                .unwrap_or_else(|died| Err(std::io::Error::other(died))),
        };
        let doing = "wait for the disk";
        synced.map_err(|error| Error::Unavailable { doing, why: error.to_string() })
    }

    /// `syncs` counts each transaction that wrote (none with relaxed durability or in memory) once,
    /// and each checkpoint with the two or three times it waits for the disk.
    fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
        stats.reserve_released = self.reserve.as_ref().is_some_and(|reserve| reserve.is_released());
        if let Some(path) = &self.path {
            stats.store_bytes = place::size(path);
            stats.wal_bytes = place::size(&place::beside(path, "-wal"));
            stats.free_bytes = place::free_bytes(path);
        }
        stats
    }

    async fn close(&self) {
        match &self.engine {
            Engine::Pool { queue, readers } => {
                let writer = match queue {
                    Some(queue) => queue.close().await,
                    None => None,
                };
                readers.close().await;
                if let Some(writer) = writer {
                    // It waits for the disk; if the runtime ends first, the next opening does it.
                    let _ = tokio::task::spawn_blocking(move || writer.close()).await;
                }
            }
            Engine::Inline(inline) => inline.close(),
        }
    }
}
