//! Prepares a healing: which items still hold, and what every file that they touch is going to hold.
//! Nothing outside of the backup's folder is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Progress;
use super::backup::{Backup, Effect, take_after};
use super::database::{Database, LOG};
use super::hold;
use super::index::{self, Change, Found};
use super::lines;
use super::place::{inside, real};
use super::plan::{Plan, PlanItem};
use crate::finding::{Stamp, Step};
use crate::folder::{Folder, HEAL_FOLDER};
use crate::stamp::{Hashing, stamp};

/// What is ready to be done.
#[derive(Debug, Default)]
pub struct Staged {
    /// The changes, in their order.
    pub effects: Vec<Effect>,
    /// The numbers of items, each with the places of its changes.
    pub items: Vec<(usize, Vec<usize>)>,
    /// What is left out, and why.
    pub left_out: Vec<(usize, String)>,
    /// Files that are touched; whether a copy is needed.
    pub touched: BTreeMap<PathBuf, bool>,
    /// What files held when they were looked at.
    pub read: BTreeMap<PathBuf, Stamp>,
    /// Folders that have to be made.
    pub made: BTreeSet<PathBuf>,
}

/// What happens to an index.
#[derive(Default)]
struct Rewrite {
    changes: BTreeMap<String, Change>,
    /// Fields that go from every row.
    strip: Vec<String>,
}

/// Items that cannot be done after all: one, or all of a file.
struct Failed {
    items: BTreeSet<usize>,
    reason: String,
}

/// Prepares a plan. Items that turn out to be impossible are left out, and the others are prepared anew.
pub fn stage(
    plan: &Plan,
    backup: &Backup,
    observer: &mut dyn FnMut(Progress<'_>),
) -> Result<Staged, super::Error> {
    let mut left_out: Vec<(usize, String)> = Vec::new();
    loop {
        backup.begin()?;
        let items: Vec<&PlanItem> =
            plan.items.iter().filter(|item| left_out.iter().all(|(n, _)| *n != item.n)).collect();
        match Stage::new(backup, observer).run(&items) {
            Ok(mut staged) => {
                staged.left_out.extend(left_out);
                staged.left_out.sort();
                return Ok(staged);
            }
            Err(Failed { items, reason }) => {
                left_out.extend(items.into_iter().map(|n| (n, reason.clone())));
            }
        }
    }
}

struct Stage<'a, 'o> {
    backup: &'a Backup,
    observer: &'o mut dyn FnMut(Progress<'_>),
    staged: Staged,
    stores: BTreeMap<PathBuf, Result<Found, String>>,
    databases: BTreeMap<PathBuf, Result<Database, String>>,
    stamps: BTreeMap<PathBuf, Result<Option<Stamp>, String>>,
    /// Files that are renamed: to where.
    moves: BTreeMap<PathBuf, PathBuf>,
    targets: BTreeSet<PathBuf>,
    /// The items of each file: its changes are theirs.
    items_of: BTreeMap<PathBuf, BTreeSet<usize>>,
}

impl<'a, 'o> Stage<'a, 'o> {
    fn new(backup: &'a Backup, observer: &'o mut dyn FnMut(Progress<'_>)) -> Self {
        Self {
            backup,
            observer,
            staged: Staged::default(),
            stores: BTreeMap::new(),
            databases: BTreeMap::new(),
            stamps: BTreeMap::new(),
            moves: BTreeMap::new(),
            targets: BTreeSet::new(),
            items_of: BTreeMap::new(),
        }
    }

    fn run(mut self, items: &[&PlanItem]) -> Result<Staged, Failed> {
        self.look_for_rows(items);
        let mut held: Vec<&PlanItem> = Vec::new();
        for item in items {
            match self.holds(item) {
                Ok(()) => held.push(item),
                Err(reason) => self.staged.left_out.push((item.n, reason)),
            }
        }
        self.databases(&held)?;
        self.stores(&held)?;
        self.lines(&held)?;
        self.stale_locks();
        self.moves();
        self.put_databases(&held)?;
        let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, effect) in self.staged.effects.iter().enumerate() {
            for n in self.items_of.get(effect.path()).into_iter().flatten() {
                places.entry(*n).or_default().push(place);
            }
        }
        let items = held.iter().map(|item| (item.n, places.remove(&item.n).unwrap_or_default()));
        self.staged.items = items.collect();
        Ok(self.staged)
    }

