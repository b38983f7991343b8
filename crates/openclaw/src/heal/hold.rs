//! OpenClaw's own locks, held while a healing or its undoing changes files: a file is locked iff it is a
//! transcript or an index of an agent.
//!
//! The form is theirs: `<file>.lock`, made where none is, with the process that holds it. A process of
//! OpenClaw waits for it while that lives; `openclaw` among its arguments makes it one of theirs. Databases
//! have no such file: their lock is the transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use super::Error;
use super::backup::{Backup, Manifest, Note, private, take_after};
use super::owner::{self, Liveness};
use super::place::{real, rename};
use crate::folder::Folder;
use crate::model::{Lock, Process};
use crate::read::lock;
use crate::read::names::{self, FileKind};
use crate::read::snapshot::beside;

/// The locks of the files of a healing. They are given back when this goes.
#[derive(Debug)]
pub struct Held {
    root: PathBuf,
    locks: BTreeSet<PathBuf>,
    refused: BTreeMap<PathBuf, String>,
}

impl Held {
    /// Takes the locks of all files that are changed. What a process left that died, this healing's own too,
    /// makes room.
    ///
    /// # Errors
    ///
    /// If the journal cannot be written.
    pub fn take(backup: &Backup, manifest: &Manifest) -> Result<Self, Error> {
        let folder = Folder::open(&backup.root).ok();
        let files = manifest.effects.iter().map(|effect| effect.path().as_path());
        let files: BTreeSet<&Path> =
            files.filter(|file| folder.iter().any(|folder| has_lock(folder, file))).collect();
        let root = backup.root.clone();
        let mut held = Self { root, locks: BTreeSet::new(), refused: BTreeMap::new() };
        if files.is_empty() {
            return Ok(held);
        }
        let earlier = backup.holders()?;
        let process = owner::own();
        backup.note(&Note::Holds(process))?;
        let taking = Taking { backup, manifest, earlier, process, now: backup.now()? };
        for file in files {
            let lock = beside(file, ENDING);
            match taking.take(&lock) {
                Ok(true) => drop(held.locks.insert(lock)),
                Ok(false) => (),
                Err(reason) => drop(held.refused.insert(file.to_owned(), reason)),
            }
        }
        Ok(held)
    }

    /// Why a file may not be changed: somebody else holds its lock.
    pub fn refused(&self, file: &Path) -> Option<&String> {
        self.refused.get(file)
    }

    /// Why one of the files may not be changed.
    pub fn any_refused(&self) -> Option<&String> {
        self.refused.values().next()
    }

    /// Whether a file is a lock that is held.
    pub fn holds(&self, lock: &Path) -> bool {
        self.locks.contains(lock)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let is_own = |lock: &&PathBuf| {
            let there = lock::at(&self.root, (*lock).clone());
            there.is_some_and(|there| there.owner == Some(owner::own()))
        };
        // One that cannot be removed is stale as soon as this process has ended.
        for lock in self.locks.iter().filter(is_own) {
            let _ = fs::remove_file(self.root.join(lock));
        }
    }
}

const ENDING: &str = ".lock";

/// Whether a file is a lock, by its name.
pub fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "lock")
}

/// Whether OpenClaw locks a file before it writes to it: also where links lead it there.
pub fn has_lock(folder: &Folder, file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_transcript = matches!(names::kind(&name), FileKind::Transcript { .. });
    let is = |path: &Path, other: Option<&Path>| {
        Some(path) == other || real(&folder.root, path).is_ok_and(|real| Some(&*real) == other)
    };
    folder.agents.iter().any(|agent| {
        let beside = || agent.sessions.as_deref().is_some_and(|folder| is(folder, file.parent()));
        is(&agent.index_at, Some(file)) || (is_transcript && beside())
    })
}

/// The lock beside a file that is there although nobody holds it.
pub fn stale_lock(root: &Path, file: &Path, now: Timestamp) -> Option<PathBuf> {
    let path = beside(file, ENDING);
    let lock = lock::at(root, path.clone())?;
    owner::why_stale(&lock, owner::of_lock(&lock), now).map(|_| path)
}

struct Taking<'a> {
    backup: &'a Backup,
    manifest: &'a Manifest,
    /// The processes that held locks for this healing before.
    earlier: BTreeSet<Process>,
    process: Process,
    now: Timestamp,
}

