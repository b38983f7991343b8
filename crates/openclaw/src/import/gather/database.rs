//! Sessions of the SQLite era: nodes, windows, events and archives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::Gather;
use super::files::{evidence, used};
use super::index::{family, is_of};
use crate::import::account::Source;
use crate::import::sessions::{End, Home, Told};
use crate::import::text::{From, Glance, Text};
use crate::model::{DbArchive, Place, SessionRow, Status, Tally, Window};
use crate::read::agent_db::{AgentDb, Cold, Event, Node, place_of};
use crate::read::names::Reason;
use crate::read::transcript::{Survey, summary};

/// What one session of theirs is in the tables.
#[derive(Default)]
struct Known {
    window: Option<Window>,
    node: Option<Node>,
    glance: Option<Glance>,
    /// How many events it has.
    events: u64,
    /// The archive of its first events, if that cannot be read.
    waits_for: Option<Box<str>>,
    rows: Vec<usize>,
}

impl Gather<'_, '_> {
    /// The sessions of an agent that are in its database.
    pub(super) fn database(&mut self, agent: usize) {
        let Some(path) = self.folder.agents[agent].database.clone() else { return };
        let Some((snapshot, source)) = self.snapshot(&path) else { return };
        let mut database = match AgentDb::open(&snapshot) {
            Ok(database) => database,
            Err(error) if error.is_older() => {
                let why = "no sessions were kept in it yet";
                return self.found.left_out.push(format!("{}: {why}", path.display()));
            }
            Err(error) => return self.unread(&path, &error),
        };
        let agent = self.folder.agents[agent].id.clone();
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        self.rows(&database, &source, &mut known);
        self.cold(&mut database, &path, &source, &mut known);
        let surveyed = survey(&database, &mut known);
        let mut archives = Vec::new();
        let read = database.archives(&mut |archive, _| archives.push(archive));
        let archived = self.table(&source, "session_transcript_archives", read);
        let texts = self.source(table_of(&source, "session_transcript_archives.archive_blob"));
        let events = self.table(&source, "transcript_events", surveyed);
        let number = self.found.texts.add(database);
        self.found.texts.keep(snapshot);
        for (session, known) in known {
            self.window(
                &agent,
                &source.path,
                session,
                known,
                Events { database: number, source: events },
            );
        }
        for archive in archives {
            self.db_archive(
                &agent,
                &source.path,
                archive,
                Blob { database: number, row: archived, text: texts },
            );
        }
    }

    /// Transcripts that were moved out of the table: their events count as those of the table. Where an archive
    /// cannot be read, what is left of its session waits for it: the lines of a transcript have numbers.
    fn cold(
        &mut self,
        database: &mut AgentDb,
        path: &Path,
        source: &Source,
        known: &mut BTreeMap<String, Known>,
    ) {
        let mut archives = Vec::new();
        let read = database.cold(&self.folder.root, path, &mut |cold| archives.push(cold));
        let at = self.table(source, "session_transcript_cold_archives", read);
        for cold in archives {
            if let Some(file) = &cold.file {
                let size = std::fs::metadata(self.at(file)).map_or(0, |meta| meta.len());
                (self.options.progress)(file, size);
            }
            let known = known.entry(cold.session_id.to_string()).or_default();
            let Err(reason) = database.open_cold(&cold) else {
                known.rows.push(at);
                continue;
            };
            let Cold { session_id, name, events, .. } = cold;
            let reason = format!(
                "its events ({events}) were moved to the cold archive {name}, which cannot be read: {reason}"
            );
            known.waits_for = Some(name);
            self.found.sources[at].done.quarantine(Place::Row(session_id.into()), reason);
        }
    }

    /// What is left in the table of a session whose archive cannot be read.
    fn wait(&mut self, database: usize, session: &str, archive: &str, source: usize) {
        let mut places = Vec::new();
        self.found.texts.database(database).events_of(session, &mut |event| {
            places.push(Place::Row(format!("{session}, {}", event.seq)));
        });
        for place in places {
            let reason = format!(
                "what comes before it is in the cold archive {archive}, which cannot be read"
            );
            self.found.sources[source].done.quarantine(place, reason);
        }
    }

