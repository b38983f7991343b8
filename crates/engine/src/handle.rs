//! The handle: everything that the outside may ask of a running engine.

use std::sync::Arc;

use jiff::Timestamp;
use sexton_domain::change::{Change, Decision, Record};
use sexton_domain::entry::Entry;
use sexton_domain::event::Event;
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::job::{Job, Source, Spec};
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::node::{EndReason, Node, Owner};
use sexton_domain::plan::jobs::{self, Declared, Empty, Existing, Put, Refused, Reload};
use sexton_domain::plan::{Moment, ending, slots};
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_store::nudge::Topic;
use sexton_store::page::{JobFilter, Page, PageRequest, RunFilter, SessionFilter, Tally};
use sexton_store::{Stats, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::runners::Runners;
use crate::settings::Settings;

/// How often an edit of jobs is read, at most, in one page while a reload collects them.
const RELOAD_PAGE: u32 = 500;

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
    /// The job names an agent that this node does not have.
    #[error("find agent {agent}: the config knows {known}")]
    UnknownAgent {
        /// As it was asked for.
        agent: AgentName,
        /// Those that there are.
        known: String,
    },
    /// Not in this phase.
    #[error("change anything while {0:?}")]
    Unavailable(Phase),
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
    /// How many records there are.
    pub tally: Tally,
    /// Jobs whose slots come next, the next first.
    pub upcoming: Vec<Job>,
    /// Runs in state running, the oldest first.
    pub running: Vec<Run>,
    /// Running runs and open sessions without a live owner; must be none.
    pub ownerless: usize,
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

#[derive(Debug)]
struct Inner {
    store: Store,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Offline { now: Timestamp },
    Online(Online),
}

/// What only a running engine has.
#[derive(Debug)]
pub(crate) struct Online {
    pub(crate) env: Env,
    pub(crate) owner: Owner,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) settings: watch::Sender<Arc<Settings>>,
    pub(crate) runners: Runners,
}

impl Handle {
    /// For reading a store whose engine is not running.
    pub fn offline(store: Store, now: Timestamp) -> Self {
        Self(Arc::new(Inner { store, mode: Mode::Offline { now } }))
    }

    pub(crate) fn online(store: Store, online: Online) -> Self {
        Self(Arc::new(Inner { store, mode: Mode::Online(online) }))
    }

    /// Now, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        match &self.0.mode {
            Mode::Offline { now } => *now,
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

    /// The settings in force; none when offline.
    pub fn settings(&self) -> Option<Arc<Settings>> {
        match &self.0.mode {
            Mode::Offline { .. } => None,
            Mode::Online(online) => Some(Arc::clone(&online.settings.borrow())),
        }
    }

    /// Asks the engine to stop; [`crate::engine::Engine::wait`] tells when it has.
    pub fn stop(&self, reason: EndReason) {
        if let Mode::Online(online) = &self.0.mode {
            online.phase.send_if_modified(|phase| {
                let stopping = matches!(phase, Phase::Draining(_) | Phase::Stopped);
                if !stopping {
                    *phase = Phase::Draining(reason);
                }
                !stopping
            });
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
        let node = match &self.0.mode {
            Mode::Online(online) => self.0.store.node(online.owner.epoch).await?,
            Mode::Offline { .. } => read.nodes(1).await?.pop(),
        };
        let ownerless = read.orphan_runs(living.clone(), 100).await?.len()
            + read.orphan_sessions(living, 100).await?.len();
        Ok(Status {
            phase: self.phase(),
            node,
            tally: read.tally().await?,
            upcoming: read.due_jobs(Timestamp::MAX, 10).await?,
            running: read.running().await?,
            ownerless,
            stats: read.stats(),
        })
    }

    /// A job by id or key; a removed one only by its id.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn job(&self, job: &JobRef) -> Result<Job, Error> {
        let (found, id) = match job {
            JobRef::Id(id) => (self.0.store.job(*id).await?, id.to_string()),
            JobRef::Key(key) => {
                (self.0.store.read().job_by_key(key.clone()).await?, key.to_string())
            }
        };
        found.ok_or(Error::NotFound { what: "job", id })
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn jobs(
        &self,
        filter: JobFilter,
        page: PageRequest<JobId>,
    ) -> Result<Page<Job, JobId>, Error> {
        Ok(self.0.store.read().jobs(filter, page).await?)
    }

    /// Adds a job, or brings the one of this key to the spec that `spec` makes in view of it. Saying
    /// the same twice changes nothing the second time.
    ///
    /// # Errors
    ///
    /// [`Refused::KeyTaken`], [`Error::UnknownAgent`], what `spec` says, or when the store fails.
    pub async fn put_job<E: From<Error>>(
        &self,
        key: JobKey,
        spec: impl Fn(Option<&Job>) -> Result<Spec, E>,
    ) -> Result<(Job, Placed), E> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("add a job");
        loop {
            let (put, placed) = self.plan_put(online, &key, &spec).await?;
            let Decision { changes, .. } = put.decision;
            if attempts.commit(changes).await.map_err(Error::from)?.is_some() {
                return Ok((self.job(&JobRef::Id(put.id)).await?, placed));
            }
        }
    }

