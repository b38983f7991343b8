//! Jobs by the handle: read, add, edit, remove, switch, trigger, and the reload of a config source.

use std::sync::Arc;

use sexton_domain::change::{Change, Decision, Record};
use sexton_domain::id::JobId;
use sexton_domain::job::{Job, Source, Spec};
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::plan::jobs::{self, Declared, Empty, Existing, Put, Refused, Reload};
use sexton_domain::plan::{Moment, slots};
use sexton_domain::run::Run;
use sexton_store::nudge::Topic;
use sexton_store::page::{JobFilter, Page, PageRequest};

use super::{Error, Handle, JobRef, Mode, Online, Phase, Placed};
use crate::settings::Settings;

/// How many jobs of a source a reload reads at once.
const RELOAD_PAGE: u32 = 500;

impl Handle {
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
    /// [`Refused::Active`], [`Refused::QueueFull`], or when the store fails.
    pub async fn run_job(&self, job: &JobRef) -> Result<Run, Error> {
        let online = self.writable()?;
        self.has_room()?;
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
            let on_key = match job.spec.shared_key() {
                Some(key) => self.0.store.read().active_on(key).await?,
                None => Vec::new(),
            };
            let settings = Arc::clone(&online.settings.borrow());
            let snapshot = slots::Snapshot {
                job: &job,
                active: &active,
                on_key: &on_key,
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

    /// Takes over new settings and brings the jobs of a config source in line: both or neither. One at a time: of
    /// two that overlap, the settings of the one that ends last are in force.
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
        // Other limits may have made room.
        self.0.store.nudge(Topic::Queue);
        online.hooks.look();
        online.bell.wake();
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
}

impl Online {
    pub(super) fn know(&self, agent: &AgentName) -> Result<(), Error> {
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
