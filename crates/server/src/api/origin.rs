//! Origins on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sexton_domain::origin;

/// Where an imported record came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The other system: `openclaw`.
    pub system: String,
    /// Its own id of the record.
    pub id: String,
    /// The file it was read from, relative to the folder that was imported.
    pub source: String,
    /// Where in that file.
    pub place: String,
    /// What Sexton has no field for.
    pub data: Value,
}

impl From<&origin::Origin> for Origin {
    fn from(origin: &origin::Origin) -> Self {
        let origin::Origin { system, id, source, place, data } = origin.clone();
        Self { system, id, source, place, data }
    }
}
