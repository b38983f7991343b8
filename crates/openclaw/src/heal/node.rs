//! What happens to a session node of theirs: it is ended, or archived and taken out.

use std::io::Write as _;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value, json};

use super::fields;
use crate::model::Status;
use crate::read::agent_db::stamp;
use crate::read::names::{Reason, archive_name};
use crate::stamp::sha256;

/// An archive that is published beside the sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its name.
    pub name: String,
    /// What it holds, compressed.
    pub bytes: Vec<u8>,
}

struct Node {
    session_id: String,
    entry: String,
    updated_at: i64,
}

fn node(db: &Connection, key: &str) -> Result<Node, String> {
    db.query_row(
        "SELECT current_session_id, entry_json, updated_at FROM session_nodes \
         WHERE session_key = ?1",
        [key],
        |row| Ok(Node { session_id: row.get(0)?, entry: row.get(1)?, updated_at: row.get(2)? }),
    )
    .optional()
    .map_err(reason)?
    .ok_or_else(|| "the session is gone".to_owned())
}

/// Whether a node is still as it was.
///
/// # Errors
///
/// What is different.
pub fn check(db: &Connection, key: &str, session_id: &str, was: &str) -> Result<(), String> {
    let node = node(db, key)?;
    if node.session_id != session_id {
        return Err(format!("the key has session {} now", node.session_id));
    }
    if stamp(&node.entry, node.updated_at) != was {
        return Err("the session has changed".to_owned());
    }
    Ok(())
}

/// Ends a session: in its node, its entry and its window, whichever key that is of: a job's own node and that of
/// its run may share one. When it was last updated stays, as retention counts from there.
///
/// # Errors
///
/// If it cannot be ended.
pub fn end(
    db: &Connection,
    key: &str,
    session_id: &str,
    status: Status,
    ended_at: Timestamp,
) -> Result<(), String> {
    let word = status.as_str();
    let ended = ended_at.as_millisecond();
    let entry = node(db, key)?.entry;
    let before: Value = serde_json::from_str(&entry).map_err(|error| error.to_string())?;
    let mut set = Map::new();
    set.insert("status".to_owned(), json!(word));
    set.insert("endedAt".to_owned(), json!(ended));
    if let Some(started) = before.get("startedAt").and_then(Value::as_i64) {
        set.insert("runtimeMs".to_owned(), json!((ended - started).max(0)));
    }
    if status == Status::Killed {
        set.insert("abortedLastRun".to_owned(), json!(true));
    }
    let entry = fields::edit(&entry, &set, &[]).map_err(|error| error.to_string())?;
    db.execute(
        "UPDATE session_nodes SET status = ?2, entry_json = ?3 WHERE session_key = ?1",
        params![key, word, entry],
    )
    .map_err(reason)?;
    db.execute(
        "UPDATE session_windows SET status = ?2, ended_at = ?3 WHERE session_id = ?1",
        params![session_id, word, ended],
    )
    .map_err(reason)?;
    Ok(())
}

/// Archives the transcripts of all windows of a node, and takes the node out. What is the current session of
/// another node stays, and becomes that one's.
///
/// # Errors
///
/// If that cannot be done.
pub fn archive(db: &Connection, key: &str, at: Timestamp) -> Result<Vec<Archive>, String> {
    let current = node(db, key)?.session_id;
    let mut windows = db
        .prepare(
            "SELECT session_id FROM session_windows WHERE session_key = ?1 OR session_id = ?2 \
             ORDER BY created_at, session_id",
        )
        .map_err(reason)?;
    let ids = windows.query_map([key, &current], |row| row.get::<_, String>(0)).map_err(reason)?;
    let mut ids = ids.collect::<rusqlite::Result<Vec<String>>>().map_err(reason)?;
    for at in (0..ids.len()).rev() {
        if is_given_away(db, key, &ids[at])? {
            ids.remove(at);
        }
    }
    let mut archives = Vec::new();
    for id in &ids {
        if has_table(db, "session_transcript_cold_archives")?
            && count(
                db,
                "SELECT count(*) FROM session_transcript_cold_archives WHERE session_id = ?1",
                id,
            )? > 0
        {
            return Err(format!("the transcript of {id} is in cold storage"));
        }
        let text = transcript(db, id)?;
        if let Some(bytes) = text {
            archives.push(put_away(db, key, id, at, bytes)?);
        }
        if has_table(db, "session_transcript_fts_rows")? {
            db.execute("DELETE FROM session_transcript_fts_rows WHERE session_id = ?1", [id])
                .map_err(reason)?;
        }
        db.execute("DELETE FROM session_windows WHERE session_id = ?1", [id]).map_err(reason)?;
    }
    if has_table(db, "session_goal_operations")? {
        db.execute("DELETE FROM session_goal_operations WHERE session_key = ?1", [key])
            .map_err(reason)?;
    }
    db.execute("DELETE FROM session_nodes WHERE session_key = ?1", [key]).map_err(reason)?;
    for id in &ids {
        if count(db, "SELECT count(*) FROM transcript_events WHERE session_id = ?1", id)? > 0 {
            return Err(format!("the transcript of {id} stayed behind"));
        }
    }
    Ok(archives)
}

