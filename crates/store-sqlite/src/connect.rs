//! Connections: how each one is opened and set up.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::options::{Durability, Options};

/// How long a statement waits for another program that has the database locked.
pub(crate) const BUSY: Duration = Duration::from_secs(5);
/// Distinct statements a connection keeps prepared.
const STATEMENTS: usize = 128;
/// What the log may keep of the disk when it starts over.
const LOG_LIMIT_BYTES: u32 = 64 * 1024 * 1024;
/// Page caches, in KiB. They fill with what is used, and the system's cache is behind them.
const WRITER_CACHE_KIB: u32 = 24 * 1024;
const READER_CACHE_KIB: u32 = 4 * 1024;

/// Flags that every connection has: each is used by one thread at a time.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// The connection that writes; makes an empty database if there is none.
pub(crate) fn writer(options: &Options) -> rusqlite::Result<Connection> {
    let flags = FLAGS | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let db = Connection::open_with_flags(&options.path, flags)?;
    set_up(&db, WRITER_CACHE_KIB)?;
    // Has no effect on a database with tables, and none later: before the first one or never.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match options.durability {
        Durability::Full => "FULL",
        Durability::Relaxed => "NORMAL",
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    if cfg!(target_os = "macos") {
        // There, an ordinary fsync does not reach the medium.
        db.pragma_update(None, "fullfsync", true)?;
        db.pragma_update(None, "checkpoint_fullfsync", true)?;
    }
    if let Some(pages) = options.max_pages {
        db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    Ok(db)
}

/// A connection to a file that may be half made: its first read undoes what was not committed.
pub(crate) fn maker(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    set_up(&db, READER_CACHE_KIB)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// A connection to look at a file whose log is empty, without making one.
pub(crate) fn bystander(path: &Path) -> rusqlite::Result<Connection> {
    let flags = FLAGS | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    Connection::open_with_flags(uri + "?immutable=1", flags)
}

/// A connection to a database in memory, by its name.
pub(crate) fn memory(name: &str) -> rusqlite::Result<Connection> {
    let flags = FLAGS
        | OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:/{name}?vfs=memdb"), flags)?;
    set_up(&db, READER_CACHE_KIB)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "journal_mode", "MEMORY")?;
    Ok(db)
}

fn set_up(db: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // A statement is planned once, not again for each value that is bound to it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    // Nothing refers to another record by a rule of the database: a run outlives its job.
    db.pragma_update(None, "foreign_keys", false)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    /// P8: where an index holds only some rows, a statement was planned anew for every value.
    #[test]
    fn a_statement_is_planned_once_whatever_is_bound_to_it() {
        let db = memory("planned-once").unwrap();
        db.execute_batch(
            "CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT, at INTEGER);
             CREATE INDEX job_waits ON job (at) WHERE state = 'waits';",
        )
        .unwrap();
        let mut select = db.prepare("SELECT id FROM job WHERE state = ?1 AND at < ?2").unwrap();
        for state in ["waits", "done", "waits", "gone"] {
            assert!(!select.exists((state, 5)).unwrap());
        }
        assert_eq!(select.get_status(StatementStatus::RePrepare), 0);
    }
}
