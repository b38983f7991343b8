//! Parts of receipts as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::receipt::ReceiptPart;

use crate::codec;
use crate::table::{Row, Table};

impl Row for ReceiptPart {
    const TABLE: Table = Table { name: "receipt_part", id: "id", columns: &[], extra: "" };

    fn id(&self) -> Value {
        codec::id(self.id.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        Vec::new()
    }
}
