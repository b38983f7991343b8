//! A disk that is slow or small, for one process and its children: see `bad_disk.c`. Tests of other
//! crates take this file in with `#[path]`, so it knows nothing but the standard library.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the library into a folder. Preload it (`LD_PRELOAD`) into the process that is to suffer.
///
/// # Errors
///
/// When there is no C compiler, or it refuses.
pub fn bad_disk(folder: &Path) -> Result<PathBuf> {
    let mut sources =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(SOURCE));
    let source = sources.find(|source| source.exists());
    let source = source.ok_or_else(|| Error::other(format!("find {SOURCE}")))?;
    let library = folder.join("bad_disk.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    let output = compiler.output()?;
    if output.status.success() {
        Ok(library)
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::other(format!("compile the bad disk: {complaint}")))
    }
}

/// From the root of the repository.
const SOURCE: &str = "xtask/disk/bad_disk.c";
