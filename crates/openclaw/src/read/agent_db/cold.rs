//! Cold archives: the events of a session that were moved out of the table (agent schema 20, 2026.9). Each is a
//! file beside the sessions, or bytes in its row: lines of JSON behind Zstandard. The first names the session; some
//! of the others are events, the rest is made from them.

use std::fs;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::AgentDb;
use super::events::Event;
use crate::folder::is_inside;
use crate::model::Tally;
use crate::read::field::instant;
use crate::read::lines::{Line, lines};
use crate::read::names::is_hex;
use crate::read::table::Table;
use crate::stamp::sha256;

const COLD: Table = Table {
    name: "session_transcript_cold_archives",
    key: &["session_id"],
    columns: &["archive_name", "archive_sha256", "event_count", "storage"],
    sizes: &[],
};
/// How much an archive of theirs unpacks to at most, in bytes.
const MAX_UNPACKED: u64 = 64 * 1024 * 1024;
/// The largest, in bytes as they are stored.
const MAX_STORED: u64 = MAX_UNPACKED + 1024 * 1024;

/// The archive of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cold {
    /// `session_id`.
    pub session_id: Box<str>,
    /// `archive_name`.
    pub name: Box<str>,
    /// `event_count`.
    pub events: u64,
    /// Where its file is, relative to the folder; none if the bytes are in the row.
    pub file: Option<PathBuf>,
    /// What is wrong with its row.
    fault: Option<String>,
    /// `archive_sha256`, of the bytes as they are stored.
    sha256: Box<str>,
    /// The folder.
    root: PathBuf,
}

/// A line of an archive.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    kind: String,
    session_id: Option<String>,
    #[serde(borrow)]
    row: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EventRow {
    seq: i64,
    event_json: String,
    created_at: Option<f64>,
}

impl Cold {
    /// What a line of it holds, if that is an event.
    fn event(&self, number: u64, line: Line<'_>) -> Result<Option<EventRow>, String> {
        let Line::Bytes { bytes, .. } = line else {
            return Err(format!("line {number} is too long"));
        };
        let invalid = |error: serde_json::Error| format!("line {number}: {error}");
        let record: Record<'_> = serde_json::from_slice(bytes).map_err(invalid)?;
        match (number, record.kind.as_str(), record.row) {
            (1, "header", _) if record.session_id.as_deref() == Some(&*self.session_id) => Ok(None),
            (1, ..) => Err("its header names another session".to_owned()),
            (_, "event", Some(row)) => serde_json::from_str(row.get()).map(Some).map_err(invalid),
            _ => Ok(None),
        }
    }
}

impl AgentDb {
    /// Hands on the archives of a database that lies at `path` of the folder `root`.
    pub fn cold(&self, root: &Path, path: &Path, each: &mut dyn FnMut(Cold)) -> Tally {
        self.database.rows(COLD, &mut |row| {
            let name = row.text("archive_name").unwrap_or_default();
            let file = match row.text("storage") {
                Some("file") => file_name(name).map(|name| Some(folder_of(path).join(name))),
                Some("sqlite") => Ok(None),
                other => Err(format!("storage {} is not known", other.unwrap_or_default())),
            };
            each(Cold {
                session_id: row.needed("session_id")?.into(),
                events: row.count("event_count").unwrap_or_default(),
                sha256: row.text("archive_sha256").unwrap_or_default().into(),
                fault: file.as_ref().err().cloned(),
                file: file.unwrap_or_default(),
                name: name.into(),
                root: root.to_owned(),
            });
            Ok(())
        })
    }

    /// Opens an archive, so that its events come before those of the table.
    ///
    /// # Errors
    ///
    /// Why it cannot be read: it is not there, or not what the database says.
    pub fn open_cold(&mut self, cold: &Cold) -> Result<(), String> {
        let mut last = i64::MIN;
        self.read_cold(cold, &mut |row| last = row.seq)?;
        self.has_none_until(&cold.session_id, last)?;
        self.cold.insert(cold.session_id.to_string(), cold.clone());
        Ok(())
    }

