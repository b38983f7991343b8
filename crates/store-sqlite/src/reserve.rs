//! The reserve: a file beside the store that takes up room, so that there is some to let go of when the
//! disk is full. With that room, what has begun can still end; whoever decides about new work sees that
//! the reserve is released and begins none until there is room for it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

#[cfg(target_os = "linux")]
use nix::errno::Errno;

use crate::disk::Disk;
use crate::open_error::OpenError;
use crate::place;

/// The reserve of one store.
#[derive(Debug)]
pub(crate) struct Reserve {
    ground: Ground,
    bytes: u64,
    released: AtomicBool,
    /// Calls to [`Reserve::restore`] until it tries again, and how many it will be after that.
    pause: [AtomicU32; 2],
}

/// Where a reserve takes up room.
#[derive(Debug)]
pub(crate) enum Ground {
    /// In a file beside this store.
    Beside(PathBuf),
    /// On a disk in memory.
    Memory(Disk),
}

/// The most calls between two tries to take up room, where that fails although there is some.
const MAX_PAUSE: u32 = 1024;

impl Reserve {
    /// Keeps the one that is there, or makes it where there is room for it.
    pub(crate) fn keep(ground: Ground, bytes: u64) -> Self {
        let released = AtomicBool::new(true);
        let pause = [AtomicU32::new(0), AtomicU32::new(1)];
        let reserve = Self { ground, bytes, released, pause };
        if reserve.ground.has(bytes) {
            reserve.released.store(false, Relaxed);
        } else {
            reserve.restore();
        }
        reserve
    }

    /// Whether its room was let go of.
    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Relaxed)
    }

    /// Lets go of its room. False if it has none.
    pub(crate) fn release(&self) -> bool {
        if self.is_released() {
            return false;
        }
        let removed = self.ground.let_go();
        self.released.store(true, Relaxed);
        match removed {
            Ok(()) => {
                let bytes = self.bytes;
                tracing::error!(
                    bytes,
                    "the disk is full: the store's reserve is in use, no run starts"
                );
                true
            }
            Err(error) => {
                tracing::error!(%error, "the disk is full and the store's reserve cannot be removed");
                false
            }
        }
    }

    /// Takes up room again once there is twice as much of it: the other half is for whoever writes.
    pub(crate) fn restore(&self) {
        let [pause, next_pause] = &self.pause;
        if !self.is_released() || pause.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok()
        {
            return;
        }
        if self.ground.free_bytes() / 2 < self.bytes {
            return;
        }
        match self.ground.take_up(self.bytes) {
            Ok(()) => {
                self.released.store(false, Relaxed);
                next_pause.store(1, Relaxed);
                tracing::info!(bytes = self.bytes, "the store keeps its reserve");
            }
            Err(error) => {
                let _ = self.ground.let_go();
                let calls = next_pause.load(Relaxed);
                pause.store(calls, Relaxed);
                next_pause.store((calls * 2).min(MAX_PAUSE), Relaxed);
                tracing::warn!(%error, "the store's reserve cannot be kept");
            }
        }
    }
}

impl Ground {
    fn has(&self, bytes: u64) -> bool {
        match self {
            Self::Beside(store) => place::size(&file(store)) >= bytes,
            Self::Memory(disk) => disk.has_reserve(),
        }
    }

    fn let_go(&self) -> io::Result<()> {
        match self {
            Self::Beside(store) => fs::remove_file(file(store)),
            Self::Memory(disk) => {
                disk.let_go();
                Ok(())
            }
        }
    }

    fn free_bytes(&self) -> u64 {
        match self {
            Self::Beside(store) => place::free_bytes(store).unwrap_or(u64::MAX),
            Self::Memory(disk) if disk.is_full() => 0,
            Self::Memory(_) => u64::MAX,
        }
    }

    fn take_up(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Beside(store) => {
                let path = file(store);
                let file = place::private_file(store, &path).map_err(|error| match error {
                    OpenError::Io { source, .. } => source,
                    other => io::Error::other(other),
                })?;
                allocate(&file, bytes)
            }
            Self::Memory(disk) if disk.take_up(bytes) => Ok(()),
            Self::Memory(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

fn file(store: &Path) -> PathBuf {
    place::beside(store, ".reserve")
}

#[cfg(target_os = "linux")]
fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    match nix::fcntl::posix_fallocate(file, 0, length) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => fill(file, bytes),
        done => Ok(done?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    fill(file, bytes)
}

/// Where there is no such call, bytes are written: a hole would take up nothing.
fn fill(mut file: &fs::File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0x5a), bytes), &mut file).map(drop)
}
