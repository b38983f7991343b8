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

impl From<event::Event> for Event {
    fn from(event: event::Event) -> Self {
        let event::NewEvent { id, kind, at, data, .. } = event.fact;
        Self { id, kind, at, seq: event.seq, data }
    }
}

/// Event ids are bare in storage and prefixed in public.
mod id {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use sexton_domain::id::EventId;

    pub fn serialize<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
