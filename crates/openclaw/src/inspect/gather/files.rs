//! The files of an agent's sessions: its index, its transcripts, its locks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Gatherer;
use crate::finding::{Code, Cure, Item, Subject};
use crate::folder::{self, Folder};
use crate::heal::owner;
use crate::inspect::survey::{AgentSeen, FileSeen, Row, StoreSeen, TranscriptSeen};
use crate::model::Encoding;
use crate::read::names::{self, FileKind};
use crate::read::{lock, sessions, transcript};
use sexton_domain::words::counted;

impl Gatherer<'_, '_> {
    pub(super) fn files(&mut self, sessions: &Path, seen: &mut AgentSeen) {
        let entries = match fs::read_dir(self.root().join(sessions)) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(sessions, &error),
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(file) = file_seen(&entry, &name) {
                seen.files.push(file);
            }
        }
        seen.files.sort_by(|a, b| a.name.cmp(&b.name));
        let locks = lock::locks(self.root(), sessions);
        self.survey.locks.extend(locks.into_iter().map(|lock| {
            let holder = owner::of_lock(&lock);
            (lock, holder)
        }));
        for file in &seen.files {
            let path = sessions.join(&*file.name);
            if matches!(file.kind, FileKind::Transcript { .. })
                && self.may_read(file, &path)
                && let Some(transcript) = self.transcript(&path)
            {
                seen.transcripts.insert(file.name.clone(), transcript);
            }
        }
    }

    /// Links are followed inside the folder only.
    fn may_read(&self, file: &FileSeen, path: &Path) -> bool {
        let target = || fs::canonicalize(self.root().join(path));
        !file.is_link || target().is_ok_and(|target| target.starts_with(self.root()))
    }

    fn transcript(&mut self, path: &Path) -> Option<TranscriptSeen> {
        self.reading(path);
        let read = File::open(self.root().join(path))
            .and_then(|file| transcript::summary(file, Encoding::Plain));
        match read {
            Ok(summary) => {
                let seen = TranscriptSeen::of(summary);
                self.alive_at(seen.last_at);
                Some(seen)
            }
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
        }
    }

    pub(super) fn store(&mut self, path: &Path, seen: &mut AgentSeen) -> Option<StoreSeen> {
        self.reading(path);
        let file = match File::open(self.root().join(path)) {
            Ok(file) => file,
            Err(error) => {
                self.unreadable(path, &error);
                return None;
            }
        };
        let bytes = file.metadata().map_or(0, |meta| meta.len());
        let (mut rows, mut repeats): (Vec<Row>, bool) = (Vec::new(), false);
        let read = sessions::rows(file, &mut |mut row| {
            repeats |= row.again;
            seen.earlier.extend(row.row.earlier.drain(..));
            rows.push(Row::of(row.row));
        });
        let index = match read {
            Ok(index) => index,
            Err(error) => {
                self.unreadable(path, &error);
                return None;
            }
        };
        let sane = |at: &Timestamp| *at <= self.options.now;
        self.alive_at(rows.iter().filter_map(|row| row.updated_at).filter(sane).max());
        seen.is_indexed = index.ending == sessions::Ending::Whole;
        let copies = folder::copies(self.root(), path);
        self.index_sickness(path, &index, seen, &copies);
        // An index may have a hundred thousand rows: they are gone through again only if they have to be.
        let rows = if repeats { last_of_each(rows) } else { rows };
        Some(StoreSeen { path: path.to_owned(), rows, copies, bytes })
    }

    fn index_sickness(
        &mut self,
        path: &Path,
        index: &sessions::Index,
        seen: &AgentSeen,
        copies: &[PathBuf],
    ) {
        let transcripts = seen
            .files
            .iter()
            .filter(|file| matches!(file.kind, FileKind::Transcript { .. }))
            .count();
        let is_new = index.ending == sessions::Ending::Empty && transcripts == 0;
        let what = index.ending.fault().filter(|_| !is_new);
        let help = match copies.first() {
            Some(copy) => format!("a copy lies beside it: {}; or bring the folder over: `sexton openclaw import PATH` needs no index", copy.display()),
            None => "bring the folder over: `sexton openclaw import PATH` reads transcripts without an index; or restore a backup".to_owned(),
        };
        if let Some(what) = what {
            let evidence = format!(
                "{what}: {} can be read, {} beside it",
                counted(index.tally.read, "row"),
                counted(transcripts as u64, "transcript")
            );
            let subject = Subject::File(path.to_owned());
            let cure = Cure::Person(help.clone());
            self.survey.note(Code::IndexUnreadable, Item { subject, evidence, bytes: None, cure });
        }
        self.dropped(Code::RecordUnreadable, path, &index.tally, Cure::Person(help));
    }
}

/// Of a repeated key the last row counts, as for `JSON.parse`.
fn last_of_each(rows: Vec<Row>) -> Vec<Row> {
    let mut places: HashMap<Box<str>, usize> = HashMap::with_capacity(rows.len());
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.get(&row.key) {
            Some(&place) => kept[place] = row,
            None => {
                places.insert(row.key.clone(), kept.len());
                kept.push(row);
            }
        }
    }
    kept
}

/// Stores of jobs, of their history and databases that have more than one name.
pub(super) fn many_names(folder: &Folder) -> Vec<(PathBuf, u64)> {
    let Folder { agents, jobs, job_states, job_quarantine, run_logs, .. } = folder;
    let Folder { state_database, task_database, .. } = folder;
    let databases = agents.iter().filter_map(|agent| agent.database.as_ref());
    let shared = [jobs, job_states, job_quarantine, state_database, task_database];
    let all = shared.into_iter().flatten().chain(run_logs).chain(databases);
    let names = |path: &PathBuf| {
        let links = fs::metadata(folder.root.join(path)).ok()?.nlink();
        (links > 1).then(|| (path.clone(), links))
    };
    all.filter_map(names).collect()
}

/// The folders of the file of jobs and of the config, with their files. What lies beside the config and is not
/// named after it may be anybody's.
pub(super) fn of_jobs_and_config(root: &Path, jobs: &Path) -> Vec<(PathBuf, Vec<FileSeen>)> {
    let (of_jobs, mut of_config) = (beside(root, jobs), beside(root, Path::new(folder::CONFIG)));
    of_config.1.retain(|file| file.name.starts_with(folder::CONFIG));
    let is_one = of_jobs.0 == of_config.0;
    [Some(of_jobs), Some(of_config).filter(|_| !is_one)].into_iter().flatten().collect()
}

/// The files of the folder that a store lies in, if that is within the state folder; by name.
fn beside(root: &Path, store: &Path) -> (PathBuf, Vec<FileSeen>) {
    let folder = store.parent().unwrap_or(Path::new("")).to_owned();
    let real = fs::canonicalize(root.join(&folder));
    if !real.is_ok_and(|real| real == root.join(&folder) && real.starts_with(root)) {
        return (folder, Vec::new());
    }
    let entries = fs::read_dir(root.join(&folder)).into_iter().flatten().flatten();
    let seen = entries.filter_map(|entry| file_seen(&entry, &entry.file_name().to_string_lossy()));
    let mut files: Vec<FileSeen> = seen.collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    (folder, files)
}

fn file_seen(entry: &fs::DirEntry, name: &str) -> Option<FileSeen> {
    let meta = entry.metadata().ok()?;
    let is_link = meta.file_type().is_symlink();
    (is_link || meta.is_file()).then(|| FileSeen {
        name: name.into(),
        kind: names::kind(name),
        bytes: meta.len(),
        modified: folder::modified(&meta),
        links: meta.nlink(),
        is_link,
    })
}
