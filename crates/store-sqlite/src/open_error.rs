//! Why a store cannot be opened. Nothing was changed.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Why a store cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("open the store: process {pid} on {host} holds it since {since}")]
    Held {
        /// Its host.
        host: String,
        /// Its process id.
        pid: u32,
        /// Since when.
        since: Timestamp,
    },
    /// Another process has it open and has not said which it is.
    #[error("open the store: another process holds {lock}", lock = lock.display())]
    HeldByUnknown {
        /// The lock file.
        lock: PathBuf,
    },
    /// It lies on a file system that other machines share: the write-ahead log needs memory that all
    /// of its users share.
    #[error("open the store at {path}: {kind} is a network file system, the store needs a local disk", path = path.display())]
    Network {
        /// The store.
        path: PathBuf,
        /// The kind of file system.
        kind: String,
    },
    /// Its place does not allow what opening needs.
    #[error("open the store at {path}: the place cannot be written to", path = path.display())]
    ReadOnlyPlace {
        /// The store.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It was to be opened for reading only, and its log cannot be: that needs a file beside it which
    /// the process that writes makes, and which this one may not make.
    #[error(
        "open the store at {path} to read: nobody has it open, and its log cannot be opened in a folder that cannot be written to; copy the store first",
        path = path.display()
    )]
    ReadOnlyLog {
        /// The store.
        path: PathBuf,
        /// What the database says.
        #[source]
        source: rusqlite::Error,
    },
    /// There is none, and it was to be opened for reading only.
    #[error("open the store at {path}: there is none", path = path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is no database, or is damaged from its first bytes on.
    #[error("open the store at {path}: the file is not a SQLite database", path = path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is the database of another program.
    #[error("open the store at {path}: the database belongs to another program", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this software wrote it.
    #[error(
        "open the store: its schema is version {found}, written by {software}; this software knows up to {supported}"
    )]
    Newer {
        /// The version of its schema.
        found: u32,
        /// The newest version that is known here.
        supported: u32,
        /// The version of the software that wrote it.
        software: String,
    },
    /// An older version of this software wrote it, and it was to be opened for reading only.
    #[error(
        "open the store: its schema is version {found}, reading needs {supported}: start the gateway once to migrate it"
    )]
    Older {
        /// The version of its schema.
        found: u32,
        /// The version that is needed.
        supported: u32,
    },
    /// A migration failed; the store is what it was.
    #[error("migrate the store to schema version {to}")]
    Migration {
        /// The version it should have had.
        to: u32,
        /// What the database says.
        #[source]
        source: rusqlite::Error,
    },
    /// A file or folder.
    #[error("{doing} {path}", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The database.
    #[error("open the store: {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it says.
        #[source]
        source: rusqlite::Error,
    },
    /// Statements were to run on the blocking pool, and there is none.
    #[error("open the store: not called from within a Tokio runtime")]
    NoRuntime,
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn database(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}
