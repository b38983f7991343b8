//! Remembered answers as rows.

use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params};
use sexton_domain::access::{Idempotency, IdempotencyKey};
use sexton_domain::change::RecordId;
use sexton_store::{Conflict, Error};

use crate::codec;
use crate::fail::Fail;
use crate::record::found;

const INSERT: &str = "INSERT INTO idempotency (token, route, key, at, body) VALUES (?, ?, ?, ?, ?) \
                      ON CONFLICT DO NOTHING";

/// Stores an answer unless there is one.
pub(crate) fn put(db: &Connection, answer: &Idempotency) -> Result<(), Fail> {
    let body = codec::body(answer)?;
    let IdempotencyKey { route, key, .. } = &answer.id;
    let inserted = db.prepare_cached(INSERT)?.execute(params![
        token(&answer.id),
        route,
        key,
        codec::time(answer.at),
        body
    ])?;
    let stored = RecordId::Idempotency(answer.id.clone());
    if inserted == 1 { Ok(()) } else { Err(Conflict::Version(stored).into()) }
}

/// Forgets an answer.
pub(crate) fn delete(db: &Connection, id: &IdempotencyKey) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM idempotency WHERE token = ? AND route = ? AND key = ?";
    Ok(db.prepare_cached(sql)?.execute(params![token(id), id.route, id.key])? == 1)
}

/// Whether there is an answer.
pub(crate) fn exists(db: &Connection, id: &IdempotencyKey) -> rusqlite::Result<bool> {
    let key: [&dyn ToSql; 3] = [&token(id), &id.route, &id.key];
    found(db, "SELECT 1 FROM idempotency WHERE token = ? AND route = ? AND key = ?", &key)
}

/// One answer.
pub(crate) fn get(db: &Connection, id: &IdempotencyKey) -> Result<Option<Idempotency>, Fail> {
    let sql = "SELECT body FROM idempotency WHERE token = ? AND route = ? AND key = ?";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![token(id), id.route, id.key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let answer = codec::from_body(row.get_ref(0)?).map_err(|why| Error::Corrupt {
        what: format!("the remembered answer to {} {}", id.route, id.key),
        why,
    })?;
    Ok(Some(answer))
}

fn token(id: &IdempotencyKey) -> Value {
    id.token.map_or_else(|| Value::Blob(Vec::new()), |token| codec::id(token.uuid()))
}
