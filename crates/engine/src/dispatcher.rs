//! The dispatcher acts on a run if and only if it is queued and may start under the limits, or
//! waits and its backoff is over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::change::Effect;
use sexton_domain::node::Owner;
use sexton_domain::plan::admission::{self, Admission, CatchUp};
use sexton_domain::plan::reconcile::{self, Fence};
use sexton_domain::run::Run;
use sexton_store::page::Queue;
use sexton_store::{CommitError, Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::runners::Runners;
use crate::settings::Settings;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, Pass};

/// How many queued or rested runs one read takes.
const PAGE: u32 = 256;
/// After a claim that met a conflict, the queue has changed: look again soon.
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// The dispatcher.
#[derive(Debug)]
pub struct Dispatcher {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) runners: Runners,
    pub(crate) owner: Owner,
    pub(crate) fence: Fence,
    /// Until when, on the monotonic clock, catching up is paused.
    pub(crate) catch_up_from: Option<Duration>,
}

#[async_trait]
impl Loop for Dispatcher {
    fn kind(&self) -> TaskKind {
        TaskKind::Dispatcher
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        let rested = self.queue_rested(now).await?;
        let admitted = self.admit().await?;
        let (claimed, missed) = self.claim(admitted).await;
        if missed > 0 {
            return Ok(Pass::after(claimed, CONFLICT_PAUSE));
        }
        let next = self.store.read().next_rested().await?;
        let pass = Pass::until(rested + claimed, next, self.env.clock.now());
        Ok(match self.catch_up_pause() {
            Some(pause) => Pass::after(pass.done, pass.look_again.min(pause)),
            None => pass,
        })
    }
}

impl Dispatcher {
    /// Queues the retries whose backoff is over.
    async fn queue_rested(&self, now: Timestamp) -> Result<usize, Error> {
        let rested = self.store.read().rested_runs(now, PAGE).await?;
        for run in &rested {
            let decision = reconcile::rested(run, &mut self.env.moment());
            match self.store.commit(decision.changes).await {
                // Someone else moved it: it is not waiting any more.
                Ok(_) | Err(CommitError::Conflict(_) | CommitError::AnswerLost) => {}
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        Ok(rested.len())
    }

    /// The queued runs that may start now.
    async fn admit(&self) -> Result<Vec<Run>, Error> {
        let settings = Arc::clone(&self.settings.borrow());
        let running = self.store.read().running().await?;
        let catch_up = match self.catch_up_pause() {
            Some(_) => CatchUp::Paused,
            None => CatchUp::Paced,
        };
        let mut admission = Admission::new(settings.limits, catch_up, &running);
        let mut admitted = Vec::new();
        let mut after = None;
        while !admission.is_full() {
            let queue = Queue { without: admission.full_agents(), after, limit: PAGE };
            let queued = self.store.read().queue(queue).await?;
            let last_page = queued.len() < PAGE as usize;
            after = queued.last().map(|run| (run.turn, run.id));
            for run in queued {
                if self.may_take(&run, &settings) && admission.offer(&run).is_ok() {
                    admitted.push(run);
                }
            }
            if last_page {
                break;
            }
        }
        Ok(admitted)
    }

    /// A node takes only runs of agents it has. Where no other node can have the agent, it takes
    /// the run all the same and lets it fail, rather than let it wait for ever.
    fn may_take(&self, run: &Run, settings: &Settings) -> bool {
        self.fence == Fence::Exclusive || settings.agents.contains_key(&run.agent)
    }

    /// Claims runs and starts those whose claim is on disk. Returns how many, and how many not.
    async fn claim(&self, admitted: Vec<Run>) -> (usize, usize) {
        let Some(_announced) = self.runners.announce_claim() else { return (0, 0) };
        let settings = Arc::clone(&self.settings.borrow());
        let decisions: Vec<_> = admitted
            .iter()
            .filter_map(|run| {
                let current = settings.agent(&run.agent);
                admission::start(run, self.owner, current, &mut self.env.moment()).ok()
            })
            .collect();
        if decisions.is_empty() {
            return (0, 0);
        }
        let (changes, effects): (Vec<_>, Vec<Vec<Effect>>) =
            decisions.into_iter().map(|decision| (decision.changes, decision.effects)).unzip();
        let (mut claimed, mut missed) = (0, 0);
        for (answer, effects) in self.store.claim(changes).await.into_iter().zip(effects) {
            match answer {
                Ok(_) => {
                    self.runners.act(effects);
                    claimed += 1;
                }
                Err(error) => {
                    tracing::debug!(%error, "a claim was not acknowledged");
                    missed += 1;
                }
            }
        }
        if missed > 0 {
            // A claim whose answer was lost may hold: the runners' own look finds it.
            self.runners.look();
        }
        (claimed, missed)
    }

    fn catch_up_pause(&self) -> Option<Duration> {
        let pause = self.catch_up_from?.saturating_sub(self.env.clock.monotonic());
        (!pause.is_zero()).then_some(pause)
    }
}
