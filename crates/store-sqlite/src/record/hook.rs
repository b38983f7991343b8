//! Hooks as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::hook::Hook;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Hook {
    const TABLE: Table = Table { name: "hook", id: "name", columns: &[], extra: "" };

    fn id(&self) -> Value {
        codec::text(self.name.as_str())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        Vec::new()
    }
}
