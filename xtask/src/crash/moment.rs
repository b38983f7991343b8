//! When the gateway is killed: at any time, and rather when something is being written.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::dice::Dice;
use crate::webhook::Webhook;

/// How long is waited for what may not come.
const LIMIT: Duration = Duration::from_secs(3);
/// How closely is looked.
const PAUSE: Duration = Duration::from_micros(100);

/// What is going on when the gateway is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Whatever it may be.
    Any,
    /// The store writes.
    Commit,
    /// A sweep deletes what it has archived.
    Sweep,
    /// An archive grows.
    Archive,
    /// A webhook has just been told something.
    Telling,
}

/// What can be watched.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The gateway's folder.
    pub folder: &'a Path,
    /// A webhook of its.
    pub webhook: &'a Webhook,
}

impl Moment {
    /// All of them.
    pub const KINDS: [Self; 5] =
        [Self::Any, Self::Commit, Self::Sweep, Self::Archive, Self::Telling];

    /// One of them; what writes to the disk comes more often than the rest.
    pub fn pick(dice: &mut Dice) -> Self {
        match dice.below(11) {
            0 => Self::Any,
            1..4 => Self::Commit,
            4..7 => Self::Sweep,
            7..9 => Self::Archive,
            _ => Self::Telling,
        }
    }

    /// Waits for it.
    pub fn wait(self, scene: Scene<'_>, dice: &mut Dice) -> anyhow::Result<()> {
        clock::sleep(Duration::from_millis(dice.below(400)));
        let Scene { folder, webhook } = scene;
        let wal = folder.join("sexton.db-wal");
        let archives = folder.join("archives");
        match self {
            Self::Any => Ok(()),
            Self::Commit => changes(|| written(&wal)),
            // What is committed next is, as a rule, the deletion of what was archived.
            Self::Sweep => changes(|| size(&archives)).and_then(|()| changes(|| written(&wal))),
            Self::Archive => changes(|| size(&archives)),
            Self::Telling => changes(|| webhook.count()),
        }?;
        // Into it, or to its end.
        if dice.below(2) == 1 {
            clock::sleep(Duration::from_micros(dice.below(3000)));
        }
        Ok(())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "at any time",
            Self::Commit => "in a commit",
            Self::Sweep => "in a sweep",
            Self::Archive => "as an archive grew",
            Self::Telling => "as a hook was told",
        })
    }
}

/// Waits until what is looked at is another.
fn changes<T: PartialEq>(look: impl Fn() -> T) -> anyhow::Result<()> {
    let before = look();
    clock::until_every(PAUSE, LIMIT, || Ok(look() != before))?;
    Ok(())
}

fn written(file: &Path) -> Option<(u64, SystemTime)> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Bytes of all files in a folder and the folders in it.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
