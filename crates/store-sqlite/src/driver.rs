//! The driver: SQLite behind the storage seam.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use sexton_domain::change::{Change, Record, RecordId};
use sexton_domain::entry::Entry;
use sexton_domain::event::Event;
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::key::SessionKey;
use sexton_domain::meta::Meta;
use sexton_domain::name::JobKey;
use sexton_domain::node::{Epoch, Node};
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_domain::usage::DailyUsage;
use sexton_store::page::{JobFilter, Page, PageRequest, Queue, RunFilter, SessionFilter, Tally};
use sexton_store::{CommitError, Committed, Driver, Error, Stats, Ticket};

use crate::counters::Counters;
use crate::fail::Fail;
use crate::inline::Inline;
use crate::queue;
use crate::read::{self, View};
use crate::readers::Readers;
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
    async fn claim(&self, claims: Vec<Vec<Change>>) -> Vec<Result<Committed, CommitError>> {
        let tickets = self.queue(claims);
        let mut answers = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            answers.push(ticket.await);
        }
        answers
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

    async fn tally(&self) -> Result<Tally, Error> {
        self.read("count records", read::meta::tally).await
    }

    /// `syncs` counts each transaction that wrote (none with relaxed durability or in memory) once,
    /// and each checkpoint with the two or three times it waits for the disk.
    fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
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
