//! The dispatcher acts on a run if and only if it is queued and may start under the limits and with the
//! room that the store has, or waits and its backoff is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::id::RunId;
use sexton_domain::node::Owner;
use sexton_domain::plan::admission::{self, Admission, CatchUp, Claim, Conditions, Headroom};
use sexton_domain::plan::reconcile::{self, Fence};
use sexton_domain::plan::succession::Behind;
use sexton_domain::plan::turns;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_store::page::{PageRequest, Queue, SessionFilter};
use sexton_store::{CommitError, Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::runners::Runners;
use crate::settings::Settings;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, Pass};

/// How many queued or rested runs one read takes.
const PAGE: u32 = 256;
/// How long nothing begins until the dispatcher or the scheduler looks again for room on the disk.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(5);
/// A run whose claim was not acknowledged is left out for this long; it doubles with each miss up to
/// [`MAX_CLAIM_PAUSE`], so that a claim that can never be made takes no place from others.
const CLAIM_PAUSE: Duration = Duration::from_millis(20);
const MAX_CLAIM_PAUSE: Duration = Duration::from_secs(60);

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
    /// Runs whose claims were not acknowledged.
    pub(crate) missed: BTreeMap<RunId, Missed>,
}

/// Claims of one run that were not acknowledged.
#[derive(Debug)]
pub(crate) struct Missed {
    times: u32,
    /// Until when, on the monotonic clock, the run is left out.
    until: Duration,
}

