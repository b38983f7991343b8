//! Hooks and deliveries: who is told, and each event on its way to one of them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::change::Version;
use crate::duration::Duration;
use crate::event::{EventType, NewEvent};
use crate::id::{DeliveryId, EventId, SessionId};
use crate::key::SessionKind;
use crate::listed::listed;
use crate::name::{AgentName, HookName, JobKey};
use crate::retry::Backoff;

/// What a hook is told and how long it is tried. Comes from the config and is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The hook.
    pub hook: HookName,
    /// The types of events it is told.
    pub on: BTreeSet<EventType>,
    /// Of everything about agents, only about these; none is all.
    pub agents: BTreeSet<AgentName>,
    /// Only about these jobs; none is all.
    pub jobs: BTreeSet<JobKey>,
    /// Only about sessions of these kinds; none is all.
    pub kinds: BTreeSet<SessionKind>,
    /// How often a delivery is tried before it is dead.
    pub max_attempts: u32,
    /// How old a pending delivery may become before it is dead.
    pub max_age: Duration,
    /// The waits between its tries, before jitter.
    pub backoff: Backoff,
}

/// By how many thousandths the waits for one try differ: from a fifth less to a fifth more.
const SPREAD: u32 = 400;

impl Subscription {
    /// The waits of a hook that does not name its own: twenty tries take about four days.
    pub fn default_backoff() -> Backoff {
        let waits = [1, 5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800];
        Backoff::new(waits.map(Duration::from_secs).to_vec()).unwrap_or_default()
    }

    /// Whether the hook is told an event.
    ///
    /// A filter asks for what the event's data says; an event without it does not match. A hook is
    /// not told about itself, and nobody is told of the death of a delivery that told of a death:
    /// two hooks that fail would else keep each other busy for ever.
    pub fn matches(&self, event: &NewEvent) -> bool {
        let said = |key: &str| event.data.get(key).and_then(Value::as_str);
        let echo = event.kind == EventType::HookDeadLettered
            && said("event_type") == Some(EventType::HookDeadLettered.name());
        let own = event.kind.is_about_hooks() && said("hook") == Some(self.hook.as_str());
        self.on.contains(&event.kind)
            && !echo
            && !own
            && passes(self.agents.iter().map(AgentName::as_str), said("agent"))
            && passes(self.jobs.iter().map(JobKey::as_str), said("job_key"))
            && passes(self.kinds.iter().map(|kind| kind.as_str()), said("kind"))
    }

    /// How long to wait after so many failures of a delivery: the backoff's wait, give or take a
    /// fifth, always the same for the same try.
    pub fn wait(&self, delivery: DeliveryId, failures: u32) -> Duration {
        self.spread(failures, delivery.jitter(failures) % (SPREAD + 1))
    }

    /// The longest wait after so many failures of a delivery.
    pub fn longest_wait(&self, failures: u32) -> Duration {
        self.spread(failures, SPREAD)
    }

    /// The wait less a fifth, and so many thousandths of it more.
    fn spread(&self, failures: u32, share: u32) -> Duration {
        let wait = self.backoff.delay(failures).as_millis();
        Duration::from_millis(wait.saturating_mul(u64::from(1000 - SPREAD / 2 + share)) / 1000)
    }
}

/// Whether a filter lets something through: an empty one everything.
fn passes<'a>(mut filter: impl ExactSizeIterator<Item = &'a str>, said: Option<&str>) -> bool {
    filter.len() == 0 || filter.any(|wanted| Some(wanted) == said)
}

/// The deliveries of an event: one for each hook that is told it.
pub fn outbox<'a>(
    event: &'a NewEvent,
    hooks: &'a [Subscription],
) -> impl Iterator<Item = Delivery> + 'a {
    let told = hooks.iter().filter(|hook| hook.matches(event));
    told.map(|hook| delivery(event, &hook.hook))
}

/// An event on its way to a hook.
pub(crate) fn delivery(event: &NewEvent, hook: &HookName) -> Delivery {
    Delivery {
        id: DeliveryId::of(event.id, hook),
        event: event.id,
        event_type: Some(event.kind),
        hook: hook.clone(),
        session: event.subject.session,
        state: DeliveryState::Pending { next_at: event.at },
        by_hand: false,
        redelivered_at: None,
        attempts: 0,
        last_error: None,
        created_at: event.at,
        version: Version::NEW,
    }
}

