//! A recorder of what one process and its children do to files: see `recorder.c`.

use std::io::Result;
use std::path::{Path, PathBuf};

#[path = "preload.rs"]
mod preload;

/// Compiles the library into a folder. Preload it (`LD_PRELOAD`) into the process that is recorded.
///
/// # Errors
///
/// When there is no C compiler, or it refuses.
pub fn recorder(folder: &Path) -> Result<PathBuf> {
    preload::compile("recorder", folder)
}
