//! A disk that is slow, full or the death of who waits for it when a test wants it, under the real binary.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::support::Place;

#[path = "../../../../xtask/disk/preload.rs"]
mod preload;

/// How long each sync takes while it is slow.
const SYNC_MS: &str = "2000";
/// How large a small disk is: enough for the store's reserve to be made again when nothing else is there.
const SMALL_BYTES: u64 = 200 << 20;

/// What a process on such a disk has in its environment.
pub type Environment = [(&'static str, String); 2];

/// A slow disk for a daemon in a place.
pub struct SlowDisk {
    library: PathBuf,
    switch: PathBuf,
}

impl SlowDisk {
    /// Fast until it is told to be slow.
    pub fn new(place: &Place) -> Self {
        Self { library: library(place), switch: place.dir.path().join("slow") }
    }

    /// Every sync takes two seconds from now on.
    pub fn slow(&self) {
        fs::write(&self.switch, SYNC_MS).unwrap();
    }

    pub fn environment(&self) -> Environment {
        [("LD_PRELOAD", text(&self.library)), ("SEXTON_FSYNC_MS", text(&self.switch))]
    }
}

/// A disk that kills who waits for it.
pub struct KillingDisk {
    library: PathBuf,
}

impl KillingDisk {
    pub fn new(place: &Place) -> Self {
        Self { library: library(place) }
    }

    /// At the sync of this number, from one on: what was written before it stays.
    pub fn environment(&self, sync: u64) -> Environment {
        [("LD_PRELOAD", text(&self.library)), ("SEXTON_KILL_AT_SYNC", sync.to_string())]
    }
}

/// A small disk below the data folder of a place.
pub struct SmallDisk {
    library: PathBuf,
    folder: PathBuf,
}

impl SmallDisk {
    pub fn new(place: &Place) -> Self {
        let folder = place.data();
        fs::create_dir_all(&folder).unwrap();
        Self { library: library(place), folder }
    }

    /// What other files than these leave free.
    pub fn free_bytes(&self) -> u64 {
        let files = fs::read_dir(&self.folder).unwrap().map(|file| file.unwrap());
        SMALL_BYTES
            .saturating_sub(files.filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum())
    }

    /// Somebody else takes all but so many bytes.
    pub fn fill_up_to(&self, free: u64) {
        let ballast = File::create(self.ballast()).unwrap();
        ballast.set_len(self.free_bytes() - free).unwrap();
    }

    /// And gives them back.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    pub fn environment(&self) -> Environment {
        let disk = format!("{SMALL_BYTES}:{}", self.folder.display());
        [("LD_PRELOAD", text(&self.library)), ("SEXTON_DISK", disk)]
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

fn library(place: &Place) -> PathBuf {
    preload::compile("bad_disk", place.dir.path()).unwrap()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