/// A subscriber. What it subscribes to is config; whether it is on is kept here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name in the config.
    pub name: HookName,
    /// Since when it is told; a session that is older has no start to be told. Absent in rows of version 1.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Present while it is switched off.
    pub disabled: Option<Disabled>,
    /// For compare-and-swap.
    pub version: Version,
}

/// Why and since when a hook is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// `operator`, or what the hook answered (`410 gone`).
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// One event on its way to one hook. At least once, in order per (hook, session).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its identity.
    pub id: DeliveryId,
    /// What is told.
    pub event: EventId,
    /// What kind of event that is. Absent in rows of version 1.
    #[serde(default)]
    pub event_type: Option<EventType>,
    /// To whom.
    pub hook: HookName,
    /// The lane: deliveries of one hook and session go out in order.
    pub session: Option<SessionId>,
    /// Where it stands.
    pub state: DeliveryState,
    /// Sent again by hand: outside the order of its lane.
    #[serde(default)]
    pub by_hand: bool,
    /// When it was sent again by hand: its age counts from there.
    #[serde(default)]
    pub redelivered_at: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// When its event happened.
    pub created_at: Timestamp,
    /// For compare-and-swap.
    pub version: Version,
}

impl Delivery {
    /// From when its age counts.
    pub fn since(&self) -> Timestamp {
        self.redelivered_at.unwrap_or(self.created_at)
    }
}

/// What a hook receives: the event with what is special about this delivery of it.
#[derive(Debug, Clone, Serialize)]
pub struct Envelope<'a> {
    /// The event.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When.
    pub at: Timestamp,
    /// The event's place in the log.
    pub seq: u64,
    /// Self-contained: a reader needs nothing else.
    pub data: &'a Value,
    /// Told by another epoch than the one that owned the session.
    pub late: bool,
    /// The session's start was never delivered.
    pub gap: bool,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be tried at `next_at`.
    Pending {
        /// Not before.
        next_at: Timestamp,
    },
    /// The hook acknowledged it.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// Given up; visible, and can be redelivered by hand.
    Dead {
        /// When.
        at: Timestamp,
        /// Why.
        #[serde(default)]
        why: DeadReason,
    },
}

/// What can happen to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The hook acknowledged it.
    Acknowledged {
        /// When.
        at: Timestamp,
    },
    /// It is to be tried again.
    Postponed {
        /// Not before.
        next_at: Timestamp,
    },
    /// It is given up.
    GivenUp {
        /// When.
        at: Timestamp,
        /// Why.
        why: DeadReason,
    },
    /// Someone wants it sent again.
    Redelivered {
        /// When.
        at: Timestamp,
    },
}

/// A transition that the state machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("apply {event:?} to a delivery that is {state:?}")]
pub struct Rejected {
    state: DeliveryState,
    event: Event,
}

impl DeliveryState {
    /// The only way a delivery's state moves.
    ///
    /// # Errors
    ///
    /// [`Rejected`] for every pair that is not listed.
    pub fn next(self, event: Event) -> Result<Self, Rejected> {
        match (self, event) {
            (Self::Pending { .. }, Event::Acknowledged { at }) => Ok(Self::Delivered { at }),
            (Self::Pending { .. }, Event::Postponed { next_at }) => Ok(Self::Pending { next_at }),
            (Self::Pending { .. }, Event::GivenUp { at, why }) => Ok(Self::Dead { at, why }),
            (Self::Delivered { .. } | Self::Dead { .. }, Event::Redelivered { at }) => {
                Ok(Self::Pending { next_at: at })
            }
            (state, event) => Err(Rejected { state, event }),
        }
    }

    /// The word for it in lists and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Delivered { .. } => "delivered",
            Self::Dead { .. } => "dead",
        }
    }
}

listed! {
    /// Why a delivery was given up.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum DeadReason {
        /// It was tried as often as its hook allows.
        #[default]
        MaxAttempts,
        /// It is older than its hook allows.
        MaxAge,
        /// Its hook was removed.
        HookRemoved,
    }
}

#[cfg(test)]
mod tests;
