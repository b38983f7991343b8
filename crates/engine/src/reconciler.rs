//! The reconciler acts on a node if and only if it is dead and not recorded as such, on a run if and
//! only if it is running for an epoch that is over, and on a session if and only if it is open and
//! its owner is gone, or it is between two turns and was silent for longer than `[reset]` allows.
//! Twice is once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::id::RunId;
use sexton_domain::key::SessionKind;
use sexton_domain::node::{EndReason, Epoch, Node, Owner};
use sexton_domain::plan::ending::Snapshot;
use sexton_domain::plan::reconcile::{self, Fence, Loss};
use sexton_domain::plan::sessions;
use sexton_domain::reset::Rules;
use sexton_domain::run::{Reason, Run};
use sexton_domain::session::Session;
use sexton_store::{CommitError, Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::executor::BuryError;
use crate::settings::Settings;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, Pass};
use crate::transcript;
use crate::unreadable::readable;

/// How many orphans one read takes.
const PAGE: u32 = 256;
/// The pause before runs are looked at again whose end the store did not take.
pub(crate) const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// A row that cannot be read must not keep the run that names it from ending.
const WITHOUT: &str = "a run ends without a record that cannot be read";

/// The reconciler.
#[derive(Debug)]
pub struct Reconciler {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) owner: Owner,
    pub(crate) fence: Fence,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    /// The pause between two looks.
    pub(crate) every: Duration,
    /// How many runs of dead epochs the last look could not end, because the store failed.
    pub(crate) left: usize,
}

#[async_trait]
impl Loop for Reconciler {
    fn kind(&self) -> TaskKind {
        TaskKind::Reconciler
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        let dead = self.find_dead(now).await?;
        let mut ended = self.end_orphans().await?;
        for epoch in &dead {
            self.bury_node(*epoch).await?;
        }
        if !dead.is_empty() {
            // One that had been thought dead may have begun more until it was recorded as such.
            ended += self.end_orphans().await?;
        }
        let silent = self.end_silent(now).await?;
        let pause = if self.left > 0 { FAILURE_PAUSE } else { self.every };
        Ok(Pass::after(ended + dead.len() + silent, pause))
    }
}

impl Reconciler {
    /// Epochs that are over although nobody ended them.
    async fn find_dead(&self, now: Timestamp) -> Result<Vec<Epoch>, Error> {
        let nodes = self.store.read().living_nodes().await?;
        let dead = |node: &&_| reconcile::is_dead(node, self.owner.epoch, self.fence, now);
        Ok(nodes.iter().filter(dead).map(|node| node.epoch).collect())
    }

    /// The epochs whose runs and sessions have an owner.
    async fn living(&self) -> Result<Vec<Epoch>, Error> {
        let now = self.env.clock.now();
        let nodes = self.store.read().living_nodes().await?;
        let dead = |node: &_| reconcile::is_dead(node, self.owner.epoch, self.fence, now);
        Ok(nodes.iter().filter(|node| !dead(node)).map(|node| node.epoch).collect())
    }

    /// Ends what has no living owner; survivors of the dead are killed before anything is retried.
    async fn end_orphans(&mut self) -> Result<usize, Error> {
        let living = self.living().await?;
        let mut ended = 0;
        let mut stuck = BTreeSet::new();
        self.left = 0;
        loop {
            let orphans = self.store.read().orphan_runs(living.clone(), PAGE).await?;
            let orphans: Vec<Run> =
                orphans.into_iter().filter(|run| !stuck.contains(&run.id)).collect();
            if orphans.is_empty() {
                break;
            }
            stuck.extend(self.kill_survivors(&orphans).await);
            for run in orphans.iter().map(|run| run.id) {
                if stuck.contains(&run) {
                    continue;
                }
                if let Err(error) = self.end_run(run).await {
                    tracing::error!(run.id = %run, %error, "an orphan could not be ended");
                    stuck.insert(run);
                    self.left += 1;
                } else {
                    ended += 1;
                }
            }
        }
        Ok(ended + self.end_sessions(&living).await?)
    }

    /// Kills what is left of dead runs on this machine; returns the runs of which something lives.
    async fn kill_survivors(&self, orphans: &[Run]) -> BTreeSet<RunId> {
        let dead: BTreeSet<_> = orphans.iter().map(|run| run.id.uuid()).collect();
        let survivors = match self.env.executor.bury(&|run| dead.contains(&run)).await {
            Ok(killed) => {
                for survivor in killed {
                    tracing::warn!(run.id = %survivor.run, pid = survivor.process.pid,
                        "killed a process that had outlived its gateway");
                }
                return BTreeSet::new();
            }
            Err(BuryError::Alive(survivors)) => survivors,
            Err(error) => {
                tracing::error!(%error, "survivors could not be looked for");
                return orphans.iter().map(|run| run.id).collect();
            }
        };
        for survivor in &survivors {
            tracing::error!(run.id = %survivor.run, pid = survivor.process.pid,
                "a process of a dead run does not die; its run stays until it does");
        }
        survivors.into_iter().map(|survivor| RunId::from(survivor.run)).collect()
    }

    async fn end_run(&self, id: RunId) -> Result<(), Error> {
        let report = self.env.run_files.report(id).await;
        let mut attempts = self.store.attempts("end an orphaned run");
        let reason = match self.fence {
            Fence::Exclusive => Reason::Crash,
            Fence::Lease => Reason::NodeLost,
        };
        loop {
            let Some(run) = self.store.run(id).await? else { break };
            let mut loaded = Loaded::read(&self.store, &run).await?;
            let mut moment = self.env.moment();
            let remark = report.remark().zip(loaded.session.as_mut());
            let remark = remark
                .and_then(|(remark, session)| transcript::remark(session, remark, moment.now));
            let dead = self.dead(run.owner().map(|owner| owner.epoch)).await?;
            let loss = Loss { reason, dead: dead.as_ref(), spent: report.spent.clone() };
            let Ok(decision) = reconcile::end_orphan(loaded.snapshot(&run), loss, &mut moment)
            else {
                break;
            };
            let changes = remark.into_iter().chain(decision.changes).collect();
            if attempts.commit(changes).await?.is_some() {
                break;
            }
        }
        self.env.run_files.remove(id).await;
        Ok(())
    }

