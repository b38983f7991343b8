//! Archives and their segments on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::archive;
use sexton_domain::id::SessionId;
use sexton_domain::key::SessionKey;
use sexton_engine::archive as files;

use super::schema::Id;

/// Where an archived session's transcript lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Archive {
    /// The session.
    #[schemars(with = "Id")]
    pub session_id: SessionId,
    /// Its key; null once the archive was erased by hand.
    #[schemars(with = "Option<String>")]
    pub session_key: Option<SessionKey>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many entries it holds.
    pub entry_count: u64,
    /// The segment's file name.
    pub segment: String,
    /// Its first byte there.
    pub offset: u64,
    /// Its length there.
    pub bytes: u64,
    /// SHA-256 of its manifest's frame, which holds that of the transcript's.
    pub sha256: String,
    /// When it was written.
    pub archived_at: Timestamp,
    /// When it may be deleted; null keeps it for ever.
    pub delete_after: Option<Timestamp>,
    /// When it was deleted: only this stub is left.
    pub deleted_at: Option<Timestamp>,
    /// Where the transcript is.
    pub transcript: String,
}

impl From<&archive::Archive> for Archive {
    fn from(archive: &archive::Archive) -> Self {
        Self {
            session_id: archive.session,
            session_key: archive.key.clone(),
            ended_at: archive.ended_at,
            entry_count: archive.entries,
            segment: archive.segment.clone(),
            offset: archive.offset,
            bytes: archive.length,
            sha256: archive.sha256.clone(),
            archived_at: archive.archived_at,
            delete_after: archive.delete_after,
            deleted_at: archive.deleted_at,
            transcript: format!("/v1/archives/{}/transcript", archive.session),
        }
    }
}

/// A file of archives that expire on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// Its file name.
    pub name: String,
    /// How many of its bytes count.
    pub bytes: u64,
    /// How many archives were written to it.
    pub archives: u64,
    /// When it is deleted; null keeps it for ever.
    pub delete_after: Option<Timestamp>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When its file was deleted.
    pub deleted_at: Option<Timestamp>,
}

impl From<&archive::Segment> for Segment {
    fn from(segment: &archive::Segment) -> Self {
        Self {
            name: segment.name.clone(),
            bytes: segment.committed_bytes,
            archives: segment.frames,
            delete_after: segment.delete_after,
            created_at: segment.created_at,
            deleted_at: segment.deleted_at,
        }
    }
}

/// Every segment; there is one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Segments {
    /// By name.
    pub items: Vec<Segment>,
    /// Always null.
    pub next: Option<String>,
    /// Files in the folder of archives that the store does not know. They are never touched.
    pub unknown_files: Vec<String>,
}

/// What came of reading a segment, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkup {
    /// How many archives in it can be read.
    pub sound: u64,
    /// What cannot.
    pub findings: Vec<Finding>,
    /// What to send as `after` to go on; null at the end.
    pub next: Option<u64>,
}

/// Something that is wrong with a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The session whose archive it is; null where it is the segment.
    #[schemars(with = "Option<Id>")]
    pub session_id: Option<SessionId>,
    /// For people.
    pub what: String,
}

impl From<files::Checkup> for Checkup {
    fn from(checkup: files::Checkup) -> Self {
        let finding =
            |finding: files::Finding| Finding { session_id: finding.session, what: finding.what };
        Self {
            sound: checkup.sound,
            findings: checkup.findings.into_iter().map(finding).collect(),
            next: checkup.next,
        }
    }
}
