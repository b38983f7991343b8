//! Archives as rows.

use rusqlite::types::Value;
use sexton_domain::archive::Archive;
use sexton_domain::change::Version;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Archive {
    const TABLE: Table = Table {
        name: "archive",
        id: "session",
        columns: &["segment", "start", "bytes", "delete_after", "deleted_at"],
        extra: "",
    };

    fn id(&self) -> Value {
        codec::id(self.session.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        vec![
            codec::text(&*self.segment),
            codec::number(self.offset),
            codec::number(self.length),
            codec::time(self.delete_after),
            codec::time(self.deleted_at),
        ]
    }
}
