//! The index of the JSON era: its rows, each with the transcript that it means.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::Gather;
use super::files::may_read;
use crate::address::{self, Address, is_family};
use crate::import::text;
use crate::model::{Encoding, Place, SessionRow};
use crate::read::names::{self, FileKind};
use crate::read::sessions::rows;
use crate::read::transcript;
use crate::stamp::Hashing;

/// So many bytes of a transcript are looked at for its header.
const HEADER_MOST: u64 = 64 * 1024;

/// The rows of an index.
#[derive(Default)]
pub(super) struct Index {
    /// By the names of the transcripts that they mean.
    pub(super) rows: BTreeMap<String, Indexed>,
    /// The keys of rows that name another file than the transcript that they mean, by its name.
    named: HashMap<String, Box<str>>,
}

/// The rows of an index that mean one transcript. A job's base row and the row of its last run mean the same
/// one.
pub(super) struct Indexed {
    /// The row of the current session, which says more than one that was left behind.
    pub(super) row: SessionRow,
    /// The keys of all of them.
    pub(super) keys: Vec<Box<str>>,
    /// The source that they are counted in.
    pub(super) source: usize,
    /// And its path.
    pub(super) path: String,
}

impl Index {
    /// The key of the row that means a transcript, or meant it before it was put aside.
    pub(super) fn key_of(&self, name: &str) -> Option<&str> {
        let row = self.rows.get(name).map(|indexed| &*indexed.row.key);
        row.or_else(|| self.named.get(name).map(|key| &**key))
    }
}

impl Gather<'_, '_> {
    /// The rows of an agent's index, beside files of these names.
    pub(super) fn index(&mut self, agent: usize, names: &[String]) -> Index {
        let mut index = Index::default();
        let Some(path) = self.folder.agents[agent].index.clone() else { return index };
        let Some((source, found)) = self.index_rows(&path) else { return index };
        let folder = self.folder.agents[agent].sessions.clone().unwrap_or_default();
        let files: Vec<String> = {
            let beside = Beside::new(&self.folder.root, &folder, names, &found);
            found.iter().map(|row| beside.file_of(row)).collect()
        };
        let mut sharing: BTreeMap<String, Vec<SessionRow>> = BTreeMap::new();
        for (row, file) in found.into_iter().zip(files) {
            if let Some(named) = row.pointer.named().and_then(names::named)
                && named != file
            {
                index.named.insert(named.to_owned(), row.key.clone());
            }
            sharing.entry(file).or_default().push(row);
        }
        for (file, rows) in sharing {
            index.rows.extend(self.sharing(rows, source).map(|indexed| (file, indexed)));
        }
        index
    }

    /// The rows of an index whose keys can be read, with their source.
    fn index_rows(&mut self, path: &Path) -> Option<(usize, Vec<SessionRow>)> {
        let file = self.opened(path)?;
        let mut found: BTreeMap<Box<str>, SessionRow> = BTreeMap::new();
        let mut again = Vec::new();
        let mut file = Hashing::new(file);
        let read =
            rows(&mut file, &mut |row| again.extend(found.insert(row.row.key.clone(), row.row)));
        // What lies behind the end of the value belongs to the file that was read.
        let read =
            read.and_then(|read| std::io::copy(&mut file, &mut std::io::sink()).map(|_| read));
        let mut source = text::source(file, path);
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
        let mut rows = Vec::new();
        for row in found.into_values() {
            match self.key(&row.key) {
                Ok(_) => rows.push(row),
                Err(reason) => source.done.quarantine(Place::Key(row.key.to_string()), reason),
            }
        }
        Some((self.source(source), rows))
    }

