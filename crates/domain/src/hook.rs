//! Hooks and deliveries: who is told, and each event on its way to one of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::event::EventType;
use crate::id::{DeliveryId, EventId, SessionId};
use crate::name::HookName;

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
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// When its event happened.
    pub created_at: Timestamp,
    /// For compare-and-swap.
    pub version: Version,
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

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
