//! Opening: who may, what is refused and how clearly, and who can read what lies on the disk.

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sexton_domain::change::Change;
use sexton_store::conformance::specimens;
use sexton_store::{CommitError, Driver, Error};
use sexton_store_sqlite::{Access, Mode, OpenError, Options, SqliteDriver};
use uuid::Uuid;

const NOW: &str = "2027-01-15T08:00:00Z";

fn options(path: &Path) -> Options {
    let mut options = Options::new(path, Uuid::from_u128(1), NOW.parse().unwrap());
    options.mode = Mode::Inline;
    options.software = "0.1.0".to_owned();
    options
}

fn open(path: &Path) -> Result<SqliteDriver, OpenError> {
    SqliteDriver::open(options(path))
}

fn open_to_read(path: &Path) -> Result<SqliteDriver, OpenError> {
    SqliteDriver::open(Options { access: Access::ReadOnly, ..options(path) })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every file of a folder with its content.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// Two gateways on one store would end each other's runs.
#[test]
fn a_second_opener_is_refused_and_told_who_holds_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let first = open(&path).unwrap();
    match open(&path) {
        Err(OpenError::Held { host, pid, since }) => {
            assert_eq!(pid, std::process::id());
            assert_eq!(since, NOW.parse().unwrap());
            assert!(!host.is_empty());
        }
        other => panic!("{other:?}"),
    }
    fs::write(path.with_file_name("sexton.db.lock"), "").unwrap();
    assert!(matches!(open(&path), Err(OpenError::HeldByUnknown { .. })));
    drop(first);
    drop(open(&path).unwrap());
}

#[tokio::test]
async fn a_closed_store_can_be_opened_by_another_although_its_driver_is_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    for mode in [Mode::Pool, Mode::Inline] {
        let first = SqliteDriver::open(Options { mode, ..options(&path) }).unwrap();
        first.close().await;
        let second = open(&path).unwrap();
        second.close().await;
        assert_eq!(first.tally().await, Err(Error::Closed));
    }
}

/// Transcripts are private.
#[tokio::test]
async fn files_are_private_and_so_is_a_folder_that_opening_makes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/deep/sexton.db");
    let store = open(&path).unwrap();
    store.commit(vec![Change::Put(specimens().0.remove(0))]).await.unwrap();
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    assert_eq!(mode(&folder.path().join("data/deep")), 0o700);
    for name in ["sexton.db", "sexton.db-wal", "sexton.db-shm", "sexton.db.lock"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    drop(store);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(open(&path).unwrap());
    assert_eq!(mode(&path), 0o600, "what others could read is closed to them");
}

/// A folder somebody else made keeps the permissions they gave it.
#[test]
fn an_existing_folder_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).unwrap();
    drop(open(&folder.path().join("sexton.db")).unwrap());
    assert_eq!(mode(folder.path()), 0o750);
}

/// Looking needs no lock and changes nothing.
#[tokio::test]
async fn a_store_can_be_read_while_another_process_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    assert!(matches!(open_to_read(&path), Err(OpenError::Missing { .. })));
    assert_eq!(content(folder.path()), [], "nothing was made");
    let writer = open(&path).unwrap();
    let (records, fact) = specimens();
    writer.commit(vec![Change::Put(records[0].clone()), fact.into()]).await.unwrap();
    for mode in [Mode::Inline, Mode::Pool] {
        let options = Options { access: Access::ReadOnly, mode, ..options(&path) };
        let reader = SqliteDriver::open(options).unwrap();
        assert!(reader.get(records[0].id()).await.unwrap().is_some());
        let refused = reader.commit(vec![Change::Put(records[1].clone())]).await;
        assert_eq!(refused, Err(CommitError::Failed(Error::ReadOnly)));
        writer.commit(vec![Change::Put(records[1].clone())]).await.ok();
        assert!(reader.get(records[1].id()).await.unwrap().is_some(), "it sees what is new");
        reader.close().await;
        assert_eq!(reader.tally().await, Err(Error::Closed));
    }
    assert_eq!(writer.event_range().await.unwrap(), Some((1, 1)));
}

/// A downgrade must not eat what it does not understand.
#[test]
fn a_newer_store_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    drop(open(&path).unwrap());
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    db.execute("UPDATE meta SET value = '9.9.9' WHERE name = 'software'", []).unwrap();
    drop(db);
    fs::remove_file(path.with_file_name("sexton.db.lock")).unwrap();
    let before = content(folder.path());
    for open in [open_to_read, open] {
        match open(&path) {
            Err(OpenError::Newer { found: 99, supported, software }) => {
                assert!(supported < 99);
                assert_eq!(software, "9.9.9");
            }
            other => panic!("{other:?}"),
        }
        fs::remove_file(path.with_file_name("sexton.db.lock")).ok();
        assert!(content(folder.path()) == before, "a file was made or changed");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    for text in ["{}".to_owned(), "a transcript, or a config file\n".repeat(1000)] {
        fs::write(&path, &text).unwrap();
        for open in [open_to_read, open] {
            let error = open(&path).unwrap_err();
            assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
            assert!(error.to_string().contains("sexton.db"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}

#[test]
fn the_database_of_another_program_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE cookies (name TEXT); PRAGMA user_version = 1").unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// Not even root can write there.
#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    let root = if cfg!(target_os = "macos") { "/System" } else { "/sys" };
    let path = Path::new(root).join("sexton/sexton.db");
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::ReadOnlyPlace { .. }), "{error:?}");
    assert!(error.to_string().contains("sexton.db"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let under_a_file = file.path().join("sexton.db");
    assert!(matches!(open(&under_a_file), Err(OpenError::Io { .. })));
}

#[test]
fn statements_on_the_blocking_pool_need_one() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { mode: Mode::Pool, ..options(&folder.path().join("sexton.db")) };
    assert!(matches!(SqliteDriver::open(options), Err(OpenError::NoRuntime)));
    assert_eq!(content(folder.path()), []);
}

/// What a start that was killed while it made the store may have left.
#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    fs::write(&path, "").unwrap();
    let store = open(&path).unwrap();
    assert_eq!(store.meta().await.unwrap().store_id, Uuid::from_u128(1));
    drop(store);
    let other = Options { store_id: Uuid::from_u128(2), ..options(&path) };
    let store = SqliteDriver::open(other).unwrap();
    assert_eq!(store.meta().await.unwrap().store_id, Uuid::from_u128(1), "it keeps its id");
}

/// The power was cut while a store was being made for the first time. Its journal was there, to undo what
/// was half written, and an empty log beside it: whoever looked was refused, and the gateway never started
/// again.
#[test]
fn a_store_that_was_half_made_when_the_power_was_cut_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    // The first page, half written, and a journal that says that there was none (sqlite.org/fileformat2.html,
    // section 3: magic, records, nonce, pages before, bytes of a sector and of a page).
    fs::write(&path, [7; 4096]).unwrap();
    let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    journal.extend([0_u32, 0, 0, 512, 4096].map(u32::to_be_bytes).concat());
    journal.resize(512, 0);
    let beside = |ending: &str| folder.path().join(format!("sexton.db{ending}"));
    fs::write(beside("-journal"), journal).unwrap();
    fs::write(beside("-wal"), [0; 32]).unwrap();
    drop(open(&path).unwrap());
    assert!(open_to_read(&path).is_ok());
    assert!(!beside("-journal").exists());
}