    /// Hands on the events of an archive.
    pub(super) fn take_cold(&self, cold: &Cold, each: &mut dyn FnMut(Event)) -> Result<(), String> {
        self.read_cold(cold, &mut |row| {
            each(Event {
                session_id: cold.session_id.to_string(),
                seq: row.seq,
                created_at: row.created_at.and_then(instant),
                json: Ok(row.event_json),
            });
        })
    }

    fn has_none_until(&self, session: &str, last: i64) -> Result<(), String> {
        let query = "SELECT count(*) FROM (SELECT 1 FROM transcript_events
                     WHERE session_id = ?1 AND seq <= ?2 LIMIT 1)";
        let ask = |statement: &mut rusqlite::CachedStatement<'_>| {
            statement.query_row(rusqlite::params![session, last], |row| row.get::<_, i64>(0))
        };
        match self.database.connection.prepare_cached(query).and_then(|mut query| ask(&mut query)) {
            Ok(0) => Ok(()),
            Ok(_) => Err("the table has events that it has, too".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Hands on the events of an archive, whose numbers rise.
    fn read_cold(&self, cold: &Cold, each: &mut dyn FnMut(EventRow)) -> Result<(), String> {
        let bytes = self.cold_bytes(cold)?;
        if sha256(&bytes) != *cold.sha256 {
            return Err("it is damaged: its bytes are not those that the database knows".to_owned());
        }
        let (mut events, mut last, mut reason) = (0, None, None);
        let unpacked = zstd::stream::read::Decoder::new(bytes.as_slice());
        let read = unpacked.and_then(|unpacked| {
            let unpacked = BufReader::new(unpacked.take(MAX_UNPACKED + 1));
            lines(unpacked, &mut |number, line| match cold.event(number, line) {
                Ok(Some(row)) if last.is_none_or(|last| row.seq > last) => {
                    (events, last) = (events + 1, Some(row.seq));
                    each(row);
                }
                Ok(Some(_)) => {
                    reason = reason.take().or(Some("its events are out of order".to_owned()))
                }
                Ok(None) => {}
                Err(error) => reason = reason.take().or(Some(error)),
            })
        });
        let unpacked = read.map_err(|error| format!("unpack it: {error}"))?;
        if unpacked > MAX_UNPACKED {
            return Err(format!("it unpacks to more than {MAX_UNPACKED} bytes"));
        }
        let miscounted = format!("it has {events} events, the database says {}", cold.events);
        match reason.or((events != cold.events).then_some(miscounted)) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    fn cold_bytes(&self, cold: &Cold) -> Result<Vec<u8>, String> {
        if let Some(fault) = &cold.fault {
            return Err(fault.clone());
        }
        let Some(file) = cold.file.as_ref().map(|file| cold.root.join(file)) else {
            let query = format!(
                "SELECT archive_blob FROM {} WHERE session_id = ?1 AND length(archive_blob) <= {MAX_STORED}",
                COLD.name
            );
            let bytes = self.database.blob(&query, &[&cold.session_id]);
            let bytes = bytes.map_err(|error| error.to_string())?;
            return bytes.ok_or_else(|| "its bytes are gone, or more than they can be".to_owned());
        };
        match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err("it is not there".to_owned())
            }
            Err(error) => Err(error.to_string()),
            Ok(_) if !is_inside(&cold.root, &file) => {
                Err("it leads out of the folder by a link".to_owned())
            }
            Ok(meta) if !meta.is_file() => Err("it is no file".to_owned()),
            Ok(meta) if meta.len() > MAX_STORED => {
                Err(format!("it has {} bytes, more than they can have", meta.len()))
            }
            Ok(_) => fs::read(file).map_err(|error| error.to_string()),
        }
    }
}

/// Where the files of archives are: with the sessions of the agent, whose database lies beside those in `agent`.
fn folder_of(database: &Path) -> PathBuf {
    let folder = database.parent().unwrap_or(database);
    match folder.file_name().is_some_and(|name| name == "agent") {
        true => folder.with_file_name("sessions").join("cold"),
        false => folder.join("cold"),
    }
}

/// A name that theirs can have, which leads nowhere else.
fn file_name(name: &str) -> Result<&str, String> {
    let hash = name.strip_suffix(".jsonl.zst").filter(|hash| hash.len() == 64 && is_hex(hash));
    hash.map(|_| name).ok_or_else(|| format!("archive_name {name} is not one of theirs"))
}
