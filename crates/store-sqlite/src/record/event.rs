//! Events as rows, numbered by the database.

use rusqlite::{Connection, params};
use sexton_domain::event::NewEvent;
use sexton_domain::id::EventId;
use sexton_store::Conflict;
use sexton_store::limits::{self, MAX_EVENT_BYTES};

use crate::codec;
use crate::fail::{Fail, broken_rule};
use crate::record::found;

/// Adds a fact to the log and answers its number.
pub(crate) fn insert(db: &Connection, event: &NewEvent) -> Result<u64, Fail> {
    let body = codec::body(event)?;
    limits::fits("an event", body.len(), MAX_EVENT_BYTES)?;
    let mut statement =
        db.prepare_cached("INSERT OR FAIL INTO event (id, at, body) VALUES (?, ?, ?)")?;
    match statement.insert(params![codec::id(event.id.uuid()), codec::time(event.at), body]) {
        Ok(seq) => Ok(codec::unsigned(seq)),
        Err(error) if broken_rule(&error).is_some() => {
            Err(Conflict::Unique(format!("event {} is stored", event.id)).into())
        }
        Err(error) => Err(error.into()),
    }
}

const DELETE: &str = "DELETE FROM event WHERE id = ? AND NOT EXISTS \
     (SELECT 1 FROM delivery WHERE delivery.event = event.id AND state = 'pending')";

/// Deletes an event that nobody is still to be told; its number stays used.
pub(crate) fn delete(db: &Connection, event: EventId) -> rusqlite::Result<bool> {
    let mut statement = db.prepare_cached(DELETE)?;
    Ok(statement.execute([codec::id(event.uuid())])? == 1)
}

/// Whether it is stored.
pub(crate) fn exists(db: &Connection, event: EventId) -> rusqlite::Result<bool> {
    found(db, "SELECT 1 FROM event WHERE id = ?", &[&codec::id(event.uuid())])
}
