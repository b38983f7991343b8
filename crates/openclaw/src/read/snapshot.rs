//! A copy of a database to read from: opening the original would touch it.
//!
//! A reader of SQLite makes a `-shm` beside the file, may recover its log, and may write it back. So the
//! database and its log are copied while their sizes and times stand still. Where they never do, the last
//! copy is kept and marked: it is as good as it gets, and SQLite itself tells what of it is whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::TempDir;

#[cfg(test)]
mod tests;

/// How often a copy is tried before one that changed meanwhile is kept.
const TRIES: usize = 5;
/// What belongs to a database: its log, and the journal of older modes.
const BESIDE: [&str; 2] = ["-wal", "-journal"];
/// The name of the copy in its folder.
const COPY: &str = "copy.sqlite";

/// How good a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Nothing moved while it was made.
    Still,
    /// It was written to all the time.
    BestEffort,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A link, a pipe, a folder: not followed and not read.
    #[error("copy the database: {0} is no plain file")]
    NotAFile(PathBuf),
    /// The original cannot be read.
    #[error("copy the database: {0}")]
    Source(io::Error),
    /// There is no room for the copy, or no right to write it. The original may be in good order.
    #[error("copy the database to the folder for temporary files: {0}")]
    Scratch(io::Error),
}

/// A copy, deleted when it is dropped.
#[derive(Debug)]
pub struct Snapshot {
    folder: TempDir,
    /// How good it is.
    pub quality: Quality,
    /// The size of the database file.
    pub bytes: u64,
    /// The size of its log.
    pub wal_bytes: u64,
}

impl Snapshot {
    /// Copies a database below `scratch`. Links are not followed.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn take(path: &Path, scratch: &Path) -> Result<Self, SnapshotError> {
        Self::take_beside(path, scratch, &mut |_| {})
    }

    /// The same; `meanwhile` is called at the end of each try, with its number from 1.
    fn take_beside(
        path: &Path,
        scratch: &Path,
        meanwhile: &mut dyn FnMut(usize),
    ) -> Result<Self, SnapshotError> {
        let folder = tempfile::Builder::new()
            .prefix("sexton-openclaw-")
            .tempdir_in(scratch)
            .map_err(SnapshotError::Scratch)?;
        let copied = folder.path().join(COPY);
        let mut quality = Quality::BestEffort;
        for attempt in 1..=TRIES {
            let before = state(path)?;
            copy(path, &copied)?;
            for end in BESIDE {
                let to = beside(&copied, end);
                if !copy_if_there(&beside(path, end), &to)? {
                    let _ = fs::remove_file(to);
                }
            }
            meanwhile(attempt);
            if state(path)? == before {
                quality = Quality::Still;
                break;
            }
        }
        let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let (bytes, wal_bytes) = (size(&copied), size(&beside(&copied, "-wal")));
        Ok(Self { bytes, wal_bytes, folder, quality })
    }

    /// The copied database.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(COPY)
    }
}

/// A path with an ending behind its name, as in `openclaw.sqlite-wal`.
pub fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Which file it is, its size, and when it was last changed.
#[derive(PartialEq, Eq)]
struct State {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// The states of a database and of what belongs to it.
fn state(path: &Path) -> Result<Vec<Option<State>>, SnapshotError> {
    let of = |path: &Path| match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(State {
            inode: meta.ino(),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SnapshotError::Source(error)),
    };
    let beside = BESIDE.iter().map(|end| of(&beside(path, end)));
    std::iter::once(of(path)).chain(beside).collect()
}

fn copy_if_there(from: &Path, to: &Path) -> Result<bool, SnapshotError> {
    match copy(from, to) {
        Err(SnapshotError::Source(error)) if error.kind() == ErrorKind::NotFound => Ok(false),
        copied => copied.map(|()| true),
    }
}

/// Copies as many bytes as the file has when it is opened: one that grows without end has an end here.
fn copy(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    let source = open(from)?;
    let meta = source.metadata().map_err(SnapshotError::Source)?;
    if !meta.is_file() {
        return Err(SnapshotError::NotAFile(from.to_owned()));
    }
    let mut to = File::create(to).map_err(SnapshotError::Scratch)?;
    io::copy(&mut source.take(meta.len()), &mut to).map(drop).map_err(side)
}

/// Opens a file for reading that is no link; a pipe without a writer does not hold this up.
fn open(path: &Path) -> Result<File, SnapshotError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            SnapshotError::NotAFile(path.to_owned())
        }
        _ => SnapshotError::Source(error),
    })
}

/// On which side copying failed.
fn side(error: io::Error) -> SnapshotError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            SnapshotError::Scratch(error)
        }
        _ => SnapshotError::Source(error),
    }
}
