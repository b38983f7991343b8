//! Compiles the libraries beside it, for preloading (`LD_PRELOAD`). Tests of other crates take this file in
//! with `#[path]`, so it knows nothing but the standard library.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are, from the root of the repository.
const SOURCES: &str = "xtask/disk";

/// Compiles a library by its name into a folder.
///
/// # Errors
///
/// When there is no C compiler, or it refuses.
pub fn compile(name: &str, folder: &Path) -> Result<PathBuf> {
    let source = Path::new(SOURCES).join(format!("{name}.c"));
    let mut places =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(&source));
    let found = places.find(|source| source.exists());
    let found = found.ok_or_else(|| Error::other(format!("find {}", source.display())))?;
    let library = folder.join(format!("{name}.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(found);
    let output = compiler.args(["-ldl", "-lpthread"]).output()?;
    if output.status.success() {
        Ok(library)
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::other(format!("compile {name}: {complaint}")))
    }
}
