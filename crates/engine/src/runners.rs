//! The runners' register starts a runner if and only if a run is running for this epoch and has
//! none, and tells a runner to stop if and only if its run is asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::Timestamp;
use sexton_domain::agent::DEFAULT_TIMEOUT;
use sexton_domain::change::Effect;
use sexton_domain::id::RunId;
use sexton_domain::node::{DrainedRuns, EndReason, Owner};
use sexton_domain::run::{Outcome, Reason, Run};
use sexton_domain::session::Session;
use sexton_store::nudge::Topic;
use sexton_store::{Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::runner::Runner;
use crate::settings::Settings;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, MAX_PAUSE, Pass};

/// The pause before the store is asked again that failed while the node stops.
const RETRY: Duration = Duration::from_millis(500);

/// Why a runner stops its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The run's record asks for it.
    Cancel(Reason),
    /// The node stops.
    Node(EndReason),
    /// The run is not this epoch's any more: stop the work, record nothing.
    Abandon,
}

/// The runners there are.
#[derive(Debug, Default)]
struct Register {
    runners: BTreeMap<RunId, Control>,
    /// How many runners have left.
    left: u64,
    /// Runs whose runners have left while a claim was on its way: perhaps theirs, which another look
    /// had found in the store before its answer came.
    left_early: BTreeSet<RunId>,
    /// Runs whose runner could not even end them. They are not executed again; the next start of the
    /// gateway ends them.
    broken: BTreeSet<RunId>,
    /// What ended since the register was closed.
    ends: Vec<Ended>,
}

/// The end of a run as it was stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// How.
    pub(crate) outcome: Outcome,
    /// How many sessions ended with it.
    pub(crate) sessions: u64,
    /// The number of the last event of its commit; none when the answer was lost.
    pub(crate) seq: Option<u64>,
}

/// What is known of a runner.
#[derive(Debug)]
struct Control {
    stop: watch::Sender<Option<Stop>>,
    /// How long its agent has between TERM and KILL.
    grace: Duration,
    /// Its deadline on the monotonic clock.
    deadline: Duration,
}

/// A claim on its way, from before it is sent until its runs have their runners.
#[derive(Debug)]
pub(crate) struct Claim(Runners);

impl Drop for Claim {
    fn drop(&mut self) {
        let mut register = self.0.register();
        self.0.0.claims.send_modify(|claims| *claims -= 1);
        if *self.0.0.claims.borrow() == 0 {
            register.left_early.clear();
        }
    }
}

/// The runs of this epoch and their runners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runners(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    env: Env,
    store: Store,
    owner: Owner,
    settings: watch::Receiver<Arc<Settings>>,
    register: Mutex<Register>,
    /// How many runners there are.
    count: watch::Sender<usize>,
    /// How many claims are on their way.
    claims: watch::Sender<usize>,
    /// Set when the node refuses new work: nothing is claimed any more.
    closed: watch::Sender<bool>,
    /// Set when the node stops its runs: later runners are told at once.
    stopping: watch::Sender<Option<Stop>>,
}

impl Runners {
    pub(crate) fn new(
        env: Env,
        store: Store,
        owner: Owner,
        settings: watch::Receiver<Arc<Settings>>,
    ) -> Self {
        Self(Arc::new(Inner {
            env,
            store,
            owner,
            settings,
            register: Mutex::default(),
            count: watch::Sender::new(0),
            claims: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            stopping: watch::Sender::new(None),
        }))
    }

