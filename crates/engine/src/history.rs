//! The conversation so far, as a file for the agent of a turn: one JSON object a line, the oldest
//! first, as much of its newest end as fits.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use sexton_domain::entry::{Entry, Role};
use sexton_domain::id::SessionId;
use sexton_domain::session::Session;
use sexton_store::{Error, Store};
use tokio::task::spawn_blocking;

use crate::process::survivors::joined;

/// The longest file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// How many sessions that continue each other are looked at.
const MAX_SESSIONS: usize = 256;
/// How many entries one read takes: the largest of them together are a few MiB.
const PAGE: u32 = 16;
/// The file is written in pieces of about this size.
const PIECE_BYTES: usize = 128 * 1024;

/// Why the conversation so far could not be written down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// Its entries could not be read.
    #[error("read the conversation so far of session {session}")]
    Read {
        /// Which.
        session: SessionId,
        /// Why.
        #[source]
        source: Error,
    },
    /// The file could not be written.
    #[error("write the conversation so far to {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Entries of one session that go into the file.
struct Stretch {
    session: SessionId,
    after: u64,
    through: u64,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at: Timestamp,
    role: Role,
    content: &'a str,
    session_id: SessionId,
}

/// Writes what was said in a session, and in those whose conversation it continues.
pub(crate) async fn write(
    store: &Store,
    session: &Session,
    path: PathBuf,
) -> Result<(), HistoryError> {
    let failed = |session| move |source| HistoryError::Read { session, source };
    let stretches = stretches(store, session).await.map_err(failed(session.id))?;
    let mut page = Page::create(path).await?;
    for Stretch { session, mut after, through } in stretches {
        while after < through {
            let entries = store.read().entries(session, after, PAGE).await;
            let entries = entries.map_err(failed(session))?;
            // The reaper may have taken the rest.
            let Some(last) = entries.last() else { break };
            after = last.seq;
            for entry in entries.iter().filter(|entry| entry.seq <= through) {
                page.bytes.extend(line(session, entry));
            }
            if page.bytes.len() >= PIECE_BYTES {
                page = page.flush().await?;
            }
        }
    }
    page.flush().await.map(drop)
}

/// What fits, the oldest first: looked for from the newest entry on backwards.
async fn stretches(store: &Store, newest: &Session) -> Result<Vec<Stretch>, Error> {
    let mut room = MAX_BYTES;
    let mut stretches = Vec::new();
    let mut next = Some(newest.clone());
    while let Some(session) = next.take() {
        let after = fitting(store, &session, &mut room).await?;
        stretches.push(Stretch { session: session.id, after, through: session.entry_count });
        let whole = after == 0;
        if let Some(previous) = session.previous.filter(|_| whole && stretches.len() < MAX_SESSIONS)
        {
            next = store.session(previous).await?;
        }
    }
    stretches.reverse();
    Ok(stretches)
}

/// The number of the last entry of a session that does not fit any more.
async fn fitting(store: &Store, session: &Session, room: &mut usize) -> Result<u64, Error> {
    let mut after = session.entry_count;
    while after > 0 {
        let from = after.saturating_sub(PAGE.into());
        let entries = store.read().entries(session.id, from, PAGE).await?;
        for entry in entries.iter().rev().filter(|entry| entry.seq <= after) {
            let Some(rest) = room.checked_sub(line(session.id, entry).len()) else {
                return Ok(entry.seq);
            };
            *room = rest;
        }
        after = from;
    }
    Ok(0)
}

fn line(session_id: SessionId, entry: &Entry) -> Vec<u8> {
    let Entry { seq, at, role, content } = entry;
    let line = Line { seq: *seq, at: *at, role: *role, content, session_id };
    let mut line = serde_json::to_vec(&line).expect("numbers and texts are JSON");
    line.push(b'\n');
    line
}

/// The file with what is still to be written to it.
struct Page {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
}

impl Page {
    async fn create(path: PathBuf) -> Result<Self, HistoryError> {
        let place = path.clone();
        let open = move || {
            let mut fresh = fs::OpenOptions::new();
            fresh.write(true).create_new(true).mode(0o600).open(place)
        };
        match joined(spawn_blocking(open)).await {
            Ok(file) => Ok(Self { path, file, bytes: Vec::new() }),
            Err(source) => Err(HistoryError::Write { path, source }),
        }
    }

    async fn flush(self) -> Result<Self, HistoryError> {
        let Self { path, mut file, mut bytes } = self;
        let written = joined(spawn_blocking(move || {
            file.write_all(&bytes)?;
            bytes.clear();
            Ok((file, bytes))
        }));
        match written.await {
            Ok((file, bytes)) => Ok(Self { path, file, bytes }),
            Err(source) => Err(HistoryError::Write { path, source }),
        }
    }
}
