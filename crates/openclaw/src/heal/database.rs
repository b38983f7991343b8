//! Changes a copy of a database: in one transaction, with its constraints and triggers, checked before and
//! after. The copy then replaces the original by a rename.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::place::remove;
use super::{backup, node};
use crate::finding::{Stamp, Step};
use crate::read::snapshot::beside;
use crate::stamp::stamp;

/// A copy of a database within an open transaction.
pub struct Database {
    copy: PathBuf,
    db: Connection,
    violations: i64,
    /// What the database holds when its log is written back into it; `None` if it has no log.
    pub folded: Option<Stamp>,
    /// What the database file held, without its log.
    pub was: Stamp,
    /// What its log held, if it has one.
    pub log: Option<Stamp>,
    /// Archives that are published beside the sessions: their names and contents.
    pub archives: Vec<node::Archive>,
}

/// The database's log, and its shared memory.
pub const LOG: &str = "-wal";
/// The index of its log.
pub const SHARED: &str = "-shm";

impl Database {
    /// Copies a database with its log to `copy`, and begins.
    ///
    /// # Errors
    ///
    /// Why the database is left alone.
    pub fn begin(path: &Path, copy: &Path) -> Result<Self, String> {
        if fs::metadata(beside(path, "-journal")).is_ok_and(|meta| meta.len() > 0) {
            return Err("a write to the database was cut off: its -journal is there".to_owned());
        }
        let (was, log) = duplicate(path, copy)?;
        let folded = if log.is_some() { Some(fold(copy)?) } else { None };
        let db = open(copy)?;
        let begin = || -> rusqlite::Result<Option<i64>> {
            if !is_sound(&db)? {
                return Ok(None);
            }
            db.pragma_update(None, "foreign_keys", true)?;
            let violations = violations(&db)?;
            db.execute_batch("BEGIN IMMEDIATE")?;
            Ok(Some(violations))
        };
        match begin() {
            Ok(Some(violations)) => Ok(Self {
                copy: copy.to_owned(),
                violations,
                folded,
                was,
                log,
                archives: Vec::new(),
                db,
            }),
            Ok(None) => Err("the database fails its integrity check".to_owned()),
            Err(error) => Err(format!("the database: {error}")),
        }
    }

    /// The copy.
    pub fn copy(&self) -> &Path {
        &self.copy
    }

