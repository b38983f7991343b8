//! The handle: everything that the outside may ask of a running engine.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use sexton_domain::alert::Alert;
use sexton_domain::id::{DeliveryId, JobId, RunId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::name::{AgentName, HookName, JobKey};
use sexton_domain::node::{EndReason, Epoch, Node, Owner};
use sexton_domain::plan::admission::Headroom;
use sexton_domain::plan::drain::Patience;
use sexton_domain::plan::jobs::{self, Refused};
use sexton_domain::plan::reconcile::Fence;
use sexton_domain::plan::{ending, messages, sessions};
use sexton_domain::run::Run;
use sexton_domain::sweep::Reaper;
use sexton_store::page::Tally;
use sexton_store::{Stats, Store};
use tokio::sync::watch;

use crate::archive::files::Files;
use crate::drain::{Progress, Wish};
use crate::env::Env;
use crate::hooks::Hooks;
use crate::reaper::{self, Bell, Overdue};
use crate::runners::Runners;
use crate::settings::Settings;

pub use hooks::{HookState, HookTest, Switch};

mod conversations;
mod hooks;
mod job_edits;
mod ledger;
mod look;
mod once;
mod scrape;
mod sweeps;

pub use conversations::Turn;
pub use ledger::Ledger;
pub use sweeps::Purged;

/// How many alerts a status shows.
const ALERTS: u32 = 50;

/// Where the engine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Ending what a dead epoch left behind; nothing is scheduled yet.
    Reconciling,
    /// At work.
    Ready,
    /// Refusing new work.
    Draining(EndReason),
    /// Done.
    Stopped,
    /// Not running: the store is open for reading only.
    Offline,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reconciling => "is ending what an earlier life left behind",
            Self::Ready => "is ready",
            Self::Draining(_) => "is draining",
            Self::Stopped => "has stopped",
            Self::Offline => "is not running",
        })
    }
}

/// Why something that was asked for did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("find {what} {id}")]
    NotFound {
        /// `job`, `run` or `session`.
        what: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The rules say no to a message.
    #[error(transparent)]
    Message(#[from] messages::Refused),
    /// The rules say no to what is to become of a session.
    #[error(transparent)]
    Session(#[from] sessions::Refused),
    /// A job or a message names an agent that this node does not have.
    #[error("find agent {agent}: the config knows {known}")]
    UnknownAgent {
        /// As it was asked for.
        agent: AgentName,
        /// Those that there are.
        known: String,
    },
    /// The delivery is still to go out.
    #[error("send delivery {id} again: it is still pending")]
    Pending {
        /// Which one.
        id: DeliveryId,
    },
    /// Not in this phase.
    #[error("change anything: the node {0}")]
    Unavailable(Phase),
    /// A session that is to be restored has not gone.
    #[error("restore session {0}: it is in the store")]
    InStore(SessionId),
    /// Only a stub of the archive is left.
    #[error("read the archive of session {session}: it was deleted at {at}")]
    ArchiveGone {
        /// The session.
        session: SessionId,
        /// When.
        at: Timestamp,
    },
    /// The archive cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] sexton_store::Error),
}

/// A job by its id or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobRef {
    /// By id.
    Id(JobId),
    /// By key.
    Key(JobKey),
}

/// What a status screen shows.
#[derive(Debug, Clone)]
pub struct Status {
    /// Where the engine stands.
    pub phase: Phase,
    /// This epoch, or the newest one when offline.
    pub node: Option<Node>,
    /// The epoch before it.
    pub before: Option<Node>,
    /// How many records there are.
    pub tally: Tally,
    /// Jobs whose slots come next, the next first.
    pub upcoming: Vec<Job>,
    /// Runs in state running, the oldest first.
    pub running: Vec<Run>,
    /// What needs a look, the newest first; at most 50.
    pub alerts: Vec<Alert>,
    /// Running runs and open sessions without a live owner; must be none.
    pub ownerless: usize,
    /// What the reaper remembers: the last sweep, what is held, what is wrong with the archives.
    pub reaper: Reaper,
    /// Sessions that are due although nothing keeps them; must be none. Counted up to ten thousand.
    pub overdue: u64,
    /// Since when the oldest pending delivery of each hook waits; none where none does.
    pub oldest_deliveries: Vec<(HookName, Option<Timestamp>)>,
    /// What the store occupies.
    pub stats: Stats,
}

/// How a job came to be as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is new.
    Added,
    /// It was changed.
    Changed,
    /// It was like that.
    Unchanged,
}

