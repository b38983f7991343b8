//! Which files the changes of a healing touch: a manifest looked up by path. It can name thousands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::backup::{Effect, Manifest, Saved};
use super::database;
use crate::finding::Stamp;
use crate::read::snapshot::beside;
use crate::stamp::Standing;

/// The files and the changes of a manifest, by path.
pub struct Touched<'a> {
    saved: BTreeMap<&'a Path, &'a Saved>,
    effects: BTreeMap<PathBuf, Vec<&'a Effect>>,
}

impl<'a> Touched<'a> {
    /// Those of a manifest.
    pub fn of(manifest: &'a Manifest) -> Self {
        let mut effects: BTreeMap<PathBuf, Vec<&Effect>> = BTreeMap::new();
        for effect in &manifest.effects {
            for path in files(effect) {
                effects.entry(path).or_default().push(effect);
            }
        }
        let saved = manifest.files.iter().map(|saved| (saved.path.as_path(), saved)).collect();
        Self { saved, effects }
    }

    /// Whether the backup tells how a file was.
    pub fn is_saved(&self, path: &Path) -> bool {
        self.saved.contains_key(path)
    }

    /// How a file stood when it was saved, if it was there.
    pub fn standing(&self, path: &Path) -> Option<&'a Standing> {
        self.saved.get(path)?.was.as_ref()
    }

    /// What a file held when it was saved.
    pub fn was(&self, path: &Path) -> Option<&'a Stamp> {
        Some(&self.standing(path)?.stamp)
    }

    /// The changes that touch a file.
    pub fn effects(&self, path: &Path) -> impl Iterator<Item = &'a Effect> {
        self.effects.get(path).into_iter().flatten().copied()
    }

    /// The database whose log this file is and into which it is written back, and what that then holds.
    pub fn fold(&self, log: &Path) -> Option<(&'a Path, &'a Stamp)> {
        self.effects(log).find_map(|effect| match effect {
            Effect::Fold { database, after } if database != log => {
                Some((database.as_path(), after))
            }
            _ => None,
        })
    }
}

/// The files that a change touches; of a database its log too.
pub fn files(effect: &Effect) -> Vec<PathBuf> {
    match effect {
        Effect::Create { path, .. } => vec![path.clone()],
        Effect::Move { from, to, .. } => vec![from.clone(), to.clone()],
        Effect::Replace { path, .. } | Effect::Fold { database: path, .. } => {
            vec![path.clone(), beside(path, database::LOG)]
        }
    }
}