/// Whether a window of a node is the current one of another, to which it is given.
fn is_given_away(db: &Connection, key: &str, session_id: &str) -> Result<bool, String> {
    let other = db
        .query_row(
            "SELECT session_key FROM session_nodes \
             WHERE current_session_id = ?1 AND session_key <> ?2 ORDER BY session_key LIMIT 1",
            [session_id, key],
            |row| row.get::<_, String>(0),
        )
        .optional()
        .map_err(reason)?;
    if let Some(other) = &other {
        db.execute(
            "UPDATE session_windows SET session_key = ?3 WHERE session_id = ?1 AND session_key = ?2",
            [session_id, key, other],
        )
        .map_err(reason)?;
    }
    Ok(other.is_some())
}

/// The lines of a transcript, compressed as theirs are; `None` if it has none.
fn transcript(db: &Connection, session_id: &str) -> Result<Option<Vec<u8>>, String> {
    let mut events = db
        .prepare(
            "SELECT event_json, event_zstd, event_utf8_bytes FROM transcript_events \
             WHERE session_id = ?1 ORDER BY seq",
        )
        .map_err(reason)?;
    let mut rows = events.query([session_id]).map_err(reason)?;
    let failed = |error: std::io::Error| format!("compress the transcript: {error}");
    let mut out =
        zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL).map_err(failed)?;
    let mut is_empty = true;
    while let Some(row) = rows.next().map_err(reason)? {
        is_empty = false;
        let plain: Option<String> = row.get(0).map_err(reason)?;
        match plain {
            Some(line) => out.write_all(line.as_bytes()),
            None => {
                let bytes: Vec<u8> = row.get(1).map_err(reason)?;
                let size: u32 = row.get(2).map_err(reason)?;
                let line = zstd::bulk::decompress(&bytes, size as usize)
                    .map_err(|error| format!("an event of {session_id}: {error}"))?;
                out.write_all(&line)
            }
        }
        .and_then(|()| out.write_all(b"\n"))
        .map_err(failed)?;
    }
    let bytes = out.finish().map_err(failed)?;
    Ok((!is_empty).then_some(bytes))
}

fn put_away(
    db: &Connection,
    key: &str,
    session_id: &str,
    at: Timestamp,
    bytes: Vec<u8>,
) -> Result<Archive, String> {
    /// Hex digits of a generation.
    const DIGITS: usize = 32;
    let hash = sha256(&bytes);
    let mut generation = sha256(format!("{session_id}\n{hash}").as_bytes());
    generation.truncate(DIGITS);
    let name = format!("{}.{generation}.zst", archive_name(session_id, Reason::Deleted, at));
    db.execute(
        "INSERT INTO session_transcript_archives (session_id, generation, session_key, reason, \
         encoding, archive_blob, archive_sha256, archive_name, created_at, published_at, \
         publish_attempts, last_publish_attempt_at) \
         VALUES (?1, ?2, ?3, 'deleted', 'zstd', ?4, ?5, ?6, ?7, ?7, 1, ?7)",
        params![session_id, generation, key, bytes, hash, name, at.as_millisecond()],
    )
    .map_err(reason)?;
    Ok(Archive { name, bytes })
}

fn has_table(db: &Connection, name: &str) -> Result<bool, String> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
    Ok(count(db, sql, name)? > 0)
}

fn count(db: &Connection, sql: &str, argument: &str) -> Result<i64, String> {
    db.query_row(sql, [argument], |row| row.get(0)).map_err(reason)
}

fn reason(error: rusqlite::Error) -> String {
    format!("the database: {error}")
}
