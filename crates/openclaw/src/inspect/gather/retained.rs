//! Files of sessions that were imported and have to stay until a plugin has taken its part of them: whether they
//! are as they were.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Gatherer;
use crate::finding::Stamp;
use crate::folder::{is_inside, placed};
use crate::inspect::survey::ChangedSource;
use crate::model::Retained;
use crate::stamp::stamp;

/// Where the migration writes down what it moved: a file for each run.
const RUNS: &str = "session-sqlite-migration-runs";

impl Gatherer<'_, '_> {
    /// Takes down which of them are not as they were.
    pub(super) fn retained(&mut self, all: &[Retained]) {
        let moves = if all.is_empty() { Vec::new() } else { moves(&self.root().join(RUNS)) };
        for Retained { imported_at, sources } in all {
            for (named, was) in sources {
                let path = placed(self.root(), named, None);
                let mut archives = moves.iter().filter(|(from, _)| from == named);
                // Of what lies outside of the folder nothing is known.
                if path.is_absolute() || self.holds(&path, was) {
                    continue;
                }
                let is = fs::symlink_metadata(self.root().join(&path)).map(|meta| meta.len()).ok();
                if is.is_none() && archives.any(|(_, to)| self.holds(to, was)) {
                    continue;
                }
                let changed = ChangedSource { path, imported_at: *imported_at, was: was.bytes, is };
                self.survey.changed_sources.push(changed);
            }
        }
    }

    /// Whether a file of the folder holds what it held.
    fn holds(&mut self, path: &Path, was: &Stamp) -> bool {
        let path = placed(self.root(), &path.to_string_lossy(), None);
        let full = self.root().join(&path);
        let has_size =
            fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_file() && meta.len() == was.bytes);
        if !has_size || !is_inside(self.root(), &full) {
            return false;
        }
        self.reading(&path);
        stamp(&full)
            .is_ok_and(|is| is.is_some_and(|is| is.sha256.eq_ignore_ascii_case(&was.sha256)))
    }
}

/// What was moved by the runs that are written down: from where, and where to.
fn moves(runs: &Path) -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(runs).into_iter().flatten().flatten();
    let manifests =
        files.filter_map(|file| serde_json::from_slice::<Value>(&fs::read(file.path()).ok()?).ok());
    let mut moves = Vec::new();
    for manifest in manifests {
        let targets = manifest["targets"].as_array().into_iter().flatten();
        for planned in targets.filter_map(|target| target["plannedMoves"].as_array()).flatten() {
            let ends = (planned["sourcePath"].as_str(), planned["archivePath"].as_str());
            if let (Some(from), Some(to)) = ends {
                moves.push((from.to_owned(), PathBuf::from(to)));
            }
        }
    }
    moves
}
