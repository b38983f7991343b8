//! The backup of one healing: a folder with what was touched as it was, what it becomes, and a journal.
//!
//! `.sexton-heal/<stamp>/` holds `plan.json`; `files/`, copies of what is replaced; `new/`, what replaces
//! it until it does; `aside/`, files that were taken out; `locks/`, locks of the dead that were in the way
//! meanwhile; `manifest.json`, written when all of that is on
//! disk and before the first change; and `journal.jsonl`, how far the healing is. Whether a change is made
//! its files tell. Without a manifest nothing was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::place::sync_folder;
use crate::finding::Stamp;
use crate::folder::{self, HEAL_FOLDER};
use crate::model::Process;
use crate::stamp::{Hashing, Standing, modified};

/// One change of the folder. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A file gets new contents by a rename.
    Replace {
        /// Which.
        path: PathBuf,
        /// What it holds afterwards.
        after: Stamp,
    },
    /// A file is put where none was.
    Create {
        /// Which.
        path: PathBuf,
        /// What it holds.
        after: Stamp,
    },
    /// A file is renamed.
    Move {
        /// From.
        from: PathBuf,
        /// To.
        to: PathBuf,
        /// What it holds.
        was: Stamp,
    },
    /// The log of a database is written back into it.
    Fold {
        /// Which.
        database: PathBuf,
        /// What the database holds afterwards; its log is gone.
        after: Stamp,
    },
}

impl Effect {
    /// The file that it is about, as items name it.
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Replace { path, .. }
            | Self::Create { path, .. }
            | Self::Move { from: path, .. }
            | Self::Fold { database: path, .. } => path,
        }
    }
}

/// A file that the healing touches, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Which.
    pub path: PathBuf,
    /// How it stood; `None` if it was not there.
    pub was: Option<Standing>,
    /// Whether there is a copy. Files that are only taken out have none: they lie in the backup.
    pub copied: bool,
}

/// What a backup holds, and what the healing does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The files that are touched.
    pub files: Vec<Saved>,
    /// The folders of those files, and when they were last written.
    pub folders: Vec<(PathBuf, (i64, i64))>,
    /// Folders that are made.
    pub made: Vec<PathBuf>,
    /// The changes, in their order.
    pub effects: Vec<Effect>,
    /// The numbers of the plan's items, each with the places of its changes.
    pub items: Vec<(usize, Vec<usize>)>,
    /// What was left out, and why.
    pub left_out: Vec<(usize, String)>,
}

impl Manifest {
    /// The files that are touched, without those that are put into the backup itself.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let paths = self.files.iter().map(|saved| &saved.path);
        paths.filter(|path| !path.starts_with(HEAL_FOLDER))
    }
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The change at this place is not made, and why.
    Left(usize, String),
    /// This process is about to take locks of OpenClaw.
    Holds(Process),
    /// All changes are made or left.
    Healed,
    /// They are about to be taken back.
    Undo,
    /// All files are as they were.
    Undone,
}

/// How far a healing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was cut off.
    Unfinished,
    /// To its end.
    Healed,
    /// It was being undone when that was cut off.
    Undoing,
    /// It was undone.
    Undone,
}

/// The folder of a backup.
#[derive(Debug, Clone)]
pub struct Backup {
    /// The state folder.
    pub root: PathBuf,
    /// Its name.
    pub stamp: String,
    folder: PathBuf,
}

impl Backup {
    /// A backup of this name.
    pub fn at(root: &Path, stamp: &str) -> Self {
        let folder = root.join(HEAL_FOLDER).join(stamp);
        Self { root: root.to_owned(), stamp: stamp.to_owned(), folder }
    }

