//! `agents/<id>/agent/openclaw-agent.sqlite`: session nodes, windows, transcripts and archives.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::database::{Columns, Database, DatabaseError, Info, Table};
use super::sessions;
use super::snapshot::Snapshot;
use crate::model::{DbArchive, Encoding, SessionRow, Status, Tally, Window};

/// From the introduction to what was seen.
const KNOWN: RangeInclusive<i64> = 4..=23;
/// The largest event, in bytes, by a constraint of theirs.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// An agent's database.
#[derive(Debug)]
pub struct AgentDb(Database);

/// A row of `session_nodes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its entry; status and time are those of the columns where they are set.
    pub row: SessionRow,
    /// `current_session_id`.
    pub session_id: String,
    /// `created_via`.
    pub created_via: Option<String>,
    /// What a step that changes it is decided from: the SHA-256 of `entry_json` and `updated_at`,
    /// joined by a line feed, in hex.
    pub stamp: String,
}

/// One event of a transcript.
#[derive(Debug)]
pub struct Event {
    /// Its session.
    pub session_id: String,
    /// Its number, from 0.
    pub seq: i64,
    /// When it was written.
    pub created_at: Option<Timestamp>,
    /// Its JSON, or why it cannot be read.
    pub json: Result<String, String>,
}

impl AgentDb {
    /// Opens a copy.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn open(snapshot: &Snapshot) -> Result<Self, DatabaseError> {
        Database::open(snapshot, KNOWN).map(Self)
    }

    /// What it says about itself.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// See [`Database::damage`].
    pub fn damage(&self) -> Vec<String> {
        self.0.damage()
    }

    /// Hands on the nodes.
    pub fn nodes(&self, each: &mut dyn FnMut(Node)) -> Tally {
        let query = "SELECT * FROM session_nodes";
        self.0.rows(table("session_nodes", &["session_key"], query), &mut |row| {
            each(node(row)?);
            Ok(())
        })
    }

    /// Hands on the windows.
    pub fn windows(&self, each: &mut dyn FnMut(Window)) -> Tally {
        let query = "SELECT * FROM session_windows";
        self.0.rows(table("session_windows", &["session_id"], query), &mut |row| {
            let short = |name: &str| row.text(name).map(String::into_boxed_str);
            each(Window {
                session_id: row.needed("session_id")?.into(),
                key: row.needed("session_key")?.into(),
                previous: short("previous_session_id"),
                reason: short("reason"),
                created_at: row.time("created_at"),
                started_at: row.time("started_at"),
                ended_at: row.time("ended_at"),
                updated_at: row.time("updated_at"),
                status: row.text("status").as_deref().and_then(status),
            });
            Ok(())
        })
    }

    /// Hands on the archives, without their bytes.
    pub fn archives(&self, each: &mut dyn FnMut(DbArchive)) -> Tally {
        let query = "SELECT session_id, generation, session_key, reason, encoding, archive_name, \
             archive_sha256, created_at, published_at FROM session_transcript_archives";
        let key = ["session_id", "generation"];
        self.0.rows(table("session_transcript_archives", &key, query), &mut |row| {
            each(DbArchive {
                session_id: row.needed("session_id")?.into(),
                generation: row.needed("generation")?.into(),
                key: row.needed("session_key")?.into(),
                reason: row.needed("reason")?.into(),
                encoding: match row.needed("encoding")?.as_str() {
                    "zstd" => Encoding::Zstd,
                    "identity" => Encoding::Plain,
                    other => return Err(format!("encoding {other} is not known")),
                },
                name: row.needed("archive_name")?.into(),
                sha256: row.needed("archive_sha256")?.into(),
                created_at: row.time("created_at"),
                published_at: row.time("published_at"),
            });
            Ok(())
        })
    }

    /// The bytes of an archive, as they are stored.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when it is not there or cannot be read.
    pub fn archive_bytes(&self, archive: &DbArchive) -> Result<Vec<u8>, DatabaseError> {
        let query = "SELECT archive_blob FROM session_transcript_archives \
             WHERE session_id = ?1 AND generation = ?2";
        self.0.blob(query, &[&archive.session_id, &archive.generation])
    }

    /// Hands on every event, session by session, in order.
    pub fn events(&self, each: &mut dyn FnMut(Event)) -> Tally {
        let query = "SELECT * FROM transcript_events ORDER BY session_id, seq";
        self.0.rows(table("transcript_events", &["session_id", "seq"], query), &mut |row| {
            each(event(row)?);
            Ok(())
        })
    }

    /// Hands on the events of one session, in order.
    pub fn events_of(&self, session: &str, each: &mut dyn FnMut(Event)) -> Tally {
        let query = "SELECT * FROM transcript_events WHERE session_id = ?1 ORDER BY seq";
        let table = Table { parameters: &[session], ..table("transcript_events", &["seq"], query) };
        self.0.rows(table, &mut |row| {
            each(event(row)?);
            Ok(())
        })
    }
}

fn table<'a>(name: &'a str, key: &'a [&'a str], query: &'a str) -> Table<'a> {
    Table { name, key, query, parameters: &[] }
}

fn node(columns: &Columns<'_, '_>) -> Result<Node, String> {
    let key = columns.needed("session_key")?;
    let entry = columns.needed("entry_json")?;
    let mut row = sessions::row(&key, entry.as_bytes())?;
    let session_id = columns.needed("current_session_id")?;
    let updated_at = columns.number("updated_at").unwrap_or(0);
    row.session_id = Some(session_id.as_str().into());
    row.updated_at = columns.time("updated_at").or(row.updated_at);
    row.status = columns.text("status").as_deref().and_then(status).or(row.status);
    row.archived_at = columns.time("archived_at").or(row.archived_at);
    row.pinned_at = columns.time("pinned_at").or(row.pinned_at);
    row.range = 0..0;
    Ok(Node {
        stamp: stamp(&entry, updated_at),
        created_via: columns.text("created_via"),
        session_id,
        row,
    })
}

/// What a step that changes a node is decided from.
pub fn stamp(entry_json: &str, updated_at: i64) -> String {
    let text = format!("{entry_json}\n{updated_at}");
    crate::hex::hex(&Sha256::digest(text.as_bytes()))
}

fn status(word: &str) -> Option<Status> {
    Some(match word {
        "running" => Status::Running,
        "done" => Status::Done,
        "failed" => Status::Failed,
        "killed" => Status::Killed,
        "timeout" => Status::Timeout,
        _ => return None,
    })
}

fn event(row: &Columns<'_, '_>) -> Result<Event, String> {
    let json = match (row.text("event_json"), row.bytes("event_zstd")) {
        (Some(text), _) => Ok(text),
        (None, Some(bytes)) => zstd::bulk::decompress(bytes, MAX_EVENT_BYTES)
            .map_err(|error| format!("event_zstd: {error}"))
            .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string())),
        (None, None) => Err("it has neither text nor bytes".to_owned()),
    };
    Ok(Event {
        session_id: row.needed("session_id")?,
        seq: row.number("seq").ok_or("seq is no number")?,
        created_at: row.time("created_at"),
        json,
    })
}