/// A running engine, or a store that is open for reading. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    store: Store,
    mode: Mode,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("store", &self.store).finish_non_exhaustive()
    }
}

enum Mode {
    Offline { now: Timestamp, archives: Arc<dyn Files> },
    Online(Online),
}

/// What only a running engine has.
pub(crate) struct Online {
    pub(crate) env: Env,
    pub(crate) owner: Owner,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) settings: watch::Sender<Arc<Settings>>,
    pub(crate) runners: Runners,
    pub(crate) hooks: Hooks,
    pub(crate) bell: Arc<Bell>,
    pub(crate) overdue: Arc<Overdue>,
    pub(crate) fence: Fence,
    pub(crate) wish: watch::Sender<Option<Wish>>,
    pub(crate) progress: watch::Sender<Option<Progress>>,
}

impl Handle {
    /// For reading a store whose engine is not running.
    pub fn offline(store: Store, archives: Arc<dyn Files>, now: Timestamp) -> Self {
        Self(Arc::new(Inner { store, mode: Mode::Offline { now, archives } }))
    }

    pub(crate) fn online(store: Store, online: Online) -> Self {
        Self(Arc::new(Inner { store, mode: Mode::Online(online) }))
    }

    /// Now, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        match &self.0.mode {
            Mode::Offline { now, .. } => *now,
            Mode::Online(online) => online.env.clock.now(),
        }
    }

    /// Where the engine stands.
    pub fn phase(&self) -> Phase {
        match &self.0.mode {
            Mode::Offline { .. } => Phase::Offline,
            Mode::Online(online) => *online.phase.borrow(),
        }
    }

    /// This life of the node; none when offline.
    pub fn epoch(&self) -> Option<Epoch> {
        match &self.0.mode {
            Mode::Offline { .. } => None,
            Mode::Online(online) => Some(online.owner.epoch),
        }
    }

    /// The settings in force; none when offline.
    pub fn settings(&self) -> Option<Arc<Settings>> {
        match &self.0.mode {
            Mode::Offline { .. } => None,
            Mode::Online(online) => Some(Arc::clone(&online.settings.borrow())),
        }
    }

    /// Asks the engine to stop within its budget; [`crate::engine::Engine::wait`] tells when it has.
    pub fn stop(&self, reason: EndReason) {
        self.drain(reason, Patience::Budget);
    }

    /// As [`Handle::stop`], with more or less patience for running runs. Asking again can only make it
    /// less; the first reason stays.
    pub fn drain(&self, reason: EndReason, patience: Patience) {
        let Mode::Online(online) = &self.0.mode else { return };
        online.wish.send_if_modified(|wish| {
            let less = wish.is_none_or(|wish| patience < wish.patience);
            if less {
                *wish = Some(Wish { patience, since: online.env.clock.monotonic() });
            }
            less
        });
        online.phase.send_if_modified(|phase| {
            let stopping = matches!(phase, Phase::Draining(_) | Phase::Stopped);
            if !stopping {
                *phase = Phase::Draining(reason);
            }
            !stopping
        });
    }

    /// How far a drain has come: none before it begins, and when offline.
    pub fn progress(&self) -> Option<Progress> {
        match &self.0.mode {
            Mode::Offline { .. } => None,
            Mode::Online(online) => *online.progress.borrow(),
        }
    }

    /// Changes whenever a drain comes a step further; none when offline.
    pub fn watch_progress(&self) -> Option<watch::Receiver<Option<Progress>>> {
        match &self.0.mode {
            Mode::Offline { .. } => None,
            Mode::Online(online) => Some(online.progress.subscribe()),
        }
    }

    /// Everything a status screen shows. Costs the same however many sessions there are.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn status(&self) -> Result<Status, Error> {
        let read = self.0.store.read();
        let living: Vec<_> = read.living_nodes().await?.iter().map(|node| node.epoch).collect();
        let mut lives = read.nodes(2).await?.into_iter();
        let (node, before) = match &self.0.mode {
            Mode::Online(online) => {
                let me = online.owner.epoch;
                (self.0.store.node(me).await?, lives.find(|node| node.epoch < me))
            }
            Mode::Offline { .. } => (lives.next(), lives.next()),
        };
        let ownerless = read.orphan_runs(living.clone(), 100).await?.len()
            + read.orphan_sessions(living, 100).await?.len();
        let reaper = reaper::memory(&self.0.store).await?;
        let overdue = match &self.0.mode {
            Mode::Online(Online { overdue, env, settings, .. }) => {
                let settings = Arc::clone(&settings.borrow());
                overdue.count(&self.0.store, env, &settings, &reaper).await?
            }
            Mode::Offline { .. } => 0,
        };
        let mut alerts = read.alerts(ALERTS).await?;
        alerts.retain(Alert::is_active);
        Ok(Status {
            alerts,
            reaper,
            overdue,
            phase: self.phase(),
            node,
            before,
            tally: read.tally().await?,
            upcoming: read.due_jobs(Timestamp::MAX, 10).await?,
            running: read.running().await?,
            ownerless,
            oldest_deliveries: self.oldest_deliveries().await?,
            stats: read.stats(),
        })
    }

    /// Cancels a run. One that is running ends a little later, when its processes are proven dead. That
    /// is no new work: a node that drains does it too.
    ///
    /// # Errors
    ///
    /// [`Refused::RunEnded`], or when the store fails.
    pub async fn cancel_run(&self, id: RunId) -> Result<Run, Error> {
        let online = match (&self.0.mode, self.phase()) {
            (Mode::Online(online), Phase::Draining(_)) => online,
            _ => self.writable()?,
        };
        let mut attempts = self.0.store.attempts("cancel a run");
        loop {
            let run = self.run(id).await?;
            let job = match run.job {
                Some(job) => self.0.store.job(job).await?,
                None => None,
            };
            let mut others = self.active(job.as_ref()).await?;
            others.retain(|other| other.id != id);
            let snapshot =
                ending::Snapshot { run: &run, session: None, job: job.as_ref(), others: &others };
            let decision = jobs::cancel(snapshot, &mut online.env.moment())?;
            if attempts.commit(decision.changes).await?.is_some() {
                online.runners.act(decision.effects);
                return self.run(id).await;
            }
        }
    }

    async fn active(&self, job: Option<&Job>) -> Result<Vec<Run>, Error> {
        match job {
            Some(job) => Ok(self.0.store.read().active_runs(job.id).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Refuses new work while the room that is left is for the ends of what has begun.
    pub(crate) fn has_room(&self) -> Result<(), Error> {
        match self.0.store.headroom() {
            Headroom::Kept => Ok(()),
            Headroom::Released => Err(Error::Store(sexton_store::Error::Unavailable {
                doing: "begin new work",
                why: "the disk is full".to_owned(),
            })),
        }
    }

    fn writable(&self) -> Result<&Online, Error> {
        match (&self.0.mode, self.phase()) {
            (Mode::Online(online), Phase::Ready) => Ok(online),
            (_, phase) => Err(Error::Unavailable(phase)),
        }
    }
}
