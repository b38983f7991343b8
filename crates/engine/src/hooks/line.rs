//! A hook's line sends a delivery if and only if it is due, the first of its lane, and not on its way
//! already, while the hook is on, has a free place, and does not fail again and again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::duration;
use sexton_domain::event::{Event, EventType};
use sexton_domain::hook::Delivery;
use sexton_domain::id::{DeliveryId, SessionId};
use sexton_domain::name::HookName;
use sexton_domain::plan::deliveries;
use sexton_domain::retry::Backoff;
use sexton_store::Error;
use tokio::sync::watch;

use super::attempt::{self, Letter};
use super::{Hooks, PAGE};
use crate::courier::Answer;
use crate::env::Env;
use crate::settings::HookSettings;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, MAX_PAUSE, Pass};

/// How many acknowledgements of a hook may wait for the disk.
const MAX_UNSETTLED: usize = 1024;
/// So many tries in a row fail before the hook is left alone for a while: a hook that fails half the time
/// hardly ever gets there.
const STREAK: u32 = 16;
/// The longest time that a hook is left alone; then one try finds out.
const MAX_REST: Duration = Duration::from_secs(60);
/// The start of a session is among the first of its lane: its run's start may come before it.
const LANE_BEGIN: u32 = 4;
/// How soon a hook is looked at again some of whose due deliveries are on their way.
pub(super) const BUSY_PAUSE: duration::Duration = duration::Duration::from_secs(1);

/// What goes to one hook.
#[derive(Debug)]
pub(super) struct Line {
    hooks: Hooks,
    name: HookName,
    desk: Arc<Desk>,
    news: watch::Receiver<u64>,
    /// Read and not on their way yet.
    ready: VecDeque<Letter>,
    /// There may be more to read than is ready.
    stale: bool,
    /// When the next one is due.
    next: Option<Timestamp>,
}

#[async_trait]
impl Loop for Line {
    fn kind(&self) -> TaskKind {
        TaskKind::Hook
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        let settings = self.hooks.settings();
        let Some(hook) = settings.hooks.get(&self.name) else {
            return Ok(Pass::after(0, MAX_PAUSE));
        };
        self.hear(now);
        let mut sent = 0;
        while self.desk.has_place(hook, self.env()) && !*self.hooks.0.closing.borrow() {
            if self.ready.is_empty() && self.stale {
                self.read(hook).await?;
                continue;
            }
            let Some(letter) = self.ready.pop_front() else { break };
            if self.is_too_old(&letter.delivery, hook) {
                continue;
            }
            self.send(letter);
            sent += 1;
        }
        let now = self.env().clock.now();
        let rest = self.desk.rest(self.env());
        Ok(match self.next {
            _ if rest.is_some() => Pass::after(sent, rest.unwrap_or_default()),
            // Places become free, or acknowledgements reach the disk, and say so.
            _ if self.stale || !self.ready.is_empty() => Pass::after(sent, MAX_PAUSE),
            Some(next) if next <= now => Pass::after(sent, BUSY_PAUSE.to_std()),
            next => Pass::until(sent, next, now),
        })
    }
}

impl Line {
    pub(super) fn new(hooks: Hooks, name: HookName, desk: Arc<Desk>) -> Self {
        let news = hooks.0.store.subscribe_hook(&name);
        Self { hooks, name, desk, news, ready: VecDeque::new(), stale: true, next: None }
    }

    fn env(&self) -> &Env {
        &self.hooks.0.env
    }

    /// Whether the keeper gives a delivery up, or has: what comes after it in its lane may be on its way.
    fn is_too_old(&self, delivery: &Delivery, hook: &HookSettings) -> bool {
        self.hooks.is_too_old(delivery, &hook.subscription)
    }

    /// Takes note of what has happened since the last look.
    fn hear(&mut self, now: Timestamp) {
        let news = self.news.has_changed().unwrap_or(false);
        if news {
            self.news.borrow_and_update();
        }
        let Heard { landed, recheck } = self.desk.heard();
        if recheck {
            self.ready.clear();
        }
        self.stale |= news || landed || recheck || self.next.is_some_and(|next| next <= now);
    }

    /// Reads a page of what is due, unless the hook is off.
    async fn read(&mut self, settings: &HookSettings) -> Result<(), Error> {
        // Before the read: what is acknowledged while it goes on is pending in what it sees.
        let busy = self.desk.busy();
        let read = self.hooks.0.store.read();
        let hook = self.hooks.0.store.hook(self.name.clone()).await?;
        let Some(hook) = hook.filter(|hook| hook.disabled.is_none()) else {
            (self.stale, self.next) = (false, None);
            return Ok(());
        };
        let limit = PAGE + u32::try_from(busy.len()).unwrap_or(0);
        let now = self.env().clock.now();
        let mut due = read.due_deliveries(self.name.clone(), now, limit).await?;
        let full = due.len() >= limit as usize;
        due.retain(|(it, _)| !busy.contains(&it.id) && !self.is_too_old(it, settings));
        let starts = self.starts(settings, &due).await?;
        let letter = |(delivery, event): (Delivery, Event)| {
            let start = delivery.session.and_then(|session| starts.get(&session));
            let gap = deliveries::is_gap(&event, &settings.subscription, Some(&hook), start);
            Letter { delivery, event, gap }
        };
        self.ready = due.into_iter().map(letter).collect();
        self.next = read.next_delivery(self.name.clone()).await?;
        // A page of nothing but old ones is the keeper's.
        self.stale = full && !self.ready.is_empty();
        Ok(())
    }