#[async_trait]
impl Loop for Dispatcher {
    fn kind(&self) -> TaskKind {
        TaskKind::Dispatcher
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        let rested = self.queue_rested(now).await?;
        let admitted = self.admit().await?;
        let claimed = self.claim(admitted).await;
        let next = self.store.read().next_rested().await?;
        let pass = Pass::until(rested + claimed, next, self.env.clock.now());
        let full_pause = (self.store.headroom() == Headroom::Released).then_some(FULL_PAUSE);
        let pauses = [self.catch_up_pause(), self.missed_pause(), full_pause];
        let pause = pauses.into_iter().flatten().min();
        Ok(Pass::after(pass.done, pause.map_or(pass.look_again, |p| p.min(pass.look_again))))
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
                Err(CommitError::Failed(error)) => {
                    tracing::error!(run.id = %run.id, %error, "a rested retry could not be queued");
                }
            }
        }
        Ok(rested.len())
    }

    /// The queued runs that may start now.
    async fn admit(&self) -> Result<Vec<Run>, Error> {
        let settings = Arc::clone(&self.settings.borrow());
        let now = self.env.clock.monotonic();
        let running = self.store.read().running().await?;
        let catch_up = match self.catch_up_pause() {
            Some(_) => CatchUp::Paused,
            None => CatchUp::Paced,
        };
        let conditions = Conditions { catch_up, headroom: self.store.headroom() };
        let mut admission = Admission::new(settings.limits, conditions, &running);
        let mut admitted = Vec::new();
        let mut shared_keys = BTreeSet::new();
        let mut after = None;
        while !admission.is_full() {
            let queue = Queue { without: admission.full_agents(), after, limit: PAGE };
            let queued = self.store.read().queue(queue).await?;
            let last_page = queued.len() < PAGE as usize;
            after = queued.last().map(|run| (run.turn, run.id));
            for run in queued {
                // Only the next turn on a key may start, whatever keeps it from starting.
                if !run.is_isolated() && !shared_keys.insert(run.session_key.clone()) {
                    continue;
                }
                let left_out = self.missed.get(&run.id).is_some_and(|missed| missed.until > now);
                if !left_out
                    && self.may_take(&run, &settings)
                    && self.is_next(&run).await?
                    && admission.offer(&run).is_ok()
                {
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

    /// Whether it is the run's turn on its key: one that was queued before it may be of an agent that
    /// has no place, and not be among those that were read.
    async fn is_next(&self, run: &Run) -> Result<bool, Error> {
        if run.is_isolated() {
            return Ok(true);
        }
        let on_key = self.store.read().active_on(run.session_key.clone()).await?;
        Ok(turns::is_next(run, &on_key))
    }

    /// Claims runs and starts those whose claim is on disk. Returns how many.
    async fn claim(&mut self, admitted: Vec<Run>) -> usize {
        let Some(_announced) = self.runners.announce_claim() else { return 0 };
        let settings = Arc::clone(&self.settings.borrow());
        let (mut ids, mut changes, mut effects) = (Vec::new(), Vec::new(), Vec::new());
        for run in &admitted {
            let found = match Found::read(&self.store, run).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(run.id = %run.id, session.key = %run.session_key, %error,
                        "what is behind a session key could not be read; its turn waits");
                    self.leave_out(run.id);
                    continue;
                }
            };
            let claim = Claim {
                run,
                owner: self.owner,
                current: settings.agent(&run.agent),
                behind: found.behind(),
                rules: &settings.reset,
            };
            match admission::start(claim, &mut self.env.moment()) {
                Ok(started) => {
                    ids.push(run.id);
                    changes.push(started.changes);
                    effects.push(started.effects);
                }
                Err(error) => tracing::debug!(run.id = %run.id, %error, "a run is not claimed"),
            }
        }
        if ids.is_empty() {
            return 0;
        }
        let mut claimed = 0;
        let answers = self.store.claim(changes).await;
        for ((id, effects), answer) in ids.into_iter().zip(effects).zip(answers) {
            match answer {
                Ok(_) => {
                    self.runners.act(effects);
                    self.missed.remove(&id);
                    claimed += 1;
                }
                Err(error) => self.miss(id, &error),
            }
        }
        claimed
    }

    fn miss(&mut self, id: RunId, error: &CommitError) {
        tracing::debug!(run.id = %id, %error, "a claim was not acknowledged");
        self.leave_out(id);
        if *error == CommitError::AnswerLost {
            // The claim may hold: the runners' own look finds it.
            self.runners.look();
        }
    }

    /// Leaves a run out for a while.
    fn leave_out(&mut self, id: RunId) {
        let now = self.env.clock.monotonic();
        // What was left out long ago is started, ended or as good as new.
        self.missed.retain(|_, missed| missed.until + MAX_CLAIM_PAUSE > now);
        let missed = self.missed.entry(id).or_insert(Missed { times: 0, until: now });
        let pause = CLAIM_PAUSE.saturating_mul(1 << missed.times.min(12)).min(MAX_CLAIM_PAUSE);
        *missed = Missed { times: missed.times + 1, until: now + pause };
    }

    /// Until a run that is left out may be looked at again.
    fn missed_pause(&self) -> Option<Duration> {
        let now = self.env.clock.monotonic();
        let pauses = self.missed.values().filter_map(|missed| missed.until.checked_sub(now));
        pauses.filter(|pause| !pause.is_zero()).min()
    }

    fn catch_up_pause(&self) -> Option<Duration> {
        let pause = self.catch_up_from?.saturating_sub(self.env.clock.monotonic());
        (!pause.is_zero()).then_some(pause)
    }
}

/// The sessions that were found behind a run's key.
#[derive(Debug, Default)]
struct Found {
    open: Option<Session>,
    newest_ended: Option<Session>,
}

impl Found {
    /// Looks behind the key of a turn; an isolated run has nothing there.
    async fn read(store: &Store, run: &Run) -> Result<Self, Error> {
        if run.is_isolated() {
            return Ok(Self::default());
        }
        let key = run.session_key.clone();
        if let Some(open) = store.read().open_session(key.clone()).await? {
            return Ok(Self { open: Some(open), newest_ended: None });
        }
        let filter =
            SessionFilter { key: Some(key), open: Some(false), ..SessionFilter::default() };
        let newest_ended = store.read().sessions(filter, PageRequest::first(1)).await?.items.pop();
        Ok(Self { open: None, newest_ended })
    }

    fn behind(&self) -> Behind<'_> {
        Behind { open: self.open.as_ref(), newest_ended: self.newest_ended.as_ref() }
    }
}
