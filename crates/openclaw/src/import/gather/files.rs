//! Sessions of the JSON era: rows of the index, transcripts and archives, told from the files' names.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Gather;
use crate::import::account::Source;
use crate::import::entries::tokens;
use crate::import::sessions::{End, Told};
use crate::import::text::{self, From, Glance, Text};
use crate::model::{Encoding, Place, SessionRow};
use crate::read::names::{self, FileKind, Reason};
use crate::read::sessions::rows;
use crate::stamp::Hashing;

/// The rows of the index that name one transcript, with the source they are counted in. A job's base row
/// and the row of its last run name the same one.
struct Indexed {
    row: SessionRow,
    keys: Vec<Box<str>>,
    source: usize,
    path: String,
}

/// A transcript of the folder.
struct Found {
    path: PathBuf,
    /// The file whose row it is of: its own name, or that of the transcript it was.
    name: String,
    session: String,
    encoding: Encoding,
    aside: Option<(Reason, Option<jiff::Timestamp>)>,
}

impl Gather<'_, '_> {
    /// The sessions of an agent that are in files.
    pub(super) fn files(&mut self, agent: usize) {
        let agent_id = self.folder.agents[agent].id.clone();
        let mut index = self.index(agent);
        let Some(folder) = self.folder.agents[agent].sessions.clone() else { return };
        let mut used = HashSet::new();
        for found in self.transcripts(&folder, &mut index) {
            let row = index.get(&found.name);
            if found.aside.is_none() {
                used.insert(found.name.clone());
            }
            self.transcript(&agent_id, found, row);
        }
        index.retain(|name, _| !used.contains(name));
        for indexed in index.into_values() {
            self.bare_row(&agent_id, indexed);
        }
    }

    /// The rows of an agent's index, by the names of their transcripts.
    fn index(&mut self, agent: usize) -> BTreeMap<String, Indexed> {
        let mut index = BTreeMap::new();
        let Some(path) = self.folder.agents[agent].index.clone() else { return index };
        let Some(file) = self.opened(&path) else { return index };
        let mut found: BTreeMap<Box<str>, SessionRow> = BTreeMap::new();
        let mut again = Vec::new();
        let mut file = Hashing::new(file);
        let read =
            rows(&mut file, &mut |row| again.extend(found.insert(row.row.key.clone(), row.row)));
        // What lies behind the end of the value belongs to the file that was read.
        let read =
            read.and_then(|read| std::io::copy(&mut file, &mut std::io::sink()).map(|_| read));
        let mut source = text::source(file, &path);
        match read {
            Ok(read) => {
                let fault = read.ending.fault();
                let said = |fault| {
                    format!(
                        "{}: {fault}; sessions without a row come by their transcripts",
                        source.path
                    )
                };
                self.found.remarks.extend(fault.map(said));
                source.found(read.tally);
            }
            Err(error) => {
                source.read = (found.len() + again.len()) as u64;
                source.unread(error.to_string());
            }
        }
        for before in again {
            let place = Place::Byte(before.range.start);
            source.done.quarantine(place, format!("key {} stands there again", before.key));
        }
        let name = source.path.clone();
        let at = self.source(source);
        for row in found.into_values() {
            match self.key(&row.key) {
                Ok(_) => {
                    let (keys, path) = (vec![row.key.clone()], name.clone());
                    let indexed = Indexed { row, keys, source: at, path };
                    let named = file_of(&indexed.row);
                    index
                        .entry(named)
                        .and_modify(|known: &mut Indexed| known.join(&indexed))
                        .or_insert(indexed);
                }
                Err(reason) => {
                    let place = Place::Key(row.key.to_string());
                    self.found.sources[at].done.quarantine(place, reason);
                }
            }
        }
        index
    }

