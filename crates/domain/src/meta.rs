//! Meta: what a store knows about itself.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a store knows about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The version of its schema.
    pub schema: u32,
    /// Made once, when the store is made.
    pub store_id: Uuid,
    /// Raised by a restore; part of every epoch and of every event cursor.
    pub generation: u32,
}