impl Taking<'_> {
    /// Takes a lock; `false` if there is nothing to be locked. Else why it cannot be had.
    fn take(&self, lock: &Path) -> Result<bool, String> {
        let full = self.backup.root.join(lock);
        // A second try, for what a dead process left and somebody else was as quick to take.
        for _ in 0..2 {
            match self.make(&full) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(error) => return Err(format!("its lock {}: {error}", lock.display())),
            }
            let Some(there) = lock::at(&self.backup.root, lock.to_owned()) else { continue };
            if self.is_saved(lock, &full) {
                return Ok(false);
            }
            self.make_room(&there, &full)?;
        }
        Err(format!("its lock {} was taken by somebody else", lock.display()))
    }

    /// Makes a lock that names its holder from the beginning: one that is empty is somebody's for a while.
    fn make(&self, full: &Path) -> io::Result<()> {
        let draft = self.backup.scratch("lock");
        self.write(File::options().create(true).truncate(true), &draft, full)?;
        let linked = fs::hard_link(&draft, full);
        fs::remove_file(&draft)?;
        match linked {
            // The backup lies in another file system, or in one where no file has two names.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::Unsupported
                        | io::ErrorKind::PermissionDenied
                ) =>
            {
                self.write(File::options().create_new(true), full, full)
            }
            linked => linked,
        }
    }

    /// Writes what the lock at a place says into a file.
    fn write(&self, how: &mut OpenOptions, path: &Path, place: &Path) -> io::Result<()> {
        let mut file = how.write(true).mode(0o600).open(path)?;
        let written = file.write_all(text(self.process, self.now).as_bytes());
        // Whoever owns the folder has to be able to read who holds it.
        let of_folder = |folder: &Path| match take_after(path, 0o600, folder) {
            // That there is no such folder is for whoever puts the lock there to say.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        let readable = place.parent().map_or(Ok(()), of_folder);
        written.and(readable).inspect_err(|_| drop(fs::remove_file(path)))
    }

    /// Whether a lock is one of before the healing, which goes with another change.
    fn is_saved(&self, lock: &Path, full: &Path) -> bool {
        let saved = self.manifest.files.iter().find(|saved| saved.path == lock);
        let was = saved.and_then(|saved| saved.was.as_ref());
        was.is_some_and(|was| {
            crate::stamp::stamp(full).is_ok_and(|now| now.as_ref() == Some(&was.stamp))
        })
    }

    /// Takes a lock away that nobody holds. The backup keeps it, unless it is of this healing itself.
    fn make_room(&self, there: &Lock, full: &Path) -> Result<(), String> {
        let holder = owner::of_lock(there);
        let is_own = there.owner.is_some_and(|owner| self.earlier.contains(&owner))
            && holder != Some(Liveness::Alive);
        let away = if is_own {
            fs::remove_file(full)
        } else if owner::why_stale(there, holder, self.now).is_some() {
            let kept = self.backup.scratch("locks").join(&there.path);
            let folder = kept.parent().map_or(Ok(()), private);
            folder.and_then(|()| rename(full, &kept))
        } else {
            let lock = there.path.display();
            return Err(there.owner.map_or_else(
                || format!("somebody is about to take its lock {lock}"),
                |owner| format!("process {} holds its lock {lock}", owner.pid),
            ));
        };
        away.map_err(|error| format!("its lock {}: {error}", there.path.display()))
    }
}

/// What a lock says of who holds it, and since when.
fn text(process: Process, now: Timestamp) -> String {
    let mut text = json!({ "pid": process.pid, "createdAt": format!("{now:.3}") });
    if let Some(ticks) = process.started_ticks {
        text["starttime"] = ticks.into();
    }
    text.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A healing that was killed between the two left a lock that named nobody, and stood in its own way.
    #[test]
    fn a_lock_names_its_holder_from_the_moment_that_it_is_there() {
        const TIMES: usize = 2000;
        let dir = tempfile::tempdir().unwrap();
        let backup = Backup::at(dir.path(), "20261120T191000000Z");
        private(&backup.scratch("")).unwrap();
        let taking = Taking {
            backup: &backup,
            manifest: &Manifest::default(),
            earlier: BTreeSet::new(),
            process: owner::own(),
            now: Timestamp::UNIX_EPOCH,
        };
        let lock = dir.path().join("a.jsonl.lock");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut all = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    all.extend(fs::read(&lock));
                }
                all
            });
            for _ in 0..TIMES {
                taking.make(&lock).unwrap();
                fs::remove_file(&lock).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
            for text in watcher.join().unwrap() {
                assert_eq!(crate::read::lock::lock(&text).0, Some(owner::own()), "{text:?}");
            }
        });
        taking.make(&lock).unwrap();
        assert_eq!(taking.make(&lock).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!backup.scratch("lock").exists());
        let nowhere = dir.path().join("nowhere/a.jsonl.lock");
        assert_eq!(taking.make(&nowhere).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
