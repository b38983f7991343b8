//! Nodes as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::node::Node;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Node {
    const TABLE: Table =
        Table { name: "node", id: "epoch", columns: &["ended", "ended_at"], extra: "" };

    fn id(&self) -> Value {
        codec::number(self.epoch.number())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        vec![codec::flag(self.end.is_some()), codec::time(self.end.map(|end| end.at))]
    }
}