    /// The job as [`Handle::put_job`] would leave it. Nothing is stored, and the id of a job that
    /// would be new is not the one it would get.
    ///
    /// # Errors
    ///
    /// As [`Handle::put_job`].
    pub async fn preview_job<E: From<Error>>(
        &self,
        key: JobKey,
        spec: impl Fn(Option<&Job>) -> Result<Spec, E>,
    ) -> Result<(Job, Placed), E> {
        let online = self.writable()?;
        let (put, placed) = self.plan_put(online, &key, &spec).await?;
        let planned = put.decision.changes.into_iter().find_map(|change| match change {
            Change::Put(Record::Job(job)) => Some(*job),
            _ => None,
        });
        match planned {
            Some(job) => Ok((job, placed)),
            None => Ok((self.job(&JobRef::Id(put.id)).await?, placed)),
        }
    }

    async fn plan_put<E: From<Error>>(
        &self,
        online: &Online,
        key: &JobKey,
        spec: impl Fn(Option<&Job>) -> Result<Spec, E>,
    ) -> Result<(Put, Placed), E> {
        let found = self.0.store.read().job_by_key(key.clone()).await;
        let job = found.map_err(Error::from)?;
        let spec = spec(job.as_ref())?;
        online.know(&spec.agent)?;
        let active = self.active(job.as_ref()).await?;
        let existing = job.as_ref().map(|job| Existing { job, active: &active });
        let mut moment = online.env.moment();
        let put = jobs::put(key, &Source::Api, spec, existing, &mut moment).map_err(Error::from)?;
        let placed = match &job {
            None => Placed::Added,
            Some(_) if put.decision.is_empty() => Placed::Unchanged,
            Some(_) => Placed::Changed,
        };
        Ok((put, placed))
    }

