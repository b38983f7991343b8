//! The handle the engine holds: a driver with the outbox, spans, metrics, nudges and bounded retries
//! around it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use sexton_domain::archive::Archive;
use sexton_domain::change::{Change, Guard, Record, RecordId};
use sexton_domain::hook::{self, Delivery, Hook, Subscription};
use sexton_domain::id::{DeliveryId, JobId, RunId, SessionId, UsageId};
use sexton_domain::job::Job;
use sexton_domain::name::HookName;
use sexton_domain::node::{Epoch, Node};
use sexton_domain::plan::admission::Headroom;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_domain::usage::Usage;
use tokio::sync::watch;

use crate::attempt::Attempts;
use crate::driver::{CommitError, Committed, Conflict, Driver, Error, Monotonic};
use crate::metrics::{Facts, Metrics};
use crate::nudge::{Nudges, Topic, Topics};
use crate::ticket::{self, Answer, Ticket};

/// A store, cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// For whom this handle writes.
    epoch: Option<Epoch>,
}

struct Inner {
    driver: Arc<dyn Driver>,
    monotonic: Monotonic,
    metrics: Metrics,
    nudges: Nudges,
    /// Who is told what, as of now.
    hooks: RwLock<Arc<[Subscription]>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// A handle around a driver; `monotonic` measures commits.
    pub fn new(driver: Arc<dyn Driver>, monotonic: Monotonic) -> Self {
        let (metrics, nudges) = (Metrics::default(), Nudges::default());
        let hooks = RwLock::new(Arc::from([]));
        let inner = Arc::new(Inner { driver, monotonic, metrics, nudges, hooks });
        Self { inner, epoch: None }
    }

    /// The handle of an epoch, to the same store: the fence. As soon as that epoch has ended, by itself or by
    /// another node's decision, nothing is written through this handle any more, as if the store were closed.
    #[must_use]
    pub fn fenced(&self, epoch: Epoch) -> Self {
        Self { inner: Arc::clone(&self.inner), epoch: Some(epoch) }
    }

    /// For whom this handle writes; see [`Store::fenced`].
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Typed, paged reads.
    pub fn read(&self) -> &dyn Driver {
        &*self.inner.driver
    }

    /// The room for the ends of what has begun: while it is released, nothing new should begin.
    pub fn headroom(&self) -> Headroom {
        if self.read().stats().reserve_released { Headroom::Released } else { Headroom::Kept }
    }

