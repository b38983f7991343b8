//! Files of sessions that were imported and have to stay until a plugin has taken its part of them: whether they
//! are as they were.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Gatherer;
use crate::finding::Stamp;
use crate::folder::{is_inside, placed};
use crate::heal::place::is_plain;
use crate::inspect::survey::ChangedSource;
use crate::model::Retained;
use crate::stamp::stamp;

/// Where the migration writes down what it moved: a file for each run.
const RUNS: &str = "session-sqlite-migration-runs";
/// The largest of those files that is read, in bytes: a move, which stands in it twice, takes less than 1 KiB.
const MAX_RUN_BYTES: u64 = 256 * 1024 * 1024;

/// What is read of such a file.
#[derive(Deserialize)]
struct Run {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    planned_moves: Vec<Move>,
}

/// From where a file was moved, and where to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    source_path: String,
    archive_path: String,
}

impl Gatherer<'_, '_> {
    /// Takes down which of them are not as they were. Of what lies outside of the folder nothing is known.
    pub(super) fn retained(&mut self, all: &[Retained]) {
        let moves = if all.is_empty() { Vec::new() } else { moves(self.root()) };
        for Retained { imported_at, sources } in all {
            for (named, was) in sources {
                let Some(path) = within(self.root(), named) else { continue };
                let mut archives = moves.iter().filter(|moved| moved.source_path == *named);
                let full = self.root().join(&path);
                let is = fs::symlink_metadata(full).map(|meta| meta.len()).ok();
                let is_kept = match is {
                    Some(_) => self.holds(&path, was),
                    None => archives.any(|moved| {
                        let archive = within(self.root(), &moved.archive_path);
                        archive.is_some_and(|archive| self.holds(&archive, was))
                    }),
                };
                if !is_kept {
                    let (imported_at, was) = (*imported_at, was.bytes);
                    let changed = ChangedSource { path, imported_at, was, is };
                    self.survey.changed_sources.push(changed);
                }
            }
        }
    }

    /// Whether a file of the folder holds what it held.
    fn holds(&mut self, path: &Path, was: &Stamp) -> bool {
        let full = self.root().join(path);
        if plain_file(self.root(), &full) != Some(was.bytes) {
            return false;
        }
        self.reading(path);
        stamp(&full)
            .is_ok_and(|is| is.is_some_and(|is| is.sha256.eq_ignore_ascii_case(&was.sha256)))
    }
}

/// Where a path that they wrote down lies in the folder; none if it is elsewhere.
fn within(root: &Path, named: &str) -> Option<PathBuf> {
    let path = placed(root, named, None);
    let folder = path.parent().map(|folder| root.join(folder));
    let is_linked_out = folder.is_some_and(|folder| folder.exists() && !is_inside(root, &folder));
    (is_plain(&path) && !is_linked_out).then_some(path)
}

/// The size of a file, if it is one, and no link leads out of the folder.
fn plain_file(root: &Path, full: &Path) -> Option<u64> {
    let meta = fs::symlink_metadata(full).ok().filter(fs::Metadata::is_file)?;
    is_inside(root, full).then_some(meta.len())
}

/// What was moved by the runs that are written down.
fn moves(root: &Path) -> Vec<Move> {
    let files = fs::read_dir(root.join(RUNS)).into_iter().flatten().flatten();
    let files = files.map(|file| file.path()).filter(|path| {
        path.extension().is_some_and(|ending| ending == "json")
            && plain_file(root, path).is_some_and(|bytes| bytes <= MAX_RUN_BYTES)
    });
    let runs = files.filter_map(|path| {
        serde_json::from_reader::<_, Run>(BufReader::new(File::open(path).ok()?)).ok()
    });
    runs.flat_map(|run| run.targets).flat_map(|target| target.planned_moves).collect()
}
