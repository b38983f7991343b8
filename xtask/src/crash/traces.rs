//! What a dead gateway's folder tells of the moment of its death.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

use super::moment::Moment;
use crate::archive::Archive;
use crate::books::Event;

/// What was written so shortly before the death was on its way to the disk: clocks of file systems go in
/// steps of a few milliseconds.
const NEAR: Duration = Duration::from_millis(5);
/// The head of a write-ahead log and of each page in it, in bytes.
const LOG_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// What was found right after the death.
#[derive(Debug)]
pub struct Traces {
    /// When it came.
    at: Timestamp,
    /// The store's log ends within a transaction.
    pub is_torn: bool,
    /// The store's log was written right before.
    is_committing: bool,
    /// How long the files of the archive are.
    segments: BTreeMap<String, u64>,
    /// When the last sweep that came to its end did so.
    swept_at: Option<Timestamp>,
    /// How much the good webhook had been told.
    pub told: usize,
}

/// A line of the log.
#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
}

impl Traces {
    /// Looks at the folder of a gateway that died `at`.
    pub fn read(folder: &Path, log: &Path, at: Timestamp, told: usize) -> anyhow::Result<Self> {
        let wal = folder.join("sexton.db-wal");
        let modified = fs::metadata(&wal).and_then(|metadata| metadata.modified());
        let near = SystemTime::from(at) - NEAR;
        Ok(Self {
            at,
            is_torn: is_torn(&fs::read(&wal).unwrap_or_default()),
            is_committing: modified.is_ok_and(|modified| modified >= near),
            segments: segments(&folder.join("archives")),
            swept_at: swept_at(&fs::read_to_string(log).context("read the log")?)?,
            told,
        })
    }

    /// Into what the death fell, as far as its traces and the books of the next life tell.
    pub fn hits(&self, events: &[Event], archives: &[Archive]) -> BTreeSet<Moment> {
        let mut hits = BTreeSet::new();
        if self.is_torn || self.is_committing {
            hits.insert(Moment::Commit);
        }
        let has_uncommitted = self.has_uncommitted(archives);
        if has_uncommitted {
            hits.insert(Moment::Archive);
        }
        let since = |event: &&Event| self.swept_at.is_none_or(|swept| event.at > swept);
        let mut reaped = events.iter().filter(|event| event.kind == "session.reaped");
        if has_uncommitted || reaped.any(|event| since(&event) && event.at <= self.at) {
            hits.insert(Moment::Sweep);
        }
        hits
    }

    /// Whether an archive was written whose session was not deleted yet.
    fn has_uncommitted(&self, archives: &[Archive]) -> bool {
        let mut committed: BTreeMap<&str, u64> = BTreeMap::new();
        for archive in archives.iter().filter(|archive| archive.archived_at <= self.at) {
            let end = committed.entry(&archive.segment).or_default();
            *end = (*end).max(archive.offset + archive.bytes);
        }
        let is_longer = |(name, length): (&String, &u64)| {
            *length > committed.get(name.as_str()).copied().unwrap_or(0)
        };
        self.segments.iter().any(is_longer)
    }
}

/// Whether the last whole page of a write-ahead log is not the end of a transaction. Pages behind it are
/// of an earlier round of the log.
fn is_torn(log: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = log.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let (Some(page), Some(salt)) = (number(8), number(16)) else { return false };
    let frame = FRAME_HEAD + page as usize;
    let mut is_torn = false;
    let mut at = LOG_HEAD;
    while number(at + 8) == Some(salt) {
        // The size of the store after the transaction, in its last page; else zero.
        is_torn = number(at + 4) == Some(0) || log.len() < at + frame;
        at += frame;
    }
    is_torn
}

/// The length of every segment.
fn segments(folder: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        Some((entry.file_name().to_str()?.to_owned(), entry.metadata().ok()?.len()))
    });
    named.collect()
}

/// When the last sweep of a log ended.
fn swept_at(log: &str) -> anyhow::Result<Option<Timestamp>> {
    let last = log.lines().rfind(|line| line.contains(r#""message":"swept""#));
    last.map(|line| Ok(serde_json::from_str::<Line>(line)?.timestamp)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 512;

    /// A log with these frames: the store's size after each, and its salt.
    fn log(frames: &[(u32, u32)]) -> Vec<u8> {
        let mut log = vec![0; LOG_HEAD];
        log[8..12].copy_from_slice(&(PAGE as u32).to_be_bytes());
        log[16..20].copy_from_slice(&7_u32.to_be_bytes());
        for (size, salt) in frames {
            let mut frame = vec![0; FRAME_HEAD + PAGE];
            frame[4..8].copy_from_slice(&size.to_be_bytes());
            frame[8..12].copy_from_slice(&salt.to_be_bytes());
            log.extend(frame);
        }
        log
    }

    #[test]
    fn a_log_is_torn_when_its_last_transaction_has_no_end() {
        assert!(!is_torn(&[]));
        assert!(!is_torn(&log(&[(0, 7), (9, 7)])));
        assert!(is_torn(&log(&[(0, 7), (9, 7), (0, 7)])));
        assert!(!is_torn(&log(&[(0, 7), (9, 7), (0, 6)])), "of an earlier round");
        let whole = log(&[(9, 7), (9, 7)]);
        assert!(is_torn(&whole[..whole.len() - 1]));
    }

    #[test]
    fn a_death_is_in_a_sweep_while_something_was_reaped_after_the_last_one() {
        let event = |at: &str| -> Event {
            serde_json::from_value(serde_json::json!({
                "id": "e", "type": "session.reaped", "at": at, "seq": 1, "data": {},
            }))
            .unwrap()
        };
        let log = "{\"timestamp\":\"2026-11-20T18:00:05Z\",\"message\":\"swept\"}\n{}\n";
        let traces = Traces {
            at: "2026-11-20T18:00:09Z".parse().unwrap(),
            is_torn: false,
            is_committing: false,
            segments: BTreeMap::from([("a".to_owned(), 30)]),
            swept_at: swept_at(log).unwrap(),
            told: 0,
        };
        let archive = |bytes| Archive {
            session_id: "s".to_owned(),
            segment: "a".to_owned(),
            offset: 10,
            bytes,
            archived_at: traces.at,
        };
        let hits = |at, bytes| traces.hits(&[event(at)], &[archive(bytes)]);
        assert_eq!(hits("2026-11-20T18:00:04Z", 20), BTreeSet::new());
        assert_eq!(hits("2026-11-20T18:00:06Z", 20), BTreeSet::from([Moment::Sweep]));
        assert_eq!(hits("2026-11-20T18:00:10Z", 20), BTreeSet::new());
        let both = BTreeSet::from([Moment::Archive, Moment::Sweep]);
        assert_eq!(hits("2026-11-20T18:00:04Z", 19), both);
    }
}