    /// What the handle measures.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Interest in a topic; see [`Nudges::subscribe`].
    pub fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.inner.nudges.subscribe(topic)
    }

    /// Tells that a topic may have changed for another reason than a commit.
    pub fn nudge(&self, topic: Topic) {
        self.inner.nudges.send(topic);
    }

    /// Interest in what one hook is to be told; as [`Store::subscribe`].
    pub fn subscribe_hook(&self, hook: &HookName) -> watch::Receiver<u64> {
        self.inner.nudges.subscribe_hook(hook)
    }

    /// Tells that a hook may have something to be told.
    pub fn nudge_hook(&self, hook: &HookName) {
        self.inner.nudges.send_hook(hook);
    }

    /// Says which hooks there are. Every event that is committed from now on carries its deliveries to
    /// them, in its own commit.
    pub fn tell(&self, hooks: Vec<Subscription>) {
        *self.inner.hooks.write().unwrap_or_else(PoisonError::into_inner) = hooks.into();
    }

    /// Who is told what, as of now.
    pub fn told(&self) -> Arc<[Subscription]> {
        self.inner.told()
    }

    /// Starts an operation that reads, decides and commits until there is no conflict.
    pub fn attempts(&self, doing: &'static str) -> Attempts<'_> {
        Attempts::new(self, doing)
    }

    /// Commits a batch. It is queued before this returns; awaiting the answer is the caller's choice, and
    /// dropping the ticket undoes nothing: whoever is interested is nudged as soon as the batch is stored.
    pub fn commit(&self, changes: Vec<Change>) -> Ticket {
        let changes = self.inner.with_deliveries(self.epoch, changes);
        let settle = self.settle(&changes);
        self.inner.driver.commit(changes).by_way_of(settle)
    }

    /// Claims queued runs: each batch for itself, all answers in order.
    pub async fn claim(&self, claims: Vec<Vec<Change>>) -> Vec<Result<Committed, CommitError>> {
        let claims: Vec<_> =
            claims.into_iter().map(|it| self.inner.with_deliveries(self.epoch, it)).collect();
        let settles: Vec<_> = claims.iter().map(|claim| self.settle(claim)).collect();
        let tickets = self.inner.driver.claim(claims).into_iter().zip(settles);
        ticket::answers(tickets.map(|(ticket, settle)| ticket.by_way_of(settle)).collect()).await
    }

    /// What is done with the answer to a batch.
    fn settle(&self, changes: &[Change]) -> impl FnOnce(Answer) -> Answer + Send + 'static {
        let (told, since) = (Told::of(changes), (self.inner.monotonic)());
        let span = tracing::debug_span!("commit", changes = changes.len());
        // What waits in the driver does not keep the handle alive.
        let (inner, epoch) = (Arc::downgrade(&self.inner), self.epoch);
        move |answer| {
            if let Some(inner) = inner.upgrade() {
                span.in_scope(|| inner.settle(&answer, since, told));
            }
            match (answer, epoch) {
                (Err(CommitError::Conflict(Conflict::Guard(Guard::Alive(over)))), Some(epoch))
                    if over == epoch =>
                {
                    Err(Error::Closed.into())
                }
                (answer, _) => answer,
            }
        }
    }

    /// A job by its id.
    ///
    /// # Errors
    ///
    /// When the store fails or the row cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, Error> {
        Ok(match self.read().get(RecordId::Job(id)).await? {
            Some(Record::Job(job)) => Some(*job),
            _ => None,
        })
    }

    /// A run by its id.
    ///
    /// # Errors
    ///
    /// As [`Store::job`].
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        Ok(match self.read().get(RecordId::Run(id)).await? {
            Some(Record::Run(run)) => Some(*run),
            _ => None,
        })
    }

    /// A session by its id.
    ///
    /// # Errors
    ///
    /// As [`Store::job`].
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        Ok(match self.read().get(RecordId::Session(id)).await? {
            Some(Record::Session(session)) => Some(*session),
            _ => None,
        })
    }

    /// A hook by its name.
    ///
    /// # Errors
    ///
    /// As [`Store::job`].
    pub async fn hook(&self, name: HookName) -> Result<Option<Hook>, Error> {
        Ok(match self.read().get(RecordId::Hook(name)).await? {
            Some(Record::Hook(hook)) => Some(hook),
            _ => None,
        })
    }

    /// A delivery by its id.
    ///
    /// # Errors
    ///
    /// As [`Store::job`].
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Error> {
        Ok(match self.read().get(RecordId::Delivery(id)).await? {
            Some(Record::Delivery(delivery)) => Some(delivery),
            _ => None,
        })
    }

    /// An archive by its session.
    ///
    /// # Errors
    ///
    /// As [`Store::job`].
    pub async fn archive(&self, session: SessionId) -> Result<Option<Archive>, Error> {
        Ok(match self.read().get(RecordId::Archive(session)).await? {
            Some(Record::Archive(archive)) => Some(archive),
            _ => None,
        })
    }

    /// A usage report by its id.
    ///
    /// # Errors
    ///
    /// As [`Store::job`].
    pub async fn usage(&self, id: UsageId) -> Result<Option<Usage>, Error> {
        Ok(match self.read().get(RecordId::Usage(id)).await? {
            Some(Record::Usage(usage)) => Some(usage),
            _ => None,
        })
    }

    /// A node by its epoch.
    ///
    /// # Errors
    ///
    /// As [`Store::job`].
    pub async fn node(&self, epoch: Epoch) -> Result<Option<Node>, Error> {
        Ok(match self.read().get(RecordId::Node(epoch)).await? {
            Some(Record::Node(node)) => Some(node),
            _ => None,
        })
    }
}

/// What a batch says, told from it before it is given to the driver.
struct Told {
    topics: Topics,
    facts: Facts,
}

impl Told {
    fn of(changes: &[Change]) -> Self {
        Self { topics: Topics::of(changes), facts: Facts::of(changes) }
    }
}

impl Inner {
    fn told(&self) -> Arc<[Subscription]> {
        Arc::clone(&self.hooks.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A batch behind the fence of its epoch, in which every event is followed by its deliveries: the
    /// transactional outbox.
    fn with_deliveries(&self, epoch: Option<Epoch>, changes: Vec<Change>) -> Vec<Change> {
        let hooks = self.told();
        let mut routed = Vec::with_capacity(changes.len() + 1);
        routed.extend(epoch.map(|epoch| Change::Require(Guard::Alive(epoch))));
        for change in changes {
            let deliveries: Vec<Change> = match &change {
                Change::Emit(event) => hook::outbox(event, &hooks).map(Change::from).collect(),
                _ => Vec::new(),
            };
            routed.push(change);
            routed.extend(deliveries);
        }
        routed
    }

    fn settle(&self, answer: &Answer, since: std::time::Duration, told: Told) {
        let Told { topics, facts } = told;
        let took = (self.monotonic)().saturating_sub(since);
        match answer {
            Ok(_) => {
                self.metrics.commit_seconds.observe(took.as_secs_f64());
                self.metrics.stored(facts);
                self.nudges.send_all(&topics);
            }
            Err(CommitError::Conflict(conflict)) => {
                self.metrics.conflicts.inc();
                tracing::debug!(%conflict, "commit conflicted");
            }
            Err(error) => {
                self.metrics.failures.inc();
                tracing::debug!(%error, "commit failed");
                if *error == CommitError::AnswerLost {
                    // It may be stored: then there is something to do.
                    self.nudges.send_all(&topics);
                }
            }
        }
    }
}
