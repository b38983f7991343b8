//! `agents/<id>/agent/openclaw-agent.sqlite`: session nodes, windows and archives. The transcripts in it
//! are a file of their own.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sha2::{Digest as _, Sha256};

use super::database::{Database, DatabaseError, Info};
use super::sessions;
use super::snapshot::Snapshot;
use super::table::{Columns, Table};
use crate::hex::hex;
use crate::model::{DbArchive, Encoding, SessionRow, Tally, Window};

mod cold;
mod events;

pub use cold::Cold;
pub use events::{Event, place_of};

/// From the introduction, as described, to 23, which was seen.
const KNOWN: RangeInclusive<i64> = 4..=23;

const NODES: Table = Table {
    name: "session_nodes",
    key: &["session_key"],
    columns: &[
        "current_session_id",
        "entry_json",
        "updated_at",
        "status",
        "pinned_at",
        "archived_at",
    ],
    sizes: &[],
};
const WINDOWS: Table = Table {
    name: "session_windows",
    key: &["session_id"],
    columns: &[
        "session_key",
        "previous_session_id",
        "reason",
        "created_at",
        "started_at",
        "ended_at",
        "updated_at",
        "status",
    ],
    sizes: &[],
};
const ARCHIVES: Table = Table {
    name: "session_transcript_archives",
    key: &["session_id", "generation"],
    columns: &[
        "session_key",
        "reason",
        "encoding",
        "archive_name",
        "archive_sha256",
        "created_at",
        "published_at",
    ],
    sizes: &["archive_blob"],
};

/// An agent's database.
#[derive(Debug)]
pub struct AgentDb {
    database: Database,
    /// The archives of events that were opened, by their session.
    cold: BTreeMap<String, Cold>,
}

/// A row of `session_nodes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its entry; session, status and times are those of the columns where they are set.
    pub row: SessionRow,
    /// `current_session_id`.
    pub session_id: String,
    /// What a step that changes it is decided from: see [`stamp`].
    pub stamp: String,
}

impl AgentDb {
    /// Opens a copy.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn open(snapshot: &Snapshot) -> Result<Self, DatabaseError> {
        Database::open(snapshot, KNOWN).map(|database| Self { database, cold: BTreeMap::new() })
    }

    /// What it says about itself.
    pub fn info(&self) -> &Info {
        &self.database.info
    }

    /// See [`Database::integrity`].
    pub fn integrity(&self, limit: u32) -> Vec<String> {
        self.database.integrity(limit)
    }

    /// Hands on the nodes.
    pub fn nodes(&self, each: &mut dyn FnMut(Node)) -> Tally {
        self.database.rows(NODES, &mut |row| {
            each(node(row)?);
            Ok(())
        })
    }

    /// Hands on the windows, also those whose node is gone.
    pub fn windows(&self, each: &mut dyn FnMut(Window)) -> Tally {
        self.database.rows(WINDOWS, &mut |row| {
            each(Window {
                session_id: row.needed("session_id")?.into(),
                key: row.needed("session_key")?.into(),
                previous: row.text("previous_session_id").map(Into::into),
                reason: row.text("reason").map(Into::into),
                created_at: row.time("created_at"),
                started_at: row.time("started_at"),
                ended_at: row.time("ended_at"),
                updated_at: row.time("updated_at"),
                status: row.text("status").and_then(sessions::status),
            });
            Ok(())
        })
    }

    /// Hands on the archives with the size of their bytes as they are stored, and without these.
    pub fn archives(&self, each: &mut dyn FnMut(DbArchive, u64)) -> Tally {
        self.database.rows(ARCHIVES, &mut |row| {
            let bytes = row.count("archive_blob").ok_or("archive_blob is not there")?;
            each(archive(row)?, bytes);
            Ok(())
        })
    }

    /// The bytes of an archive as they are stored; `None` if there is no such archive.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when they cannot be read.
    pub fn archive_bytes(
        &self,
        session_id: &str,
        generation: &str,
    ) -> Result<Option<Vec<u8>>, DatabaseError> {
        let query = "SELECT archive_blob FROM session_transcript_archives \
             WHERE session_id = ?1 AND generation = ?2";
        self.database.blob(query, &[session_id, generation])
    }
}

fn node(columns: &Columns<'_, '_>) -> Result<Node, String> {
    let entry = columns.needed("entry_json")?;
    let session_id = columns.needed("current_session_id")?;
    let updated_at = columns.number("updated_at").ok_or("updated_at is no number")?;
    let mut row = sessions::row(columns.needed("session_key")?, entry.as_bytes())?;
    row.session_id = Some(session_id.into());
    row.updated_at = columns.time("updated_at").or(row.updated_at);
    row.status = columns.text("status").and_then(sessions::status).or(row.status);
    row.archived_at = columns.time("archived_at").or(row.archived_at);
    row.pinned_at = columns.time("pinned_at").or(row.pinned_at);
    row.range = 0..0;
    Ok(Node { stamp: stamp(entry, updated_at), session_id: session_id.to_owned(), row })
}

/// What a step that changes a node is decided from: the SHA-256 of its `entry_json` and `updated_at`,
/// joined by a line feed, in hex.
pub fn stamp(entry_json: &str, updated_at: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(entry_json);
    hash.update(format!("\n{updated_at}"));
    hex(&hash.finalize())
}

fn archive(row: &Columns<'_, '_>) -> Result<DbArchive, String> {
    Ok(DbArchive {
        session_id: row.needed("session_id")?.into(),
        generation: row.needed("generation")?.into(),
        key: row.needed("session_key")?.into(),
        reason: row.needed("reason")?.into(),
        encoding: match row.needed("encoding")? {
            "zstd" => Encoding::Zstd,
            "identity" => Encoding::Plain,
            other => return Err(format!("encoding {other} is not known")),
        },
        name: row.needed("archive_name")?.into(),
        sha256: row.needed("archive_sha256")?.into(),
        created_at: row.time("created_at"),
        published_at: row.time("published_at"),
    })
}
