//! The schema: numbered migrations, forward only, all in one transaction. A store that exists is
//! copied beside itself first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use uuid::Uuid;

use crate::open_error::OpenError;
use crate::place;

/// Marks a file as a store of Sexton's (`SXTN`).
const APPLICATION: i32 = 0x5358_544e;

/// Every schema there ever was, from version 1 on. Released ones are never edited.
pub(crate) const MIGRATIONS: &[&str] =
    &[include_str!("v1.sql"), include_str!("v2.sql"), include_str!("v3.sql")];

/// What a store is made or migrated with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker<'a> {
    /// The migrations: the n-th leads to version n.
    pub migrations: &'a [&'a str],
    /// The id of a new store.
    pub store_id: Uuid,
    /// The version of this software.
    pub software: &'a str,
}

/// What a database file holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet.
    Empty,
    /// A store.
    Store {
        /// The version of its schema.
        schema: u32,
        /// The version of the software that made or migrated it.
        software: String,
    },
    /// The database of another program.
    Foreign,
}

/// Looks at a database.
pub(crate) fn find(db: &Connection) -> rusqlite::Result<Found> {
    let schema: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION {
        return Ok(if tables == 0 { Found::Empty } else { Found::Foreign });
    }
    let software = db
        .query_row("SELECT value FROM meta WHERE name = 'software'", [], |row| row.get(0))
        .optional()?;
    let software = software.unwrap_or_else(|| "an unknown version".to_owned());
    Ok(Found::Store { schema, software })
}

impl Maker<'_> {
    /// The version that it leads to.
    pub(crate) fn newest(&self) -> u32 {
        u32::try_from(self.migrations.len()).unwrap_or(u32::MAX)
    }

    /// Refuses what cannot be opened.
    pub(crate) fn check(&self, path: &Path, found: &Found) -> Result<(), OpenError> {
        let supported = self.newest();
        match found {
            Found::Foreign => Err(OpenError::Foreign { path: path.to_owned() }),
            Found::Store { schema, software } if *schema > supported => {
                Err(OpenError::Newer { found: *schema, supported, software: software.clone() })
            }
            Found::Empty | Found::Store { .. } => Ok(()),
        }
    }

    /// Makes the store or brings it to the newest version. `backup` is the file of one that exists.
    pub(crate) fn migrate(
        &self,
        db: &mut Connection,
        found: &Found,
        path: Option<&Path>,
    ) -> Result<(), OpenError> {
        let from = match found {
            Found::Store { schema, .. } => *schema,
            Found::Empty | Found::Foreign => 0,
        };
        if from >= self.newest() {
            return Ok(());
        }
        if let Some(path) = path.filter(|_| from > 0) {
            let copy = back_up(db, path, from)?;
            tracing::info!(from, to = self.newest(), backup = %copy.display(), "migrating the store");
        }
        self.apply(db, from)
    }

    fn apply(&self, db: &mut Connection, from: u32) -> Result<(), OpenError> {
        let failed = |to| move |source| OpenError::Migration { to, source };
        let transaction = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(from + 1))?;
        for (to, sql) in (1..).zip(self.migrations).skip_while(|(to, _)| *to <= from) {
            transaction.execute_batch(sql).map_err(failed(to))?;
        }
        let newest = self.newest();
        self.sign(&transaction, from == 0).map_err(failed(newest))?;
        transaction.commit().map_err(failed(newest))
    }

    fn sign(&self, db: &Connection, new: bool) -> rusqlite::Result<()> {
        db.pragma_update(None, "application_id", APPLICATION)?;
        db.pragma_update(None, "user_version", self.newest())?;
        let set = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value";
        db.execute(set, ["software", self.software])?;
        if new {
            db.execute(set, ["store_id", &self.store_id.to_string()])?;
            db.execute(set, ["generation", "1"])?;
        }
        Ok(())
    }
}

/// Copies a store beside itself, complete or not at all.
fn back_up(db: &Connection, store: &Path, version: u32) -> Result<PathBuf, OpenError> {
    let copy = place::beside(store, &format!(".v{version}.bak"));
    let unfinished = place::beside(&copy, ".tmp");
    let io = |path: &Path| OpenError::io("back the store up as", path);
    // What an earlier try left; the copy goes into an empty private file.
    let file = place::private_file(store, &unfinished)?;
    file.set_len(0).map_err(io(&unfinished))?;
    let Some(target) = unfinished.to_str() else {
        let why = std::io::Error::other("the path is not UTF-8");
        return Err(io(&unfinished)(why));
    };
    db.execute("VACUUM INTO ?", [target]).map_err(OpenError::database("back it up"))?;
    let synced = File::open(&unfinished).and_then(|file| file.sync_all());
    synced.and_then(|()| fs::rename(&unfinished, &copy)).map_err(io(&copy))?;
    let folder = place::folder_of(store);
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(io(&folder))?;
    Ok(copy)
}

#[cfg(test)]
mod tests;
