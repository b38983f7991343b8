//! The hooks of a node: who is told, what is on its way to whom, and how that comes to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sexton_domain::hook::{Delivery, Subscription};
use sexton_domain::id::DeliveryId;
use sexton_domain::name::HookName;
use sexton_domain::node::{DrainedDeliveries, Epoch};
use sexton_domain::plan::deliveries::{self, Answer};
use sexton_store::{Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::handle::Phase;
use crate::settings::Settings;
use crate::suspicion::Suspicion;
use crate::tasks::TaskKind;
use crate::ticker;
use crate::unreadable::known;

mod attempt;
mod command;
mod keeper;
mod line;
mod survivors;

use keeper::Keeper;
use line::{Desk, Line};

pub(crate) use attempt::{Letter, Parcel, send};
pub(crate) use keeper::bring_in_line;
pub(crate) use survivors::bury;

/// How many deliveries one look takes.
const PAGE: u32 = 256;
/// The pause before a flush is looked at again whose store does not answer.
const RETRY: Duration = Duration::from_millis(100);

/// The hooks of this node and what goes to them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    env: Env,
    store: Store,
    epoch: Epoch,
    settings: watch::Receiver<Arc<Settings>>,
    phase: watch::Receiver<Phase>,
    desks: Mutex<BTreeMap<HookName, Arc<Desk>>>,
    /// What came of deliveries since the drain began.
    counts: Mutex<Option<Counts>>,
    /// Whoever decides on a wait looks at the clocks before: one that was ahead may be right again before the
    /// keeper's next look.
    suspicion: tokio::sync::Mutex<Suspicion>,
    /// Until when nothing is too old, because the wall clock is not to be trusted.
    held_until: watch::Sender<Option<Timestamp>>,
    /// How many tries and acknowledgements are on their way.
    busy: watch::Sender<usize>,
    /// Set when nothing is sent any more and what is on its way is cut off.
    closing: watch::Sender<bool>,
    /// Counts requests to look at the config again.
    looks: watch::Sender<u64>,
}

/// What came of deliveries since a moment, as far as it is on disk.
#[derive(Debug)]
struct Counts {
    /// By the monotonic clock: the wall clock may be set while the node drains.
    since: Duration,
    delivered: u64,
    /// Tried in vain and not acknowledged since.
    failed: BTreeSet<DeliveryId>,
}

impl Hooks {
    pub(crate) fn new(
        env: Env,
        store: Store,
        epoch: Epoch,
        settings: watch::Receiver<Arc<Settings>>,
        phase: watch::Receiver<Phase>,
        suspicion: Suspicion,
    ) -> Self {
        Self(Arc::new(Inner {
            env,
            store,
            epoch,
            settings,
            phase,
            desks: Mutex::default(),
            counts: Mutex::default(),
            suspicion: tokio::sync::Mutex::new(suspicion),
            held_until: watch::Sender::default(),
            busy: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            looks: watch::Sender::new(0),
        }))
    }

    /// Counts what comes of answers that are decided on from now on.
    pub(crate) fn count_from_now(&self) {
        let since = self.0.env.clock.monotonic();
        let counts = Counts { since, delivered: 0, failed: BTreeSet::new() };
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
    }

    /// What was counted. What is pending is the store's to count.
    pub(crate) fn counted(&self) -> DrainedDeliveries {
        let counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |counts: &Counts| DrainedDeliveries {
            delivered: counts.delivered,
            failed: counts.failed.len() as u64,
            pending: 0,
        };
        counts.as_ref().map(of).unwrap_or_default()
    }

