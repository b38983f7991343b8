//! A disk that is slow or small, for one process and its children: see `bad_disk.c`. Tests of other
//! crates take this file in with `#[path]`, so it knows nothing but the standard library.

use std::io::Result;
use std::path::{Path, PathBuf};

#[path = "preload.rs"]
mod preload;

/// Compiles the library into a folder. Preload it (`LD_PRELOAD`) into the process that is to suffer.
///
/// # Errors
///
/// When there is no C compiler, or it refuses.
pub fn bad_disk(folder: &Path) -> Result<PathBuf> {
    preload::compile("bad_disk", folder)
}
