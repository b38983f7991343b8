//! Tables of records: how a record with a version is inserted, replaced, read and deleted.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sexton_domain::change::{RecordId, Version};
use sexton_store::{Conflict, Error};

use crate::codec;
use crate::fail::{Fail, broken_rule};

/// Where records of one kind lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// Also the word for one of its records in messages.
    pub name: &'static str,
    /// The column of the identity.
    pub id: &'static str,
    /// The columns of [`Row::columns`], in that order.
    pub columns: &'static [&'static str],
    /// Columns that a read adds to the body, each after a comma.
    pub extra: &'static str,
}

/// A record with a version, as a row.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// Where it lies.
    const TABLE: Table;

    /// A column that the database fills on insertion, and with what: `?4` is the first of
    /// [`Table::columns`]. It is not written again.
    const FILLED: Option<(&'static str, &'static str)> = None;

    /// Its identity.
    fn id(&self) -> Value;

    /// The version it was read at.
    fn version(&mut self) -> &mut Version;

    /// The values of the table's columns: the one place where they are derived from the record.
    fn columns(&self) -> Vec<Value>;

    /// Refuses a body that is too large.
    fn check(_body: &str) -> Result<(), Error> {
        Ok(())
    }

    /// The conflict that a broken uniqueness rule (`table.column, …`) means.
    fn taken(&self, _rule: &str) -> Option<Conflict> {
        None
    }

    /// Takes over what [`Table::extra`] read, from this column on.
    fn overlay(&mut self, _row: &rusqlite::Row<'_>, _first: usize) -> rusqlite::Result<()> {
        Ok(())
    }
}

/// Stores a record, as [`sexton_domain::change::Change::Put`] says. The record is left as it was.
pub(crate) fn put<R: Row>(db: &Connection, record: &mut R, id: RecordId) -> Result<(), Fail> {
    let read = *record.version();
    let Some(next) = read.0.checked_add(1).map(Version) else {
        return Err(Conflict::Version(id).into());
    };
    *record.version() = next;
    let body = codec::body(record);
    *record.version() = read;
    let body = body?;
    R::check(&body)?;
    let head = [codec::number(next.0), Value::Text(body)];
    let written = if read == Version::NEW {
        insert(db, record, head)
    } else {
        update(db, record, read, head)
    };
    match written {
        Ok(true) => Ok(()),
        Ok(false) => Err(Conflict::Version(id).into()),
        Err(Fail::Database(error)) => Err(conflict(db, record, id, read, error)?),
        Err(other) => Err(other),
    }
}

// `OR FAIL`: a statement that breaks a rule is not undone by itself, for which SQLite would copy every
// page that it changes first. The batch is undone as a whole, and a rule is checked before its row is
// written.

/// Inserts; nothing to say but yes, because an existing identity breaks a uniqueness rule.
fn insert<R: Row>(db: &Connection, record: &R, head: [Value; 2]) -> Result<bool, Fail> {
    let Table { name, id, columns, .. } = R::TABLE;
    let mut marks = ", ?".repeat(columns.len());
    let mut list: String = columns.iter().map(|column| format!(", {column}")).collect();
    if let Some((column, value)) = R::FILLED {
        list.push_str(&format!(", {column}"));
        marks.push_str(&format!(", {value}"));
    }
    let sql =
        format!("INSERT OR FAIL INTO {name} ({id}, version, body{list}) VALUES (?, ?, ?{marks})");
    let values = [record.id()].into_iter().chain(head).chain(record.columns());
    db.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(true)
}

/// Replaces the version that was read. Only columns that differ are written: the others would
/// rewrite their index entries for nothing.
fn update<R: Row>(
    db: &Connection,
    record: &R,
    read: Version,
    head: [Value; 2],
) -> Result<bool, Fail> {
    let Table { name, id, columns, .. } = R::TABLE;
    let list: String = columns.iter().map(|column| format!(", {column}")).collect();
    let sql = format!("SELECT rowid, version{list} FROM {name} WHERE {id} = ?");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([record.id()])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    if codec::unsigned(row.get(1)?) != read.0 {
        return Ok(false);
    }
    let rowid: i64 = row.get(0)?;
    let mut sql = format!("UPDATE OR FAIL {name} SET version = ?, body = ?");
    let mut values: Vec<Value> = head.into();
    for (index, (column, new)) in columns.iter().zip(record.columns()).enumerate() {
        if row.get::<_, Value>(index + 2)? != new {
            sql.push_str(&format!(", {column} = ?"));
            values.push(new);
        }
    }
    drop(rows);
    sql.push_str(" WHERE rowid = ?");
    values.push(Value::Integer(rowid));
    Ok(db.prepare_cached(&sql)?.execute(params_from_iter(values))? == 1)
}

/// What a failing insert or update means. An existing identity goes before every other rule.
fn conflict<R: Row>(
    db: &Connection,
    record: &R,
    id: RecordId,
    read: Version,
    error: rusqlite::Error,
) -> Result<Fail, Fail> {
    let Some(rule) = broken_rule(&error) else { return Ok(error.into()) };
    if read == Version::NEW && version(db, R::TABLE, record.id())?.is_some() {
        return Ok(Conflict::Version(id).into());
    }
    let taken = record.taken(rule);
    Ok(taken.unwrap_or_else(|| Conflict::Unique(format!("{rule} is taken"))).into())
}

/// Deletes the version that was read.
pub(crate) fn delete(
    db: &Connection,
    table: Table,
    key: Value,
    read: Version,
) -> rusqlite::Result<bool> {
    let Table { name, id, .. } = table;
    let sql = format!("DELETE FROM {name} WHERE {id} = ? AND version = ?");
    let deleted = db.prepare_cached(&sql)?.execute([key, codec::number(read.0)])?;
    Ok(deleted == 1)
}

/// The version that is stored.
pub(crate) fn version(
    db: &Connection,
    table: Table,
    key: Value,
) -> rusqlite::Result<Option<Version>> {
    let Table { name, id, .. } = table;
    let sql = format!("SELECT version FROM {name} WHERE {id} = ?");
    let found = db.prepare_cached(&sql)?.query_row([key], |row| row.get(0)).optional()?;
    Ok(found.map(|version| Version(codec::unsigned(version))))
}

/// One record; an error that names it when its row cannot be read.
pub(crate) fn get<R: Row>(db: &Connection, key: Value) -> Result<Option<R>, Fail> {
    let Table { name, id, extra, .. } = R::TABLE;
    let sql = format!("SELECT {id}, body{extra} FROM {name} WHERE {id} = ?");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    read(row).map(Some)
}

/// A record from a row of its identity, its body and [`Table::extra`].
pub(crate) fn read<R: Row>(row: &rusqlite::Row<'_>) -> Result<R, Fail> {
    let mut record: R = codec::from_body(row.get_ref(1)?).map_err(|why| {
        let shown = row.get_ref(0).map(codec::shown).unwrap_or_default();
        Error::Corrupt { what: format!("{} {shown}", R::TABLE.name), why }
    })?;
    record.overlay(row, 2)?;
    Ok(record)
}
