//! Receipts of imports: what became of the records of another system, stored in the commits that store them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::change::Version;
use crate::id::ReceiptPartId;

/// What one commit of an import did. The parts in the order of their ids add up to what is stored, whenever
/// the import was cut off; they go when the receipt is a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptPart {
    /// Its identity.
    pub id: ReceiptPartId,
    /// What the importer says.
    pub account: Value,
    /// How often it was replaced.
    pub version: Version,
}
