//! Cold archives: the events of a session that were moved out of the table (agent schema 20, 2026.9). Each is a
//! file beside the sessions, or bytes in its row: lines of JSON behind Zstandard. The first names the session; some
//! of the others are events, the rest is made from them.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::AgentDb;
use super::events::Event;
use crate::folder::is_inside;
use crate::model::Tally;
use crate::read::field::instant;
use crate::read::lines::{Line, lines};
use crate::read::table::Table;
use crate::stamp::sha256;

const COLD: Table = Table {
    name: "session_transcript_cold_archives",
    key: &["session_id"],
    columns: &["archive_name", "archive_sha256", "event_count", "storage"],
    sizes: &[],
};
/// The largest, in bytes as they are stored: what they unpack at most, and 1 MiB.
const MAX_BYTES: u64 = 65 * 1024 * 1024;

/// The archive of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cold {
    /// `session_id`.
    pub session_id: Box<str>,
    /// `archive_name`.
    pub name: Box<str>,
    /// `event_count`.
    pub events: u64,
    /// `archive_sha256`, of the bytes as they are stored.
    sha256: Box<str>,
    /// Where its file is; none if the bytes are in the row.
    file: Option<PathBuf>,
}

/// A line of an archive.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Record {
    #[serde(rename_all = "camelCase")]
    Header {
        session_id: String,
    },
    Event {
        row: EventRow,
    },
    #[serde(other)]
    Other,
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
        match (number, serde_json::from_slice(bytes)) {
            (_, Err(error)) => Err(format!("line {number}: {error}")),
            (1, Ok(Record::Header { session_id })) if session_id == *self.session_id => Ok(None),
            (1, Ok(_)) => Err("its header names another session".to_owned()),
            (_, Ok(Record::Event { row })) => Ok(Some(row)),
            (_, Ok(_)) => Ok(None),
        }
    }
}

impl AgentDb {
    /// Opens the archives of a database that lies at `path` of the folder `root`, so that their events come with
    /// those of the table. Returns the rows that were read, those that were opened, and those that were not, with
    /// the reason.
    pub fn open_cold(
        &mut self,
        root: &Path,
        path: &Path,
    ) -> (Tally, Vec<Cold>, Vec<(Cold, String)>) {
        let mut all = Vec::new();
        let tally = self.database.rows(COLD, &mut |row| {
            let name = row.needed("archive_name")?;
            all.push(Cold {
                session_id: row.needed("session_id")?.into(),
                events: row.count("event_count").ok_or("event_count is no number")?,
                sha256: row.needed("archive_sha256")?.into(),
                file: match row.needed("storage")? {
                    "file" => Some(root.join(folder_of(path)).join(file_name(name)?)),
                    "sqlite" => None,
                    other => return Err(format!("storage {other} is not known")),
                },
                name: name.into(),
            });
            Ok(())
        });
        let (mut opened, mut failed) = (Vec::new(), Vec::new());
        for cold in all {
            let leads_out =
                cold.file.as_ref().is_some_and(|file| file.exists() && !is_inside(root, file));
            let read = match leads_out {
                true => Err("it leads out of the folder by a link".to_owned()),
                false => self.read_cold(&cold, &mut |_| {}),
            };
            match read {
                Err(reason) => failed.push((cold, reason)),
                Ok(()) => {
                    self.cold.insert(cold.session_id.to_string(), cold.clone());
                    opened.push(cold);
                }
            }
        }
        (tally, opened, failed)
    }

    /// Hands on the events of an archive in order, except those of numbers that are known.
    pub(super) fn take_cold(
        &self,
        cold: &Cold,
        mut known: HashSet<i64>,
        each: &mut dyn FnMut(Event),
    ) -> Result<(), String> {
        self.read_cold(cold, &mut |row| {
            if known.insert(row.seq) {
                each(Event {
                    session_id: cold.session_id.to_string(),
                    seq: row.seq,
                    created_at: row.created_at.and_then(instant),
                    json: Ok(row.event_json),
                });
            }
        })
    }

    fn read_cold(&self, cold: &Cold, each: &mut dyn FnMut(EventRow)) -> Result<(), String> {
        let bytes = self.cold_bytes(cold)?;
        if sha256(&bytes) != *cold.sha256 {
            return Err("it is damaged: its bytes are not those that the database knows".to_owned());
        }
        let (mut events, mut reason) = (0, None);
        let unpacked = zstd::stream::read::Decoder::new(bytes.as_slice());
        let read = unpacked.and_then(|unpacked| {
            lines(BufReader::new(unpacked), &mut |number, line| match cold.event(number, line) {
                Ok(Some(row)) => {
                    events += 1;
                    each(row);
                }
                Ok(None) => {}
                Err(error) => reason = reason.take().or(Some(error)),
            })
        });
        read.map_err(|error| format!("unpack it: {error}"))?;
        let miscounted = format!("it has {events} events, the database says {}", cold.events);
        match reason.or((events != cold.events).then_some(miscounted)) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    fn cold_bytes(&self, cold: &Cold) -> Result<Vec<u8>, String> {
        let Some(file) = &cold.file else {
            let query =
                "SELECT archive_blob FROM session_transcript_cold_archives WHERE session_id = ?1";
            let bytes = self.database.blob(query, &[&cold.session_id]);
            return bytes.map(Option::unwrap_or_default).map_err(|error| error.to_string());
        };
        let size = |meta: fs::Metadata| {
            if meta.is_file() { Ok(meta.len()) } else { Err(io::ErrorKind::NotFound.into()) }
        };
        match fs::metadata(file).and_then(size) {
            Ok(size) if size > MAX_BYTES => {
                Err(format!("it has {size} bytes, more than they can have"))
            }
            Ok(_) => fs::read(file).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err("it is not there".to_owned())
            }
            Err(error) => Err(error.to_string()),
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
    let hash = name.strip_suffix(".jsonl.zst").filter(|hash| hash.len() == 64);
    let is_hash = hash.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hash.then_some(name).ok_or_else(|| format!("archive_name {name} is not one of theirs"))
}