    /// All of a state folder that have a manifest, the oldest first.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub fn all(root: &Path) -> Result<Vec<Self>, Error> {
        let home = root.join(HEAL_FOLDER);
        let entries = match fs::read_dir(&home) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("list", &home))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &home))?;
            let backup = Self::at(root, &entry.file_name().to_string_lossy());
            if backup.manifest_path().is_file() {
                all.push(backup);
            }
        }
        all.sort_by(|a, b| a.stamp.cmp(&b.stamp));
        Ok(all)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path of it, relative to the state folder.
    pub fn relative(&self, kind: &str, path: &Path) -> PathBuf {
        Path::new(HEAL_FOLDER).join(&self.stamp).join(kind).join(path)
    }

    /// The copy of a file.
    pub fn copy_of(&self, path: &Path) -> PathBuf {
        self.folder.join("files").join(path)
    }

    /// Where the new contents of the change at this place lie until they are put in their place.
    pub fn staged(&self, place: usize) -> PathBuf {
        self.folder.join("new").join(place.to_string())
    }

    /// A folder within it for files in passing.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn manifest_path(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    /// Begins it anew: what a cut-off healing left there before its manifest goes.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn begin(&self) -> Result<(), Error> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))?;
        }
        let new = self.folder.join("new");
        private(&new).map_err(Error::io("make", &new))
    }

    /// Removes it, as nothing was changed.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn discard(&self) -> Result<(), Error> {
        fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))
    }

    /// Copies a file as it stands.
    ///
    /// # Errors
    ///
    /// If it cannot be copied.
    pub fn save(&self, path: &Path, copied: bool) -> Result<Saved, Error> {
        let full = self.root.join(path);
        let failed = || Error::io("back up", &full);
        let was = if copied {
            copy(&full, &self.copy_of(path)).map_err(failed())?
        } else {
            crate::stamp::standing(&full).map_err(failed())?
        };
        Ok(Saved { path: path.to_owned(), copied: copied && was.is_some(), was })
    }

    /// Writes the plan and the manifest: from here on the healing is under way.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn seal(&self, plan: &str, manifest: &Manifest) -> Result<(), Error> {
        let failed = || Error::io("write", &self.folder);
        sync_tree(&self.folder).map_err(failed())?;
        write(&self.folder.join("plan.json"), plan.as_bytes()).map_err(failed())?;
        let text = serde_json::to_string_pretty(manifest).expect("a manifest is JSON");
        write(&self.manifest_path(), text.as_bytes()).map_err(failed())?;
        let home = self.root.join(HEAL_FOLDER);
        sync_folder(&home).and_then(|()| sync_folder(&self.root)).map_err(failed())
    }

    /// Reads the manifest; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn manifest(&self) -> Result<Option<Manifest>, Error> {
        let path = self.manifest_path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(Error::io("read", &path))?,
        };
        let manifest = serde_json::from_slice(&bytes).map_err(io::Error::other);
        manifest.map(Some).map_err(Error::io("read", &path))
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.join("journal.jsonl")
    }

    /// The lines of the journal. One that was cut off is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn journal(&self) -> Result<Vec<Note>, Error> {
        let path = self.journal_path();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(Error::io("read", &path))?,
        };
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The changes that were left, by their places, and why. They stay so: undoing does not look at them.
    ///
    /// # Errors
    ///
    /// If the journal cannot be read.
    pub fn left(&self) -> Result<BTreeMap<usize, String>, Error> {
        let left = self.journal()?.into_iter().filter_map(|note| match note {
            Note::Left(place, reason) => Some((place, reason)),
            _ => None,
        });
        Ok(left.collect())
    }

    /// The processes that took locks for it.
    ///
    /// # Errors
    ///
    /// If the journal cannot be read.
    pub fn holders(&self) -> Result<BTreeSet<Process>, Error> {
        let holders = self.journal()?.into_iter().filter_map(|note| match note {
            Note::Holds(process) => Some(process),
            _ => None,
        });
        Ok(holders.collect())
    }

    /// The time by the clock that files are written by.
    ///
    /// # Errors
    ///
    /// If no file can be written.
    pub fn now(&self) -> Result<Timestamp, Error> {
        let path = self.scratch("clock");
        let now = || {
            let meta = File::create(&path)?.metadata()?;
            super::place::remove(&path)?;
            Ok(folder::modified(&meta))
        };
        now().map_err(Error::io("write", &path))
    }

    /// Adds a line to the journal; it is on disk afterwards.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn note(&self, note: &Note) -> Result<(), Error> {
        let path = self.journal_path();
        let line = serde_json::to_string(note).expect("a note is JSON");
        let append = || {
            let is_new = !path.exists();
            let mut file = File::options().create(true).append(true).open(&path)?;
            // The line feed in front ends a line that was cut off.
            file.write_all(format!("\n{line}").as_bytes())?;
            file.sync_data()?;
            if is_new { sync_folder(&self.folder) } else { Ok(()) }
        };
        append().map_err(Error::io("write", &path))
    }

    /// How far the healing went.
    ///
    /// # Errors
    ///
    /// If the journal cannot be read.
    pub fn state(&self) -> Result<State, Error> {
        let notes = self.journal()?;
        let has = |note: &Note| notes.contains(note);
        Ok(match (has(&Note::Undone), has(&Note::Undo), has(&Note::Healed)) {
            (true, ..) => State::Undone,
            (_, true, _) => State::Undoing,
            (.., true) => State::Healed,
            _ => State::Unfinished,
        })
    }
}