    /// What became of the starts of the sessions whose ends are told.
    async fn starts(
        &self,
        settings: &HookSettings,
        due: &[(Delivery, Event)],
    ) -> Result<BTreeMap<SessionId, Delivery>, Error> {
        let mut starts = BTreeMap::new();
        if !settings.subscription.on.contains(&EventType::SessionStarted) {
            return Ok(starts);
        }
        let ends = due.iter().filter(|(_, event)| event.fact.kind == EventType::SessionEnded);
        let sessions: Vec<_> = ends.filter_map(|(delivery, _)| delivery.session).collect();
        if !sessions.is_empty() {
            let read = self.hooks.0.store.read();
            for delivery in read.lanes(self.name.clone(), sessions, LANE_BEGIN).await? {
                if delivery.event_type == Some(EventType::SessionStarted) {
                    starts.extend(delivery.session.map(|session| (session, delivery)));
                }
            }
        }
        Ok(starts)
    }

    fn send(&self, letter: Letter) {
        let way = attempt::OnItsWay::new(self.hooks.clone(), Arc::clone(&self.desk), letter);
        self.env().tasks.spawn(TaskKind::Delivery, way.go());
    }
}

/// What is on its way to one hook, and how it takes it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    wake: watch::Sender<u64>,
    left: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// Deliveries that are tried, or whose answer is not on disk yet.
    busy: BTreeSet<DeliveryId>,
    /// How many of them are tried.
    trying: u32,
    heard: Heard,
    /// Tries that failed in a row.
    streak: u32,
    /// Until when, on the monotonic clock, the hook is left alone.
    rest_until: Duration,
}

/// What a line is told.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// An answer is on disk: its lane may have a next one.
    landed: bool,
    /// The hook may be off.
    recheck: bool,
}

impl Desk {
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    /// Has the line end. Always false: for `retain`.
    pub(super) fn leave(&self) -> bool {
        self.left.send_replace(true);
        false
    }

    /// Returns when the line is to end.
    pub(super) async fn left(&self) {
        // The sender is in `self`.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }

    pub(super) fn recheck(&self) {
        self.state().heard.recheck = true;
        self.wake();
    }

    pub(super) fn is_resting(&self, env: &Env) -> bool {
        self.rest(env).is_some()
    }

    pub(super) fn take(&self, delivery: DeliveryId) {
        let mut state = self.state();
        state.busy.insert(delivery);
        state.trying += 1;
    }

    /// A try is over: its place is free.
    pub(super) fn give_place(&self) {
        self.state().trying -= 1;
        self.wake();
    }

    /// Its answer is on disk: its lane is free.
    pub(super) fn give_lane(&self, delivery: DeliveryId) {
        let mut state = self.state();
        state.busy.remove(&delivery);
        state.heard.landed = true;
        drop(state);
        self.wake();
    }

    /// Learns from an answer how the hook is.
    pub(super) fn learn(&self, answer: &Answer, backoff: &Backoff, env: &Env) {
        let mut state = self.state();
        match answer {
            Answer::Acknowledged => state.streak = 0,
            Answer::Gone => state.heard.recheck = true,
            Answer::Failed(_) => {
                state.streak += 1;
                if let Some(more @ 1..) = (state.streak + 1).checked_sub(STREAK) {
                    let rest = backoff.delay(more).to_std().min(MAX_REST);
                    state.rest_until = env.clock.monotonic() + rest;
                }
            }
        }
    }

    /// Whether something can be sent: a hook that failed again and again is tried with one at a time.
    fn has_place(&self, hook: &HookSettings, env: &Env) -> bool {
        let state = self.state();
        let places = if state.streak >= STREAK { 1 } else { hook.concurrency };
        state.trying < places
            && state.busy.len() < MAX_UNSETTLED
            && state.rest_until <= env.clock.monotonic()
    }

    /// Whether an answer is on its way to the disk.
    pub(super) fn is_settling(&self) -> bool {
        let state = self.state();
        state.busy.len() > state.trying as usize
    }

    /// How long the hook is still left alone.
    fn rest(&self, env: &Env) -> Option<Duration> {
        let rest = self.state().rest_until.saturating_sub(env.clock.monotonic());
        (!rest.is_zero()).then_some(rest)
    }

    pub(super) fn busy(&self) -> BTreeSet<DeliveryId> {
        self.state().busy.clone()
    }

    fn heard(&self) -> Heard {
        std::mem::take(&mut self.state().heard)
    }

    fn wake(&self) {
        self.wake.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