    /// The transcripts of a folder: current ones first, then those that were put aside, by name. The rows
    /// of those that cannot be read are taken out of the index.
    fn transcripts(&mut self, folder: &Path, index: &mut BTreeMap<String, Indexed>) -> Vec<Found> {
        let entries = match std::fs::read_dir(self.at(folder)) {
            Ok(entries) => entries,
            Err(error) => {
                self.unread(folder, &error);
                return Vec::new();
            }
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let mut found = Vec::new();
        for name in names {
            let path = folder.join(&name);
            if self.folder.linked_out.contains(&path) {
                continue;
            }
            let kind = names::kind(&name);
            if let Err(why) = self.may_read(&path) {
                match &kind {
                    FileKind::Transcript { .. } => {
                        self.lost(&path, why);
                        self.without_transcript(index.remove(&name).as_ref());
                    }
                    FileKind::Archive { reason: Reason::Deleted | Reason::Reset, .. } => {
                        self.lost(&path, why);
                    }
                    _ => self.found.left_out.push(format!("{}: {why}", path.display())),
                }
                continue;
            }
            match kind {
                FileKind::Index => {}
                FileKind::Transcript { session_id, .. } => found.push(Found {
                    path,
                    name,
                    session: session_id,
                    encoding: Encoding::Plain,
                    aside: None,
                }),
                FileKind::Archive { reason: Reason::Bak, .. } => {
                    self.found.left_out.push(path.display().to_string());
                }
                FileKind::Archive { session_id, reason, at, encoding, .. } => {
                    let end = name.find(".jsonl.").map_or(name.len(), |end| end + ".jsonl".len());
                    found.push(Found {
                        path,
                        name: name[..end].to_owned(),
                        session: session_id,
                        encoding,
                        aside: Some((reason, at)),
                    });
                }
                _ => self.found.left_out.push(path.display().to_string()),
            }
        }
        found.sort_by_key(|found| found.aside.is_some());
        found
    }

    /// Links are followed inside the folder only.
    fn may_read(&self, path: &Path) -> Result<(), String> {
        let path = self.at(path);
        let is_link = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
        let target = std::fs::canonicalize(&path).map_err(|error| error.to_string())?;
        match std::fs::metadata(&target).is_ok_and(|meta| meta.is_file()) {
            false => Err("no regular file".to_owned()),
            true if is_link && !target.starts_with(&self.folder.root) => {
                Err(format!("it leads out of the folder, to {}", target.display()))
            }
            true => Ok(()),
        }
    }

    /// Looks through a transcript.
    fn look(&mut self, found: &Found) -> Option<(Glance, Source)> {
        let file = self.opened(&found.path)?;
        match text::look(file, &found.path, found.encoding) {
            Ok(looked) => Some(looked),
            Err(error) => {
                self.unread(&found.path, &error);
                None
            }
        }
    }

    /// Rows whose transcript is there and cannot be read: once it can be, an import takes both.
    fn without_transcript(&mut self, indexed: Option<&Indexed>) {
        let Some(Indexed { keys, source, .. }) = indexed else { return };
        for key in keys {
            let place = Place::Key(key.to_string());
            self.found.sources[*source].done.quarantine(place, "its transcript cannot be read");
        }
    }

    fn transcript(&mut self, agent: &str, found: Found, indexed: Option<&Indexed>) {
        let current = indexed.filter(|_| found.aside.is_none());
        let Some((glance, mut source)) = self.look(&found) else {
            return self.without_transcript(current);
        };
        source.read += glance.records;
        let path = source.path.clone();
        let id = glance.id.clone().unwrap_or_else(|| match found.aside {
            None => found.session.clone(),
            Some(_) => path.clone(),
        });
        let row = indexed.map(|indexed| &indexed.row);
        let of = current.and_then(|current| current.row.session_id.as_deref());
        let key = row.map(|row| &*row.key);
        let last = current.and_then(|current| current.row.run_began_at());
        let home = self.home(key, agent, of.unwrap_or(&id), last);
        let status = current.and_then(|current| current.row.status);
        let source = self.source(source);
        let current_row = current.map(|current| &current.row);
        if found.aside.is_none()
            && (self.is_under_way(&found.session, status, current_row, &home)
                || current.is_none() && self.is_newer_than_rows(&found.session, glance.began_at))
        {
            self.found.sources[source].done.leave(glance.records);
            if let Some(Indexed { keys, source, .. }) = current {
                self.found.sources[*source].done.leave(keys.len() as u64);
            }
            return;
        }
        let Found { path: file, encoding, .. } = found;
        let from = From::File { path: file, encoding, last_line: glance.last_line };
        let text = Text { source, records: glance.records, from };
        let end = match (&found.aside, current) {
            (Some((reason, _)), _) => End::Aside(*reason, home.status(None)),
            (None, Some(current)) => End::Current(home.status(current.row.status)),
            (None, None) => End::Followed(home.status(None)),
        };
        let put_aside = found.aside.and_then(|(_, at)| at);
        let row = current_row;
        let told = Told {
            id,
            end,
            began_at: glance.began_at.or_else(|| row.and_then(began)),
            ended_at: home
                .ended_with_its_run(glance.last_at)
                .or(put_aside)
                .or_else(|| row?.ended_at)
                .or(home.ended_at.max(glance.last_at))
                .or_else(|| row?.updated_at),
            usage: used(&glance),
            home,
            source: path,
            place: String::new(),
            data: row.map_or(serde_json::Value::Null, evidence),
        };
        let rows =
            current.map(|current| vec![current.source; current.keys.len()]).unwrap_or_default();
        self.draft(told, rows, Some(text));
    }

    /// A row whose transcript is not there.
    fn bare_row(&mut self, agent: &str, indexed: Indexed) {
        let Indexed { row, keys, source, path } = indexed;
        let id = row.session_id.as_deref().unwrap_or(&row.key).to_owned();
        let home = self.home(Some(&row.key), agent, &id, row.run_began_at());
        if self.is_under_way(&id, row.status, Some(&row), &home) {
            return self.found.sources[source].done.leave(keys.len() as u64);
        }
        let end = End::Current(home.status(row.status));
        let told = Told {
            id,
            end,
            began_at: began(&row),
            ended_at: row.ended_at.or(home.ended_at).or(row.updated_at),
            usage: row.usage.map(tokens),
            home,
            source: path,
            place: Place::Key(row.key.to_string()).to_string(),
            data: evidence(&row),
        };
        self.draft(told, vec![source; keys.len()], None);
    }
}

impl Indexed {
    /// Another row of the same transcript. That of the current session says more than one that was left
    /// behind.
    fn join(&mut self, other: &Self) {
        if other.row.updated_at > self.row.updated_at {
            self.row = other.row.clone();
        }
        self.keys.extend_from_slice(&other.keys);
    }
}

/// The name of a row's transcript.
fn file_of(row: &SessionRow) -> String {
    names::file_name(row.pointer.named(), row.session_id.as_deref().unwrap_or(&row.key))
}

fn began(row: &SessionRow) -> Option<jiff::Timestamp> {
    row.session_started_at.or(row.started_at)
}

pub(super) fn used(glance: &Glance) -> Option<sexton_domain::usage::Tokens> {
    let used = tokens(glance.usage);
    (used != Default::default()).then_some(used)
}

/// What a row says about the end of its session.
pub(super) fn evidence(row: &SessionRow) -> serde_json::Value {
    json!({
        "key": row.key, "status": row.status, "label": row.label, "updated_at": row.updated_at,
        "started_at": row.started_at, "ended_at": row.ended_at,
        "aborted_last_run": row.aborted_last_run, "parent": row.parent,
    })
}