    /// Whether a step's decision still holds.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn check(&self, step: &Step) -> Result<(), String> {
        match step {
            Step::EndNode { key, session_id, was, .. }
            | Step::ArchiveNode { key, session_id, was, .. } => {
                node::check(&self.db, key, session_id, was)
            }
            Step::EndTask { id, was, .. } => {
                let status: Option<String> = self
                    .db
                    .query_row("SELECT status FROM task_runs WHERE task_id = ?1", [id], |row| {
                        row.get(0)
                    })
                    .optional()
                    .map_err(reason)?;
                match status {
                    Some(status) if status == *was => Ok(()),
                    Some(status) => Err(format!("the task is {status} now")),
                    None => Err("the task is gone".to_owned()),
                }
            }
            Step::Compact { was, .. } if *was != self.was => {
                Err("the database has changed".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Does a step whose decision holds.
    ///
    /// # Errors
    ///
    /// Why it cannot be done.
    pub fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::EndNode { key, session_id, status, ended_at, .. } => {
                node::end(&self.db, key, session_id, *status, *ended_at)
            }
            Step::ArchiveNode { key, at, .. } => {
                self.archives.extend(node::archive(&self.db, key, *at)?);
                Ok(())
            }
            Step::EndTask { id, status, ended_at, error, .. } => {
                end_task(&self.db, id, status, ended_at.as_millisecond(), error.as_deref())
                    .map_err(reason)
            }
            _ => Ok(()),
        }
    }

    /// Removes the copy. What cannot be removed goes with the backup's other new files.
    pub fn abandon(self) {
        drop(self.db);
        for file in [self.copy.clone(), beside(&self.copy, LOG), beside(&self.copy, SHARED)] {
            let _ = remove(&file);
        }
    }

    /// Commits, gives free pages back if asked to, checks, and closes. What the copy holds then.
    ///
    /// # Errors
    ///
    /// Why the database is left alone.
    pub fn finish(self, compact: bool) -> Result<Stamp, String> {
        let end = || -> rusqlite::Result<bool> {
            if violations(&self.db)? > self.violations {
                return Ok(false);
            }
            self.db.execute_batch("COMMIT")?;
            if compact {
                give_back(&self.db)?;
            }
            is_sound(&self.db)
        };
        match end() {
            Ok(true) => (),
            Ok(false) => return Err("the changed database fails its checks".to_owned()),
            Err(error) => return Err(reason(error)),
        }
        let copy = self.copy.clone();
        drop(self.db);
        let stamp = fold(&copy)?;
        File::open(&copy).and_then(|file| file.sync_all()).map_err(|error| error.to_string())?;
        Ok(stamp)
    }
}

/// Copies a database and its log, if it has one with something in it. What both hold.
///
/// # Errors
///
/// If they cannot be copied.
pub fn duplicate(path: &Path, copy: &Path) -> Result<(Stamp, Option<Stamp>), String> {
    let failed = |error: std::io::Error| format!("copy the database: {error}");
    for ending in [LOG, SHARED] {
        remove(&beside(copy, ending)).map_err(failed)?;
    }
    let standing = backup::copy(path, copy).map_err(failed)?.ok_or("the database is gone")?;
    let log = beside(path, LOG);
    let log = if fs::metadata(&log).is_ok_and(|meta| meta.len() > 0) {
        backup::copy(&log, &beside(copy, LOG)).map_err(failed)?.map(|standing| standing.stamp)
    } else {
        None
    };
    Ok((standing.stamp, log))
}

/// Writes the log of a database back into it and removes the log. What the database holds then.
///
/// # Errors
///
/// If the log cannot be written back.
pub fn fold(path: &Path) -> Result<Stamp, String> {
    let db = open(path)?;
    let busy: i64 =
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(reason)?;
    if busy != 0 {
        return Err("somebody else uses the database".to_owned());
    }
    db.close().map_err(|(_, error)| reason(error))?;
    let failed = |error: std::io::Error| error.to_string();
    for ending in [LOG, SHARED] {
        let file = beside(path, ending);
        match fs::metadata(&file) {
            Ok(meta) if ending == LOG && meta.len() > 0 => {
                return Err("the log of the database could not be written back".to_owned());
            }
            Ok(_) => remove(&file).map_err(failed)?,
            Err(_) => (),
        }
    }
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)?;
    stamp(path).map_err(failed)?.ok_or_else(|| "the database is gone".to_owned())
}

fn open(path: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(reason)
}

fn is_sound(db: &Connection) -> rusqlite::Result<bool> {
    let verdict: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(verdict == "ok")
}

/// Rows that break a foreign key.
fn violations(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
}

fn give_back(db: &Connection) -> rusqlite::Result<()> {
    let mode: i64 = db.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if mode != 2 {
        return db.execute_batch("VACUUM");
    }
    let mut pages = db.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = pages.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Ends a task. It is cleaned up when theirs are: a lost one after a day, others after seven. What it
/// says of an error stays, unless it succeeded after all.
fn end_task(
    db: &Connection,
    id: &str,
    status: &str,
    ended_at: i64,
    error: Option<&str>,
) -> rusqlite::Result<()> {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let keep = if status == "lost" { DAY_MS } else { 7 * DAY_MS };
    db.execute(
        "UPDATE task_runs SET status = ?2, ended_at = ?3, \
         error = CASE ?2 WHEN 'succeeded' THEN NULL ELSE coalesce(error, ?4) END, \
         cleanup_after = coalesce(cleanup_after, ?3 + ?5) WHERE task_id = ?1",
        rusqlite::params![id, status, ended_at, error, keep],
    )?;
    Ok(())
}

fn reason(error: rusqlite::Error) -> String {
    format!("the database: {error}")
}
