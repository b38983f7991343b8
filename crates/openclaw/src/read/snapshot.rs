//! A copy of a database to read from: opening the original would touch it.
//!
//! A reader of SQLite makes a `-shm` beside the file, may recover its log, and may write it back. So the
//! database and its log are copied while their sizes and times stand still. Where they never do, the last
//! copy is kept and marked: it is as good as it gets, and SQLite itself tells what of it is whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// How often a copy is tried before one that changed meanwhile is kept.
const TRIES: usize = 5;
/// What belongs to a database: its log, and the journal of older modes.
const BESIDE: [&str; 2] = ["-wal", "-journal"];

/// How good a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Nothing moved while it was made.
    Still,
    /// It was written to all the time.
    BestEffort,
}

/// A copy, deleted when it is dropped.
#[derive(Debug)]
pub struct Snapshot {
    folder: TempDir,
    /// How good it is.
    pub quality: Quality,
    /// The size of the original.
    pub bytes: u64,
    /// The size of the original's log.
    pub wal_bytes: u64,
}

impl Snapshot {
    /// Copies a database below `scratch`.
    ///
    /// # Errors
    ///
    /// What opening, reading or writing says.
    pub fn take(path: &Path, scratch: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sexton-openclaw-").tempdir_in(scratch)?;
        let mut quality = Quality::BestEffort;
        for _ in 0..TRIES {
            let before = state(path)?;
            copy(path, &folder.path().join("copy.sqlite"))?;
            for end in BESIDE {
                let to = folder.path().join(format!("copy.sqlite{end}"));
                match copy(&beside(path, end), &to) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let _ = fs::remove_file(to);
                    }
                    copied => copied?,
                }
            }
            if state(path)? == before {
                quality = Quality::Still;
                break;
            }
        }
        let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let copied = folder.path().join("copy.sqlite");
        Ok(Self {
            bytes: size(&copied),
            wal_bytes: size(&beside(&copied, "-wal")),
            folder,
            quality,
        })
    }

    /// The copied database.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("copy.sqlite")
    }
}

/// A file that belongs to a database.
pub fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Sizes and times of a database and what belongs to it.
fn state(path: &Path) -> io::Result<Vec<Option<(u64, i64, i64)>>> {
    let of = |path: &Path| match fs::metadata(path) {
        Ok(meta) => Ok(Some((meta.len(), meta.mtime(), meta.mtime_nsec()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let beside = BESIDE.iter().map(|end| of(&beside(path, end)));
    std::iter::once(of(path)).chain(beside).collect()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::create(to)?;
    io::copy(&mut from, &mut to).map(drop)
}
