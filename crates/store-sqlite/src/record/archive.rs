//! Archives as rows.

use rusqlite::types::Value;
use sexton_domain::archive::Archive;
use sexton_domain::change::Version;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Archive {
    const TABLE: Table =
        Table { name: "archive", id: "session", columns: &["segment", "delete_after"], extra: "" };

    fn id(&self) -> Value {
        codec::id(self.session.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        vec![codec::text(&*self.segment), codec::time(self.delete_after)]
    }
}