    /// The rows that mean one transcript, as one.
    fn sharing(&mut self, rows: Vec<SessionRow>, source: usize) -> Option<Indexed> {
        let key = rows.iter().find_map(|row| self.run_key(row.session_id.as_deref()?));
        let (rows, others) = family(rows, |row| row, key);
        let row = rows.first()?.clone();
        let done = &mut self.found.sources[source].done;
        for other in others {
            done.quarantine(Place::Key(other.key.to_string()), is_of(&row.key));
        }
        let keys = rows.into_iter().map(|row| row.key).collect();
        Some(Indexed { row, keys, source, path: self.found.sources[source].path.clone() })
    }
}

/// Of rows that share a session those whose keys belong together, the newest first, and the others, which lose
/// it. `key` is that of the session, where something else than these rows tells it.
pub(super) fn family<T>(
    mut rows: Vec<T>,
    row: fn(&T) -> &SessionRow,
    key: Option<&str>,
) -> (Vec<T>, Vec<T>) {
    rows.sort_by_key(|it| Reverse(row(it).updated_at));
    let named = |it: &&T| key.is_some_and(|key| is_family(key, &row(it).key));
    let first = rows.iter().find(named).or_else(|| rows.first());
    let Some(key) = first.map(|first| row(first).key.clone()) else { return Default::default() };
    rows.into_iter().partition(|it| is_family(&key, &row(it).key))
}

/// Why a row has lost its session.
pub(super) fn is_of(key: &str) -> String {
    format!("its session is that of {key}")
}

/// What lies beside the rows of an index.
struct Beside<'a> {
    root: &'a Path,
    /// The folder of transcripts.
    folder: &'a Path,
    /// The names of transcripts.
    current: HashSet<&'a str>,
    /// The names that transcripts had before they were put aside.
    aside: HashSet<&'a str>,
    /// The sessions of the rows.
    sessions: HashSet<&'a str>,
}

impl<'a> Beside<'a> {
    fn new(root: &'a Path, folder: &'a Path, names: &'a [String], rows: &'a [SessionRow]) -> Self {
        let of = |aside: bool| {
            let is_of = move |name: &&String| match names::kind(name) {
                FileKind::Transcript { .. } => !aside,
                FileKind::Archive { .. } => aside,
                _ => false,
            };
            names.iter().filter(is_of).map(|name| names::before_aside(name)).collect()
        };
        let sessions = rows.iter().filter_map(|row| row.session_id.as_deref()).collect();
        Self { root, folder, current: of(false), aside: of(true), sessions }
    }

    /// The name of a row's transcript.
    fn file_of(&self, row: &SessionRow) -> String {
        let named = row.pointer.named().and_then(names::named);
        let named = named.filter(|named| !self.is_of_another(row, named));
        let session = row.session_id.as_deref();
        let among = |files: &HashSet<&str>| {
            let there = |name: &str| files.get(name).map(|name| (*name).to_owned());
            address::transcript(&row.key, named, session, there)
        };
        let there = among(&self.current).or_else(|| among(&self.aside));
        there.unwrap_or_else(|| names::file_name(None, session.unwrap_or(&row.key)))
    }

    /// Whether a file that a row names is of another row's session: by its name, else by its header.
    fn is_of_another(&self, row: &SessionRow, name: &str) -> bool {
        let FileKind::Transcript { session_id, .. } = names::kind(name) else { return false };
        let run = match Address::of(&row.key) {
            Address::Run { run, .. } => Some(run),
            _ => None,
        };
        let is_of_another = |session: &str| {
            let own = [row.session_id.as_deref(), run.as_deref()].contains(&Some(session));
            (own || self.sessions.contains(session)).then_some(!own)
        };
        is_of_another(&session_id)
            .or_else(|| is_of_another(&self.header(name)?))
            .unwrap_or_default()
    }

    /// The session that the header of a transcript names.
    fn header(&self, name: &str) -> Option<String> {
        let path = self.folder.join(self.current.get(name)?);
        may_read(self.root, &path).ok()?;
        let file = File::open(self.root.join(path)).ok()?;
        transcript::summary(file.take(HEADER_MOST), Encoding::Plain).ok()?.header?.id
    }
}
