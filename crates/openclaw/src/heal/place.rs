//! Where a step may write: plain files within the folder, reached by no link. A decision follows links; when
//! it is carried out, there are none any more.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::finding::Step;

/// Whether a relative path names something below what it is relative to, as far as its words go.
pub fn is_plain(path: &Path) -> bool {
    let mut parts = path.components();
    !path.as_os_str().is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// A path of a step within the folder: `root` has no links in the way itself.
///
/// # Errors
///
/// Why the path is left alone: it leads out of the folder, or is no plain file.
pub fn inside(root: &Path, path: &Path) -> Result<PathBuf, String> {
    if !is_plain(path) {
        return Err(format!("{} is not within the folder", path.display()));
    }
    let full = root.join(path);
    let parent = full.parent().unwrap_or(root);
    let mut there = parent;
    while !there.exists() {
        there = there.parent().unwrap_or(root);
    }
    let real = fs::canonicalize(there).map_err(|error| format!("{}: {error}", path.display()))?;
    if real != there {
        return Err(format!("{} is reached by a link", path.display()));
    }
    match fs::symlink_metadata(&full) {
        Ok(meta) if !meta.is_file() => Err(format!("{} is no plain file", path.display())),
        Ok(_) => Ok(full),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(full),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Where a file really lies, relative to the folder: links lead to it that stay within that.
///
/// # Errors
///
/// Why it cannot be had: it is not there, or not within the folder.
pub fn real(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let named = |why: &str| format!("{} {why}", path.display());
    let real = fs::canonicalize(root.join(path)).map_err(|error| named(&error.to_string()))?;
    real.strip_prefix(root).map(Path::to_owned).map_err(|_| named("is not within the folder"))
}

/// The same of a file that is moved: the links on the way to it are followed, and it is none itself.
fn real_place(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let (folder, name) = (path.parent(), path.file_name());
    let named = || format!("{} is not within the folder", path.display());
    Ok(real(root, folder.ok_or_else(named)?)?.join(name.ok_or_else(named)?))
}

/// Lets a step change the file itself where links lead to it.
///
/// # Errors
///
/// Why it cannot.
pub fn follow_links(root: &Path, step: &mut Step) -> Result<(), String> {
    match step {
        Step::Rename { from, to, .. } => {
            (*from, *to) = (real_place(root, from)?, real_place(root, to)?);
        }
        Step::SetAside { path, .. } => *path = real_place(root, path)?,
        // Its archives are for the sessions beside it.
        Step::ArchiveNode { database, .. } if real(root, database)? != *database => {
            return Err(format!("{} is reached by a link", database.display()));
        }
        _ => {
            let file = step.file_mut();
            *file = real(root, file)?;
        }
    }
    inside(root, step.file()).map(|_| ())
}

/// Makes renames in a folder last.
///
/// # Errors
///
/// If the folder cannot be synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// A rename that lasts, also of the folders on both sides.
///
/// # Errors
///
/// If the file cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    for folder in [from.parent(), to.parent()].into_iter().flatten() {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Removes a file if it is there.
///
/// # Errors
///
/// If it is there and cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_folder_or_behind_a_link_is_a_place_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        let (root, out) = (base.join("state"), base.join("out"));
        fs::create_dir_all(root.join("a")).unwrap();
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("x"), "").unwrap();
        fs::write(root.join("a/x"), "").unwrap();
        std::os::unix::fs::symlink(&out, root.join("link")).unwrap();
        std::os::unix::fs::symlink(out.join("x"), root.join("a/linked")).unwrap();
        let of = |path: &str| inside(&root, Path::new(path));
        assert_eq!(of("a/x"), Ok(root.join("a/x")));
        assert_eq!(of("a/new"), Ok(root.join("a/new")));
        assert_eq!(of("b/c/new"), Ok(root.join("b/c/new")));
        for path in ["../out/x", "/etc/passwd", "link/x", "link/b/x", "a/linked", "a", ""] {
            assert!(of(path).is_err(), "{path}");
        }
    }
}
