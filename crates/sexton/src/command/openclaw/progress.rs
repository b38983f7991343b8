//! A line on a terminal that says how far a long command is.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use sexton_openclaw::folder::FolderError;
use sexton_openclaw::heal::{self, Progress};

use super::heal::failure;
use crate::failure::{Exit, Failure};
use crate::output::bytes;

/// The line; none unless stderr is a terminal.
struct Line {
    on: bool,
    read: u64,
}

impl Line {
    /// Before the first file.
    fn new() -> Self {
        Self { on: std::io::stderr().is_terminal(), read: 0 }
    }

    /// A file of this size is about to be read.
    fn reading(&mut self, path: &Path, size: u64) {
        /// Smaller steps would be a flicker.
        const STEP: u64 = 8 << 20;
        let before = self.read / STEP;
        self.read += size;
        if size > STEP || self.read / STEP != before {
            self.show(format_args!("reading {} ({})", path.display(), bytes(self.read)));
        }
    }

    /// A healing, or its undoing, has come to a file.
    fn healing(&self, progress: Progress<'_>) {
        let (verb, path) = match progress {
            Progress::Reading(path) => ("looking at", path),
            Progress::Writing(path) => ("preparing", path),
            Progress::Saving(path) => ("copying", path),
            Progress::Making(path) => ("changing", path),
            Progress::Restoring(path) => ("putting back", path),
            Progress::Saved | Progress::Made(_) | Progress::Restored(_) => return,
        };
        self.show(format_args!("{verb} {}", path.display()));
    }

    fn show(&self, what: fmt::Arguments<'_>) {
        if self.on {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\u{1b}[K{what}");
            let _ = stderr.flush();
        }
    }
}

impl Drop for Line {
    /// Takes the line away.
    fn drop(&mut self) {
        if self.on {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

/// Reads a state folder, with the names of large files on a terminal while they are read.
pub fn reading<T>(
    read: impl FnOnce(&mut dyn FnMut(&Path, u64)) -> Result<T, FolderError>,
) -> Result<T, Failure> {
    let mut line = Line::new();
    read(&mut |path, size| line.reading(path, size)).map_err(|error| {
        let exit = match error {
            FolderError::Open { .. } => Exit::NotFound,
            FolderError::Foreign { .. } => Exit::Usage,
        };
        Failure::chain(exit, &error)
    })
}

/// Heals a folder or takes that back, with the names of files on a terminal.
pub fn healing<T>(
    heal: impl FnOnce(&mut dyn FnMut(Progress<'_>)) -> Result<T, heal::Error>,
) -> Result<T, Failure> {
    let line = Line::new();
    heal(&mut |progress| line.healing(progress)).map_err(failure)
}
