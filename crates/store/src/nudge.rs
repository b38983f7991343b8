//! Nudges: hints that a loop may have something to do. A loop that misses one finds the same work
//! by looking again later.

use sexton_domain::change::{Change, Record};
use sexton_domain::hook::DeliveryState;
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
    /// What is on its way to hooks.
    Deliveries,
    /// When the reaper has to look at a session.
    Sessions,
}

const TOPICS: [Topic; 6] =
    [Topic::Jobs, Topic::Queue, Topic::Cancels, Topic::Events, Topic::Deliveries, Topic::Sessions];

/// Sends nudges and hands out receivers.
#[derive(Debug)]
pub struct Nudges {
    senders: [watch::Sender<u64>; TOPICS.len()],
}

impl Default for Nudges {
    fn default() -> Self {
        Self { senders: TOPICS.map(|_| watch::Sender::new(0)) }
    }
}

impl Nudges {
    /// Interest in a topic: register first, then look, then wait for [`watch::Receiver::changed`].
    pub fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.senders[topic as usize].subscribe()
    }

    /// Tells that a topic may have changed.
    pub fn send(&self, topic: Topic) {
        self.senders[topic as usize].send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells everything that a batch, now stored, may have changed.
    pub(crate) fn send_all(&self, topics: Topics) {
        TOPICS.into_iter().filter(|topic| topics.0[*topic as usize]).for_each(|t| self.send(t));
    }
}

/// A set of topics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Topics([bool; TOPICS.len()]);

impl Topics {
    /// What a batch may change.
    pub(crate) fn of(changes: &[Change]) -> Self {
        let mut topics = Self::default();
        for change in changes {
            match change {
                Change::Put(Record::Job(_)) => topics.0[Topic::Jobs as usize] = true,
                Change::Put(Record::Delivery(delivery)) => {
                    let pending = matches!(delivery.state, DeliveryState::Pending { .. });
                    topics.0[Topic::Deliveries as usize] |= pending;
                }
                Change::Put(Record::Session(session)) => {
                    topics.0[Topic::Sessions as usize] |= session.look_at().is_some();
                }
                Change::Put(Record::Run(run)) => {
                    let cancels =
                        run.cancel.is_some() && matches!(run.state, State::Running { .. });
                    let topic = if cancels { Topic::Cancels } else { Topic::Queue };
                    topics.0[topic as usize] = true;
                }
                Change::Emit(_) => topics.0[Topic::Events as usize] = true,
                _ => {}
            }
        }
        topics
    }
}
