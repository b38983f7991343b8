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

/// Something that is wrong with a segment.
#[derive(Debug, Clone, Deserialize)]
pub struct Finding {
    /// The session whose archive it is; none where it is the segment.
    pub session_id: Option<String>,
    /// For people.
    pub what: String,
}

/// What `sexton archive verify` finds, with whose it is.
pub fn findings(client: &Client) -> anyhow::Result<Vec<Finding>> {
    #[derive(Deserialize)]
    struct Segment {
        name: String,
        deleted_at: Option<Timestamp>,
    }
    #[derive(Deserialize)]
    struct Checkup {
        findings: Vec<Finding>,
        next: Option<u64>,
    }
    let mut segments: Vec<Segment> = page(client, "/v1/segments")?;
    segments.retain(|segment| segment.deleted_at.is_none());
    let mut found = Vec::new();
    for Segment { name, .. } in segments {
        let mut part = String::new();
        loop {
            let checkup: Checkup = client.get(&format!("/v1/segments/{name}/verify{part}"))?;
            found.extend(checkup.findings);
            match checkup.next {
                Some(next) => part = format!("?after={next}"),
                None => break,
            }
        }
    }
    Ok(found)
}

/// Those that came last, at most 500.
pub fn newest(client: &Client) -> anyhow::Result<Vec<Archive>> {
    page(client, "/v1/archives?limit=500")
}
