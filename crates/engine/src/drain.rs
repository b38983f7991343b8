//! The drain takes the node from running to stopped if and only if it is asked to stop, or its epoch was
//! ended by another node. Every step has its bound, and nothing stretches it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use sexton_domain::change::{Change, Decision};
use sexton_domain::duration;
use sexton_domain::id::EventId;
use sexton_domain::node::{Drained, DrainedDeliveries, EndReason, Node};
use sexton_domain::plan::drain::{self, Budget, CUT_OFF, Leaving, PROOF, Patience, Step};
use sexton_domain::run::Run;
use sexton_store::page::Standing;
use sexton_store::{Error, Store, Ticket};
use tokio::sync::watch;

use crate::env::Env;
use crate::handle::Phase;
use crate::hooks::Hooks;
use crate::runners::Runners;
use crate::settings::Settings;

/// The pause between two looks at what is still to be delivered.
const LOOK: Duration = Duration::from_millis(50);

/// What a stop was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) patience: Patience,
    /// Since when, on the monotonic clock.
    pub(crate) since: Duration,
}

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Why the node stops.
    pub reason: EndReason,
    /// What it does now.
    pub step: Step,
    /// The longest that this step and the later ones take, counted from the step's begin.
    pub at_most: duration::Duration,
    /// When that is over.
    pub until: Timestamp,
}

/// The way from running to stopped.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) env: Env,
    pub(crate) store: Store,
    /// This epoch, as it began.
    pub(crate) node: Node,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) runners: Runners,
    pub(crate) hooks: Hooks,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) wish: watch::Receiver<Option<Wish>>,
    pub(crate) progress: watch::Sender<Option<Progress>>,
}

impl Drain {
    /// Waits until the node is asked to stop, and takes it to rest.
    pub(crate) async fn run(&mut self) {
        let asked =
            self.phase.wait_for(|phase| matches!(phase, Phase::Draining(_) | Phase::Stopped));
        let asked = asked.await.map(|phase| *phase);
        let reason = match asked {
            Ok(Phase::Draining(reason)) => reason,
            _ => EndReason::Lost,
        };
        if reason != EndReason::Lost {
            self.come_to_rest(reason).await;
        }
        self.enter(reason, Step::Store);
        if self.within(Step::Store, self.store.read().close()).await.is_none() {
            tracing::error!("the store did not close in time");
        }
        self.enter(reason, Step::Answers);
    }

    /// Every step but the last ones. The order is the promise.
    async fn come_to_rest(&mut self, reason: EndReason) {
        let began = self.env.clock.monotonic();
        self.runners.close();
        let budget = self.budget();
        tracing::info!(?reason, at_most = %budget.total(), "draining");
        let mut moment = self.env.moment();
        self.hooks.count_from_now();
        let begin = drain::begin(&self.node, reason, budget, &mut moment);
        // Queued before everything that follows; nobody waits for it now.
        let mut begun = Begun::Asked(self.store.commit(begin.changes));

        self.enter(reason, Step::Runs);
        let finished = self.let_finish(reason).await;
        self.runners.stop_all(reason);
        if !finished {
            self.enter(reason, Step::Cancel);
            if self.within(Step::Cancel, self.runners.idle()).await.is_none() {
                tracing::error!(
                    "some runs could not be proven dead in time; the next start ends them"
                );
            }
        }
        self.enter(reason, Step::Sessions);
        let mut sent = None;
        let ended = self.within(Step::Sessions, self.end_sessions(reason, &mut sent)).await;
        told("open sessions could not be ended in time; the next start ends what is left", ended);
        self.enter(reason, Step::Deliveries);
        self.flush(&mut begun).await;
        self.enter(reason, Step::Record);
        let mut report = Report { began, begun, sent, sessions: 0, pending: 0, recorded: None };
        let recorded = self.within(Step::Record, self.leave(reason, &mut report)).await;
        told("the end of this epoch could not be recorded; the next start does that", recorded);
        let drained = report.recorded.unwrap_or_else(|| self.drained(&report));
        let Drained { took_ms, runs, sessions_ended, deliveries } = drained;
        tracing::info!(
            ?reason,
            took_ms,
            runs.finished,
            runs.interrupted,
            runs.unproven,
            sessions_ended,
            deliveries.delivered,
            deliveries.failed,
            deliveries.pending,
            "drained"
        );
    }