/// When each folder of these files was last written, as far as they are there.
pub fn folders<'a>(
    root: &Path,
    paths: impl Iterator<Item = &'a PathBuf>,
) -> Vec<(PathBuf, (i64, i64))> {
    let parents: BTreeSet<PathBuf> = paths
        .filter_map(|path| path.parent())
        .filter(|parent| !parent.starts_with(HEAL_FOLDER))
        .map(Path::to_owned)
        .collect();
    let seen = |path: PathBuf| {
        let meta = fs::metadata(root.join(&path)).ok()?;
        Some((path, modified(&meta)))
    };
    parents.into_iter().filter_map(seen).collect()
}

/// Sets when a file or a folder was last written.
///
/// # Errors
///
/// If that cannot be set.
pub fn set_modified(file: &File, (seconds, nanos): (i64, i64)) -> io::Result<()> {
    let nanos = Duration::from_nanos(nanos.unsigned_abs());
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let at = if seconds < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
    match at.and_then(|at| at.checked_add(nanos)) {
        Some(at) => file.set_modified(at),
        None => Ok(()),
    }
}

/// Gives a file the mode and the owner that another one has.
///
/// # Errors
///
/// If they cannot be set.
pub fn take_after(path: &Path, mode: u32, model: &Path) -> io::Result<()> {
    let (own, other) = (fs::metadata(path)?, fs::metadata(model)?);
    if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
        std::os::unix::fs::chown(path, Some(other.uid()), Some(other.gid()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Copies a file, with mode and time; its copy is on disk afterwards. `None` if there is none.
///
/// # Errors
///
/// If it cannot be copied.
pub fn copy(from: &Path, to: &Path) -> io::Result<Option<Standing>> {
    let input = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        input => input?,
    };
    let meta = input.metadata()?;
    if let Some(parent) = to.parent() {
        private(parent)?;
    }
    let mut input = Hashing::new(input);
    let mut output = File::create(to)?;
    io::copy(&mut input, &mut output)?;
    take_after(to, meta.mode() & 0o7777, from)?;
    set_modified(&output, modified(&meta))?;
    output.sync_all()?;
    let (_, stamp) = input.finish();
    Ok(Some(Standing { stamp, mode: meta.mode() & 0o7777, modified: modified(&meta) }))
}

/// Writes a file by a rename; it is on disk afterwards.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = crate::read::snapshot::beside(path, ".unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    super::place::rename(&unfinished, path)
}

/// Makes a folder, and those above it, that nobody else can look into.
///
/// # Errors
///
/// If it cannot be made.
pub fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the names in a folder and in all folders within it last.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_folder(folder)
}
