//! The transcripts in an agent's database, one event a row, session by session.
//!
//! Sessions are looked up one after another in the index, so that what is damaged in one is no loss to
//! another.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::AgentDb;
use crate::model::{Dropped, Place, Tally};
use crate::read::table::{CIRCLE, Columns, Each, Found, Table, Walk, Way};

/// The largest event, in bytes, by a constraint of theirs.
const MAX_EVENT_BYTES: u64 = 4 * 1024 * 1024;

const EVENTS: Table = Table {
    name: "transcript_events",
    key: &["session_id", "seq"],
    columns: &["event_json", "created_at", "event_zstd", "event_utf8_bytes"],
    sizes: &[],
};

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

/// The place of what is dropped of a session as a whole.
pub fn place_of(session: &str) -> Place {
    Place::Row(format!("{} {session}", EVENTS.name))
}

impl AgentDb {
    /// Hands on every event, session by session, in order: behind damage from the other end. An event
    /// whose JSON cannot be read counts as read: it is handed on with the reason. Those of archives that were
    /// opened come before those of the table.
    pub fn events(&self, each: &mut dyn FnMut(Event)) -> Tally {
        self.walk(&mut |found, walk| {
            let mut cold: BTreeSet<&str> = self.cold.keys().map(String::as_str).collect();
            let mut session = |session: &str| {
                cold.remove(session);
                self.take(found, session, each, walk);
            };
            let stops = sessions(&self.database.connection, &mut session);
            cold.into_iter().for_each(|session| self.take(found, session, each, walk));
            stops.into_iter().for_each(|reason| walk.stop(reason));
        })
    }

    /// Hands on the events of one session, in order.
    pub fn events_of(&self, session: &str, each: &mut dyn FnMut(Event)) -> Tally {
        self.walk(&mut |found, walk| self.take(found, session, each, walk))
    }

    fn walk(&self, read: &mut dyn FnMut(&Found, &mut Walk)) -> Tally {
        let mut walk = Walk::new(&self.database, EVENTS);
        match self.database.find(EVENTS) {
            Ok(Some(found)) => read(&found, &mut walk),
            Ok(None) => {}
            Err(reason) => walk.stop(reason),
        }
        walk.tally
    }

    fn take(&self, found: &Found, session: &str, each: &mut dyn FnMut(Event), walk: &mut Walk) {
        if let Some(cold) = self.cold.get(session) {
            let read = self.take_cold(cold, &mut |event| {
                walk.tally.read += 1;
                each(event);
            });
            // What comes behind it would have other numbers.
            if let Err(reason) = read {
                return walk.tally.dropped.push(Dropped { place: place_of(session), reason });
            }
        }
        let read = self.in_order(found, session, walk, &mut |row| {
            each(event(row)?);
            Ok(())
        });
        if let Err(reason) = read {
            walk.tally.dropped.push(Dropped { place: place_of(session), reason });
        }
    }

    /// Reads the rows of a session. Their order also keeps SQLite to the index, whatever its statistics
    /// say: these are often from a time when there was one session.
    fn in_order(
        &self,
        found: &Found,
        session: &str,
        walk: &mut Walk,
        each: Each<'_>,
    ) -> Result<(), String> {
        let query = found.query("seq", "WHERE session_id = ?1 ORDER BY seq");
        let mut statement =
            self.database.connection.prepare_cached(&query).map_err(|error| error.to_string())?;
        walk.read(&mut statement, [session], Way::Up, each)
    }
}

/// Hands on every session of the events; why it stopped, if it did not come to the end.
fn sessions(connection: &Connection, each: &mut dyn FnMut(&str)) -> Vec<String> {
    const FIRST: &str = "SELECT session_id FROM transcript_events ORDER BY session_id LIMIT 1";
    const NEXT: &str = "SELECT session_id FROM transcript_events WHERE session_id > ?1 ORDER BY session_id LIMIT 1";
    const LAST: &str = "SELECT session_id FROM transcript_events ORDER BY session_id DESC LIMIT 1";
    const BEFORE: &str = "SELECT session_id FROM transcript_events WHERE session_id < ?1 ORDER BY session_id DESC LIMIT 1";
    let mut smallest: Option<String> = None;
    let Err(reason) = step(connection, [FIRST, NEXT], Way::Up, &mut |session| {
        each(session);
        smallest = Some(session.to_owned());
        true
    }) else {
        return Vec::new();
    };
    let back = step(connection, [LAST, BEFORE], Way::Down, &mut |session| {
        let new = smallest.as_deref().is_none_or(|read| session > read);
        if new {
            each(session);
        }
        new
    });
    std::iter::once(reason).chain(back.err()).collect()
}

/// Goes from session to session until there is none, or `each` wants no more.
fn step(
    connection: &Connection,
    [first, next]: [&str; 2],
    way: Way,
    each: &mut dyn FnMut(&str) -> bool,
) -> Result<(), String> {
    let mut last: Option<String> = None;
    loop {
        let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let session = match &last {
            None => connection.query_row(first, [], text).optional(),
            Some(last) => connection
                .prepare_cached(next)
                .and_then(|mut next| next.query_row([last], text).optional()),
        };
        let behind = || last.as_ref().map_or(String::new(), |last| format!("behind {last}: "));
        let Some(session) = session.map_err(|error| format!("{}{error}", behind()))? else {
            return Ok(());
        };
        let forth = last.as_ref().is_none_or(|last| match way {
            Way::Up => session > *last,
            Way::Down => session < *last,
        });
        if !forth {
            return Err(format!("{}{CIRCLE}", behind()));
        }
        if !each(&session) {
            return Ok(());
        }
        last = Some(session);
    }
}

fn event(row: &Columns<'_, '_>) -> Result<Event, String> {
    Ok(Event {
        session_id: row.needed("session_id")?.to_owned(),
        seq: row.number("seq").ok_or("seq is no number")?,
        created_at: row.time("created_at"),
        json: json(row),
    })
}

/// The JSON of an event, which is a text, or compressed with its size beside it.
fn json(row: &Columns<'_, '_>) -> Result<String, String> {
    let Some(bytes) = row.blob("event_zstd") else {
        return row.needed("event_json").map(str::to_owned);
    };
    let size = row.count("event_utf8_bytes").ok_or("event_utf8_bytes is not there")?;
    if size > MAX_EVENT_BYTES {
        return Err(format!("event_utf8_bytes is {size}, more than {MAX_EVENT_BYTES}"));
    }
    let most = usize::try_from(size).map_err(|error| error.to_string())?;
    let text =
        zstd::bulk::decompress(bytes, most).map_err(|error| format!("event_zstd: {error}"))?;
    if text.len() != most {
        return Err(format!("event_zstd has {} bytes and event_utf8_bytes is {size}", text.len()));
    }
    String::from_utf8(text).map_err(|error| format!("event_zstd: {error}"))
}