    fn enter(&self, reason: EndReason, step: Step) {
        let at_most = self.budget().rest(step);
        let until = at_most.after(self.env.clock.now());
        tracing::debug!(?step, %at_most, "{}", step.doing());
        self.progress.send_replace(Some(Progress { reason, step, at_most, until }));
    }

    /// What the length of this drain follows from, as it stands.
    fn budget(&self) -> Budget {
        let settings = self.settings.borrow().budget();
        let running = duration::Duration::from_std(self.runners.longest_grace());
        let grace = settings.grace.max(running);
        let runs = duration::Duration::from_std(self.time_left(grace.to_std()));
        Budget { runs, grace, ..settings }
    }

    /// How much longer running runs may go on.
    fn time_left(&self, grace: Duration) -> Duration {
        let now = self.env.clock.monotonic();
        let budget = self.settings.borrow().drain.runs.to_std();
        let until = match *self.wish.borrow() {
            None => now + budget,
            Some(Wish { patience: Patience::Cancel, .. }) => now,
            Some(Wish { patience: Patience::Budget, since }) => since + budget,
            Some(Wish { patience: Patience::Deadlines, since }) => {
                let last = self.runners.last_deadline() + grace + PROOF.to_std();
                last.max(since + budget)
            }
        };
        until.saturating_sub(now)
    }

    /// What comes of something that may not take longer than its step.
    async fn within<T>(&self, step: Step, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.env.clock.sleep(self.budget().bound(step).to_std()) => None,
        }
    }

    /// Lets running runs end by themselves, as long as they may. Returns whether all of them have.
    async fn let_finish(&mut self, reason: EndReason) -> bool {
        let runners = self.runners.clone();
        let mut idle = Box::pin(runners.idle());
        let mut wish = self.wish.clone();
        loop {
            wish.borrow_and_update();
            let left = self.time_left(self.budget().grace.to_std());
            if left.is_zero() {
                return idle.now_or_never().is_some();
            }
            tokio::select! {
                biased;
                () = &mut idle => return true,
                // Somebody became impatient.
                Ok(()) = wish.changed() => self.enter(reason, Step::Runs),
                () = self.env.clock.sleep(left) => {}
            }
        }
    }

    /// Ends the open sessions of this node in one commit. What was asked of the store stays in `sent`,
    /// also when the time is over before it has answered.
    async fn end_sessions(&self, reason: EndReason, sent: &mut Option<Sent>) -> Result<(), Error> {
        loop {
            match self.try_end_sessions(reason, sent).await {
                Ok(()) => return Ok(()),
                Err(error) => self.fails(error, "open sessions could not be ended").await?,
            }
        }
    }

    /// A store that fails for a moment is asked again, as long as the step lasts.
    async fn fails(&self, error: Error, what: &'static str) -> Result<(), Error> {
        if error == Error::Closed {
            return Err(error);
        }
        tracing::warn!(%error, "{what}; trying again");
        self.env.clock.sleep(LOOK).await;
        Ok(())
    }

    async fn try_end_sessions(
        &self,
        reason: EndReason,
        sent: &mut Option<Sent>,
    ) -> Result<(), Error> {
        let mut attempts = self.store.attempts("end this node's open sessions");
        loop {
            let open = self.store.read().sessions_of(self.node.epoch, u32::MAX).await?;
            let running = self.running().await?;
            let busy: BTreeSet<_> = running.iter().filter_map(|run| run.session).collect();
            let decision = drain::end_sessions(&open, &busy, reason, &mut self.env.moment());
            let Some(next) = Sent::of(&decision) else { return Ok(()) };
            let sent = sent.insert(next);
            if attempts.commit(decision.changes).await?.is_some() {
                return Ok(());
            }
            if self.stored(sent).await? {
                // The answer was lost.
                return Ok(());
            }
        }
    }

    /// Whether the ends of sessions are in the log.
    async fn stored(&self, sent: &Sent) -> Result<bool, Error> {
        Ok(self.store.read().event(sent.event).await?.is_some())
    }

    /// The runs of this epoch that have not ended.
    async fn running(&self) -> Result<Vec<Run>, Error> {
        let mut running = self.store.read().running().await?;
        running.retain(|run| run.owner() == Some(self.node.owner()));
        Ok(running)
    }

    /// Gives deliveries their time and cuts off the tries that are still under way. What is pending goes
    /// out at the next start.
    async fn flush(&self, begun: &mut Begun) {
        let flushed = async {
            // Hooks are told of it, too.
            begun.settle().await;
            self.hooks.flushed().await;
        };
        tokio::select! {
            biased;
            () = flushed => {}
            () = self.env.clock.sleep(self.hooks.budget()) => {}
        }
        let cut_off = self.hooks.close();
        tokio::select! {
            biased;
            () = cut_off => {}
            () = self.env.clock.sleep(CUT_OFF.to_std()) => {
                tracing::error!("a hook's command could not be proven dead in time");
            }
        }
    }

    /// How many deliveries are left to the next start so far.
    async fn pending(&self) -> Result<u64, Error> {
        let deliveries = self.store.read().tally().await?.deliveries;
        let pending = deliveries.iter().filter(|((_, state), _)| *state == Standing::Pending);
        Ok(pending.map(|(_, count)| count).sum())
    }

    /// Records the end of this epoch, with a report that holds when it is stored.
    async fn leave(&self, reason: EndReason, report: &mut Report) -> Result<(), Error> {
        report.begun.settle().await;
        // The report counts them; no delivery moves after them.
        self.hooks.settled().await;
        loop {
            match self.try_leave(reason, report).await {
                Ok(()) => return Ok(()),
                Err(error) => self.fails(error, "the end of this epoch is not recorded").await?,
            }
        }
    }

    async fn try_leave(&self, reason: EndReason, report: &mut Report) -> Result<(), Error> {
        let mut attempts = self.store.attempts("end this epoch");
        loop {
            let record = self.store.node(self.node.epoch).await?;
            let Some(record) = record else { return Ok(()) };
            let as_of = self.store.read().event_range().await?.map_or(0, |(_, newest)| newest);
            let running = self.running().await?;
            if running.len() < self.runners.remaining() {
                // A run has just ended, and its runner is about to count it.
                self.env.clock.sleep(LOOK).await;
                continue;
            }
            if let Some(sent) = &report.sent
                && self.stored(sent).await?
            {
                report.sessions = sent.count;
            }
            report.pending = self.pending().await?;
            let drained = self.drained(report);
            let hooks = self.store.told();
            let leaving = Leaving { node: &record, as_of, reason, drained, hooks: &hooks };
            let (decision, left) = drain::leave(leaving, &mut self.env.moment());
            if decision.is_empty() || attempts.commit(decision.changes).await?.is_some() {
                report.recorded = left.drained;
                return Ok(());
            }
        }
    }

    fn drained(&self, report: &Report) -> Drained {
        let (runs, sessions) = self.runners.drained(report.begun.seq());
        let took = self.env.clock.monotonic().saturating_sub(report.began);
        Drained {
            took_ms: duration::Duration::from_std(took).as_millis(),
            runs,
            sessions_ended: sessions + report.sessions,
            deliveries: DrainedDeliveries { pending: report.pending, ..self.hooks.counted() },
        }
    }
}

