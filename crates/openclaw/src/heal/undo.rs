//! Takes a healing back: every file that it touched is again as it was, byte by byte, with mode and time.
//!
//! Each file is brought from where it is to how it was, so undoing can be cut off and begun again. Nothing
//! is touched if a file holds anything but what it held before, between or after the changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::backup::{self, Backup, Effect, Manifest, Note, Saved, State, private, set_modified};
use super::hold::{Held, is_lock};
use super::place::{remove, rename};
use super::touched::{self, Touched};
use super::{Error, Progress, database, run};
use crate::finding::Stamp;
use crate::read::snapshot::beside;
use crate::stamp::{Standing, modified, stamp};

/// Which healing is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// The newest that was not undone.
    Latest,
    /// That of this stamp.
    Stamp(&'a str),
}

/// What was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// Which healing.
    pub stamp: String,
    /// The files that are as they were.
    pub files: Vec<PathBuf>,
}

/// Takes a healing back.
///
/// # Errors
///
/// [`Error::Changed`] names the files that changed since, or whose copies did; nothing is touched then. Other errors leave an
/// undoing that can be begun again.
pub fn undo(
    folder: &Path,
    which: Which<'_>,
    observer: &mut dyn FnMut(Progress<'_>),
) -> Result<Undone, Error> {
    let root = super::unowned(folder)?;
    let (backup, manifest) = find(&root, which)?;
    let before = backup::folders(&root, manifest.paths());
    let held = Held::take(&backup, &manifest)?;
    let undo = Undo { backup: &backup, manifest: &manifest, touched: Touched::of(&manifest) };
    if let Err(refused) = undo.refuse(&held) {
        drop(held);
        run::folder_times(&root, &before)?;
        return Err(refused);
    }
    backup.note(&Note::Undo)?;
    undo.put_back(&|path| !is_lock(path), observer)?;
    drop(held);
    // Stale locks come back where the undoing held its own.
    undo.put_back(&is_lock, observer)?;
    for folder in &manifest.made {
        let path = backup.root.join(folder);
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) {
            fs::remove_dir(&path).map_err(Error::io("remove", &path))?;
        }
    }
    run::folder_times(&root, &manifest.folders)?;
    backup.note(&Note::Undone)?;
    let files = manifest.paths().cloned().collect();
    Ok(Undone { stamp: backup.stamp, files })
}

fn find(root: &Path, which: Which<'_>) -> Result<(Backup, Manifest), Error> {
    let all = Backup::all(root)?;
    let found = match which {
        Which::Stamp(stamp) => {
            let found = all.into_iter().find(|backup| backup.stamp == stamp);
            found.ok_or_else(|| Error::NoBackup { stamp: Some(stamp.to_owned()) })?
        }
        Which::Latest => {
            let last = all.last().map(|backup| backup.stamp.clone());
            let mut open = None;
            for backup in all.into_iter().rev() {
                if backup.state()? != State::Undone {
                    open = Some(backup);
                    break;
                }
            }
            open.ok_or(match last {
                Some(stamp) => Error::Undone { stamp },
                None => Error::NoBackup { stamp: None },
            })?
        }
    };
    if found.state()? == State::Undone {
        return Err(Error::Undone { stamp: found.stamp });
    }
    let none = Error::NoBackup { stamp: Some(found.stamp.clone()) };
    let manifest = found.manifest()?.ok_or(none)?;
    let made = made(manifest, &found.left()?);
    Ok((found, made))
}

/// The newest healing after this one that touched one of these files and was not undone.
fn later(backup: &Backup, changed: &[PathBuf]) -> Result<Option<String>, Error> {
    for other in Backup::all(&backup.root)?.into_iter().rev() {
        if other.stamp <= backup.stamp {
            break;
        }
        let Some(manifest) = other.manifest()? else { continue };
        let manifest = made(manifest, &other.left()?);
        if other.state()? != State::Undone && manifest.paths().any(|path| changed.contains(path)) {
            return Ok(Some(other.stamp));
        }
    }
    Ok(None)
}

/// The manifest without the changes that were left: their files were never touched, whatever is in them now.
fn made(manifest: Manifest, left: &BTreeMap<usize, String>) -> Manifest {
    let (left, made): (Vec<_>, Vec<_>) =
        manifest.effects.into_iter().enumerate().partition(|(place, _)| left.contains_key(place));
    let touched = |effects: &[(usize, Effect)]| -> BTreeSet<PathBuf> {
        effects.iter().flat_map(|(_, effect)| touched::files(effect)).collect()
    };
    let (by_made, by_left) = (touched(&made), touched(&left));
    let mut files = manifest.files;
    files.retain(|saved| by_made.contains(&saved.path) || !by_left.contains(&saved.path));
    let effects = made.into_iter().map(|(_, effect)| effect).collect();
    Manifest { files, effects, ..manifest }
}

struct Undo<'a> {
    backup: &'a Backup,
    manifest: &'a Manifest,
    touched: Touched<'a>,
}

