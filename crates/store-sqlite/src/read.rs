//! Reads: what every list shares. A row that cannot be read is left out of lists, so that it cannot
//! stop the others, and logged once; asking for it by its id names what is wrong with it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sexton_store::Error;
use uuid::Uuid;

use crate::codec;
use crate::fail::Fail;
use crate::mutex::lock;
use crate::table::{self, Row};

pub(crate) mod alerts;
pub(crate) mod archives;
pub(crate) mod deliveries;
pub(crate) mod expired;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod nodes;
pub(crate) mod orphans;
pub(crate) mod page;
#[cfg(test)]
mod plans;
pub(crate) mod receipts;
pub(crate) mod runs;
pub(crate) mod sessions;
pub(crate) mod unreadable;

/// How many unreadable rows are remembered as logged.
const MAX_REMEMBERED: usize = 1000;

/// A connection to read from.
pub(crate) struct View<'a> {
    /// The connection.
    pub db: &'a Connection,
    /// The rows that were found unreadable.
    pub unreadable: &'a Unreadable,
}

/// The unreadable rows that were logged already.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<BTreeSet<String>>);

impl Unreadable {
    fn report(&self, what: String, why: &str) {
        let mut known = lock(&self.0);
        if known.contains(&what) || known.len() >= MAX_REMEMBERED {
            return;
        }
        tracing::error!(row = what, error = why, "a stored row cannot be read and is left out");
        known.insert(what);
    }
}

impl View<'_> {
    /// Keeps what can be read; reports what cannot.
    pub(crate) fn readable<T>(&self, read: Result<T, Fail>) -> Result<Option<T>, Fail> {
        match read {
            Ok(item) => Ok(Some(item)),
            Err(Fail::Store(Error::Corrupt { what, why })) => {
                self.unreadable.report(what, &why);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// The first `limit` readable rows of a query for identity, body and extra columns.
    pub(crate) fn list<R: Row>(
        &self,
        sql: &str,
        values: Vec<Value>,
        limit: usize,
    ) -> Result<Vec<R>, Fail> {
        self.collect(sql, values, limit, table::read)
    }

    /// The time in the last column of a query's first row that can be read; as [`View::list`].
    pub(crate) fn first_time<R: Row>(
        &self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Option<Timestamp>, Fail> {
        let times = self.collect(sql, values, 1, |row| {
            table::read::<R>(row)?;
            let at: i64 = row.get(row.as_ref().column_count() - 1)?;
            Ok(codec::from_time(at).ok())
        })?;
        Ok(times.into_iter().next().flatten())
    }

    /// The first `limit` readable rows of a query.
    pub(crate) fn collect<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        limit: usize,
        read: impl Fn(&rusqlite::Row<'_>) -> Result<T, Fail>,
    ) -> Result<Vec<T>, Fail> {
        let mut items = Vec::new();
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while items.len() < limit
            && let Some(row) = rows.next()?
        {
            items.extend(self.readable(read(row))?);
        }
        Ok(items)
    }
}

/// An id in a column.
pub(crate) fn uuid(row: &rusqlite::Row<'_>, column: usize) -> Result<Uuid, Fail> {
    let value = row.get_ref(column)?;
    let id = value.as_blob().ok().and_then(|bytes| Uuid::from_slice(bytes).ok());
    let why = || Error::Corrupt {
        what: format!("the id {}", codec::shown(value)),
        why: "it is not one".to_owned(),
    };
    Ok(id.ok_or_else(why)?)
}

/// A limit of the seam as one of this machine.
pub(crate) fn at_most(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
