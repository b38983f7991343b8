//! A disk that is as slow as a test wants, under the real binary.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::Place;

/// How long each sync takes while it is slow.
const SYNC_MS: u32 = 2_000;

/// A slow disk for a daemon in a place.
pub struct SlowDisk {
    library: PathBuf,
    switch: PathBuf,
}

impl SlowDisk {
    /// Fast until it is told to be slow.
    pub fn new(place: &Place) -> Self {
        let library = place.dir.path().join("slow_disk.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/slow_disk.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .status()
            .unwrap();
        assert!(built.success(), "a C compiler is needed");
        Self { library, switch: place.dir.path().join("slow") }
    }

    /// Every sync takes two seconds from now on.
    pub fn slow(&self) {
        fs::write(&self.switch, "").unwrap();
    }

    /// What a daemon on this disk has in its environment.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        [
            ("LD_PRELOAD", path(&self.library)),
            ("SLOW_DISK_WHILE", path(&self.switch)),
            ("SLOW_DISK_MS", SYNC_MS.to_string()),
        ]
    }
}
