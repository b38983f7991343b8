//! A store that takes its time: batches wait in a queue and answers are late, so that everything else
//! gets in between, and a process that dies loses what waited. Reads are late too, and may fail.
//!
//! What the database itself does wrong (a failing COMMIT, a lost answer) is asked of the real driver.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
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
    Tally,
};
use sexton_store::{CommitError, Committed, Driver, Error, Promise, Stats, Ticket};
use sexton_store_sqlite::Disk;
use tokio::sync::Notify;

use crate::crew::Crew;
use crate::diary::Diary;
use crate::dice::Die;
use crate::faults::Fault;
use crate::planted::{Planned, Plant};
use crate::time;
use crate::witness::Witness;

/// How slow a store is and how often a read of it fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// How often a batch has to wait.
    pub(crate) waits: f64,
    /// How often a read is late.
    pub(crate) late: f64,
    /// The longest of these.
    pub(crate) longest: Duration,
    /// How often a read fails.
    pub(crate) fails: f64,
}

/// A slow store around a real one.
pub(crate) struct Slow<D>(Arc<Inner<D>>);

struct Inner<D> {
    driver: D,
    around: Surroundings,
    waiting: Mutex<Waiting>,
    bell: Notify,
    empty: Notify,
}

/// What is to be committed, one step after the other, and who is told how that went. A sound engine has one
/// step.
type Batch = (Vec<Vec<Change>>, Promise);
/// How that went.
type Answer = Result<Committed, CommitError>;

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    /// A batch was taken out and is not answered yet.
    busy: bool,
    closed: bool,
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.batches.is_empty() && !self.busy
    }
}

/// What a store stands in.
pub(crate) struct Surroundings {
    pub(crate) die: Die,
    pub(crate) manners: Manners,
    /// Set by the world when nothing goes wrong any more.
    pub(crate) calm: Arc<AtomicBool>,
    pub(crate) diary: Diary,
    pub(crate) witness: Witness,
    /// What the store lies on.
    pub(crate) disk: Disk,
    pub(crate) plant: Plant,
}

/// What is free on a disk that is not full.
const FREE_BYTES: u64 = 100 << 30;

impl<D: Driver> Slow<D> {
    /// Starts a store's life with the gateway's.
    pub(crate) fn new(driver: D, around: Surroundings, crew: &Crew) -> Self {
        let (waiting, bell, empty) = (Mutex::default(), Notify::new(), Notify::new());
        let inner = Arc::new(Inner { driver, around, waiting, bell, empty });
        let pump = Arc::clone(&inner);
        crew.hire(Box::pin(async move { pump.pump().await }));
        Self(inner)
    }
}

impl<D: Driver> Inner<D> {
    /// Applies what waits, one batch after the other.
    async fn pump(&self) {
        loop {
            let rings = self.bell.notified();
            let Some((steps, promise)) = self.take() else {
                self.empty.notify_waiters();
                rings.await;
                continue;
            };
            let mut answered = Ok(Committed { last_seq: None });
            for step in steps {
                time::sleep(self.pause()).await;
                answered = self.apply(step);
                if answered.is_err() {
                    break;
                }
            }
            if self.around.die.chance(0.5) {
                time::sleep(self.pause()).await;
            }
            self.lock().busy = false;
            promise.keep(answered);
        }
    }

    /// Applies a batch before the eyes of the witness. The store works inline: when this returns, it is
    /// stored or not.
    fn apply(&self, batch: Vec<Change>) -> Answer {
        let batch = self.around.plant.applied(&self.driver, batch);
        let seen = self.around.witness.before(&batch);
        let answer = self.driver.commit(batch).now_or_never();
        let answer = answer.unwrap_or(Err(CommitError::AnswerLost));
        let answer = self.around.plant.answered(answer);
        self.around.witness.after(seen, &answer);
        answer
    }

    fn take(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let next = waiting.batches.pop_front();
        waiting.busy = next.is_some();
        next
    }

    fn pause(&self) -> Duration {
        let longest = u64::try_from(self.around.manners.longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.around.die.spread(1, longest.max(1)))
    }

    fn strikes(&self, probability: f64) -> bool {
        !self.around.calm.load(Ordering::Relaxed) && self.around.die.chance(probability)
    }

    async fn before_read(&self) -> Result<(), Error> {
        if self.strikes(self.around.manners.late) {
            time::sleep(self.pause()).await;
        }
        if self.strikes(self.around.manners.fails) {
            self.around.diary.strikes(Fault::ReadFails);
            return Err(Error::Unavailable { doing: "read", why: "made to fail".to_owned() });
        }
        Ok(())
    }

    async fn after_read(&self) {
        if self.strikes(self.around.manners.late) {
            time::sleep(self.pause()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Reads that are passed on, as `async_trait` writes them: it cannot see into a macro. Some pass by the plant.
macro_rules! reads {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty $(, by $plant:ident)?;)*) => {$(
        fn $name<'this, 'async_trait>(
            &'this self,
            $($arg: $type),*
        ) -> Later<'async_trait, Result<$answer, Error>>
        where
            'this: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                self.0.before_read().await?;
                let answer = self.0.driver.$name($($arg),*).await;
                $(let answer = answer.map(|it| self.0.around.$plant.$name(&self.0.driver, it));)?
                self.0.after_read().await;
                answer
            })
        }
    )*};
}