    /// Counts an answer that is on disk, and was decided on at this monotonic time.
    fn count(&self, delivery: DeliveryId, answer: &Answer, at: Duration) {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counts) = counts.as_mut().filter(|counts| counts.since <= at) else { return };
        if *answer == Answer::Acknowledged {
            counts.failed.remove(&delivery);
            counts.delivered += 1;
        } else {
            counts.failed.insert(delivery);
        }
    }

    /// How long a stop waits for [`Hooks::flushed`].
    pub(crate) fn budget(&self) -> Duration {
        self.settings().drain.hooks.to_std()
    }

    /// Returns when nothing can be delivered now: what is still pending waits for its next try, for a
    /// hook that is off, or for one that fails again and again.
    pub async fn flushed(&self) {
        let mut busy = self.0.busy.subscribe();
        loop {
            // The sender is in `self`.
            let _ = busy.wait_for(|busy| *busy == 0).await;
            match self.deliverable().await {
                Ok(false) if *busy.borrow_and_update() == 0 => return,
                Ok(_) => tokio::select! {
                    biased;
                    _ = busy.changed() => {}
                    () = self.0.env.clock.sleep(RETRY) => {}
                },
                Err(_) => self.0.env.clock.sleep(RETRY).await,
            }
        }
    }

    /// Returns when every answer that was heard is on disk, or given up: after [`Hooks::close`] that takes
    /// as long as the store.
    pub(crate) async fn settled(&self) {
        let mut busy = self.0.busy.subscribe();
        // The sender is in `self`.
        let _ = busy.wait_for(|_| !self.desks().values().any(|desk| desk.is_settling())).await;
    }

    /// Sends nothing more, cuts off what is on its way, and returns when it is proven over. What was
    /// cut off is sent again at the next start.
    pub async fn close(&self) {
        self.0.closing.send_replace(true);
        let _ = self.0.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }

    /// Whether a hook can be told something now.
    async fn deliverable(&self) -> Result<bool, Error> {
        let settings = self.settings();
        for name in settings.hooks.keys() {
            // Without a desk nothing is sent yet.
            let paused = self.desk(name).is_none_or(|desk| desk.is_resting(&self.0.env));
            // The keeper sees to one that cannot be read.
            let hook = known(self.0.store.hook(name.clone()).await)?.unwrap_or(None);
            if paused || hook.is_none_or(|hook| hook.disabled.is_some()) {
                continue;
            }
            let next = self.0.store.read().next_delivery(name.clone()).await?;
            if next.is_some_and(|next| next <= self.0.env.clock.now()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether by the wall clock a delivery is older than its hook allows.
    fn is_too_old(&self, delivery: &Delivery, hook: &Subscription) -> bool {
        let now = self.0.env.clock.now();
        let held = self.0.held_until.borrow().is_some_and(|until| now < until);
        !held && deliveries::is_too_old(delivery, hook, now)
    }

    /// Tells when what is on its way is cut off.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    /// Has a hook's record read before anything else is sent to it.
    pub(crate) fn recheck(&self, name: &HookName) {
        if let Some(desk) = self.desk(name) {
            desk.recheck();
        }
    }

    /// Has the keeper look now.
    pub(crate) fn look(&self) {
        self.0.looks.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.settings.borrow())
    }

    fn desk(&self, name: &HookName) -> Option<Arc<Desk>> {
        self.desks().get(name).cloned()
    }

    fn desks(&self) -> MutexGuard<'_, BTreeMap<HookName, Arc<Desk>>> {
        self.0.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the keeper; it starts the rest.
    pub(crate) fn go_to_work(&self) {
        let nudges = vec![self.0.looks.subscribe()];
        let (env, phase) = (self.0.env.clone(), self.0.phase.clone());
        let task = ticker::drive(Keeper::new(self.clone()), env, nudges, phase);
        self.0.env.tasks.spawn(TaskKind::Hooks, task);
    }

    /// Sees that every hook of the config has its line, and no other.
    fn man_the_lines(&self, settings: &Settings) {
        let mut desks = self.desks();
        desks.retain(|name, desk| settings.hooks.contains_key(name) || desk.leave());
        for name in settings.hooks.keys() {
            if !desks.contains_key(name) {
                let desk = Arc::new(Desk::default());
                desks.insert(name.clone(), Arc::clone(&desk));
                self.start_line(name.clone(), desk);
            }
        }
    }

    fn start_line(&self, name: HookName, desk: Arc<Desk>) {
        let nudges = vec![self.0.store.subscribe_hook(&name), desk.subscribe()];
        let left = Arc::clone(&desk);
        let line = Line::new(self.clone(), name, desk);
        let drive = ticker::drive(line, self.0.env.clone(), nudges, self.0.phase.clone());
        self.0.env.tasks.spawn(TaskKind::Hook, async move {
            tokio::select! {
                biased;
                () = left.left() => {}
                () = drive => {}
            }
        });
    }
}
