//! Deliveries as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::hook::{Delivery, DeliveryState};
use sexton_store::page::Standing;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Delivery {
    const TABLE: Table = Table {
        name: "delivery",
        id: "id",
        columns: &["event", "hook", "session", "state", "at", "by_hand"],
        extra: "",
    };
    /// Its place in the order, for ever: `?4` is the event.
    const FILLED: Option<(&'static str, &'static str)> =
        Some(("seq", "(SELECT seq FROM event WHERE event.id = ?4)"));

    fn id(&self) -> Value {
        codec::id(self.id.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        let at = match self.state {
            DeliveryState::Pending { next_at: at }
            | DeliveryState::Delivered { at }
            | DeliveryState::Dead { at, .. } => at,
        };
        vec![
            codec::id(self.event.uuid()),
            codec::text(self.hook.as_str()),
            codec::id(self.session.map(|session| session.uuid())),
            codec::text(Standing::of(&self.state).name()),
            codec::time(at),
            codec::flag(self.by_hand),
        ]
    }
}