impl<D: Driver> Driver for Slow<D> {
    fn commit(&self, changes: Vec<Change>) -> Ticket {
        let inner = &self.0;
        let waits = inner.strikes(inner.around.manners.waits);
        let mut waiting = inner.lock();
        if waiting.closed {
            return Ticket::ready(Err(Error::Closed.into()));
        }
        let Planned { mut steps, acknowledged } =
            inner.around.plant.planned(&inner.driver, changes);
        if !waits && waiting.is_idle() && steps.len() == 1 && !acknowledged {
            return Ticket::ready(inner.apply(steps.remove(0)));
        }
        let (promise, ticket) = Ticket::promised();
        waiting.batches.push_back((steps, promise));
        drop(waiting);
        inner.bell.notify_one();
        if acknowledged { Ticket::ready(Ok(Committed { last_seq: None })) } else { ticket }
    }

    reads! {
        meta() -> Meta;
        get(id: RecordId) -> Option<Record>;
        nodes(limit: u32) -> Vec<Node>;
        living_nodes() -> Vec<Node>;
        job_by_key(key: JobKey) -> Option<Job>;
        jobs(filter: JobFilter, page: PageRequest<JobId>) -> Page<Job, JobId>;
        due_jobs(now: Timestamp, limit: u32) -> Vec<Job>;
        next_due() -> Option<Timestamp>;
        runs(filter: RunFilter, page: PageRequest<RunId>) -> Page<Run, RunId>;
        active_runs(job: JobId) -> Vec<Run>;
        newest_slot(job: JobId) -> Option<Run>;
        running() -> Vec<Run>, by plant;
        queue(queue: Queue) -> Vec<Run>, by plant;
        last_turn() -> u64;
        rested_runs(now: Timestamp, limit: u32) -> Vec<Run>, by plant;
        next_rested() -> Option<Timestamp>, by plant;
        orphan_runs(living: Vec<Epoch>, limit: u32) -> Vec<Run>, by plant;
        orphan_sessions(living: Vec<Epoch>, limit: u32) -> Vec<Session>, by plant;
        open_session(key: SessionKey) -> Option<Session>, by plant;
        sessions(filter: SessionFilter, page: PageRequest<SessionId>) -> Page<Session, SessionId>;
        entries(session: SessionId, after: u64, limit: u32) -> Vec<Entry>;
        events(after: u64, limit: u32) -> Vec<Event>;
        event_range() -> Option<(u64, u64)>;
        daily_usage(from: Date) -> Vec<DailyUsage>;
        hooks() -> Vec<Hook>;
        event(id: EventId) -> Option<Event>;
        due_deliveries(hook: HookName, now: Timestamp, limit: u32) -> Vec<(Delivery, Event)>, by plant;
        next_delivery(hook: HookName) -> Option<Timestamp>;
        oldest_deliveries(hook: HookName, limit: u32) -> Vec<Delivery>;
        lanes(hook: HookName, sessions: Vec<SessionId>, limit: u32) -> Vec<Delivery>;
        deliveries(filter: DeliveryFilter, page: PageRequest<DeliveryId>) -> Page<Delivery, DeliveryId>;
        undelivered(sessions: Vec<SessionId>) -> Vec<SessionId>, by plant;
        continued(sessions: Vec<SessionId>) -> Vec<SessionId>, by plant;
        sessions_of(epoch: Epoch, limit: u32) -> Vec<Session>, by plant;
        idle_sessions(kind: SessionKind, until: Timestamp, limit: u32) -> Vec<Session>, by plant;
        active_on(key: SessionKey) -> Vec<Run>, by plant;
        due_sessions(now: Timestamp, limit: u32) -> Vec<Session>, by plant;
        next_due_session() -> Option<Timestamp>;
        overdue_sessions(before: Timestamp, limit: u32) -> u64;
        newest_ended(job: JobId, which: Ended, limit: u32) -> Vec<SessionId>;
        ended_beyond(job: JobId, keep: u32, now: Timestamp, limit: u32) -> Vec<Session>;
        capped_jobs(after: Option<JobId>, limit: u32) -> Vec<Job>;
        jobs_to_reindex(limit: u32) -> Vec<Job>;
        troubled_jobs(limit: u32) -> Vec<Job>;
        jobs_over(keep: u64, limit: u32) -> Vec<JobId>;
        expired(what: Expired, limit: u32) -> Vec<(RecordId, Version)>;
        segments() -> Vec<Segment>;
        archives_in(segment: String, after: Option<u64>, limit: u32) -> Vec<Archive>;
        archives(page: PageRequest<SessionId>) -> Page<Archive, SessionId>;
        alerts(limit: u32) -> Vec<Alert>;
        receipt_parts(after: Option<ReceiptPartId>, limit: u32) -> Vec<ReceiptPart>;
        tally() -> Tally;
    }

    fn stats(&self) -> Stats {
        let disk = &self.0.around.disk;
        let free_bytes = Some(if disk.is_full() { 0 } else { FREE_BYTES });
        let store_bytes = disk.bytes().unwrap_or_default();
        let stats = Stats { free_bytes, store_bytes, ..self.0.driver.stats() };
        if stats.reserve_released {
            self.0.around.diary.strikes(Fault::ReserveUsed);
        }
        stats
    }

    fn close<'this, 'async_trait>(&'this self) -> Later<'async_trait, ()>
    where
        'this: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            self.0.lock().closed = true;
            loop {
                let empty = self.0.empty.notified();
                if self.0.lock().is_idle() {
                    break;
                }
                empty.await;
            }
            self.0.driver.close().await;
        })
    }
}
