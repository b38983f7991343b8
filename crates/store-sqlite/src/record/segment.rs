//! Segments of archives as rows.

use rusqlite::types::Value;
use sexton_domain::archive::Segment;
use sexton_domain::change::Version;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Segment {
    const TABLE: Table = Table { name: "segment", id: "name", columns: &["deleted_at"], extra: "" };

    fn id(&self) -> Value {
        codec::text(&*self.name)
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        vec![codec::time(self.deleted_at)]
    }
}