    /// Replaces a job's spec by what `edit` makes of the stored job.
    ///
    /// # Errors
    ///
    /// [`Refused::Stale`] when `revision` is given and not the stored one, the other refusals of an
    /// edit, what `edit` says, or when the store fails.
    pub async fn edit_job<E: From<Error>>(
        &self,
        job: &JobRef,
        revision: Option<u32>,
        edit: impl Fn(&Job) -> Result<Spec, E>,
    ) -> Result<Job, E> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("edit a job");
        loop {
            let job = self.job(job).await?;
            expect(&job, revision).map_err(Error::from)?;
            let spec = edit(&job)?;
            online.know(&spec.agent)?;
            let active = self.active(Some(&job)).await?;
            let existing = Existing { job: &job, active: &active };
            let decision =
                jobs::edit(existing, spec, &mut online.env.moment()).map_err(Error::from)?;
            if attempts.commit(decision.changes).await.map_err(Error::from)?.is_some() {
                return Ok(self.job(&JobRef::Id(job.id)).await?);
            }
        }
    }

    /// Removes a job.
    ///
    /// # Errors
    ///
    /// [`Refused::Stale`] when `revision` is given and not the stored one, the other refusals of a
    /// removal, or when the store fails.
    pub async fn remove_job(&self, job: &JobRef, revision: Option<u32>) -> Result<Job, Error> {
        self.change_job(job, |existing, moment| {
            expect(existing.job, revision)?;
            jobs::remove(existing, moment)
        })
        .await
    }

    /// Suspends a job, whoever owns it.
    ///
    /// # Errors
    ///
    /// The refusals of a suspension, or when the store fails.
    pub async fn disable_job(&self, job: &JobRef) -> Result<Job, Error> {
        self.change_job(job, jobs::suspend).await
    }

    /// Lets a suspended job run again.
    ///
    /// # Errors
    ///
    /// The refusals of a resumption, or when the store fails.
    pub async fn enable_job(&self, job: &JobRef) -> Result<Job, Error> {
        self.change_job(job, |existing, moment| jobs::resume(existing.job, moment)).await
    }

    /// Queues a run of a job now.
    ///
    /// # Errors
    ///
    /// [`Refused::Active`], or when the store fails.
    pub async fn run_job(&self, job: &JobRef) -> Result<Run, Error> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("queue a run");
        let mut tried = None;
        loop {
            // After a lost answer the run may be there: it is not to be queued twice.
            if let Some(run) = tried
                && let Some(run) = self.0.store.run(run).await?
            {
                return Ok(run);
            }
            let job = self.job(job).await?;
            let active = self.active(Some(&job)).await?;
            let settings = Arc::clone(&online.settings.borrow());
            let snapshot = slots::Snapshot {
                job: &job,
                active: &active,
                newest: None,
                settings: settings.agent(&job.spec.agent),
                turn: self.0.store.read().last_turn().await?,
            };
            let triggered = jobs::trigger(snapshot, &mut online.env.moment())?;
            let Decision { changes, effects } = triggered.decision;
            tried = Some(triggered.run);
            if attempts.commit(changes).await?.is_some() {
                online.runners.act(effects);
                return self.run(triggered.run).await;
            }
        }
    }

    /// A run.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn run(&self, id: RunId) -> Result<Run, Error> {
        let run = self.0.store.run(id).await?;
        run.ok_or(Error::NotFound { what: "run", id: id.to_string() })
    }

    /// Runs, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn runs(
        &self,
        filter: RunFilter,
        page: PageRequest<RunId>,
    ) -> Result<Page<Run, RunId>, Error> {
        Ok(self.0.store.read().runs(filter, page).await?)
    }

    /// Cancels a run. One that is running ends a little later, when its processes are proven dead.
    ///
    /// # Errors
    ///
    /// [`Refused::RunEnded`], or when the store fails.
    pub async fn cancel_run(&self, id: RunId) -> Result<Run, Error> {
        let online = self.writable()?;
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

    /// A session.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn session(&self, id: SessionId) -> Result<Session, Error> {
        let session = self.0.store.session(id).await?;
        session.ok_or(Error::NotFound { what: "session", id: id.to_string() })
    }

    /// Sessions, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Session, SessionId>, Error> {
        Ok(self.0.store.read().sessions(filter, page).await?)
    }

    /// Entries of a session after a number, in order.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn entries(
        &self,
        session: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, Error> {
        let session = self.session(session).await?;
        Ok(self.0.store.read().entries(session.id, after, limit).await?)
    }

    /// Events after a number, in order.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, Error> {
        Ok(self.0.store.read().events(after, limit).await?)
    }

    /// The lowest and the highest event number that are stored.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn event_range(&self) -> Result<Option<(u64, u64)>, Error> {
        Ok(self.0.store.read().event_range().await?)
    }

    /// Changes whenever there may be new events.
    pub fn watch_events(&self) -> watch::Receiver<u64> {
        self.0.store.subscribe(Topic::Events)
    }

    /// Changes whenever the phase does; none when offline.
    pub fn watch_phase(&self) -> Option<watch::Receiver<Phase>> {
        match &self.0.mode {
            Mode::Offline { .. } => None,
            Mode::Online(online) => Some(online.phase.subscribe()),
        }
    }

    /// The generation of the store: part of every event cursor, raised by a restore.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn generation(&self) -> Result<u32, Error> {
        Ok(self.0.store.read().meta().await?.generation)
    }

    /// The newest epochs of all nodes, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn nodes(&self, limit: u32) -> Result<Vec<Node>, Error> {
        Ok(self.0.store.read().nodes(limit).await?)
    }

    /// Takes over new settings and brings the jobs of a config source in line: both or neither.
    ///
    /// # Errors
    ///
    /// [`Refused::KeyTaken`], [`Refused::WouldRemoveAll`], or when the store fails.
    pub async fn reload(
        &self,
        source: &str,
        declared: &[Declared],
        empty: Empty,
        settings: Settings,
    ) -> Result<(), Error> {
        let online = self.writable()?;
        self.bring_in_line(source, declared, empty).await?;
        online.settings.send_replace(Arc::new(settings));
        Ok(())
    }

    /// Brings the jobs of a config source in line, also before the node is at work.
    pub(crate) async fn bring_in_line(
        &self,
        source: &str,
        declared: &[Declared],
        empty: Empty,
    ) -> Result<(), Error> {
        let Mode::Online(online) = &self.0.mode else {
            return Err(Error::Unavailable(Phase::Offline));
        };
        let mut attempts = self.0.store.attempts("reload the config");
        loop {
            let existing = self.existing(source, declared).await?;
            let reload = Reload { source, declared, existing: &existing, empty };
            let Decision { changes, .. } = jobs::reload(reload, &mut online.env.moment())?;
            if changes.is_empty() || attempts.commit(changes).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// The jobs of a config source and those whose keys it declares, with their active runs.
    async fn existing(
        &self,
        source: &str,
        declared: &[Declared],
    ) -> Result<Vec<(Job, Vec<Run>)>, Error> {
        let own = Some(Source::Config(source.to_owned()));
        let filter = JobFilter { source: own.clone(), ..JobFilter::default() };
        let mut page = PageRequest::first(RELOAD_PAGE);
        let mut jobs = Vec::new();
        loop {
            let found = self.jobs(filter.clone(), page).await?;
            jobs.extend(found.items);
            let Some(next) = found.next else { break };
            page.after = Some(next);
        }
        for Declared { key, .. } in declared {
            let other = self.0.store.read().job_by_key(key.clone()).await?;
            jobs.extend(other.filter(|job| Some(&job.source) != own.as_ref()));
        }
        let mut existing = Vec::with_capacity(jobs.len());
        for job in jobs {
            let active = self.active(Some(&job)).await?;
            existing.push((job, active));
        }
        Ok(existing)
    }

    async fn change_job(
        &self,
        job: &JobRef,
        decide: impl Fn(Existing<'_>, &mut Moment) -> Result<Decision, Refused>,
    ) -> Result<Job, Error> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("change a job");
        loop {
            let job = self.job(job).await?;
            let active = self.active(Some(&job)).await?;
            let existing = Existing { job: &job, active: &active };
            let decision = decide(existing, &mut online.env.moment())?;
            if decision.is_empty() || attempts.commit(decision.changes).await?.is_some() {
                return self.job(&JobRef::Id(job.id)).await;
            }
        }
    }

    async fn active(&self, job: Option<&Job>) -> Result<Vec<Run>, Error> {
        match job {
            Some(job) => Ok(self.0.store.read().active_runs(job.id).await?),
            None => Ok(Vec::new()),
        }
    }

    fn writable(&self) -> Result<&Online, Error> {
        match (&self.0.mode, self.phase()) {
            (Mode::Online(online), Phase::Ready) => Ok(online),
            (_, phase) => Err(Error::Unavailable(phase)),
        }
    }
}

impl Online {
    fn know(&self, agent: &AgentName) -> Result<(), Error> {
        let settings = self.settings.borrow();
        if settings.agents.contains_key(agent) {
            return Ok(());
        }
        let known: Vec<&str> = settings.agents.keys().map(AgentName::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Error::UnknownAgent { agent: agent.clone(), known })
    }
}

/// Refuses a change that was made in view of another revision.
fn expect(job: &Job, revision: Option<u32>) -> Result<(), Refused> {
    match revision {
        Some(revision) if revision != job.revision => {
            Err(Refused::Stale { key: job.key.clone(), revision: job.revision })
        }
        _ => Ok(()),
    }
}
