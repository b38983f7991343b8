//! Migrations: numbered, forward only, whole or not at all, after a copy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Found, MIGRATIONS, Maker, find};
use crate::connect;
use crate::open_error::OpenError;
use crate::options::{Access, Mode, Options};
use crate::{Disk, SqliteDriver};

const SECOND: &str = "ALTER TABLE hook ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'";
const THIRD: &str = "CREATE TABLE pigment (name TEXT PRIMARY KEY) STRICT;
    INSERT INTO pigment SELECT DISTINCT colour FROM hook";
const FAILING: &str = "CREATE TABLE half (done TEXT) STRICT; INSERT INTO nowhere VALUES (1)";

struct Place {
    _folder: TempDir,
    options: Options,
}

/// A store of the newest version.
fn newest() -> Place {
    let place = empty();
    drop(SqliteDriver::open(place.options.clone()).unwrap());
    place
}

/// A store of version 1 with a hook in it.
fn version_1() -> Place {
    let place = empty();
    fs::File::create(&place.options.path).unwrap();
    let mut db = connect::writer(&place.options).unwrap();
    let maker =
        Maker { migrations: &MIGRATIONS[..1], store_id: Uuid::from_u128(1), software: "0.1.0" };
    maker.migrate(&mut db, &Found::Empty, None).unwrap();
    db.execute("INSERT INTO hook VALUES ('hook', 1, '{}')", []).unwrap();
    place
}

fn empty() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    let path = folder.path().join("sexton.db");
    let mut options = Options::new(path, Uuid::from_u128(1), now);
    options.mode = Mode::Inline;
    options.software = "0.1.0".to_owned();
    Place { _folder: folder, options }
}

impl Place {
    fn migrate(&self, migrations: &[&str]) -> Result<(), OpenError> {
        let mut db = connect::writer(&self.options).unwrap();
        let found = find(&db).unwrap();
        let maker = Maker { migrations, store_id: Uuid::from_u128(2), software: "0.2.0" };
        maker.check(&self.options.path, &found)?;
        maker.migrate(&mut db, &found, Some(&self.options.path))
    }

    fn backup(&self, version: u32) -> PathBuf {
        self.options.path.with_file_name(format!("sexton.db.v{version}.bak"))
    }

    fn text(&self, sql: &str) -> rusqlite::Result<String> {
        Connection::open(&self.options.path)?.query_row(sql, [], |row| row.get(0))
    }
}

#[test]
fn a_store_is_migrated_through_every_version_and_keeps_its_rows_and_its_id() {
    let place = version_1();
    place.migrate(&[MIGRATIONS[0], SECOND, THIRD]).unwrap();
    assert_eq!(place.text("SELECT colour FROM hook WHERE name = 'hook'").unwrap(), "blue");
    assert_eq!(place.text("SELECT name FROM pigment").unwrap(), "blue");
    let id = place.text("SELECT value FROM meta WHERE name = 'store_id'").unwrap();
    assert_eq!(id, Uuid::from_u128(1).to_string());
    let found = find(&Connection::open(&place.options.path).unwrap()).unwrap();
    assert_eq!(found, Found::Store { schema: 3, software: "0.2.0".to_owned() });
    assert!(!place.backup(2).exists(), "one copy for one start");

    place.migrate(&[MIGRATIONS[0], SECOND, THIRD]).unwrap();
    assert!(!place.backup(3).exists(), "nothing to migrate, nothing to copy");
}

/// What is worth keeping before it is changed: private, complete, and a store again.
#[test]
fn a_store_is_copied_before_it_is_migrated() {
    let place = version_1();
    // What a start that was cut off may have left.
    fs::write(place.options.path.with_file_name("sexton.db.v1.bak.tmp"), "half a copy").unwrap();
    place.migrate(&[MIGRATIONS[0], SECOND]).unwrap();
    let copy = place.backup(1);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!place.options.path.with_file_name("sexton.db.v1.bak.tmp").exists());
    let db = Connection::open(&copy).unwrap();
    assert_eq!(find(&db).unwrap(), Found::Store { schema: 1, software: "0.1.0".to_owned() });
    let hooks: i64 = db.query_row("SELECT count(*) FROM hook", [], |row| row.get(0)).unwrap();
    assert_eq!(hooks, 1);
    drop(SqliteDriver::open(Options { path: copy, ..place.options }).unwrap());
}

#[test]
fn a_migration_that_fails_leaves_the_store_as_it_was() {
    let place = version_1();
    let schema = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
    let before = place.text(schema).unwrap();
    match place.migrate(&[MIGRATIONS[0], SECOND, FAILING]) {
        Err(OpenError::Migration { to: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(place.text(schema).unwrap(), before);
    assert_eq!(place.text("SELECT value FROM meta WHERE name = 'software'").unwrap(), "0.1.0");
    drop(SqliteDriver::open(place.options).unwrap());
}

/// The first start of newer software migrates; whoever only looks does not.
#[test]
fn a_store_of_another_version_is_not_opened_for_reading_only() {
    let place = newest();
    let read_only = || {
        let options = Options { access: Access::ReadOnly, ..place.options.clone() };
        SqliteDriver::open(options)
    };
    drop(read_only().unwrap());
    let set = |version: u32| {
        let db = Connection::open(&place.options.path).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
    };
    set(1);
    assert!(matches!(read_only(), Err(OpenError::Older { found: 1, supported: 3 })));
    set(4);
    assert!(matches!(read_only(), Err(OpenError::Newer { found: 4, supported: 3, .. })));
}

#[test]
fn a_disk_in_memory_has_the_schema_of_a_file() {
    let place = newest();
    let disk = Disk::new().unwrap();
    drop(SqliteDriver::in_memory(&disk, place.options.clone()).unwrap());
    let schema = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
    let in_memory: String =
        disk.connect().unwrap().query_row(schema, [], |row| row.get(0)).unwrap();
    assert_eq!(in_memory, place.text(schema).unwrap());
}
