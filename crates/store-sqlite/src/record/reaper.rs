//! What the reaper remembers, as the one row of its table.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::sweep::Reaper;

use crate::table::{Row, Table};

/// The identity of the row.
pub(crate) const ONE: Value = Value::Integer(1);

impl Row for Reaper {
    const TABLE: Table = Table { name: "reaper", id: "one", columns: &[], extra: "" };

    fn id(&self) -> Value {
        ONE
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        Vec::new()
    }
}
