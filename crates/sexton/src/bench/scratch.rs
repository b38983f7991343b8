//! The scratch folder: where is measured. Nothing outside it is touched, and it is removed in the end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{Exit, Failure};

/// Where temporary files survive a restart, and so are on a disk.
const ON_DISK: &str = "/var/tmp";
/// How often removing it is tried while a process that ends still writes there.
const REMOVALS: u32 = 50;

/// A folder of its own. Dropping it removes it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one below `dir`, or where the system keeps temporary files on a disk.
    pub fn new(dir: Option<&Path>) -> Result<Self, Failure> {
        let below = match dir {
            Some(dir) => dir.to_owned(),
            None if Path::new(ON_DISK).is_dir() => ON_DISK.into(),
            None => std::env::temp_dir(),
        };
        let below = std::path::absolute(&below).unwrap_or(below);
        let pid = std::process::id();
        let mut number = 0;
        loop {
            let path = below.join(format!("sexton-bench-{pid}-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => {
                    let message = format!("failed to make the folder {}: {error}", path.display());
                    return Err(Failure::new(Exit::Usage, message)
                        .hint("name a folder that is there and can be written: --dir DIR"));
                }
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut tries = 0;
        while fs::remove_dir_all(&self.0).is_err() && self.0.exists() && tries < REMOVALS {
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scratch_folder_is_its_own_and_goes_with_all_that_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) =
            (Scratch::new(Some(dir.path())).unwrap(), Scratch::new(Some(dir.path())).unwrap());
        assert_ne!(one.path(), two.path());
        fs::write(one.path().join("file"), "x").unwrap();
        drop(one);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(two);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let failure = Scratch::new(Some(&dir.path().join("none"))).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(!dir.path().join("none").exists());
    }
}
