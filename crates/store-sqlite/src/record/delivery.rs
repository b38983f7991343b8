//! Deliveries as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::hook::{Delivery, DeliveryState};

use crate::codec;
use crate::table::{Row, Table};

impl Row for Delivery {
    const TABLE: Table = Table {
        name: "delivery",
        id: "id",
        columns: &["event", "hook", "session", "state", "at"],
        extra: "",
    };

    fn id(&self) -> Value {
        codec::id(self.id.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        let (state, at) = match self.state {
            DeliveryState::Pending { next_at } => ("pending", next_at),
            DeliveryState::Delivered { at } => ("delivered", at),
            DeliveryState::Dead { at } => ("dead", at),
        };
        vec![
            codec::id(self.event.uuid()),
            codec::text(self.hook.as_str()),
            codec::id(self.session.map(|session| session.uuid())),
            codec::text(state),
            codec::time(at),
        ]
    }
}
