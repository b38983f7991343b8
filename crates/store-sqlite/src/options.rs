//! Options: how a store is opened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use sexton_store::Monotonic;
use uuid::Uuid;

use crate::fault::Faults;

/// How much a power cut may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged: every commit waits until the disk has it.
    #[default]
    Full,
    /// A power cut or a crash of the operating system may take the last commits, acknowledged ones
    /// included, back to the last checkpoint or the last `Driver::sync`: never a part of a commit, never
    /// an earlier one without the later ones, and the store still opens. The death of the process alone
    /// takes nothing.
    Relaxed,
}

/// Where statements run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// On Tokio's blocking pool: the calling task waits without holding up its thread.
    #[default]
    Pool,
    /// On the calling task, one after the other, done when the call returns: for simulation, where
    /// a thread would let the virtual clock run ahead.
    Inline,
}

/// What the store is opened for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// To read and write: one process at a time holds the store.
    #[default]
    ReadWrite,
    /// To look, also while another process holds the store. Nothing is changed; beside a store that
    /// nobody holds, the empty files of a log may stay behind.
    ReadOnly,
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// The database file. Its log (`-wal`, `-shm`) and its lock (`.lock`) lie beside it.
    pub path: PathBuf,
    /// See [`Durability`].
    pub durability: Durability,
    /// See [`Mode`].
    pub mode: Mode,
    /// See [`Access`].
    pub access: Access,
    /// The id of the store, if this makes it.
    pub store_id: Uuid,
    /// The version of the software that opens it.
    pub software: String,
    /// Now, for the lock that names its holder.
    pub now: Timestamp,
    /// For measuring commits.
    pub monotonic: Monotonic,
    /// How much room is kept free for the ends of what has begun, in a file of its own (`.reserve`).
    pub reserve_bytes: u64,
    /// What is to go wrong; nothing outside tests.
    pub faults: Faults,
    /// The most pages the database may have, as if the disk were no larger; no limit outside tests.
    pub max_pages: Option<u32>,
}

impl Options {
    /// A durable store for reading and writing.
    pub fn new(path: impl Into<PathBuf>, store_id: Uuid, now: Timestamp) -> Self {
        Self {
            path: path.into(),
            durability: Durability::default(),
            mode: Mode::default(),
            access: Access::default(),
            store_id,
            software: String::new(),
            now,
            monotonic: std::sync::Arc::new(|| Duration::ZERO),
            reserve_bytes: 0,
            faults: Faults::none(),
            max_pages: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .field("durability", &self.durability)
            .field("mode", &self.mode)
            .field("access", &self.access)
            .field("software", &self.software)
            .finish_non_exhaustive()
    }
}