    /// Does what a decision asks for.
    pub(crate) fn act(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start { run, session } => self.start(*run, *session, None),
                // The request is in the run's record: the look finds it there.
                Effect::Stop(_) => self.look(),
            }
        }
    }

    /// Asks for a look.
    pub(crate) fn look(&self) {
        self.0.store.nudge(Topic::Cancels);
    }

    /// The longest time that an agent of these runners has between TERM and KILL.
    pub(crate) fn longest_grace(&self) -> Duration {
        let register = self.register();
        register.runners.values().map(|control| control.grace).max().unwrap_or_default()
    }

    /// When the last of these runs has reached its deadline, on the monotonic clock.
    pub(crate) fn last_deadline(&self) -> Duration {
        let register = self.register();
        register.runners.values().map(|control| control.deadline).max().unwrap_or_default()
    }

    /// Lets no more claims be made. What ends from now on is counted.
    pub(crate) fn close(&self) {
        let _register = self.register();
        self.0.closed.send_replace(true);
    }

    /// How many runs have not ended, as far as their runners know.
    pub(crate) fn remaining(&self) -> usize {
        let register = self.register();
        register.runners.len() + register.broken.len()
    }

    /// What became of the runs that had not ended when the event of number `begun` was stored, and how
    /// many sessions ended with them.
    pub(crate) fn drained(&self, begun: Option<u64>) -> (DrainedRuns, u64) {
        let register = self.register();
        let unproven = (register.runners.len() + register.broken.len()) as u64;
        let (mut finished, mut interrupted, mut sessions) = (0, 0, 0);
        for end in register.ends.iter().filter(|end| end.seq.is_none() || end.seq > begun) {
            sessions += end.sessions;
            match end.outcome {
                Outcome::Interrupted => interrupted += 1,
                _ => finished += 1,
            }
        }
        (DrainedRuns { finished, interrupted, unproven }, sessions)
    }

    /// Stops every run, also those that start later.
    pub(crate) fn stop_all(&self, reason: EndReason) {
        self.tell_all(Stop::Node(reason));
    }

    /// Stops every run and records nothing: this epoch may not write any more.
    pub(crate) fn abandon(&self) {
        self.tell_all(Stop::Abandon);
    }

    /// Returns when no runner is left, no claim is on its way and no run of this epoch is running. To
    /// be called after [`Runners::close`].
    pub(crate) async fn idle(&self) {
        let (mut count, mut claims) = (self.0.count.subscribe(), self.0.claims.subscribe());
        loop {
            // The senders live in `self`.
            let _ = claims.wait_for(|claims| *claims == 0).await;
            let _ = count.wait_for(|count| *count == 0).await;
            // A claim whose answer was lost may hold: its run gets a runner, which ends it.
            match self.reconcile().await {
                Ok(0) if *count.borrow() == 0 && *claims.borrow() == 0 => return,
                Ok(_) => {}
                Err(Error::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the store fails while the node stops; trying again");
                    self.0.env.clock.sleep(RETRY).await;
                }
            }
        }
    }

    /// Announces a claim, until the answer is dropped; none when the node stops. Without it a stop
    /// could find no runner while a claim is on its way, and leave a running run behind.
    pub(crate) fn announce_claim(&self) -> Option<Claim> {
        self.0.claims.send_modify(|claims| *claims += 1);
        let claim = Claim(self.clone());
        // Only now: whoever closes the register has either done so before, or sees the claim.
        let closed = *self.0.closed.borrow();
        (!closed).then_some(claim)
    }

    fn tell_all(&self, stop: Stop) {
        // Under the lock: a runner is registered before this, and told here, or after it, and told
        // from the start.
        let register = self.register();
        self.0.closed.send_replace(true);
        self.0.stopping.send_replace(Some(stop));
        for control in register.runners.values() {
            control.stop.send_replace(Some(stop));
        }
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.0.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the runner of a run unless it has one. `left` is how many runners had left when the run
    /// was read as running: one of those that left since may have been its own.
    fn start(&self, run: Run, session: Session, left: Option<u64>) {
        let id = run.id;
        let cancel = run.cancel.map(|cancel| Stop::Cancel(cancel.reason));
        let settings = run.input.as_ref().and_then(|input| input.settings.as_ref());
        let grace = settings.map_or(Duration::ZERO, |agent| agent.grace.to_std());
        let timeout = run.input.as_ref().map_or(DEFAULT_TIMEOUT, |input| input.timeout);
        let deadline = self.0.env.clock.monotonic() + timeout.to_std();
        let stop = {
            let mut register = self.register();
            if register.runners.contains_key(&id) || register.left_early.contains(&id) {
                return;
            }
            if left.is_some_and(|left| left != register.left) {
                return self.look();
            }
            let stop = watch::Sender::new(self.0.stopping.borrow().or(cancel));
            let told = stop.subscribe();
            register.runners.insert(id, Control { stop, grace, deadline });
            self.0.count.send_replace(register.runners.len());
            told
        };
        let runner = Runner {
            env: self.0.env.clone(),
            store: self.0.store.clone(),
            owner: self.0.owner,
            settings: Arc::clone(&self.0.settings.borrow()),
            stop,
        };
        let this = self.clone();
        self.0.env.tasks.spawn(TaskKind::Runner, async move {
            let carried = AssertUnwindSafe(runner.carry(run, session)).catch_unwind().await;
            let mut register = this.register();
            register.runners.remove(&id);
            register.left += 1;
            if *this.0.claims.borrow() > 0 {
                register.left_early.insert(id);
            }
            match carried {
                Ok(ended) if *this.0.closed.borrow() => register.ends.extend(ended),
                Ok(_) => {}
                Err(_) => {
                    tracing::error!(run.id = %id, "a run could not be ended; the next start ends it");
                    register.broken.insert(id);
                }
            }
            this.0.count.send_replace(register.runners.len());
        });
    }

    /// Brings register and store together.
    async fn reconcile(&self) -> Result<usize, Error> {
        let mut done = 0;
        for run in self.0.store.read().running().await? {
            if run.owner() != Some(self.0.owner) {
                continue;
            }
            let (stop, broken) = {
                let register = self.register();
                let stop = register.runners.get(&run.id).map(|control| control.stop.clone());
                (stop, register.broken.contains(&run.id))
            };
            match (stop, run.cancel) {
                (Some(stop), Some(cancel)) => {
                    done += usize::from(stop.send_if_modified(|stop| {
                        let news = stop.is_none();
                        stop.get_or_insert(Stop::Cancel(cancel.reason));
                        news
                    }));
                }
                (Some(_), None) => {}
                (None, _) if broken => {}
                (None, _) => done += usize::from(self.adopt(run.id).await?),
            }
        }
        Ok(done)
    }

    /// Starts the runner that a lost effect, or a claim whose answer was lost, should have started.
    /// The run is read anew: its runner may have ended it and left the register since.
    async fn adopt(&self, id: RunId) -> Result<bool, Error> {
        let left = self.register().left;
        let run = self.0.store.run(id).await?;
        let Some(run) = run.filter(|run| run.owner() == Some(self.0.owner)) else {
            return Ok(false);
        };
        let Some(session) = run.session else { return Ok(false) };
        let Some(session) = self.0.store.session(session).await? else { return Ok(false) };
        tracing::warn!(run.id = %id, "a claimed run had no runner; it starts now");
        self.start(run, session, Some(left));
        Ok(true)
    }
}

/// The loop around [`Runners`].
#[derive(Debug)]
pub(crate) struct Watch(pub(crate) Runners);

#[async_trait]
impl Loop for Watch {
    fn kind(&self) -> TaskKind {
        TaskKind::Runners
    }

    async fn run_once(&mut self, _now: Timestamp) -> Result<Pass, Error> {
        let done = self.0.reconcile().await?;
        Ok(Pass::after(done, MAX_PAUSE.min(Duration::from_secs(30))))
    }
}