/// What a drain has come to before the end is recorded.
struct Report {
    began: Duration,
    begun: Begun,
    sent: Option<Sent>,
    /// How many sessions ended that no run took with it.
    sessions: u64,
    /// How many deliveries are left to the next start.
    pending: u64,
    /// The report as it is stored.
    recorded: Option<Drained>,
}

/// The ends of sessions, on their way to the store.
struct Sent {
    /// The first of their events.
    event: EventId,
    count: u64,
}

impl Sent {
    /// None for a decision that ends no session.
    fn of(decision: &Decision) -> Option<Self> {
        let mut events = decision.changes.iter().filter_map(|change| match change {
            Change::Emit(fact) => Some(fact.id),
            _ => None,
        });
        let event = events.next()?;
        Some(Self { event, count: 1 + events.count() as u64 })
    }
}

/// The event that tells that the drain has begun.
enum Begun {
    Asked(Ticket),
    /// Its number; none when it could not be stored.
    Stored(Option<u64>),
}

impl Begun {
    async fn settle(&mut self) {
        if let Self::Asked(ticket) = self {
            let stored = ticket.await.ok();
            *self = Self::Stored(stored.and_then(|committed| committed.last_seq));
        }
    }

    fn seq(&self) -> Option<u64> {
        match self {
            Self::Asked(_) => None,
            Self::Stored(seq) => *seq,
        }
    }
}

/// What a step came to; what went wrong is in the log.
fn told<T>(failure: &'static str, step: Option<Result<T, Error>>) -> Option<T> {
    match step {
        Some(Ok(done)) => Some(done),
        Some(Err(error)) => {
            tracing::error!(%error, "{failure}");
            None
        }
        None => {
            tracing::error!(error = "there was no time left", "{failure}");
            None
        }
    }
}