    /// Nodes and windows, by their sessions.
    fn rows(&mut self, database: &AgentDb, source: &Source, known: &mut BTreeMap<String, Known>) {
        let (mut nodes, mut windows) = (Vec::new(), Vec::new());
        let read = database.windows(&mut |window| windows.push(window));
        let at = self.table(source, "session_windows", read);
        for window in windows {
            if let Err(reason) = self.key(&window.key) {
                self.found.sources[at]
                    .done
                    .quarantine(Place::Row(window.session_id.to_string()), reason);
                continue;
            }
            let known = known.entry(window.session_id.to_string()).or_default();
            known.rows.push(at);
            known.window = Some(window);
        }
        let read = database.nodes(&mut |node| nodes.push(node));
        let at = self.table(source, "session_nodes", read);
        let mut sharing: BTreeMap<String, Vec<Node>> = BTreeMap::new();
        for node in nodes {
            match self.key(&node.row.key) {
                Ok(_) => sharing.entry(node.session_id.clone()).or_default().push(node),
                Err(reason) => {
                    let row = Place::Row(node.row.key.to_string());
                    self.found.sources[at].done.quarantine(row, reason);
                }
            }
        }
        for (session, nodes) in sharing {
            self.node(nodes, at, known.entry(session).or_default());
        }
    }

    /// The nodes of one session, as one.
    fn node(&mut self, nodes: Vec<Node>, at: usize, known: &mut Known) {
        let session = nodes.first().map(|node| node.session_id.as_str());
        let key = session.and_then(|session| self.run_key(session));
        let key = key.or(known.window.as_ref().map(|window| &*window.key));
        let (nodes, others) = family(nodes, |node| &node.row, key);
        known.rows.extend(nodes.iter().map(|_| at));
        let Some(mut node) = nodes.into_iter().next() else { return };
        for other in others {
            let row = Place::Row(other.row.key.to_string());
            self.found.sources[at].done.quarantine(row, is_of(&node.row.key));
        }
        let began = known.window.as_ref().and_then(|window| window.started_at);
        node.row.started_at = node.row.started_at.or(began);
        known.node = Some(node);
    }

    fn window(&mut self, agent: &str, path: &str, session: String, known: Known, events: Events) {
        let Known { window, node, glance, events: written, waits_for, rows } = known;
        // Of what is left behind a beginning that cannot be read, nothing is the session's.
        let glance = glance.filter(|_| waits_for.is_none());
        let node_row = node.as_ref().map(|node| &node.row);
        let key = window.as_ref().map(|window| &*window.key).or(node_row.map(|row| &*row.key));
        let said = |of: fn(&Window) -> Option<jiff::Timestamp>| window.as_ref().and_then(of);
        let last = node_row.and_then(SessionRow::run_began_at);
        let last = last.or(said(|window| window.started_at));
        let home = self.home(key, agent, &session, last);
        let status = window.as_ref().and_then(|window| window.status);
        let began_at = glance.as_ref().and_then(|glance| glance.began_at);
        let last_at = glance.as_ref().and_then(|glance| glance.last_at);
        // A window that is not the current one of its key is not what anybody is at work on.
        let current = node_row.and_then(|row| row.status.or(status));
        if self.is_under_way(&session, current, node_row, &home) {
            self.found.sources[events.source].done.leave(written);
            return rows.into_iter().for_each(|row| self.found.sources[row].done.leave(1));
        }
        let end = end(node.as_ref(), status, &home);
        let told = Told {
            end,
            began_at: began_at
                .or(said(|window| window.created_at))
                .or(node_row.and_then(|row| row.session_started_at)),
            ended_at: said(|window| window.ended_at)
                .or(node_row.and_then(|row| row.ended_at))
                .or(home.ended_at.max(last_at))
                .or(said(|window| window.updated_at)),
            usage: glance.as_ref().and_then(used),
            home,
            source: path.to_owned(),
            place: Place::Row(session.clone()).to_string(),
            data: json!({
                "window_status": status,
                "reason": window.as_ref().and_then(|window| window.reason.clone()),
                "node": node_row.map_or(Value::Null, evidence),
            }),
            id: session.clone(),
        };
        let Events { database, source } = events;
        if let Some(archive) = &waits_for {
            self.wait(database, &session, archive, source);
        }
        if rows.is_empty() && glance.is_none() {
            return;
        }
        let text = glance.map(|_| Text {
            source,
            records: written,
            from: From::Events { database, session },
        });
        self.draft(told, rows, text);
    }

