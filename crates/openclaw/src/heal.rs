//! Heals a state folder, with a plan before, a backup beside, and a way back.
//!
//! A [`plan::Plan`] follows from findings. [`apply`] first prepares everything within the folder of its
//! backup: which items still hold, what each touched file held, and what it is going to hold. Only then it
//! changes files, each by one rename. So at any point each file is as it was or as it becomes, the backup
//! knows both, and [`finish`] and [`undo::undo`] find out how far a healing went that was cut off.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

mod backup;
mod database;
mod fields;
mod hold;
mod index;
mod lines;
pub mod listener;
mod node;
pub mod owner;
pub(crate) mod place;
pub mod plan;
mod run;
mod stage;
mod touched;
pub mod undo;

pub use backup::State;

use crate::folder::Folder;
use crate::model::{Lock, Process};
use crate::read::lock::locks;
use backup::{Backup, Manifest};
use owner::{Claims, Owner};
use plan::Plan;

/// How far the healing is.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// A file is about to be looked at.
    Reading(&'a Path),
    /// New contents of a file are about to be written to the backup's folder.
    Writing(&'a Path),
    /// A file is about to be copied to the backup.
    Saving(&'a Path),
    /// The backup is complete: from here on files are changed.
    Saved,
    /// A change is about to be made.
    Making(&'a Path),
    /// It is made.
    Made(&'a Path),
    /// A file is about to be put back.
    Restoring(&'a Path),
    /// It is back.
    Restored(&'a Path),
}

/// What became of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The backup; `None` if nothing was changed.
    pub backup: Option<PathBuf>,
    /// The numbers of items that are healed.
    pub done: Vec<usize>,
    /// Those that are not, and why.
    pub left_out: Vec<LeftOut>,
    /// How many bytes OpenClaw's files are smaller.
    pub freed: u64,
}

/// An item that was not healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its number in the plan.
    pub n: usize,
    /// Why.
    pub reason: String,
}

/// Why nothing, or nothing more, is done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{what} {path}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it cannot be.
        source: io::Error,
    },
    /// A living process owns the folder.
    #[error("change the folder while process {pid} owns it ({evidence}); stop the gateway first", pid = .0.pid, evidence = .0.evidence)]
    Owned(Owner),
    /// An earlier healing, or its undoing, was cut off.
    #[error("begin another healing: that of {stamp}, or its undoing, was cut off; undo it first")]
    Unfinished {
        /// Which.
        stamp: String,
    },
    /// Somebody is at work on a file that would be put back.
    #[error("undo {stamp}: {reason}")]
    Locked {
        /// Which healing.
        stamp: String,
        /// Who holds the lock of which file.
        reason: String,
    },
    /// A file changed while its backup was made.
    #[error("back up {path}: it changes all the time")]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// There is nothing to undo.
    #[error("undo: there is no backup{}", of(.stamp))]
    NoBackup {
        /// Which one was asked for.
        stamp: Option<String>,
    },
    /// It was undone before.
    #[error("undo {stamp}: it was undone before")]
    Undone {
        /// Which.
        stamp: String,
    },
    /// Files cannot be brought back to how they were: they changed since, or their copies did.
    #[error("undo {stamp}: {}", why(.paths, .lost, .backup, .later))]
    Changed {
        /// Which healing.
        stamp: String,
        /// The folder of its backup.
        backup: PathBuf,
        /// The files that changed since the healing.
        paths: Vec<PathBuf>,
        /// The files whose copies in the backup are gone or damaged.
        lost: Vec<PathBuf>,
        /// The newest healing that changed one of these files since, and was not undone.
        later: Option<String>,
    },
}

impl Error {
    /// Makes an error of a failure to do something with a file.
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

fn of(stamp: &Option<String>) -> String {
    stamp.as_ref().map_or_else(String::new, |stamp| format!(" of {stamp}"))
}

/// Why files cannot be brought back.
fn why(paths: &[PathBuf], lost: &[PathBuf], backup: &Path, later: &Option<String>) -> String {
    if let Some(later) = later {
        return format!("undo {later} first, which touched the same files: {}", list(paths));
    }
    let changed =
        (!paths.is_empty()).then(|| format!("changed since the healing: {}", list(paths)));
    let lost = (!lost.is_empty()).then(|| {
        let copies = if lost.len() == 1 { "its copy in" } else { "their copies in" };
        let are = if lost.len() == 1 { "is" } else { "are" };
        format!("{}: {copies} {} {are} gone or damaged", list(lost), backup.display())
    });
    changed.into_iter().chain(lost).collect::<Vec<String>>().join("; ")
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// A healing of a folder that was begun.
#[derive(Debug, Clone, Serialize)]
pub struct Healing {
    /// The name of its backup.
    pub stamp: String,
    /// How far it went.
    pub state: State,
    /// How many files it touches.
    pub files: usize,
    /// How many items it heals.
    pub items: usize,
}

/// All healings of a folder, the oldest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_healings(folder: &Path) -> Result<Vec<Healing>, Error> {
    let mut all = Vec::new();
    for backup in Backup::all(&root(folder)?)? {
        let manifest = backup.manifest()?;
        let (files, items) =
            manifest.map_or((0, 0), |manifest| (manifest.paths().count(), manifest.items.len()));
        all.push(Healing { state: backup.state()?, stamp: backup.stamp, files, items });
    }
    Ok(all)
}

/// The processes that took locks of OpenClaw for a healing, or for undoing one, that was cut off: what is
/// left of those is no sign of anything else.
pub fn cut_off_holders(root: &Path) -> BTreeSet<Process> {
    let is_cut_off = |backup: &Backup| {
        backup.state().is_ok_and(|state| matches!(state, State::Unfinished | State::Undoing))
    };
    let cut_off = Backup::all(root).unwrap_or_default().into_iter().filter(is_cut_off);
    cut_off.flat_map(|backup| backup.holders().unwrap_or_default()).collect()
}

/// Does what a plan says. `stamp` names the backup; a later one is greater. What no longer is as the
/// plan was made from is left out and named.
///
/// # Errors
///
/// [`Error`]: before the first change; or a change cannot be made, and [`finish`] can be tried again.
pub fn apply(
    plan: &Plan,
    folder: &Path,
    stamp: &str,
    observer: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, Error> {
    let root = unowned(folder)?;
    for other in Backup::all(&root)? {
        if matches!(other.state()?, State::Unfinished | State::Undoing) {
            return Err(Error::Unfinished { stamp: other.stamp });
        }
    }
    let backup = Backup::at(&root, stamp);
    let staged = stage::stage(plan, &backup, observer)?;
    if staged.effects.is_empty() {
        backup.discard()?;
        return Ok(Outcome { left_out: left_out(&staged.left_out), ..Outcome::default() });
    }
    let folders = backup::folders(&root, staged.touched.keys());
    let mut files = Vec::new();
    for (path, copied) in &staged.touched {
        observer(Progress::Saving(path));
        files.push(backup.save(path, *copied)?);
    }
    let manifest = Manifest {
        files,
        folders,
        made: staged.made.into_iter().collect(),
        effects: staged.effects,
        items: staged.items,
        left_out: staged.left_out,
    };
    if let Some(path) = run::changed_meanwhile(&manifest, &staged.read) {
        backup.discard()?;
        return Err(Error::Busy { path });
    }
    // Preparing may have taken long enough for a gateway to start.
    if let Err(owned) = refuse_owned(&root) {
        backup.discard()?;
        return Err(owned);
    }
    backup.seal(&plan.text(), &manifest)?;
    observer(Progress::Saved);
    run::run(&backup, &manifest, observer)
}

/// Goes on with a healing that was cut off.
///
/// # Errors
///
/// As for [`apply`].
pub fn finish(
    folder: &Path,
    stamp: &str,
    observer: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, Error> {
    let root = unowned(folder)?;
    let backup = Backup::at(&root, stamp);
    let no_backup = || Error::NoBackup { stamp: Some(stamp.to_owned()) };
    let manifest = backup.manifest()?.ok_or_else(no_backup)?;
    match backup.state()? {
        State::Unfinished => run::run(&backup, &manifest, observer),
        State::Undoing | State::Undone => Err(Error::Undone { stamp: stamp.to_owned() }),
        State::Healed => Ok(Outcome::default()),
    }
}

fn left_out(all: &[(usize, String)]) -> Vec<LeftOut> {
    all.iter().map(|(n, reason)| LeftOut { n: *n, reason: reason.clone() }).collect()
}

/// The root of a folder that no living process owns: by its locks, or by what it has open.
fn unowned(folder: &Path) -> Result<PathBuf, Error> {
    let root = root(folder)?;
    refuse_owned(&root)?;
    Ok(root)
}

fn root(folder: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(folder).map_err(Error::io("open", folder))
}

fn refuse_owned(root: &Path) -> Result<(), Error> {
    let folder = Folder::open(root);
    let sessions = folder.iter().flat_map(|folder| &folder.agents);
    let sessions = sessions.filter_map(|agent| agent.sessions.as_deref());
    let locks: Vec<Lock> = sessions.flat_map(|sessions| locks(root, sessions)).collect();
    match owner::live_gateway(root, Claims { locks: &locks, ..Claims::default() }) {
        Some(owner) => Err(Error::Owned(owner)),
        None => Ok(()),
    }
}
