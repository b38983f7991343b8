//! Sessions of the JSON era: rows of the index, transcripts and archives, told from the files' names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::index::{Index, Indexed};
use super::{Draft, Gather, Gathered};
use crate::import::account::Source;
use crate::import::entries::tokens;
use crate::import::sessions::{End, Told};
use crate::import::text::{self, From, GONE, Glance, Text};
use crate::model::{Encoding, Place, SessionRow};
use crate::read::names::{self, FileKind, Reason};

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
        let folder = self.folder.agents[agent].sessions.clone();
        let names = folder.as_deref().map(|folder| self.names(folder)).unwrap_or_default();
        let mut index = self.index(agent, &names);
        let Some(folder) = folder else { return };
        let mut used = HashSet::new();
        for found in self.transcripts(&folder, names, &mut index) {
            if found.aside.is_none() {
                used.insert(found.name.clone());
            }
            self.transcript(&agent_id, found, &index);
        }
        index.rows.retain(|name, _| !used.contains(name));
        for indexed in index.rows.into_values() {
            self.bare_row(&agent_id, indexed);
        }
    }

    /// The names of the files of a folder, sorted.
    fn names(&mut self, folder: &Path) -> Vec<String> {
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
        names
    }

    /// The transcripts of a folder: current ones first, then those that were put aside, by name. The rows
    /// of those that cannot be read are taken out of the index.
    fn transcripts(&mut self, folder: &Path, names: Vec<String>, index: &mut Index) -> Vec<Found> {
        let mut found = Vec::new();
        for name in names {
            let path = folder.join(&name);
            if self.folder.linked_out.contains(&path) {
                continue;
            }
            let kind = names::kind(&name);
            if let Err(why) = may_read(&self.folder.root, &path) {
                match &kind {
                    FileKind::Transcript { .. } => {
                        self.lost(&path, why);
                        self.without_transcript(index.rows.remove(&name).as_ref());
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
                    found.push(Found {
                        path,
                        name: names::before_aside(&name).to_owned(),
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

    fn transcript(&mut self, agent: &str, found: Found, index: &Index) {
        let current = index.rows.get(&found.name).filter(|_| found.aside.is_none());
        let Some((glance, mut source)) = self.look(&found) else {
            return self.without_transcript(current);
        };
        source.read += glance.records;
        let path = source.path.clone();
        let id = glance.id.clone().unwrap_or_else(|| match found.aside {
            None => found.session.clone(),
            Some(_) => path.clone(),
        });
        let of = current.and_then(|current| current.row.session_id.as_deref());
        let key = index.key_of(&found.name);
        let last = current.and_then(|current| current.row.run_began_at());
        let home = self.home(key, agent, of.unwrap_or(&id), last);
        let status = current.and_then(|current| current.row.status);
        let source = self.source(source);
        if found.aside.is_none()
            && (self.is_under_way(&found.session, status, current.map(|it| &it.row), &home)
                || current.is_none() && self.is_newer_than_rows(&found.session, glance.began_at))
        {
            self.found.sources[source].done.leave(glance.records);
            if let Some(Indexed { keys, source, .. }) = current {
                self.found.sources[*source].done.leave(keys.len() as u64);
            }
            return;
        }
        let from =
            From::File { path: found.path, encoding: found.encoding, last_line: glance.last_line };
        let text = Text { source, records: glance.records, from };
        if glance.is_unreadable && current.is_none() && home.run.is_none() {
            return self.tells_nothing(&text);
        }
        let end = match (&found.aside, current) {
            (Some((reason, _)), _) => End::Aside(*reason, home.status(None)),
            (None, Some(current)) => End::Current(home.status(current.row.status)),
            (None, None) => End::Followed(home.status(None)),
        };
        let put_aside = found.aside.and_then(|(_, at)| at);
        let row = current.map(|current| &current.row);
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
        let also = of.map(str::to_owned).into_iter().chain([found.session]).collect();
        self.drafts.push(Draft { told, rows, text: Some(text), also });
    }

    /// A transcript of which no line can be read, and of whose session nothing else tells, is no session.
    fn tells_nothing(&mut self, text: &Text) {
        let Gathered { texts, sources, .. } = &mut self.found;
        let done = &mut sources[text.source].done;
        let mut drop = |place, reason: String| done.quarantine(place, reason);
        let read = texts.read(text, &mut |number, line| {
            drop(text.place(number), line.err().unwrap_or_else(|| GONE.to_owned()));
        });
        match read {
            Ok(cut) => cut.into_iter().for_each(|cut| drop(cut.place, cut.reason)),
            Err(error) => drop(Place::Whole, error.to_string()),
        }
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

/// Links are followed inside the folder only.
pub(super) fn may_read(root: &Path, path: &Path) -> Result<(), String> {
    let path = root.join(path);
    let is_link = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
    let target = std::fs::canonicalize(&path).map_err(|error| error.to_string())?;
    match std::fs::metadata(&target).is_ok_and(|meta| meta.is_file()) {
        false => Err("no regular file".to_owned()),
        true if is_link && !target.starts_with(root) => {
            Err(format!("it leads out of the folder, to {}", target.display()))
        }
        true => Ok(()),
    }
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
