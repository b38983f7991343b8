//! Files written outside the store: all of one or none of it, readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// What a written file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    Full,
    /// The death of the process.
    Relaxed,
}

/// What happens to a file that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced.
    Replace,
    /// It stays, and writing fails.
    Keep,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Care {
    /// See [`Existing`].
    pub existing: Existing,
    /// See [`Durability`].
    pub durability: Durability,
}

/// Writes a file of mode 0600: a temporary beside it, fsync, rename, fsync of the folder.
pub fn write(path: &Path, bytes: &[u8], care: Care) -> anyhow::Result<()> {
    let Care { existing, durability } = care;
    let folder = folder_of(path);
    let temporary = temporary_of(path);
    let written = (|| {
        put(&temporary, bytes, durability)
            .with_context(|| format!("write {}", temporary.display()))?;
        match existing {
            Existing::Replace => fs::rename(&temporary, path),
            // A link, unlike a rename, fails where the name is taken.
            Existing::Keep => fs::hard_link(&temporary, path),
        }
        .with_context(|| format!("write {}", path.display()))
    })();
    if written.is_err() || existing == Existing::Keep {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    if durability == Durability::Full {
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("sync the folder {}", folder.display()))?;
    }
    Ok(())
}

/// Removes what writers of this file that died left beside it. Nobody else may be writing it.
pub fn remove_stale(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let start = format!(".{name}.");
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let pid = file.strip_prefix(&start).and_then(|rest| rest.strip_suffix(".tmp"));
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes a folder of mode 0700 with all its parents, if it does not exist; its name is on disk then.
pub fn make_private_dir(path: &Path) -> anyhow::Result<()> {
    sexton_store_sqlite::make_folder(path)
        .with_context(|| format!("make the folder {}", path.display()))
}

fn put(temporary: &Path, bytes: &[u8], durability: Durability) -> std::io::Result<()> {
    let _ = fs::remove_file(temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    match durability {
        Durability::Full => file.sync_all(),
        Durability::Relaxed => Ok(()),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Beside the file, so that the rename stays within one file system.
fn temporary_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder_of(path).join(format!(".{name}.{}.tmp", std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_written_whole_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let care = Care { existing: Existing::Keep, durability: Durability::Full };
        write(&path, b"one", care).unwrap();
        let care = Care { existing: Existing::Replace, durability: Durability::Relaxed };
        write(&path, b"two", care).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_dead_writers_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".token.17.tmp", ".token.x.tmp", ".address.17.tmp", "token"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_stale(&dir.path().join("token"));
        assert!(!dir.path().join(".token.17.tmp").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_is_to_be_kept_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sexton.toml");
        fs::write(&path, "mine").unwrap();
        let care = Care { existing: Existing::Keep, durability: Durability::Full };
        let error = write(&path, b"yours", care).unwrap_err();
        assert!(format!("{error:#}").contains("exists"), "{error:#}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
