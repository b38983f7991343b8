//! The scheduler acts on a job if and only if it is active, its next slot is due and the store has room
//! for new work. One commit accounts for the slots and moves `next_slot`.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use sexton_domain::id::JobId;
use sexton_domain::plan::admission::Headroom;
use sexton_domain::plan::slots::{self, Snapshot};
use sexton_store::{Error, Store};
use tokio::sync::watch;

use crate::dispatcher::FULL_PAUSE;
use crate::env::Env;
use crate::runners::Runners;
use crate::settings::Settings;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, Pass};

/// How many due jobs one look takes.
const PAGE: u32 = 256;
/// How many jobs are decided about at once, so that their commits share a sync.
const AT_ONCE: usize = 64;
/// How long a job that cannot be accounted for keeps the scheduler from looking again.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) runners: Runners,
}

#[async_trait]
impl Loop for Scheduler {
    fn kind(&self) -> TaskKind {
        TaskKind::Scheduler
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        if self.store.headroom() == Headroom::Released {
            return Ok(Pass::after(0, FULL_PAUSE));
        }
        let due = self.store.read().due_jobs(now, PAGE).await?;
        let looked_at = due.len();
        let this = &*self;
        let accounted = stream::iter(due)
            .map(|job| async move {
                let error = match AssertUnwindSafe(this.account(job.id)).catch_unwind().await {
                    Ok(Ok(())) => return true,
                    Ok(Err(Error::Closed)) => return false,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "it panicked".to_owned(),
                };
                tracing::error!(job.id = %job.id, job.key = %job.key, error,
                    "a due job could not be accounted for");
                false
            })
            .buffer_unordered(AT_ONCE)
            .filter(|accounted| std::future::ready(*accounted))
            .count()
            .await;
        if accounted < looked_at {
            return Ok(Pass::after(accounted, FAILURE_PAUSE));
        }
        let next = self.store.read().next_due().await?;
        Ok(Pass::until(accounted, next, self.env.clock.now()))
    }
}

impl Scheduler {
    /// Accounts for the due slots of one job.
    async fn account(&self, id: JobId) -> Result<(), Error> {
        let mut attempts = self.store.attempts("account for a slot");
        let read = self.store.read();
        loop {
            let Some(job) = self.store.job(id).await? else { return Ok(()) };
            let active = read.active_runs(id).await?;
            let newest = read.newest_slot(id).await?;
            let turn = read.last_turn().await?;
            let on_key = match job.spec.shared_key() {
                Some(key) => read.active_on(key).await?,
                None => Vec::new(),
            };
            let settings = Arc::clone(&self.settings.borrow());
            let snapshot = Snapshot {
                job: &job,
                active: &active,
                on_key: &on_key,
                newest: newest.as_ref(),
                settings: settings.agent(&job.spec.agent),
                turn,
            };
            let decision = slots::account(snapshot, &mut self.env.moment());
            if decision.is_empty() {
                return Ok(());
            }
            if attempts.commit(decision.changes).await?.is_some() {
                self.runners.act(decision.effects);
                return Ok(());
            }
        }
    }
}