impl Undo<'_> {
    /// Refuses what cannot be brought back as a whole.
    fn refuse(&self, held: &Held) -> Result<(), Error> {
        let stamp = self.backup.stamp.clone();
        if let Some(reason) = held.any_refused() {
            return Err(Error::Locked { stamp, reason: reason.clone() });
        }
        let (changed, lost) = self.changed(held)?;
        if changed.is_empty() && lost.is_empty() {
            return Ok(());
        }
        let later = later(self.backup, &changed)?;
        let backup = self.backup.folder().to_owned();
        Err(Error::Changed { later, backup, stamp, paths: changed, lost })
    }

    /// Files that hold what neither the healing nor anything before it put there, and files that are
    /// nowhere to be taken from.
    fn changed(&self, held: &Held) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
        let (mut changed, mut lost) = (Vec::new(), Vec::new());
        for saved in &self.manifest.files {
            let path = self.backup.root.join(&saved.path);
            if !held.holds(&saved.path)
                && !self.is_ours(saved, &path).map_err(Error::io("read", &path))?
            {
                changed.push(saved.path.clone());
            } else if !self.is_kept(saved, &path).map_err(Error::io("read", &path))? {
                lost.push(saved.path.clone());
            }
        }
        Ok((changed, lost))
    }

    fn is_ours(&self, saved: &Saved, path: &Path) -> std::io::Result<bool> {
        if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
            return Ok(false);
        }
        let now = stamp(path)?;
        let was = saved.was.as_ref().map(|was| &was.stamp);
        if now.as_ref() == was {
            return Ok(self.log_fits(saved));
        }
        let known = self.known(&saved.path);
        if self.is_log(&saved.path) {
            return Ok(now.is_none_or(|now| now.bytes == 0) || self.is_folding(&saved.path)?);
        }
        if known.contains(&now.as_ref()) {
            return Ok(self.log_fits(saved));
        }
        self.is_folding(&beside(&saved.path, database::LOG))
    }

    /// Whether a file is as it was, or can be copied or renamed back.
    fn is_kept(&self, saved: &Saved, path: &Path) -> std::io::Result<bool> {
        let Some(was) = &saved.was else { return Ok(true) };
        let moved = self.touched.effects(&saved.path).find_map(|effect| match effect {
            Effect::Move { from, to, .. } if *from == saved.path => Some(self.backup.root.join(to)),
            _ => None,
        });
        let copy = saved.copied.then(|| self.backup.copy_of(&saved.path));
        for place in [Some(path.to_owned()), moved, copy].into_iter().flatten() {
            if stamp(&place)?.as_ref() == Some(&was.stamp) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a file holds at some time of the healing.
    fn known(&self, path: &Path) -> Vec<Option<&Stamp>> {
        let known = self.touched.effects(path).filter_map(|effect| match effect {
            Effect::Replace { path: of, after }
            | Effect::Create { path: of, after }
            | Effect::Fold { database: of, after } => (of == path).then_some(Some(after)),
            Effect::Move { from, .. } if from == path => Some(None),
            Effect::Move { was, .. } => Some(Some(was)),
        });
        known.collect()
    }

    fn is_log(&self, path: &Path) -> bool {
        self.touched.fold(path).is_some()
    }

    /// Whether the log beside a database is none that somebody else wrote since.
    fn log_fits(&self, saved: &Saved) -> bool {
        let log = beside(&saved.path, database::LOG);
        if self.touched.is_saved(&log) {
            return true;
        }
        fs::metadata(self.backup.root.join(log)).map_or(true, |log| log.len() == 0)
    }

    /// Whether a database is as it was but for its log, of which a part is written back.
    fn is_folding(&self, log: &Path) -> std::io::Result<bool> {
        let Some((database, after)) = self.touched.fold(log) else { return Ok(false) };
        let copy = self.backup.scratch("doubt");
        let folded = database::duplicate(&self.backup.root.join(database), &copy)
            .and_then(|_| database::fold(&copy));
        remove(&copy)?;
        Ok(folded.is_ok_and(|folded| folded == *after))
    }

    /// Brings these files to how they were.
    fn put_back(
        &self,
        which: &dyn Fn(&Path) -> bool,
        observer: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        self.move_back(which, observer)?;
        for saved in self.in_order().filter(|saved| which(&saved.path)) {
            observer(Progress::Restoring(&saved.path));
            let path = self.backup.root.join(&saved.path);
            self.restore(saved, &path).map_err(Error::io("restore", &path))?;
            observer(Progress::Restored(&saved.path));
        }
        Ok(())
    }

    /// Renames files back, the last one first.
    fn move_back(
        &self,
        which: &dyn Fn(&Path) -> bool,
        observer: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        for effect in self.manifest.effects.iter().rev() {
            let Effect::Move { from, to, .. } = effect else { continue };
            if !which(from) {
                continue;
            }
            let (old, new) = (self.backup.root.join(from), self.backup.root.join(to));
            if old.exists() || !new.exists() {
                continue;
            }
            observer(Progress::Restoring(from));
            rename(&new, &old).map_err(Error::io("restore", &old))?;
            observer(Progress::Restored(from));
        }
        Ok(())
    }

    /// Databases before their logs: without its log a database is older, with another's it is damaged.
    fn in_order(&self) -> impl Iterator<Item = &Saved> {
        let (logs, others): (Vec<&Saved>, Vec<&Saved>) =
            self.manifest.files.iter().partition(|saved| self.is_log(&saved.path));
        others.into_iter().chain(logs)
    }

    fn restore(&self, saved: &Saved, path: &Path) -> std::io::Result<()> {
        let Some(was) = &saved.was else { return remove(path) };
        if self.is_log(&beside(&saved.path, database::LOG)) {
            remove(&beside(path, database::SHARED))?;
        }
        if stamp(path)?.as_ref() != Some(&was.stamp) {
            if !saved.copied {
                return Err(std::io::Error::other("there is no copy of it"));
            }
            let ready = self.backup.scratch("ready");
            backup::copy(&self.backup.copy_of(&saved.path), &ready)?;
            if let Some(parent) = path.parent() {
                private(parent)?;
            }
            rename(&ready, path)?;
        }
        stand(path, was)
    }
}

/// Gives a file back its mode and its time.
fn stand(path: &Path, was: &Standing) -> std::io::Result<()> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if modified(&meta) != was.modified {
        set_modified(&file, was.modified)?;
    }
    if meta.mode() & 0o7777 != was.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(was.mode))?;
    }
    file.sync_all()
}
