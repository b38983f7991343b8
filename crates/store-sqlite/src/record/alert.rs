//! Alerts as rows.

use rusqlite::types::Value;
use sexton_domain::alert::{Alert, AlertKey};
use sexton_domain::change::Version;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Alert {
    const TABLE: Table =
        Table { name: "alert", id: "key", columns: &["raised_at", "cleared_at"], extra: "" };

    fn id(&self) -> Value {
        codec::text(self.key.to_string())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        vec![codec::time(self.raised_at), codec::time(self.cleared_at)]
    }
}

/// A key from its column.
pub(crate) fn key(text: &str) -> Option<AlertKey> {
    let (code, about) = text.split_once(':').unwrap_or((text, ""));
    Some(AlertKey { code: codec::from_word(code)?, about: about.to_owned() })
}
