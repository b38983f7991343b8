//! Access tokens as rows.

use rusqlite::types::Value;
use sexton_domain::access::Token;
use sexton_domain::change::Version;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Token {
    const TABLE: Table = Table { name: "token", id: "id", columns: &["hash"], extra: "" };

    fn id(&self) -> Value {
        codec::id(self.id.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        vec![codec::text(&*self.hash)]
    }
}