    fn db_archive(&mut self, agent: &str, path: &str, archive: DbArchive, blob: Blob) {
        let bytes = self
            .found
            .texts
            .database(blob.database)
            .archive_bytes(&archive.session_id, &archive.generation);
        let row = Place::Row(format!("{}, {}", archive.session_id, archive.generation));
        let looked = bytes.map_err(|error| error.to_string()).and_then(|bytes| {
            summary(bytes.unwrap_or_default().as_slice(), archive.encoding)
                .map_err(|error| error.to_string())
        });
        let glance = match looked {
            Ok(summary) => Glance::of(&summary),
            Err(reason) => return self.found.sources[blob.row].done.quarantine(row, reason),
        };
        let id = glance.id.clone().unwrap_or_else(|| archive.name.to_string());
        self.found.sources[blob.text].read += glance.records;
        let home = self.home(Some(&archive.key), agent, &id, None);
        let reason = if &*archive.reason == "reset" { Reason::Reset } else { Reason::Deleted };
        let end = End::Aside(reason, home.status(None));
        let told = Told {
            id,
            end,
            began_at: glance.began_at,
            ended_at: home
                .ended_with_its_run(glance.last_at)
                .or(archive.created_at)
                .or(glance.last_at),
            usage: used(&glance),
            home,
            source: path.to_owned(),
            place: row.to_string(),
            data: json!({ "archive": archive.name, "reason": archive.reason }),
        };
        let from = From::Archive { database: blob.database, archive };
        let text = Text { source: blob.text, records: glance.records, from };
        self.draft(told, vec![blob.row], Some(text));
    }
}

/// What the events of each session say, and how many there are.
type Surveys = BTreeMap<String, (Survey, u64)>;

/// Looks through the events. Where the walk through all of them did not come to its end, the sessions
/// that it did not come to are looked up by themselves.
fn survey(database: &AgentDb, known: &mut BTreeMap<String, Known>) -> Tally {
    let mut surveys = Surveys::new();
    let mut read = database.events(&mut |event| look_at(&mut surveys, &event));
    let told: BTreeSet<String> = surveys.keys().cloned().collect();
    let named: BTreeSet<Place> = read.dropped.iter().map(|dropped| dropped.place.clone()).collect();
    let unread = |session: &&String| {
        !named.is_empty() && !told.contains(*session) && !named.contains(&place_of(session))
    };
    for session in known.keys().filter(unread) {
        let one = database.events_of(session, &mut |event| look_at(&mut surveys, &event));
        read.read += one.read;
        read.dropped.extend(one.dropped.into_iter().filter(|it| !named.contains(&it.place)));
    }
    for (session, (survey, events)) in surveys {
        let known = known.entry(session).or_default();
        (known.glance, known.events) = (Some(Glance::of_survey(survey)), events);
    }
    read
}

fn look_at(surveys: &mut Surveys, event: &Event) {
    let (survey, events) = surveys.entry(event.session_id.clone()).or_default();
    *events += 1;
    if let Ok(json) = &event.json {
        survey.push(u64::try_from(event.seq).unwrap_or(0) + 1, json.as_bytes());
    }
}

/// Where the events of a database are.
#[derive(Clone, Copy)]
struct Events {
    database: usize,
    source: usize,
}

/// Where the archives of a database are counted.
#[derive(Clone, Copy)]
struct Blob {
    database: usize,
    row: usize,
    text: usize,
}

fn table_of(source: &Source, name: &str) -> Source {
    Source { path: format!("{}#{name}", source.path), ..source.clone() }
}

/// What ended a window: the node is there where the window is the current one of its key.
fn end(node: Option<&Node>, window: Option<Status>, home: &Home) -> End {
    match node {
        Some(node) => {
            let status = home.status(node.row.status.or(window));
            let put_away = node.row.archived_at.is_some();
            if put_away { End::PutAway(status) } else { End::Current(status) }
        }
        None => End::Followed(home.status(window)),
    }
}
