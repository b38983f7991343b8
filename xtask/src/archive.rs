//! What is in the archive of a gateway, by its list.

use jiff::Timestamp;
use serde::Deserialize;

use crate::books::{list, page};
use crate::http::Client;

/// A session of the archive, and where it lies.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Archive {
    pub session_id: String,
    pub segment: String,
    pub offset: u64,
    pub bytes: u64,
    pub archived_at: Timestamp,
}

/// The sessions of the archive, one for each time they are in it.
pub fn sessions(client: &Client) -> anyhow::Result<Vec<String>> {
    let archives: Vec<Archive> = list(client, "/v1/archives?limit=500")?;
    Ok(archives.into_iter().map(|archive| archive.session_id).collect())
}

/// Those that came last, at most 500.
pub fn newest(client: &Client) -> anyhow::Result<Vec<Archive>> {
    page(client, "/v1/archives?limit=500")
}