    /// One pass over each index, for the rows of all items.
    fn look_for_rows(&mut self, items: &[&PlanItem]) {
        let mut keys: BTreeMap<&Path, (BTreeSet<&str>, bool)> = BTreeMap::new();
        for step in items.iter().flat_map(|item| &item.steps) {
            match step {
                Step::EditRow { store, key, .. } | Step::RemoveRow { store, key, .. } => {
                    keys.entry(store).or_default().0.insert(key);
                }
                Step::StripFields { store, .. } => keys.entry(store).or_default().1 = true,
                _ => (),
            }
        }
        for (store, (keys, all)) in keys {
            (self.observer)(Progress::Reading(store));
            let found = inside(&self.backup.root, store).and_then(|path| {
                index::find(&path, &|key| keys.contains(key), all)
                    .map_err(|error| error.to_string())
            });
            self.stores.insert(store.to_owned(), found);
        }
    }

    /// Whether everything that an item was decided from is still so.
    fn holds(&mut self, item: &PlanItem) -> Result<(), String> {
        if item.steps.is_empty() {
            return Err("the plan has no steps for it".to_owned());
        }
        for step in &item.steps {
            self.step_holds(step)?;
        }
        for step in &item.steps {
            let path = match step {
                Step::Rename { from, to, .. } => {
                    self.targets.insert(to.clone());
                    self.moves.insert(from.clone(), to.clone());
                    from
                }
                Step::SetAside { path, .. } => {
                    self.moves.insert(path.clone(), self.backup.relative("aside", path));
                    path
                }
                other => other.file(),
            };
            self.items_of.entry(path.clone()).or_default().insert(item.n);
        }
        Ok(())
    }

