//! Transcript entries as rows, and the append that keeps them gap-free.

use rusqlite::{Connection, OptionalExtension, params};
use sexton_domain::change::{Append, Restore};
use sexton_domain::entry::Entry;
use sexton_domain::id::SessionId;
use sexton_store::Conflict;

use crate::codec;
use crate::fail::Fail;

const OWNED: &str =
    "SELECT rowid, entry_count FROM session WHERE id = ? AND open = 1 AND epoch = ?";
const ENDED: &str = "SELECT rowid, entry_count FROM session WHERE id = ? AND open = 0";
const COUNT: &str = "UPDATE session SET entry_count = ?, bytes = bytes + ? WHERE rowid = ?";
const INSERT: &str = "INSERT INTO entry (session, seq, at, role, content) VALUES (?, ?, ?, ?, ?)";

/// Appends to an open session of this epoch, exactly behind its last entry.
pub(crate) fn append(db: &Connection, append: &Append) -> Result<(), Fail> {
    let Append { session, epoch, entries } = append;
    let owned = params![codec::id(session.uuid()), codec::number(epoch.number())];
    let row = db.prepare_cached(OWNED)?.query_row(owned, place).optional()?;
    add(db, *session, row, entries)
}

/// As [`append`], to an ended session.
pub(crate) fn restore(db: &Connection, restore: &Restore) -> Result<(), Fail> {
    let Restore { session, entries } = restore;
    let ended = params![codec::id(session.uuid())];
    let row = db.prepare_cached(ENDED)?.query_row(ended, place).optional()?;
    add(db, *session, row, entries)
}

/// A session's row and how many entries it has.
type Place = (i64, i64);

fn place(row: &rusqlite::Row<'_>) -> rusqlite::Result<Place> {
    Ok((row.get(0)?, row.get(1)?))
}

fn add(
    db: &Connection,
    session: SessionId,
    place: Option<Place>,
    entries: &[Entry],
) -> Result<(), Fail> {
    let first = entries.first().map_or(0, |entry| entry.seq);
    let refused = Conflict::Append { session, first };
    let Some((rowid, count)) = place else { return Err(refused.into()) };
    let key = codec::id(session.uuid());
    let mut next = codec::unsigned(count) + 1;
    let mut bytes = 0;
    for entry in entries {
        if entry.seq != next {
            return Err(refused.into());
        }
        let role = codec::word(&entry.role);
        db.prepare_cached(INSERT)?.execute(params![
            key,
            codec::number(entry.seq),
            codec::time(entry.at),
            role,
            entry.content
        ])?;
        next += 1;
        bytes += entry.content.len() as u64;
    }
    if entries.is_empty() {
        return Err(refused.into());
    }
    db.prepare_cached(COUNT)?.execute(params![
        codec::number(next - 1),
        codec::number(bytes),
        rowid
    ])?;
    Ok(())
}

/// Deletes a transcript.
pub(crate) fn delete_all(db: &Connection, session: SessionId) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("DELETE FROM entry WHERE session = ?")?;
    statement.execute([codec::id(session.uuid())]).map(drop)
}
