//! What their databases share: opening a copy, telling versions apart, and what it says about itself.
//!
//! Tables are read by the names of their columns, so that versions between those that were seen can be
//! read: see `table.rs`.

use std::ops::RangeInclusive;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::snapshot::{Quality, Snapshot};

/// Why a database is not read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It is empty, or something else.
    #[error("read the database: it is empty, or no database")]
    NotADatabase,
    /// It is damaged where it says what is in it.
    #[error("read the database: {0}")]
    Malformed(String),
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
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            _ => Self::Malformed(error.to_string()),
        }
    }
}

impl DatabaseError {
    /// Whether its version is one before those that are known. Agents had databases of other things before their
    /// sessions were kept in them.
    pub fn is_older(&self) -> bool {
        matches!(self, Self::UnknownVersion { found, known } if (1..*known.start()).contains(found))
    }
}

/// What a database says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// `user_version`.
    pub user_version: i64,
    /// The size of a page in bytes.
    pub page_size: u64,
    /// How many pages it has, those in the log included.
    pub page_count: u64,
    /// How many of them are free.
    pub freelist_count: u64,
    /// The size of its log in bytes.
    pub wal_bytes: u64,
    /// The version of OpenClaw that last wrote its schema.
    pub app_version: Option<String>,
    /// How good the copy is.
    pub quality: Quality,
}

impl Info {
    /// The size of its free pages in bytes.
    pub fn free_bytes(&self) -> u64 {
        self.freelist_count.saturating_mul(self.page_size)
    }
}

/// A copy that is open for reading.
#[derive(Debug)]
pub struct Database {
    pub(super) connection: Connection,
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
        let connection = connect(snapshot)?;
        let pragma = |name: &str| {
            connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
        };
        let count = |name: &str| Ok::<_, DatabaseError>(u64::try_from(pragma(name)?).unwrap_or(0));
        let user_version = pragma("user_version")?;
        let page_count = count("page_count")?;
        if page_count == 0 {
            return Err(DatabaseError::NotADatabase);
        }
        if !known.contains(&user_version) {
            return Err(DatabaseError::UnknownVersion { found: user_version, known });
        }
        let info = Info {
            user_version,
            page_size: count("page_size")?,
            page_count,
            freelist_count: count("freelist_count")?,
            wal_bytes: snapshot.wal_bytes,
            app_version: app_version(&connection),
            quality: snapshot.quality,
        };
        Ok(Self { connection, info })
    }

    /// What SQLite finds wrong with it, at most so many lines; none if it is whole.
    pub fn integrity(&self, limit: u32) -> Vec<String> {
        let lines = (|| {
            let mut check = self.connection.prepare(&format!("PRAGMA quick_check({limit})"))?;
            let lines = check.query_map([], |row| row.get::<_, String>(0))?;
            lines.collect::<Result<Vec<String>, rusqlite::Error>>()
        })();
        match lines {
            Ok(lines) if lines == ["ok"] => Vec::new(),
            Ok(lines) => lines,
            Err(error) => vec![error.to_string()],
        }
    }

    /// The bytes of one value; `None` if there is no such row.
    pub(super) fn blob(
        &self,
        query: &str,
        parameters: &[&str],
    ) -> Result<Option<Vec<u8>>, DatabaseError> {
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(match row.get_ref(0)? {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        }))
    }
}

/// Opens the copy so that SQLite may recover its log or roll back its journal, and nothing is written
/// by us, by its schema, or back into it at the end.
fn connect(snapshot: &Snapshot) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(snapshot.path(), flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cell_size_check = ON")?;
    Ok(connection)
}

fn app_version(connection: &Connection) -> Option<String> {
    let query = "SELECT app_version FROM schema_meta WHERE meta_key = 'primary'";
    connection.query_row(query, [], |row| row.get::<_, Option<String>>(0)).unwrap_or_default()
}
