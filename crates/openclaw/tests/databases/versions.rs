//! Versions, and files that are no database.

use std::fs;

use sexton_openclaw::read::agent_db::AgentDb;
use sexton_openclaw::read::database::DatabaseError;
use sexton_openclaw::read::snapshot::{Quality, Snapshot, beside};
use sexton_openclaw::read::state_db::StateDb;

use crate::make::{Db, PAGE};

#[test]
fn an_unknown_version_is_refused_by_its_number() {
    for version in [-1, 0, 3, 24, 99] {
        let db = Db::agent();
        db.sql(&format!("PRAGMA user_version = {version}"));
        let error = AgentDb::open(&db.snapshot()).unwrap_err();
        assert!(error.to_string().contains(&format!("is {version}, known are 4 to 23")), "{error}");
        assert!(matches!(error, DatabaseError::UnknownVersion { found, .. } if found == version));
    }
    for version in [-1, 0, 19] {
        let db = Db::state();
        db.sql(&format!("PRAGMA user_version = {version}"));
        let error = StateDb::open(&db.snapshot()).unwrap_err();
        assert!(error.to_string().contains(&format!("is {version}, known are 1 to 18")), "{error}");
    }
}

#[test]
fn a_version_in_between_is_read_without_the_columns_and_tables_that_it_lacks() {
    let db = Db::agent();
    db.sql(
        "PRAGMA user_version = 4;
         DROP TABLE session_transcript_archives; DROP TABLE session_transcript_cold_archives;
         DROP INDEX idx_agent_session_nodes_archived_at; DROP INDEX idx_agent_session_nodes_active;
         ALTER TABLE session_nodes DROP COLUMN archived_at;
         ALTER TABLE session_nodes DROP COLUMN pinned_at;
         CREATE TABLE plain (session_id TEXT NOT NULL, seq INTEGER NOT NULL, event_json TEXT,
           created_at INTEGER NOT NULL, PRIMARY KEY (session_id, seq)) STRICT;
         INSERT INTO plain SELECT session_id, seq, event_json, created_at FROM transcript_events;
         DROP TABLE transcript_events;
         ALTER TABLE plain RENAME TO transcript_events",
    );
    let read = db.read_agent();
    assert_eq!(read.info().user_version, 4);
    let nodes = read.nodes(&mut |node| assert_eq!(node.row.archived_at, None));
    assert_eq!((nodes.read, nodes.dropped.len()), (1, 0));
    let events = read.events(&mut |event| assert!(event.json.unwrap().starts_with('{')));
    assert_eq!((events.read, events.dropped.len()), (6, 0));
    let archives = read.archives(&mut |_, _| panic!());
    assert_eq!((archives.read, archives.dropped.len()), (0, 0));
}

#[test]
fn a_table_without_the_column_that_names_its_rows_is_one_dropped_record() {
    let db = Db::state();
    db.sql("DROP TABLE gateway_boot_lifecycle; CREATE TABLE gateway_boot_lifecycle (pid INTEGER)");
    let tally = db.read_state().boots(&mut |_| panic!());
    assert_eq!((tally.read, tally.dropped.len()), (0, 1));
    assert_eq!(tally.dropped[0].reason, "it has no column boot_id");
}

#[test]
fn a_view_in_the_place_of_a_table_is_not_asked() {
    let db = Db::state();
    db.sql(
        "DROP TABLE gateway_boot_lifecycle;
         CREATE VIEW gateway_boot_lifecycle AS
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
           SELECT 'b' || i AS boot_id, i AS pid FROM n",
    );
    let boots = db.read_state().boots(&mut |_| panic!());
    assert_eq!((boots.read, boots.dropped.len()), (0, 0));
}

#[test]
fn what_is_empty_or_something_else_is_no_database() {
    let text = b"no database at all, but a text that somebody saved under this name";
    for bytes in [&b""[..], b"x", text, &text.repeat(500), &vec![0; 3 * PAGE]] {
        let error = AgentDb::open(&Db::of(bytes).snapshot()).unwrap_err();
        assert!(matches!(error, DatabaseError::NotADatabase), "{} bytes: {error}", bytes.len());
    }
}

