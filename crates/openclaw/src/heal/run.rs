//! Makes the changes of a backup's manifest, one after the other. Each may have been made before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use super::backup::{Backup, Effect, Manifest, Note, private, set_modified};
use super::hold::{self, Held};
use super::place::{inside, rename};
use super::touched::Touched;
use super::{Error, Outcome, Progress, database, left_out};
use crate::finding::Stamp;
use crate::folder::HEAL_FOLDER;
use crate::read::snapshot::beside;
use crate::stamp::{modified, stamp};

/// A file that is not any more what the changes were prepared from.
pub fn changed_meanwhile(manifest: &Manifest, read: &BTreeMap<PathBuf, Stamp>) -> Option<PathBuf> {
    let changed = manifest.files.iter().find(|saved| {
        let was = saved.was.as_ref().map(|was| &was.stamp);
        read.get(&saved.path).is_some_and(|read| Some(read) != was)
    });
    changed.map(|saved| saved.path.clone())
}

/// Makes all changes that are not made yet.
pub fn run(
    backup: &Backup,
    manifest: &Manifest,
    observer: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, Error> {
    for folder in &manifest.made {
        let path = backup.root.join(folder);
        private(&path).map_err(Error::io("make", &path))?;
    }
    let touched = Touched::of(manifest);
    let mut left = backup.left()?;
    let is_lock = |(_, effect): &(usize, &Effect)| hold::is_lock(effect.path());
    let (locks, others): (Vec<_>, Vec<_>) = manifest.effects.iter().enumerate().partition(is_lock);
    let making = |(place, effect)| Run { backup, touched: &touched, place, effect };
    // Stale locks make room for those that are held while the rest is changed.
    for run in locks.into_iter().map(making) {
        run.make_or_leave(&mut left, observer)?;
    }
    let held = Held::take(backup, manifest)?;
    for run in others.into_iter().map(making) {
        match held.refused(run.effect.path()) {
            Some(reason) => run.leave(&mut left, reason.clone())?,
            None => run.make_or_leave(&mut left, observer)?,
        }
    }
    drop(held);
    let new = backup.scratch("new");
    fs::remove_dir_all(&new).or_else(absent).map_err(Error::io("remove", &new))?;
    backup.note(&Note::Healed)?;
    let freed = freed(manifest, &touched, &left);
    Ok(Outcome { freed, ..outcome(backup, manifest, &left) })
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn outcome(backup: &Backup, manifest: &Manifest, left: &BTreeMap<usize, String>) -> Outcome {
    let mut outcome = Outcome {
        backup: Some(Path::new(HEAL_FOLDER).join(&backup.stamp)),
        left_out: left_out(&manifest.left_out),
        ..Outcome::default()
    };
    for (n, places) in &manifest.items {
        match places.iter().find_map(|place| left.get(place)) {
            Some(reason) => {
                outcome.left_out.push(super::LeftOut { n: *n, reason: reason.clone() });
            }
            None => outcome.done.push(*n),
        }
    }
    outcome.left_out.sort_by_key(|item| item.n);
    outcome
}

fn freed(manifest: &Manifest, touched: &Touched<'_>, left: &BTreeMap<usize, String>) -> u64 {
    let size = |path: &Path| touched.was(path).map_or(0, |was| was.bytes);
    let (mut before, mut after) = (0, 0);
    for (place, effect) in manifest.effects.iter().enumerate() {
        if left.contains_key(&place) {
            continue;
        }
        match effect {
            Effect::Replace { path, after: new } => {
                before += size(path);
                after += new.bytes;
            }
            Effect::Create { after: new, .. } => after += new.bytes,
            Effect::Move { from, to, .. } if to.starts_with(HEAL_FOLDER) => before += size(from),
            Effect::Move { .. } => (),
            Effect::Fold { database, .. } => before += size(&beside(database, database::LOG)),
        }
    }
    u64::saturating_sub(before, after)
}

/// How far a change was made.
enum Made {
    /// It is made.
    Whole,
    /// Its files are as they were, and why.
    Nothing(String),
    /// Something of it is made, and why no more.
    Part(String),
}

struct Run<'a> {
    backup: &'a Backup,
    touched: &'a Touched<'a>,
    place: usize,
    effect: &'a Effect,
}

impl Run<'_> {
    fn make_or_leave(
        &self,
        left: &mut BTreeMap<usize, String>,
        observer: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        if left.contains_key(&self.place) {
            return Ok(());
        }
        match self.make(observer)? {
            Made::Whole => Ok(()),
            Made::Nothing(reason) => self.leave(left, reason),
            // Undoing has to look at it: it is not noted as left.
            Made::Part(reason) => {
                left.insert(self.place, reason);
                Ok(())
            }
        }
    }

    /// Leaves a change whose files are as they were.
    fn leave(&self, left: &mut BTreeMap<usize, String>, reason: String) -> Result<(), Error> {
        if let Entry::Vacant(entry) = left.entry(self.place) {
            self.backup.note(&Note::Left(self.place, reason.clone()))?;
            entry.insert(reason);
        }
        Ok(())
    }

    /// Makes a change, or says why it is left.
    fn make(&self, observer: &mut dyn FnMut(Progress<'_>)) -> Result<Made, Error> {
        let path = self.effect.path();
        let full = match inside(&self.backup.root, path) {
            Ok(full) => full,
            Err(reason) => return Ok(Made::Nothing(reason)),
        };
        match self.is_made().map_err(Error::io("read", &full))? {
            Some(true) => return Ok(Made::Whole),
            Some(false) => (),
            None => return Ok(Made::Nothing(format!("{} has changed", path.display()))),
        }
        observer(Progress::Making(path));
        if let Err(reason) = self.change() {
            // What failed may have come after the change itself.
            if self.is_made().map_err(Error::io("read", &full))? != Some(true) {
                let begun = self.is_begun().map_err(Error::io("read", &full))?;
                return Ok(if begun { Made::Part(reason) } else { Made::Nothing(reason) });
            }
        }
        observer(Progress::Made(path));
        Ok(Made::Whole)
    }

    /// Whether a part of a log was written back: a reader keeps the rest of it from that.
    fn is_begun(&self) -> std::io::Result<bool> {
        let Effect::Fold { database, .. } = self.effect else { return Ok(false) };
        let now = stamp(&self.backup.root.join(database))?;
        Ok(now.as_ref() != self.touched.was(database))
    }

    /// Whether the change is made; `None` if the file is neither as it was nor as it becomes.
    fn is_made(&self) -> std::io::Result<Option<bool>> {
        let root = &self.backup.root;
        match self.effect {
            Effect::Replace { path, after } | Effect::Create { path, after } => {
                let now = stamp(&root.join(path))?;
                let made = match now {
                    // Equal contents still may have to lose their other names.
                    _ if self.is_untouched(path) => {
                        self.backup.staged(self.place).exists().then_some(false)
                    }
                    Some(now) if now == *after => Some(true),
                    now if now.as_ref() == self.before(path) => Some(false),
                    _ => None,
                };
                // A log is somebody's who wrote since: it belongs to the database that is there.
                let log = fs::metadata(root.join(beside(path, database::LOG)));
                Ok(made.filter(|made| *made || log.map_or(true, |log| log.len() == 0)))
            }
            Effect::Move { from, to, was } => {
                let is_lock = hold::is_lock(from);
                let (from, to) = (stamp(&root.join(from))?, stamp(&root.join(to))?);
                Ok(match (from, to) {
                    (Some(from), None) if from == *was => Some(false),
                    (None, Some(to)) if to == *was => Some(true),
                    // Somebody has locked the file anew since.
                    (Some(_), Some(to)) if to == *was && is_lock => Some(true),
                    _ => None,
                })
            }
            Effect::Fold { database, after } => {
                let log = beside(database, database::LOG);
                let now = stamp(&root.join(&log))?.filter(|now| now.bytes > 0);
                if now.is_some() && now.as_ref() == self.touched.was(&log) {
                    return Ok(Some(false));
                }
                let now = stamp(&root.join(database))?;
                let replaced = self.touched.effects(database).any(|effect| {
                    matches!(effect, Effect::Replace { path, after }
                        if path == database && Some(after) == now.as_ref())
                });
                Ok((now.as_ref() == Some(after) || replaced).then_some(true))
            }
        }
    }

    /// Whether length and time of a file are still those of the backup.
    fn is_untouched(&self, path: &Path) -> bool {
        let Some(was) = self.touched.standing(path) else { return false };
        fs::metadata(self.backup.root.join(path))
            .is_ok_and(|now| now.len() == was.stamp.bytes && modified(&now) == was.modified)
    }

    /// What a file holds right before its change.
    fn before(&self, path: &Path) -> Option<&Stamp> {
        let folded = self.touched.fold(&beside(path, database::LOG));
        folded.map(|(_, after)| after).or_else(|| self.touched.was(path))
    }

    fn change(&self) -> Result<(), String> {
        let root = &self.backup.root;
        let failed = |error: std::io::Error| error.to_string();
        match self.effect {
            Effect::Replace { path, .. } | Effect::Create { path, .. } => {
                rename(&self.backup.staged(self.place), &root.join(path)).map_err(failed)
            }
            Effect::Move { from, to, .. } => {
                let to = root.join(to);
                if let Some(parent) = to.parent() {
                    private(parent).map_err(failed)?;
                }
                rename(&root.join(from), &to).map_err(failed)
            }
            Effect::Fold { database, .. } => database::fold(&root.join(database)).map(|_| ()),
        }
    }
}

/// Puts back when folders were last written.
pub fn folder_times(root: &Path, folders: &[(PathBuf, (i64, i64))]) -> Result<(), Error> {
    for (folder, at) in folders {
        let path = root.join(folder);
        let set = || set_modified(&fs::File::open(&path)?, *at);
        set().map_err(Error::io("restore", &path))?;
    }
    Ok(())
}
