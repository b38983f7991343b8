//! The hooks' keeper acts on a hook if and only if the config has it and the store does not, or the
//! other way round, and on a delivery if and only if it is pending and, by a clock that is to be trusted,
//! older than its hook allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::change::{Change, RecordId};
use sexton_domain::hook::{Delivery, Subscription};
use sexton_domain::id::DeliveryId;
use sexton_domain::name::HookName;
use sexton_domain::node::{DrainedDeliveries, Epoch};
use sexton_domain::plan::deliveries::{self, Answer};
use sexton_domain::plan::reconcile::ClockJump;
use sexton_store::page::{DeliveryFilter, MAX_PAGE, PageRequest, Standing, Suspects, Unreadable};
use sexton_store::{CommitError, Error, Store};
use tokio::sync::watch;

use crate::clock::Drift;
use crate::env::Env;
use crate::handle::Phase;
use crate::reaper;
use crate::settings::Settings;
use crate::tasks::TaskKind;
use crate::ticker::{self, Loop, MAX_PAUSE, Pass};
use crate::unreadable::{known, readable};

mod attempt;
mod command;
mod line;
mod survivors;

use line::{Desk, Line};

pub(crate) use attempt::{Letter, Parcel, send};
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
    since: Timestamp,
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
    ) -> Self {
        Self(Arc::new(Inner {
            env,
            store,
            epoch,
            settings,
            phase,
            desks: Mutex::default(),
            counts: Mutex::default(),
            held_until: watch::Sender::default(),
            busy: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            looks: watch::Sender::new(0),
        }))
    }

    /// Counts from now on what comes of answers that are decided on at this moment or later.
    pub(crate) fn count_from(&self, since: Timestamp) {
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

    /// Counts an answer that is on disk.
    fn count(&self, delivery: DeliveryId, answer: &Answer, at: Timestamp) {
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
        let (hooks, drift) = (self.clone(), Drift::new(&*env.clock));
        let keeper = Keeper { hooks, drift, jumped: None, was_ahead: true };
        let task = ticker::drive(keeper, env, nudges, phase);
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

/// Brings the store's hooks in line with the config's, before an event is committed that they are to be
/// told: what is new is told from now on, what is gone is given up with what it was still to be told.
pub(crate) async fn bring_in_line(
    store: &Store,
    env: &Env,
    settings: &Settings,
) -> Result<(), Error> {
    let mut attempts = store.attempts("bring the hooks in line with the config");
    loop {
        let known = store.read().hooks().await?;
        let is_known = |name: &&HookName| known.iter().any(|hook| hook.name == **name);
        let moment = env.moment();
        let new = settings.hooks.keys().filter(|name| !is_known(name));
        let unread = store.read().unreadable(Suspects::Hooks, MAX_PAGE).await?;
        let anew = |name: &HookName| {
            let id = RecordId::Hook(name.clone());
            let unread = unread.iter().find(|row| row.id == id);
            if unread.is_some() {
                tracing::error!(hook = %name, "this hook's record cannot be read; it begins anew, and is on");
            }
            deliveries::add(name, unread.map(|row| row.version).unwrap_or_default(), &moment)
                .changes
        };
        let changes: Vec<_> = new.flat_map(anew).collect();
        if changes.is_empty() || attempts.commit(changes).await?.is_some() {
            break;
        }
    }
    let told = settings.hooks.values().map(|hook| hook.subscription.clone());
    store.tell(told.collect());
    for name in abandoned(store, settings).await? {
        tracing::warn!(hook = %name, "this hook is no longer in the config; what it was to be told is given up");
        remove(store, env, &name).await?;
    }
    Ok(())
}

/// Hooks that the store knows, or has something for, and the config does not.
async fn abandoned(store: &Store, settings: &Settings) -> Result<BTreeSet<HookName>, Error> {
    let known = store.read().hooks().await?.into_iter().map(|hook| hook.name);
    let unread = store.read().unreadable(Suspects::Hooks, MAX_PAGE).await?;
    let unread = unread.into_iter().filter_map(|row| match row.id {
        RecordId::Hook(name) => Some(name),
        _ => None,
    });
    let owed = store.read().tally().await?.deliveries;
    let owed = owed
        .into_iter()
        .filter(|((_, standing), count)| *standing == Standing::Pending && *count > 0);
    let names = known.chain(unread).chain(owed.map(|((name, _), _)| name));
    Ok(names.filter(|name| !settings.hooks.contains_key(name)).collect())
}

/// A page at a time, and again until nothing is left: what was committed just before it left the config may
/// come in between.
async fn remove(store: &Store, env: &Env, name: &HookName) -> Result<(), Error> {
    let mut attempts = store.attempts("remove a hook");
    let filter =
        DeliveryFilter { hook: Some(name.clone()), state: Some(Standing::Pending), session: None };
    loop {
        let pending = store.read().deliveries(filter.clone(), PageRequest::first(MAX_PAGE)).await?;
        let is_last = pending.next.is_none();
        let hook = match is_last {
            true => readable(store.hook(name.clone()).await, "a hook's record is deleted unread")?,
            false => None,
        };
        let mut decision =
            deliveries::remove(name, hook.as_ref(), &pending.items, &mut env.moment());
        if is_last {
            let hooks = store.read().unreadable(Suspects::Hooks, MAX_PAGE).await?;
            let unread = hooks.into_iter().filter(|row| row.id == RecordId::Hook(name.clone()));
            let letters = Suspects::Deliveries(name.clone());
            let letters = store.read().unreadable(letters, MAX_PAGE).await?;
            let unread = unread.chain(letters).map(|row| Change::Delete(row.id, row.version));
            decision.changes.extend(unread);
        }
        if decision.is_empty() {
            return Ok(());
        }
        attempts.commit(decision.changes).await?;
    }
}

/// The keeper of the hooks.
#[derive(Debug)]
struct Keeper {
    hooks: Hooks,
    drift: Drift,
    /// The wall clock jumped, and the store does not know it yet.
    jumped: Option<ClockJump>,
    /// The wall clock may have been ahead when waits were decided on: before this start, or before a jump.
    was_ahead: bool,
}

#[async_trait]
impl Loop for Keeper {
    fn kind(&self) -> TaskKind {
        TaskKind::Hooks
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        if *self.hooks.0.closing.borrow() {
            // The report of the stop counts what is pending.
            return Ok(Pass::after(0, MAX_PAUSE));
        }
        let settings = self.hooks.settings();
        self.hooks.man_the_lines(&settings);
        bring_in_line(&self.hooks.0.store, &self.hooks.0.env, &settings).await?;
        let mut next = self.held_until().await?;
        let was_ahead = std::mem::take(&mut self.was_ahead);
        let mut expired = 0;
        for hook in settings.hooks.values() {
            // One hook's rows that cannot be read keep no other from being looked at.
            match self.see_to(&hook.subscription, was_ahead).await {
                Ok((count, oldest)) => {
                    expired += count;
                    next = next.into_iter().chain(oldest).min();
                }
                Err(error) => {
                    self.was_ahead |= was_ahead;
                    let hook = &hook.subscription.hook;
                    tracing::error!(%hook, %error, "old deliveries could not be looked at");
                }
            }
        }
        Ok(Pass::until(expired, next, now))
    }
}

impl Keeper {
    /// Looks at the clocks. Until the instant that is returned nothing is too old, because the wall clock
    /// is not to be trusted.
    async fn held_until(&mut self) -> Result<Option<Timestamp>, Error> {
        let Inner { env, store, held_until, .. } = &*self.hooks.0;
        if let Some(jump) = self.drift.look(&*env.clock) {
            self.jumped = Some(jump);
            self.was_ahead |= matches!(jump, ClockJump::Back { .. });
        }
        if let Some(jump) = self.jumped {
            reaper::distrust(store, env, jump).await?;
            self.jumped = None;
        }
        let memory = known(reaper::memory(store).await)?.unwrap_or_default();
        let now = env.clock.now();
        let until = memory.deletion_held_until.filter(|until| now < *until);
        held_until.send_replace(until);
        Ok(until)
    }

    /// Everything about one hook's deliveries. Says how many were given up, and when the next one is.
    async fn see_to(
        &mut self,
        hook: &Subscription,
        was_ahead: bool,
    ) -> Result<(usize, Option<Timestamp>), Error> {
        self.mend(hook).await?;
        if was_ahead {
            self.bring_forward(hook).await?;
        }
        self.expire(hook).await
    }

    async fn bring_forward(&self, hook: &Subscription) -> Result<(), Error> {
        let Inner { env, store, .. } = &*self.hooks.0;
        let mut attempts = store.attempts("bring deliveries forward that wait by a wrong clock");
        let pending = Some(Standing::Pending);
        let filter =
            DeliveryFilter { hook: Some(hook.hook.clone()), state: pending, session: None };
        let mut page = PageRequest::first(MAX_PAGE);
        loop {
            let found = store.read().deliveries(filter.clone(), page).await?;
            let decision = deliveries::bring_forward(&found.items, hook, &env.moment());
            if !decision.is_empty() && attempts.commit(decision.changes).await?.is_none() {
                continue;
            }
            let Some(last) = found.next else { return Ok(()) };
            page.after = Some(last);
        }
    }

    /// Writes deliveries anew whose rows cannot be read: they would keep their lanes for ever. One whose
    /// event is gone as well is given up.
    async fn mend(&self, Subscription { hook, .. }: &Subscription) -> Result<(), Error> {
        let Inner { env, store, .. } = &*self.hooks.0;
        let unread = store.read().unreadable(Suspects::Deliveries(hook.clone()), MAX_PAGE).await?;
        for Unreadable { id, version, event } in unread {
            let RecordId::Delivery(id) = id else { continue };
            let event = match event {
                Some(event) => known(store.read().event(event).await)?.unwrap_or(None),
                None => None,
            };
            tracing::error!(%hook, delivery.id = %id, event = event.is_some(),
                "a pending delivery cannot be read; it is written anew from its event, or given up without");
            let lost = deliveries::Unread { id, version, hook, event: event.as_ref() };
            match store.commit(deliveries::mend(lost, &mut env.moment()).changes).await {
                Err(CommitError::Failed(error)) => return Err(error),
                // Found again by the next look, if it is still so.
                Ok(_) => store.nudge_hook(hook),
                Err(CommitError::Conflict(_) | CommitError::AnswerLost) => {}
            }
        }
        Ok(())
    }

    /// Gives up what is too old; says how much that was and when the next one is.
    async fn expire(&mut self, hook: &Subscription) -> Result<(usize, Option<Timestamp>), Error> {
        let hooks = self.hooks.clone();
        let Inner { env, store, .. } = &*hooks.0;
        let mut attempts = store.attempts("give up old deliveries");
        let mut expired = 0;
        loop {
            let mut oldest = store.read().oldest_deliveries(hook.hook.clone(), PAGE).await?;
            // What is on its way, because it was not too old then, has its answer first.
            let busy = hooks.desk(&hook.hook).map(|desk| desk.busy()).unwrap_or_default();
            oldest.retain(|delivery| !busy.contains(&delivery.id));
            let changes = deliveries::expire(&oldest, hook, &mut env.moment()).changes;
            if changes.is_empty() {
                let ends = oldest.iter().map(|delivery| hook.max_age.after(delivery.since()));
                return Ok((expired, ends.min()));
            }
            if self.held_until().await?.is_some() {
                return Ok((expired, None));
            }
            // Each with its event.
            let count = changes.len() / 2;
            if attempts.commit(changes).await?.is_some() {
                tracing::warn!(hook = %hook.hook, count, "deliveries were given up: they are too old");
                expired += count;
            }
        }
    }
}
