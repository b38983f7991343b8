//! What each step was decided from: hashes of rows and files, filled in for those that have a cure; and where
//! the file itself lies, if links lead to it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::survey::Survey;
use crate::finding::{Cure, Finding, Item, Stamp, Step};
use crate::heal::place::follow_links;
use crate::stamp::{self, Hashing};

/// Fills in what the steps were decided from. What cannot be read any more needs a person.
pub(super) fn seal(root: &Path, survey: &Survey, findings: &mut [Finding]) {
    let damaged = survey.agents.iter().filter(|agent| !agent.is_indexed);
    let damaged = damaged.filter_map(|agent| Some(agent.store.as_ref()?.path.as_path())).collect();
    let mut seal = Seal { root, rows: ranges(survey), files: HashMap::new(), damaged };
    for item in findings.iter_mut().flat_map(|finding| &mut finding.items) {
        let failed = seal.item(item).err();
        if let Some(error) = failed {
            item.cure = Cure::Person(format!("read it: {error}"));
        }
    }
}

type Ranges<'a> = HashMap<(&'a Path, &'a str), Range<u64>>;

fn ranges(survey: &Survey) -> Ranges<'_> {
    let stores = survey.agents.iter().filter_map(|agent| agent.store.as_ref());
    stores
        .flat_map(|store| {
            store.rows.iter().map(|row| ((store.path.as_path(), &*row.key), row.range.clone()))
        })
        .collect()
}

struct Seal<'a> {
    root: &'a Path,
    rows: Ranges<'a>,
    files: HashMap<PathBuf, Stamp>,
    /// Indexes that cannot be changed row by row.
    damaged: HashSet<&'a Path>,
}

impl Seal<'_> {
    fn item(&mut self, item: &mut Item) -> io::Result<()> {
        let Cure::Steps(steps) = &mut item.cure else { return Ok(()) };
        let on_damaged = |step: &Step| match step {
            Step::EditRow { store, .. } | Step::RemoveRow { store, .. } => {
                self.damaged.contains(store.as_path())
            }
            _ => false,
        };
        if steps.iter().any(on_damaged) {
            let help = "the index is damaged as a whole: mend that first".to_owned();
            item.cure = Cure::Person(help);
            return Ok(());
        }
        for step in steps {
            match step {
                Step::EditRow { store, key, was, .. } | Step::RemoveRow { store, key, was } => {
                    *was = self.row(store, key)?;
                }
                Step::Rename { from: path, was, .. }
                | Step::SetAside { path, was }
                | Step::DropLines { path, was, .. }
                | Step::StripFields { store: path, was, .. }
                | Step::Compact { database: path, was } => *was = self.file(path)?,
                Step::EndNode { .. } | Step::ArchiveNode { .. } | Step::EndTask { .. } => {}
            }
            if let Err(reason) = follow_links(self.root, step) {
                let help =
                    format!("put the file or folder itself in the place of the link: {reason}");
                item.cure = Cure::Person(help);
                return Ok(());
            }
        }
        Ok(())
    }

    fn row(&self, store: &Path, key: &str) -> io::Result<String> {
        let range = self.rows.get(&(store, key)).cloned().unwrap_or_default();
        let mut file = File::open(self.root.join(store))?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut hash = Hashing::new(file.take(range.end - range.start));
        io::copy(&mut hash, &mut io::sink())?;
        Ok(hash.finish().1.sha256)
    }

    fn file(&mut self, path: &Path) -> io::Result<Stamp> {
        if let Some(stamp) = self.files.get(path) {
            return Ok(stamp.clone());
        }
        let stamp = stamp::stamp(&self.root.join(path))?.ok_or(io::ErrorKind::NotFound)?;
        self.files.insert(path.to_owned(), stamp.clone());
        Ok(stamp)
    }
}
