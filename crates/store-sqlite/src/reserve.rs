//! The reserve: a file beside the store that takes up room, so that there is some to let go of when the
//! disk is full. With that room, what has begun can still end; whoever decides about new work sees that
//! the reserve is released and begins none until there is room for it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

#[cfg(target_os = "linux")]
use nix::errno::Errno;

use crate::open_error::OpenError;
use crate::place;

/// The reserve of one store.
#[derive(Debug)]
pub(crate) struct Reserve {
    store: PathBuf,
    path: PathBuf,
    bytes: u64,
    released: AtomicBool,
    /// Calls to [`Reserve::restore`] until it tries again, and how many it will be after that.
    pause: [AtomicU32; 2],
}

/// The most calls between two tries to take up room, where that fails although there is some.
const MAX_PAUSE: u32 = 1024;

impl Reserve {
    /// Keeps the one that is there, or makes it where there is room for it.
    pub(crate) fn keep(store: &Path, bytes: u64) -> Self {
        let path = place::beside(store, ".reserve");
        let released = AtomicBool::new(true);
        let pause = [AtomicU32::new(0), AtomicU32::new(1)];
        let reserve = Self { store: store.to_owned(), path, bytes, released, pause };
        if place::size(&reserve.path) >= bytes {
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
        let removed = fs::remove_file(&self.path);
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
        if place::free_bytes(&self.store).unwrap_or(u64::MAX) / 2 < self.bytes {
            return;
        }
        match self.take_up() {
            Ok(()) => {
                self.released.store(false, Relaxed);
                next_pause.store(1, Relaxed);
                tracing::info!(bytes = self.bytes, "the store keeps its reserve");
            }
            Err(error) => {
                let _ = fs::remove_file(&self.path);
                let calls = next_pause.load(Relaxed);
                pause.store(calls, Relaxed);
                next_pause.store((calls * 2).min(MAX_PAUSE), Relaxed);
                tracing::warn!(%error, "the store's reserve cannot be kept");
            }
        }
    }

    fn take_up(&self) -> io::Result<()> {
        let file = place::private_file(&self.store, &self.path).map_err(|error| match error {
            OpenError::Io { source, .. } => source,
            other => io::Error::other(other),
        })?;
        allocate(&file, self.bytes)
    }
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
