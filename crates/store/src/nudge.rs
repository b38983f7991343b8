//! Nudges: hints that a loop may have something to do. A loop that misses one finds the same work
//! by looking again later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use sexton_domain::change::{Change, Record};
use sexton_domain::hook::DeliveryState;
use sexton_domain::name::HookName;
use sexton_domain::run::State;
use tokio::sync::watch;

/// What may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// When the next slot is due.
    Jobs,
    /// What is queued, and what has room.
    Queue,
    /// Which running runs are asked to stop.
    Cancels,
    /// The event log.
    Events,
    /// What needs a look: jobs, dead letters, what the reaper remembers.
    Troubles,
    /// Sessions that were deleted by hand and have ended.
    Deletions,
}

const TOPICS: [Topic; 6] =
    [Topic::Jobs, Topic::Queue, Topic::Cancels, Topic::Events, Topic::Troubles, Topic::Deletions];

/// Sends nudges and hands out receivers.
#[derive(Debug)]
pub struct Nudges {
    senders: [watch::Sender<u64>; TOPICS.len()],
    hooks: Mutex<BTreeMap<HookName, watch::Sender<u64>>>,
}

impl Default for Nudges {
    fn default() -> Self {
        Self { senders: TOPICS.map(|_| watch::Sender::new(0)), hooks: Mutex::default() }
    }
}

impl Nudges {
    /// Interest in a topic: register first, then look, then wait for [`watch::Receiver::changed`].
    pub fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.senders[topic as usize].subscribe()
    }

    /// Tells that a topic may have changed.
    pub fn send(&self, topic: Topic) {
        count_up(&self.senders[topic as usize]);
    }

    /// Interest in what one hook is to be told.
    pub fn subscribe_hook(&self, hook: &HookName) -> watch::Receiver<u64> {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.entry(hook.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Tells that a hook may have something to be told.
    pub fn send_hook(&self, hook: &HookName) {
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.get(hook).into_iter().for_each(count_up);
    }

    /// Tells everything that a batch, now stored, may have changed.
    pub(crate) fn send_all(&self, topics: &Topics) {
        let changed = TOPICS.into_iter().filter(|topic| topics.topics[*topic as usize]);
        changed.for_each(|topic| self.send(topic));
        topics.hooks.iter().for_each(|hook| self.send_hook(hook));
    }
}

fn count_up(sender: &watch::Sender<u64>) {
    sender.send_modify(|count| *count = count.wrapping_add(1));
}

/// A set of topics, and of hooks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    topics: [bool; TOPICS.len()],
    hooks: BTreeSet<HookName>,
}

impl Topics {
    /// What a batch may change.
    pub(crate) fn of(changes: &[Change]) -> Self {
        let Self { mut topics, mut hooks } = Self::default();
        for change in changes {
            match change {
                Change::Put(Record::Job(_)) => {
                    topics[Topic::Jobs as usize] = true;
                    topics[Topic::Troubles as usize] = true;
                }
                // One that is held is looked at when that is over.
                Change::Put(Record::Session(session)) => {
                    let goes = session.discard.is_some() && !session.is_open();
                    topics[Topic::Deletions as usize] |= goes && session.hold.is_none();
                }
                Change::Put(Record::Reaper(_)) => topics[Topic::Troubles as usize] = true,
                Change::Put(Record::Run(run)) => {
                    let cancels =
                        run.cancel.is_some() && matches!(run.state, State::Running { .. });
                    let topic = if cancels { Topic::Cancels } else { Topic::Queue };
                    topics[topic as usize] = true;
                }
                Change::Emit(_) => topics[Topic::Events as usize] = true,
                Change::Put(Record::Delivery(delivery)) => {
                    let pending = matches!(delivery.state, DeliveryState::Pending { .. });
                    topics[Topic::Troubles as usize] |=
                        matches!(delivery.state, DeliveryState::Dead { .. }) || delivery.by_hand;
                    if pending && !hooks.contains(&delivery.hook) {
                        hooks.insert(delivery.hook.clone());
                    }
                }
                Change::Put(Record::Hook(hook)) => drop(hooks.insert(hook.name.clone())),
                _ => {}
            }
        }
        Self { topics, hooks }
    }
}
