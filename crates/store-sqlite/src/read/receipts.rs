//! Reads of receipts of imports.

use rusqlite::types::Value;
use sexton_domain::id::ReceiptPartId;
use sexton_domain::receipt::ReceiptPart;

use crate::codec;
use crate::fail::Fail;
use crate::read::{View, at_most};

pub(crate) const PARTS: &str = "SELECT id, body FROM receipt_part WHERE id > ? ORDER BY id";

/// See [`sexton_store::Driver::receipt_parts`].
pub(crate) fn parts(
    view: &View<'_>,
    after: Option<ReceiptPartId>,
    limit: u32,
) -> Result<Vec<ReceiptPart>, Fail> {
    let after = after.map_or(Value::Blob(Vec::new()), |part| codec::id(part.uuid()));
    view.list(PARTS, vec![after], at_most(limit))
}