    fn step_holds(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::EditRow { store, key, was, .. } | Step::RemoveRow { store, key, was } => {
                self.row_holds(store, key, was)
            }
            Step::Rename { from, to, was } => {
                self.file_holds(from, was)?;
                if inside(&self.backup.root, to)?.exists() {
                    return Err(format!("{} is there already", to.display()));
                }
                match self.moves.get(from) {
                    None if self.targets.contains(to) => {
                        Err(format!("another file becomes {}", to.display()))
                    }
                    Some(other) if other != to => Err("another item moves the file".to_owned()),
                    _ => Ok(()),
                }
            }
            Step::SetAside { path, was } => {
                self.file_holds(path, was)?;
                match self.moves.get(path) {
                    Some(other) if *other != self.backup.relative("aside", path) => {
                        Err("another item moves the file".to_owned())
                    }
                    _ => Ok(()),
                }
            }
            Step::DropLines { path, was, .. } => self.file_holds(path, was),
            Step::StripFields { store, was, .. } => match self.store(store)? {
                found if found.stamp == *was => Ok(()),
                _ => Err(format!("{} has changed", store.display())),
            },
            Step::EndNode { database, .. }
            | Step::ArchiveNode { database, .. }
            | Step::EndTask { database, .. }
            | Step::Compact { database, .. } => {
                let database = self.database(database);
                database.as_ref().map_err(Clone::clone)?.check(step)
            }
        }
    }

    /// An index whose rows can be changed.
    fn store(&self, store: &Path) -> Result<&Found, String> {
        match self.stores.get(store) {
            Some(Ok(Found { damaged: Some(damaged), .. })) => Err(damaged.clone()),
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(error.clone()),
            None => Err("the index was not read".to_owned()),
        }
    }

    fn row_holds(&self, store: &Path, key: &str, was: &str) -> Result<(), String> {
        match self.store(store)?.rows.get(key) {
            Some(row) if row.sha256 == was => Ok(()),
            Some(_) => Err("the row has changed".to_owned()),
            None => Err("the row is gone".to_owned()),
        }
    }

    fn file_holds(&mut self, path: &Path, was: &Stamp) -> Result<(), String> {
        let root = &self.backup.root;
        let now = self
            .stamps
            .entry(path.to_owned())
            .or_insert_with(|| stamp(&inside(root, path)?).map_err(|error| error.to_string()));
        match now {
            Err(error) => Err(error.clone()),
            Ok(Some(now)) if now == was => {
                self.staged.read.insert(path.to_owned(), was.clone());
                Ok(())
            }
            Ok(Some(_)) => Err(format!("{} has changed", path.display())),
            Ok(None) => Err(format!("{} is gone", path.display())),
        }
    }

    fn database(&mut self, path: &Path) -> &mut Result<Database, String> {
        let place = self.databases.len();
        let Self { backup, observer, databases, .. } = self;
        databases.entry(path.to_owned()).or_insert_with(|| {
            observer(Progress::Reading(path));
            let full = inside(&backup.root, path)?;
            Database::begin(&full, &backup.scratch("new").join(format!("database-{place}")))
        })
    }

    /// Steps in databases: sessions are ended before any is archived.
    fn databases(&mut self, held: &[&PlanItem]) -> Result<(), Failed> {
        let is_archive = |step: &Step| matches!(step, Step::ArchiveNode { .. });
        let mut gone: BTreeSet<(&Path, &str)> = BTreeSet::new();
        for archives in [false, true] {
            for item in held {
                let steps = item.steps.iter().filter(|step| is_archive(step) == archives);
                for step in steps {
                    let (Step::EndNode { database, .. }
                    | Step::ArchiveNode { database, .. }
                    | Step::EndTask { database, .. }) = step
                    else {
                        continue;
                    };
                    if let Step::ArchiveNode { key, .. } = step
                        && !gone.insert((database, key))
                    {
                        continue;
                    }
                    let failed = |reason| Failed { items: BTreeSet::from([item.n]), reason };
                    let database = self.database(database).as_mut();
                    database.map_err(|error| failed(error.clone()))?.apply(step).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    fn stores(&mut self, held: &[&PlanItem]) -> Result<(), Failed> {
        let mut files: BTreeMap<&Path, Rewrite> = BTreeMap::new();
        for item in held {
            for step in &item.steps {
                let (store, change) = match step {
                    Step::EditRow { store, key, set, unset, .. } => {
                        (store, Some((key, Change::Edit(set.clone(), unset.clone()))))
                    }
                    Step::RemoveRow { store, key, .. } => (store, Some((key, Change::Remove))),
                    Step::StripFields { store, .. } => (store, None),
                    _ => continue,
                };
                let file = files.entry(store).or_default();
                if let Step::StripFields { fields, .. } = step {
                    file.strip.extend(fields.iter().cloned());
                }
                if let Some((key, change)) = change {
                    match file.changes.get_mut(key) {
                        Some(before) => before.and(change),
                        None => {
                            file.changes.insert(key.clone(), change);
                        }
                    }
                }
            }
        }
        for (store, Rewrite { changes, strip }) in files {
            let Some(Ok(found)) = self.stores.remove(store) else { continue };
            self.staged.read.insert(store.to_owned(), found.stamp.clone());
            self.replace(store, |path, out| index::rewrite(path, &found, &changes, &strip, out))?;
        }
        Ok(())
    }

    fn lines(&mut self, held: &[&PlanItem]) -> Result<(), Failed> {
        let mut files: BTreeMap<&Path, BTreeSet<u64>> = BTreeMap::new();
        for item in held {
            for step in &item.steps {
                if let Step::DropLines { path, lines, .. } = step {
                    files.entry(path).or_default().extend(lines);
                }
            }
        }
        for (path, numbers) in files {
            let numbers: Vec<u64> = numbers.into_iter().collect();
            self.replace(path, |path, out| {
                lines::drop(&mut BufReader::new(File::open(path)?), &numbers, out)
            })?;
        }
        Ok(())
    }

    /// A failure of a file is one of all its items.
    fn failed(&self, path: &Path, reason: String) -> Failed {
        Failed { items: self.items_of.get(path).cloned().unwrap_or_default(), reason }
    }

    /// Writes the new contents of a file.
    fn replace(
        &mut self,
        path: &Path,
        write: impl FnOnce(&Path, &mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), Failed> {
        (self.observer)(Progress::Writing(path));
        let new = self.backup.staged(self.staged.effects.len());
        let old = self.backup.root.join(path);
        let written = || -> io::Result<Stamp> {
            let mut out = BufWriter::new(Hashing::new(File::create(&new)?));
            write(&old, &mut out)?;
            let (file, after) = out.into_inner().map_err(io::IntoInnerError::into_error)?.finish();
            take_after(&new, fs::metadata(&old)?.mode() & 0o7777, &old)?;
            file.sync_all()?;
            Ok(after)
        };
        let after = written().map_err(|error| self.failed(path, error.to_string()))?;
        self.stamps.insert(path.to_owned(), Ok(Some(after.clone())));
        self.staged.touched.insert(path.to_owned(), true);
        self.staged.effects.push(Effect::Replace { path: path.to_owned(), after });
        Ok(())
    }

    /// Locks that nobody holds make room for those that the healing holds meanwhile.
    fn stale_locks(&mut self) {
        let root = &self.backup.root;
        let (Ok(folder), Ok(now)) = (Folder::open(root), self.backup.now()) else { return };
        let replaced = self.staged.effects.iter().map(Effect::path).chain(self.moves.keys());
        let changed = replaced.filter(|file| hold::has_lock(&folder, file));
        let locks = changed.filter_map(|file| hold::stale_lock(root, file, now));
        for lock in locks.collect::<BTreeSet<PathBuf>>() {
            let aside = self.backup.relative("aside", &lock);
            let now = stamp(&root.join(&lock)).map_err(|error| error.to_string());
            self.stamps.entry(lock.clone()).or_insert(now);
            self.moves.entry(lock).or_insert(aside);
        }
    }

    fn moves(&mut self) {
        for (from, to) in std::mem::take(&mut self.moves) {
            if let Some(Ok(Some(was))) = self.stamps.get(&from) {
                let was = was.clone();
                // Archives are OpenClaw's to remove: without a copy they could not come back.
                let copied = !to.starts_with(HEAL_FOLDER);
                self.staged.touched.entry(from.clone()).or_insert(copied);
                self.staged.touched.insert(to.clone(), false);
                self.staged.effects.push(Effect::Move { from, to, was });
            }
        }
    }

    /// New contents of databases, and the archives that are published beside the sessions.
    fn put_databases(&mut self, held: &[&PlanItem]) -> Result<(), Failed> {
        for (path, database) in std::mem::take(&mut self.databases) {
            let Ok(mut database) = database else { continue };
            let of = |step: &&Step| *step.file() == path;
            let mut steps = held.iter().flat_map(|item| &item.steps).filter(of).peekable();
            if steps.peek().is_none() {
                database.abandon();
                continue;
            }
            let compact = steps.any(|step| matches!(step, Step::Compact { .. }));
            self.staged.read.insert(path.clone(), database.was.clone());
            if let Some(log) = database.log.clone() {
                self.staged.read.insert(crate::read::snapshot::beside(&path, LOG), log);
            }
            let home = path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
            for archive in std::mem::take(&mut database.archives) {
                self.publish(&home.join("sessions"), &path, &archive)
                    .map_err(|error| self.failed(&path, error.to_string()))?;
            }
            if let Some(after) = database.folded.clone() {
                self.staged.touched.insert(crate::read::snapshot::beside(&path, LOG), true);
                self.staged.effects.push(Effect::Fold { database: path.clone(), after });
            }
            let new = self.backup.staged(self.staged.effects.len());
            let copy = database.copy().to_owned();
            let after = database.finish(compact).map_err(|reason| self.failed(&path, reason))?;
            fs::rename(&copy, &new).map_err(|error| self.failed(&path, error.to_string()))?;
            self.staged.touched.insert(path.clone(), true);
            self.staged.effects.push(Effect::Replace { path, after });
        }
        Ok(())
    }

    fn publish(
        &mut self,
        folder: &Path,
        database: &Path,
        archive: &super::node::Archive,
    ) -> io::Result<()> {
        let folder = &real(&self.backup.root, folder).unwrap_or_else(|_| folder.to_owned());
        let path = folder.join(&archive.name);
        inside(&self.backup.root, &path).map_err(io::Error::other)?;
        if !self.backup.root.join(folder).exists() {
            self.staged.made.insert(folder.to_owned());
        }
        let mut file = Hashing::new(File::create(self.backup.staged(self.staged.effects.len()))?);
        file.write_all(&archive.bytes)?;
        let (file, after) = file.finish();
        file.sync_all()?;
        let new = self.backup.staged(self.staged.effects.len());
        take_after(&new, 0o600, &self.backup.root.join(database))?;
        let items = self.items_of.get(database).cloned().unwrap_or_default();
        self.items_of.insert(path.clone(), items);
        self.staged.touched.insert(path.clone(), false);
        self.staged.effects.push(Effect::Create { path, after });
        Ok(())
    }
}
