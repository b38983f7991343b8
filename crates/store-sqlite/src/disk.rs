//! A disk in memory, for simulation: it outlives the driver that uses it, as a disk outlives a
//! process. What a driver had not committed when it was dropped is gone.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::connect;
use crate::mutex::lock;
use crate::open_error::OpenError;

/// The names of disks within this process: they are never seen and decide nothing.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A database in memory that one driver after the other can open; cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    name: String,
    /// The database is there for as long as one connection is.
    anchor: Mutex<Connection>,
    room: Mutex<Room>,
}

/// What there is room for, in pages.
#[derive(Debug, Default)]
struct Room {
    /// So many pages fit; none while there is room for everything.
    limit: Option<u32>,
    /// What a reserve keeps of the disk.
    reserve: u32,
}

/// More pages than any database has.
const NO_LIMIT: u32 = u32::MAX - 1;
/// What SQLite takes for a page where it is told nothing else.
const PAGE_BYTES: u64 = 4096;

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
        let (anchor, room) = (Mutex::new(anchor), Mutex::default());
        Ok(Self(Arc::new(Inner { name, anchor, room })))
    }

    /// Something else takes up what is free: the database cannot grow but into the room of a reserve.
    ///
    /// # Errors
    ///
    /// When the database cannot be asked how large it is.
    pub fn fill(&self) -> Result<(), OpenError> {
        let pages = self.pages().map_err(OpenError::database("ask for its size"))?;
        let mut room = lock(&self.0.room);
        // Once: what a reserve let go of may be in use.
        let reserve = room.reserve;
        room.limit.get_or_insert(pages.saturating_add(reserve));
        Ok(())
    }

    /// It goes again.
    pub fn make_room(&self) {
        lock(&self.0.room).limit = None;
    }

    /// Whether something else takes up what was free.
    pub fn is_full(&self) -> bool {
        lock(&self.0.room).limit.is_some()
    }

    /// Bytes of the database.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn bytes(&self) -> Result<u64, OpenError> {
        let pages = self.pages().map_err(OpenError::database("ask for its size"))?;
        Ok(u64::from(pages) * PAGE_BYTES)
    }

    fn pages(&self) -> rusqlite::Result<u32> {
        lock(&self.0.anchor).query_row("PRAGMA page_count", [], |row| row.get(0))
    }

    /// The most pages that the database may have now.
    pub(crate) fn max_pages(&self) -> u32 {
        let room = lock(&self.0.room);
        room.limit.map_or(NO_LIMIT, |limit| limit.saturating_sub(room.reserve))
    }

    /// Whether a reserve keeps something.
    pub(crate) fn has_reserve(&self) -> bool {
        lock(&self.0.room).reserve > 0
    }

    /// A reserve takes up room. False where there is none.
    pub(crate) fn take_up(&self, bytes: u64) -> bool {
        let mut room = lock(&self.0.room);
        let takes = room.limit.is_none();
        if takes {
            room.reserve = u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX);
        }
        takes
    }

    /// A reserve lets go of its room.
    pub(crate) fn let_go(&self) {
        lock(&self.0.room).reserve = 0;
    }

    pub(crate) fn connect(&self) -> rusqlite::Result<Connection> {
        connect::memory(&self.0.name)
    }
}
