//! Copies of databases: what is in them, and that nothing of the original is touched.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::*;

struct Place {
    source: TempDir,
    scratch: TempDir,
}

impl Place {
    fn new() -> Self {
        let place =
            Self { source: tempfile::tempdir().unwrap(), scratch: tempfile::tempdir().unwrap() };
        fs::write(place.database(), b"database").unwrap();
        fs::write(place.beside("-wal"), b"log").unwrap();
        fs::write(place.beside("-shm"), b"shared memory").unwrap();
        place
    }

    fn database(&self) -> PathBuf {
        self.source.path().join("a.sqlite")
    }

    fn beside(&self, end: &str) -> PathBuf {
        beside(&self.database(), end)
    }

    fn take(&self) -> Result<Snapshot, SnapshotError> {
        Snapshot::take(&self.database(), self.scratch.path())
    }

    fn listing(&self) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
        let files = fs::read_dir(self.source.path()).unwrap();
        files
            .map(|entry| {
                let path = entry.unwrap().path();
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                (path.clone(), (fs::read(&path).unwrap(), modified))
            })
            .collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_database_its_log_and_its_journal_are_copied_and_nothing_is_touched() {
    let place = Place::new();
    fs::write(place.beside("-journal"), b"journal").unwrap();
    let before = place.listing();
    let snapshot = place.take().unwrap();
    assert_eq!(place.listing(), before);
    let folder = snapshot.path().parent().unwrap().to_owned();
    assert_eq!(names(&folder), ["copy.sqlite", "copy.sqlite-journal", "copy.sqlite-wal"]);
    assert_eq!(fs::read(snapshot.path()).unwrap(), b"database");
    assert_eq!(fs::read(beside(&snapshot.path(), "-wal")).unwrap(), b"log");
    assert_eq!((snapshot.quality, snapshot.bytes, snapshot.wal_bytes), (Quality::Still, 8, 3));
}

#[test]
fn the_copy_goes_with_the_snapshot() {
    let place = Place::new();
    let snapshot = place.take().unwrap();
    assert_eq!(names(place.scratch.path()).len(), 1);
    drop(snapshot);
    assert_eq!(names(place.scratch.path()), [""; 0]);
}

#[test]
fn a_copy_is_made_again_until_nothing_moves() {
    let place = Place::new();
    let mut tries = 0;
    let snapshot = Snapshot::take_beside(&place.database(), place.scratch.path(), &mut |attempt| {
        tries = attempt;
        if attempt < 3 {
            fs::write(place.beside("-wal"), "log".repeat(attempt + 1)).unwrap();
        }
    });
    let snapshot = snapshot.unwrap();
    assert_eq!((tries, snapshot.quality, snapshot.wal_bytes), (3, Quality::Still, 9));
}

#[test]
fn of_what_never_stands_still_the_last_copy_is_kept_and_marked() {
    let place = Place::new();
    let mut tries = 0;
    let snapshot = Snapshot::take_beside(&place.database(), place.scratch.path(), &mut |attempt| {
        tries = attempt;
        fs::write(place.database(), "x".repeat(attempt)).unwrap();
    });
    let snapshot = snapshot.unwrap();
    assert_eq!((tries, snapshot.quality, snapshot.bytes), (TRIES, Quality::BestEffort, 4));
}

/// SQLite deletes the log when the last process closes the database.
#[test]
fn a_log_that_goes_meanwhile_is_not_in_the_copy() {
    let place = Place::new();
    let snapshot = Snapshot::take_beside(&place.database(), place.scratch.path(), &mut |attempt| {
        if attempt == 1 {
            fs::remove_file(place.beside("-wal")).unwrap();
        }
    });
    let snapshot = snapshot.unwrap();
    assert_eq!((snapshot.quality, snapshot.wal_bytes), (Quality::Still, 0));
    assert!(!beside(&snapshot.path(), "-wal").exists());
}

#[test]
fn a_link_a_folder_and_a_pipe_are_refused() {
    let refused = |make: &dyn Fn(&Path)| {
        let place = Place::new();
        fs::remove_file(place.database()).unwrap();
        make(&place.database());
        assert!(matches!(place.take(), Err(SnapshotError::NotAFile(_))), "{:?}", place.take());
        assert_eq!(names(place.scratch.path()), [""; 0]);
    };
    refused(&|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap());
    refused(&|path| fs::create_dir(path).unwrap());
    refused(&|path| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    });
    let place = Place::new();
    fs::remove_file(place.beside("-wal")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.beside("-wal")).unwrap();
    assert!(matches!(place.take(), Err(SnapshotError::NotAFile(_))));
}

#[test]
fn a_missing_original_and_a_missing_scratch_folder_are_told_apart() {
    let place = Place::new();
    let missing = place.source.path().join("missing.sqlite");
    let error = Snapshot::take(&missing, place.scratch.path()).unwrap_err();
    assert!(matches!(&error, SnapshotError::Source(error) if error.kind() == ErrorKind::NotFound));
    let error = Snapshot::take(&place.database(), &missing).unwrap_err();
    assert!(matches!(error, SnapshotError::Scratch(_)));
}
