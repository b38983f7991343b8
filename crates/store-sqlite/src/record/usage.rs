//! Usage reports as rows, and the daily sums they are added to exactly once.

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use sexton_domain::id::UsageId;
use sexton_domain::usage::Usage;
use sexton_store::Error;

use crate::codec;
use crate::fail::Fail;
use crate::record::found;

// `at` is from when its age counts: for ever where it has none.
const INSERT: &str = "INSERT INTO usage (id, at, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";

// A sum stays at the largest number instead of becoming a wrong one.
const ADD: &str = "
    INSERT INTO usage_day VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        reports = reports + 1,
        input = input + min(excluded.input, 9223372036854775807 - input),
        output = output + min(excluded.output, 9223372036854775807 - output),
        cached = cached + min(excluded.cached, 9223372036854775807 - cached),
        cost_micro_usd = cost_micro_usd
            + min(excluded.cost_micro_usd, 9223372036854775807 - cost_micro_usd)";

/// Stores a report and adds it to its day, unless it is stored already.
pub(crate) fn put(db: &Connection, usage: &Usage) -> Result<(), Fail> {
    let body = codec::body(usage)?;
    let key = codec::id(usage.id.uuid());
    let at = usage.aged_from().map_or(Value::Integer(i64::MAX), codec::time);
    let inserted = db.prepare_cached(INSERT)?.execute(params![key, at, body])?;
    if inserted == 0 {
        return Ok(());
    }
    let job = usage.job.map_or_else(|| Value::Blob(Vec::new()), |job| codec::id(job.uuid()));
    db.prepare_cached(ADD)?.execute(params![
        codec::day_of(usage.at),
        job,
        usage.agent.as_str(),
        usage.model,
        codec::number(usage.tokens.input),
        codec::number(usage.tokens.output),
        codec::number(usage.tokens.cached),
        codec::number(usage.tokens.cost_micro_usd)
    ])?;
    Ok(())
}

/// Deletes a report; the sums keep it.
pub(crate) fn delete(db: &Connection, usage: UsageId) -> rusqlite::Result<bool> {
    let mut statement = db.prepare_cached("DELETE FROM usage WHERE id = ?")?;
    Ok(statement.execute([codec::id(usage.uuid())])? == 1)
}

/// Whether it is stored.
pub(crate) fn exists(db: &Connection, usage: UsageId) -> rusqlite::Result<bool> {
    found(db, "SELECT 1 FROM usage WHERE id = ?", &[&codec::id(usage.uuid())])
}

/// One report.
pub(crate) fn get(db: &Connection, usage: UsageId) -> Result<Option<Usage>, Fail> {
    let mut statement = db.prepare_cached("SELECT body FROM usage WHERE id = ?")?;
    let mut rows = statement.query([codec::id(usage.uuid())])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let report = codec::from_body(row.get_ref(0)?)
        .map_err(|why| Error::Corrupt { what: format!("usage {usage}"), why })?;
    Ok(Some(report))
}