    /// Ends sessions without a living owner; those with a turn in flight stay: they end with it.
    async fn end_sessions(&self, living: &[Epoch]) -> Result<usize, Error> {
        let mut ended = 0;
        let mut attempts = self.store.attempts("end ownerless sessions");
        loop {
            let mut orphans = self.store.read().orphan_sessions(living.to_vec(), PAGE).await?;
            let page = orphans.len();
            let running = self.store.read().running().await?;
            let busy: BTreeSet<_> = running.iter().filter_map(|run| run.session).collect();
            orphans.retain(|session| !busy.contains(&session.id));
            orphans.sort_by_key(|session| session.owner.epoch);
            if orphans.is_empty() {
                return Ok(ended);
            }
            let mut moment = self.env.moment();
            let mut changes = Vec::new();
            for sessions in orphans.chunk_by(|one, next| one.owner.epoch == next.owner.epoch) {
                let dead = self.dead(sessions.first().map(|session| session.owner.epoch)).await?;
                let decision = reconcile::end_ownerless(sessions, dead.as_ref(), &mut moment);
                changes.extend(decision.changes);
            }
            if attempts.commit(changes).await?.is_some() {
                ended += orphans.len();
                if page < PAGE as usize {
                    return Ok(ended);
                }
            }
        }
    }

    /// Ends sessions that have been silent for longer than the rule of their kind allows.
    async fn end_silent(&self, now: Timestamp) -> Result<usize, Error> {
        let settings = Arc::clone(&self.settings.borrow());
        let mut ended = 0;
        for kind in SessionKind::ALL {
            let rule = settings.reset.of(kind);
            if let Some(until) = rule.and_then(|rule| rule.cutoff(now)) {
                ended += self.end_silent_of(kind, until, &settings.reset).await?;
            }
        }
        Ok(ended)
    }

    async fn end_silent_of(
        &self,
        kind: SessionKind,
        until: Timestamp,
        rules: &Rules,
    ) -> Result<usize, Error> {
        let mut ended = 0;
        loop {
            let running = self.store.read().running().await?;
            // What a turn is in flight in stays; it must not hide what is behind it.
            let limit = PAGE + u32::try_from(running.len()).unwrap_or(PAGE);
            let silent = self.store.read().idle_sessions(kind, until, limit).await?;
            let before = ended;
            for session in &silent {
                let in_flight = running.iter().find(|run| run.session == Some(session.id));
                let snapshot = sessions::Snapshot { session, in_flight };
                let decision = sessions::expire(snapshot, rules, &mut self.env.moment());
                if decision.is_empty() {
                    continue;
                }
                match self.store.commit(decision.changes).await {
                    Ok(_) => ended += 1,
                    // A turn came, or someone else ended it; else the next look finds it again.
                    Err(CommitError::Conflict(_) | CommitError::AnswerLost) => {}
                    Err(CommitError::Failed(error)) => return Err(error),
                }
            }
            if silent.len() < limit as usize || ended == before {
                return Ok(ended);
            }
        }
    }

    /// The record of a dead epoch, where it can be read.
    async fn dead(&self, epoch: Option<Epoch>) -> Result<Option<Node>, Error> {
        match epoch {
            Some(epoch) => readable(self.store.node(epoch).await, WITHOUT),
            None => Ok(None),
        }
    }

    async fn bury_node(&self, epoch: Epoch) -> Result<(), Error> {
        let reason = match self.fence {
            Fence::Exclusive => EndReason::Crash,
            Fence::Lease => EndReason::Lost,
        };
        let mut attempts = self.store.attempts("record a dead node");
        loop {
            let node = self.store.node(epoch).await?.filter(|node| node.end.is_none());
            let Some(node) = node else { return Ok(()) };
            let left = node.left_behind.unwrap_or_default();
            tracing::warn!(epoch = %epoch, node.id = %node.id, heartbeat_at = %node.heartbeat_at,
                runs.interrupted = left.runs, runs.retried = left.retried, sessions.ended = left.sessions,
                "an earlier epoch ended without saying so; this much of what it left behind is ended");
            let decision = reconcile::bury_node(&node, reason, &mut self.env.moment());
            if attempts.commit(decision.changes).await?.is_some() {
                return Ok(());
            }
        }
    }
}

/// What the end of a run looks at besides the run itself.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) session: Option<Session>,
    job: Option<sexton_domain::job::Job>,
    others: Vec<Run>,
}

impl Loaded {
    pub(crate) async fn read(store: &Store, run: &Run) -> Result<Self, Error> {
        let session = match run.session {
            Some(session) => readable(store.session(session).await, WITHOUT)?,
            None => None,
        };
        let (job, mut others) = match run.job {
            Some(job) => {
                (readable(store.job(job).await, WITHOUT)?, store.read().active_runs(job).await?)
            }
            None => (None, Vec::new()),
        };
        others.retain(|other| other.id != run.id);
        Ok(Self { session, job, others })
    }

    pub(crate) fn snapshot<'a>(&'a self, run: &'a Run) -> Snapshot<'a> {
        Snapshot {
            run,
            session: self.session.as_ref(),
            job: self.job.as_ref(),
            others: &self.others,
        }
    }
}
