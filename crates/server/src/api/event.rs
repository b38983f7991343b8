//! Events on the wire: the envelope that hooks get as well.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sexton_domain::event::{self, EventType};
use sexton_domain::id::EventId;

use super::schema::EventTypeWord;

/// A fact of the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// `evt_` and a UUID.
    #[serde(with = "id")]
    #[schemars(with = "String")]
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    #[schemars(with = "EventTypeWord")]
    pub kind: EventType,
    /// When. The order of the log is `seq`, never this.
    pub at: Timestamp,
    /// Its place in the total order, from 1.
    pub seq: u64,
    /// Self-contained: a reader needs nothing else.
    pub data: Value,
}

/// Some events, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// The oldest first.
    pub items: Vec<Event>,
    /// What to send as `after` to get the next page; null at the end of the log.
    pub next: Option<String>,
    /// Set when events between `after` and the first item are no longer kept.
    pub gap: Option<Gap>,
}

/// Events that a reader can no longer get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The last event that the reader has seen.
    pub after: u64,
    /// The oldest event that is kept: reading goes on there.
    pub oldest: u64,
    /// Whether the store was restored from a backup since: numbers from before it may have been
    /// given to other events, and reading begins with the oldest.
    pub restored: bool,
}

/// A reader of the stream has fallen behind. Nothing is lost while the events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lagged {
    /// By how many events.
    pub behind: u64,
}

impl From<event::Event> for Event {
    fn from(event: event::Event) -> Self {
        let event::NewEvent { id, kind, at, data, .. } = event.fact;
        Self { id, kind, at, seq: event.seq, data }
    }
}

/// Event ids are bare in storage and prefixed in public.
pub(super) mod id {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use sexton_domain::id::EventId;

    pub fn serialize<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
