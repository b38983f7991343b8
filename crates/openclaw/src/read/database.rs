//! What their databases share: opening a copy, telling versions apart, and reading rows by the name of a
//! column, so that a row which cannot be read is one dropped record and a column that is not there is `None`.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::snapshot::Snapshot;
use crate::model::{Dropped, Place, Tally};

/// Why a database is not read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It is damaged, or no database.
    #[error("read the database: {0}")]
    Unreadable(String),
    /// Its schema is of a version that is not known.
    #[error("read the database: its version is {found}, known are {first} to {last}", first = .known.start(), last = .known.end())]
    UnknownVersion {
        /// Its `user_version`.
        found: i64,
        /// Those that are known.
        known: RangeInclusive<i64>,
    },
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// What a database says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// `user_version`.
    pub version: i64,
    /// The version of OpenClaw that last wrote its schema.
    pub app_version: Option<String>,
    /// Bytes of its free pages.
    pub free_bytes: u64,
}

/// A copy that is open for reading.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    /// What it says about itself.
    pub info: Info,
}

impl Database {
    /// Opens a copy.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; an unknown version is refused by its number.
    pub fn open(snapshot: &Snapshot, known: RangeInclusive<i64>) -> Result<Self, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(snapshot.path(), flags)?;
        let pragma = |name: &str| {
            connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
        };
        let version = pragma("user_version")?;
        if !known.contains(&version) {
            return Err(DatabaseError::UnknownVersion { found: version, known });
        }
        let free = pragma("freelist_count")?.saturating_mul(pragma("page_size")?);
        let app_version = connection
            .query_row(
                "SELECT app_version FROM schema_meta WHERE meta_key = 'primary'",
                [],
                |row| row.get::<_, Option<String>>(0),
            )
            .unwrap_or_default();
        let info = Info { version, app_version, free_bytes: u64::try_from(free).unwrap_or(0) };
        Ok(Self { connection, info })
    }

    /// What SQLite finds wrong with it, at most ten lines; none if it is whole.
    pub fn damage(&self) -> Vec<String> {
        let lines = (|| {
            let mut check = self.connection.prepare("PRAGMA quick_check(10)")?;
            let lines = check.query_map([], |row| row.get::<_, String>(0))?;
            lines.collect::<Result<Vec<String>, rusqlite::Error>>()
        })();
        match lines {
            Ok(lines) if lines == ["ok"] => Vec::new(),
            Ok(lines) => lines,
            Err(error) => vec![error.to_string()],
        }
    }

    /// Hands on every row of a query; a table that is not there has none. The first columns, as many as
    /// `key` says, name the row.
    pub(super) fn rows(
        &self,
        table: Table<'_>,
        each: &mut dyn FnMut(&Columns<'_, '_>) -> Result<(), String>,
    ) -> Tally {
        let mut tally = Tally::default();
        if let Err(error) = self.walk(table, each, &mut tally) {
            let reason = error.to_string();
            tally.dropped.push(Dropped { place: Place::Row(table.name.to_owned()), reason });
        }
        tally
    }

    fn walk(
        &self,
        table: Table<'_>,
        each: &mut dyn FnMut(&Columns<'_, '_>) -> Result<(), String>,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let there =
            "SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?1";
        let count: i64 = self.connection.query_row(there, [table.name], |row| row.get(0))?;
        if count == 0 {
            return Ok(());
        }
        let mut statement = self.connection.prepare(table.query)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query(rusqlite::params_from_iter(table.parameters))?;
        while let Some(row) = rows.next()? {
            let columns = Columns { names: &names, row };
            match each(&columns) {
                Ok(()) => tally.read += 1,
                Err(reason) => {
                    let id: Vec<String> =
                        table.key.iter().filter_map(|name| columns.text(name)).collect();
                    let place = Place::Row(format!("{} {}", table.name, id.join(" ")));
                    tally.dropped.push(Dropped { place, reason });
                }
            }
        }
        Ok(())
    }

    /// The bytes of one value.
    pub(super) fn blob(&self, query: &str, parameters: &[&str]) -> Result<Vec<u8>, DatabaseError> {
        let parameters = rusqlite::params_from_iter(parameters);
        Ok(self.connection.query_row(query, parameters, |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
                _ => Vec::new(),
            })
        })?)
    }
}

/// What is read of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    /// Its name.
    pub name: &'a str,
    /// The columns that name a row.
    pub key: &'a [&'a str],
    /// The query.
    pub query: &'a str,
    /// Its parameters.
    pub parameters: &'a [&'a str],
}

/// A row, by the names of its columns.
pub(super) struct Columns<'a, 'b> {
    names: &'a [String],
    row: &'a Row<'b>,
}

impl Columns<'_, '_> {
    fn value(&self, name: &str) -> ValueRef<'_> {
        let index = self.names.iter().position(|own| own == name);
        index.and_then(|index| self.row.get_ref(index).ok()).unwrap_or(ValueRef::Null)
    }

    /// A text; `None` for anything else.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            _ => None,
        }
    }

    /// A text that has to be there.
    pub fn needed(&self, name: &str) -> Result<String, String> {
        self.text(name).ok_or_else(|| format!("{name} is no text"))
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            ValueRef::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self.value(name) {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A time in milliseconds; `None` if it is no positive one.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        let ms = self.number(name).filter(|ms| *ms > 0)?;
        Timestamp::from_millisecond(ms).ok()
    }

    /// JSON in a text.
    pub fn json(&self, name: &str) -> Option<Result<serde_json::Value, String>> {
        let text = self.text(name)?;
        Some(serde_json::from_str(&text).map_err(|error| format!("{name}: {error}")))
    }
}
