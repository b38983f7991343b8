//! What is in the archive of a gateway, by its list.

use serde::Deserialize;

use crate::books::list;
use crate::http::Client;

#[derive(Deserialize)]
struct Archive {
    session_id: String,
}

/// The sessions of the archive, one for each time they are in it.
pub fn sessions(client: &Client) -> anyhow::Result<Vec<String>> {
    let archives: Vec<Archive> = list(client, "/v1/archives?limit=500")?;
    Ok(archives.into_iter().map(|archive| archive.session_id).collect())
}
