//! A disk in memory, for simulation: it outlives the driver that uses it, as a disk outlives a
//! process. What a driver had not committed when it was dropped is gone.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::connect;
use crate::open_error::OpenError;

/// The names of disks within this process: they are never seen and decide nothing.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A database in memory that one driver after the other can open; cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    name: String,
    /// The database is there for as long as one connection is.
    _anchor: Mutex<Connection>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.0.name).finish()
    }
}

impl Disk {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn new() -> Result<Self, OpenError> {
        let name = format!("sexton-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let anchor = connect::memory(&name).map_err(OpenError::database("make it in memory"))?;
        Ok(Self(Arc::new(Inner { name, _anchor: Mutex::new(anchor) })))
    }

    pub(crate) fn connect(&self) -> rusqlite::Result<Connection> {
        connect::memory(&self.0.name)
    }
}