#[test]
fn a_database_whose_list_of_tables_is_damaged_is_refused_with_the_reason() {
    let db = Db::agent();
    db.rewrite_schema("UPDATE sqlite_schema SET sql = 'CREATE TABLE (' WHERE name = 'board_tabs'");
    let error = AgentDb::open(&db.snapshot()).unwrap_err();
    assert!(
        matches!(&error, DatabaseError::Malformed(why) if why.contains("board_tabs")),
        "{error}"
    );
}

/// What is committed to the log counts, also if the process that wrote it was killed.
#[test]
fn what_stands_in_the_log_alone_is_read_and_not_written_back() {
    let db = Db::agent();
    let connection = db.connect();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    connection.execute_batch("UPDATE session_nodes SET status = 'running'").unwrap();
    let wal = fs::read(beside(&db.path(), "-wal")).unwrap();
    let killed = Db::of(&db.bytes());
    fs::write(beside(&killed.path(), "-wal"), &wal).unwrap();
    drop(connection);
    let before = killed.bytes();
    let snapshot = killed.snapshot();
    assert_eq!((snapshot.quality, snapshot.wal_bytes), (Quality::Still, wal.len() as u64));
    let read = AgentDb::open(&snapshot).unwrap();
    assert_eq!(read.info().wal_bytes, wal.len() as u64);
    let mut running = 0;
    read.nodes(&mut |node| running += u64::from(node.row.status.is_some()));
    assert_eq!(running, 1);
    drop(read);
    assert_eq!(fs::read(snapshot.path()).unwrap(), before, "nothing was written back");
    assert_eq!(killed.bytes(), before);
    assert_eq!(fs::read(beside(&killed.path(), "-wal")).unwrap(), wal);
    assert!(!beside(&killed.path(), "-shm").exists());
}

/// A log that ends inside a transaction counts up to the transaction before.
#[test]
fn a_log_that_is_cut_off_is_read_as_far_as_it_is_whole() {
    let db = Db::agent();
    let connection = db.connect();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    connection.execute_batch("UPDATE session_nodes SET status = 'running'").unwrap();
    let whole = fs::read(beside(&db.path(), "-wal")).unwrap();
    connection.execute_batch("UPDATE session_nodes SET status = 'failed'").unwrap();
    let more = fs::read(beside(&db.path(), "-wal")).unwrap();
    assert!(more.len() > whole.len());
    let status = |wal: &[u8]| {
        let killed = Db::of(&db.bytes());
        fs::write(beside(&killed.path(), "-wal"), wal).unwrap();
        let mut status = None;
        killed.read_agent().nodes(&mut |node| status = node.row.status);
        status.map(|status| format!("{status:?}"))
    };
    assert_eq!(status(&more).as_deref(), Some("Failed"));
    assert_eq!(status(&more[..more.len() - 1]).as_deref(), Some("Running"));
    assert_eq!(status(&whole[..whole.len() / 2]), None);
}

/// A transaction in the older mode that was cut off is rolled back in the copy, not in the original.
#[test]
fn a_hot_journal_is_rolled_back_in_the_copy() {
    let db = Db::agent();
    db.sql("PRAGMA journal_mode = DELETE");
    let connection = db.connect();
    connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA cache_size = 1; BEGIN").unwrap();
    for number in 0..200 {
        crate::make::add_event(&connection, "left behind", number, &"x".repeat(4000));
    }
    let journal = beside(&db.path(), "-journal");
    let killed = Db::of(&db.bytes());
    fs::copy(&journal, beside(&killed.path(), "-journal")).unwrap();
    connection.execute_batch("ROLLBACK").unwrap();
    let before = killed.bytes();
    assert_ne!(before, db.bytes(), "pages of the transaction reached the file");
    let read = killed.read_agent();
    assert_eq!(read.events(&mut |_| {}).read, 6);
    assert_eq!(read.integrity(10), [""; 0]);
    assert_eq!(killed.bytes(), before);
}

#[test]
fn a_database_with_many_free_pages_says_so() {
    let db = Db::agent();
    db.add_runs(500);
    db.sql("PRAGMA foreign_keys = ON; DELETE FROM session_nodes");
    let snapshot = Snapshot::take(&db.path(), &std::env::temp_dir()).unwrap();
    let read = AgentDb::open(&snapshot).unwrap();
    assert!(read.info().freelist_count > 300, "{:?}", read.info());
    assert_eq!(read.nodes(&mut |_| panic!()).read, 0);
    assert_eq!(read.integrity(10), [""; 0]);
}
