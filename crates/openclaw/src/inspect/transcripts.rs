//! What is wrong with transcripts: orphans, damaged lines, tools without their other half, disagreement
//! with the index, text that was never migrated.
//!
//! A transcript without a row is an orphan if and only if nothing else explains it: no run of a job worked
//! in it, no prompt in it names a job, no row names it as an earlier one, no window or archive of a database
//! holds its id, and it is no file beside another (checkpoint, trajectory, archive, lock).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::survey::{AgentSeen, FileSeen, Row, Survey, TranscriptSeen};
use crate::finding::{Code, Cure, Item, Stamp, Step, Subject};
use crate::model::{Place, Status};
use crate::read::names::FileKind;
use sexton_domain::words::counted;

/// How much later than its row a transcript may end: their row is written after the last line.
const LAG_SECS: u64 = 600;

/// What helps with text that a database has not.
pub const MIGRATE: &str = "run `openclaw doctor --session-sqlite import`, or bring the folder over: `sexton openclaw import PATH` reads both";

/// Where the transcripts of a folder belong, by their number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Piles {
    /// Of a session that a row names.
    pub current: u64,
    /// Earlier sessions of a key that is used again, and of jobs.
    pub history: u64,
    /// Archives.
    pub archives: u64,
    /// Checkpoints, trajectories and the like.
    pub side_files: u64,
    /// Of nothing that is known.
    pub orphans: u64,
}

/// Everything that is wrong with transcripts, and how many of each pile there are.
pub fn find(survey: &Survey) -> (Piles, Vec<(Code, Item)>) {
    let mut piles = Piles::default();
    let mut found = Vec::new();
    for agent in &survey.agents {
        let known = survey.known_sessions(agent);
        let rows = rows_by_file(survey, agent);
        for file in &agent.files {
            match &file.kind {
                FileKind::Transcript { session_id, .. } => {
                    let row = rows.get(&*file.name).copied();
                    let seen = agent.transcripts.get(&file.name);
                    let file = Seen { survey, agent, file, session_id, row, seen };
                    match file.pile(&known) {
                        Pile::Current => piles.current += 1,
                        Pile::History => piles.history += 1,
                        Pile::Orphan => {
                            piles.orphans += 1;
                            found.extend(file.orphan());
                        }
                    }
                    found.extend(file.unmigrated());
                    found.extend(file.disagrees());
                    found.extend(file.damaged());
                    found.extend(file.unpaired());
                }
                FileKind::Archive { .. } => piles.archives += 1,
                FileKind::Checkpoint { .. }
                | FileKind::Trajectory { .. }
                | FileKind::TrajectoryPath { .. } => piles.side_files += 1,
                _ => {}
            }
        }
        if let Some(database) = &agent.database {
            let ids = database.transcripts.keys();
            let known = ids.filter(|id| database.windows.contains_key(&***id));
            piles.current += known.count() as u64;
        }
        found.extend(in_database(agent));
    }
    (piles, found)
}

/// The row of each file that is there: the last one, before it one of the session that the file is named after.
fn rows_by_file<'a>(survey: &'a Survey, agent: &'a AgentSeen) -> HashMap<String, &'a Row> {
    let files: HashSet<&str> = agent.files.iter().map(|file| &*file.name).collect();
    let mut by_file: HashMap<String, &Row> = HashMap::new();
    for row in survey.rows_beside(agent).filter(|row| !row.session_id.is_empty()) {
        let name = row.file_name();
        let is_own = |row: &Row| name.strip_suffix(".jsonl") == Some(&*row.session_id);
        let has_better = by_file.get(&name).is_some_and(|known| is_own(known) && !is_own(row));
        if files.contains(name.as_str()) && !has_better {
            by_file.insert(name, row);
        }
    }
    by_file
}

enum Pile {
    Current,
    History,
    Orphan,
}

struct Seen<'a> {
    survey: &'a Survey,
    agent: &'a AgentSeen,
    file: &'a FileSeen,
    session_id: &'a str,
    row: Option<&'a Row>,
    seen: Option<&'a TranscriptSeen>,
}

impl Seen<'_> {
    fn folder(&self) -> &Path {
        self.agent.sessions.as_deref().unwrap_or(Path::new(""))
    }

    fn item(&self, place: Option<Place>, evidence: String, cure: Cure) -> Item {
        let path = self.folder().join(&*self.file.name);
        let subject = match place {
            None => Subject::File(path),
            Some(place) => Subject::Part { path, place },
        };
        Item { subject, evidence, bytes: Some(self.file.bytes), cure }
    }

    fn pile(&self, known: &HashSet<Cow<'_, str>>) -> Pile {
        let header = self.seen.and_then(|seen| seen.header_id.as_deref());
        let is_known =
            known.contains(self.session_id) || header.is_some_and(|id| known.contains(id));
        if self.row.is_some() || is_known {
            return Pile::Current;
        }
        let of_job = self.survey.sessions_of_jobs.contains_key(self.session_id)
            || self.seen.is_some_and(|seen| seen.job.is_some());
        let archived = self.agent.database.as_ref().is_some_and(|database| {
            database.archives.iter().any(|archive| &*archive.session_id == self.session_id)
        });
        let earlier =
            || self.survey.beside(self.agent).any(|agent| agent.earlier.contains(self.session_id));
        if of_job || archived || earlier() || self.continues(known) {
            Pile::History
        } else {
            Pile::Orphan
        }
    }

    /// A reset leaves the files of the session before it beside an archive of its name.
    fn continues(&self, known: &HashSet<Cow<'_, str>>) -> bool {
        self.agent.files.iter().any(|file| match &file.kind {
            FileKind::Archive { session_id, .. } => **session_id == *self.session_id,
            FileKind::Checkpoint { session_id, .. } => {
                **session_id == *self.session_id && known.contains(&**session_id)
            }
            _ => false,
        })
    }

    fn orphan(&self) -> Option<(Code, Item)> {
        let mut stores = self.survey.beside(self.agent).filter(|agent| agent.store.is_some());
        if !stores.next().is_some_and(|agent| agent.is_indexed)
            || !stores.all(|agent| agent.is_indexed)
        {
            return None;
        }
        let messages = self.seen.map_or(0, |seen| seen.messages);
        let evidence = format!(
            "no row, run, prompt or archive names session {}; it holds {}",
            self.session_id,
            counted(messages, "message")
        );
        let cure = Cure::Person(
            "look into it; `sexton openclaw import PATH` brings it over as a session of its own"
                .to_owned(),
        );
        Some((Code::TranscriptOrphaned, self.item(None, evidence, cure)))
    }

    /// Iff a database is there and has not all that the file has.
    fn unmigrated(&self) -> Option<(Code, Item)> {
        let database = self.agent.database.as_ref()?;
        let archived =
            database.archives.iter().any(|archive| &*archive.session_id == self.session_id);
        let evidence = match (database.transcripts.get(self.session_id), self.seen) {
            (Some(there), Some(here)) if here.last_at > there.last_at => {
                format!("it ends {}, the database {}", time(here.last_at), time(there.last_at))
            }
            (Some(there), Some(here)) if here.lacking > 0 => format!(
                "the database, which has {} of it, does not have {} of its messages",
                counted(there.messages, "message"),
                here.lacking
            ),
            (None, Some(here))
                if !archived && here.messages > 0 && database.lacks(self.session_id) =>
            {
                format!("the database {} has nothing of it", database.path.display())
            }
            _ => return None,
        };
        Some((Code::HalfMigrated, self.item(None, evidence, Cure::Person(MIGRATE.to_owned()))))
    }

    /// Iff the header has the id of neither row nor file, or the transcript goes on after its row.
    fn disagrees(&self) -> Option<(Code, Item)> {
        let (row, seen) = (self.row?, self.seen?);
        if let Some(header) = seen.header_id.as_deref()
            && header != &*row.session_id
        {
            let evidence =
                format!("its header says {header}, the row {} says {}", row.key, row.session_id);
            let cure = Cure::Person(
                "the row decides in OpenClaw; find out which conversation the file holds"
                    .to_owned(),
            );
            return Some((Code::IndexDisagrees, self.item(None, evidence, cure)));
        }
        let (last, updated) = (seen.last_at?, row.updated_at?);
        let lag = sexton_domain::duration::Duration::from_secs(LAG_SECS);
        if last <= lag.after(updated) || row.status == Some(Status::Running) {
            return None;
        }
        let store = self.agent.store.as_ref()?;
        let evidence = format!("it goes on until {last}, the row {} says {updated}", row.key);
        let cure = Cure::Steps(vec![Step::EditRow {
            store: store.path.clone(),
            key: row.key.to_string(),
            was: String::new(),
            set: serde_json::Map::from_iter([(
                "updatedAt".to_owned(),
                serde_json::json!(last.as_millisecond()),
            )]),
            unset: Vec::new(),
        }]);
        Some((Code::IndexDisagrees, self.item(None, evidence, cure)))
    }

    fn damaged(&self) -> Option<(Code, Item)> {
        let seen = self.seen?;
        let (line, reason) = seen.damaged.first()?;
        let lines: Vec<u64> = seen.damaged.iter().map(|(line, _)| *line).collect();
        let evidence =
            format!("{} of {}; line {line}: {reason}", lines.len(), counted(seen.lines, "line"));
        let cure = if lines.first() == Some(&1) {
            Cure::Person("its first line, the header, is damaged: write it anew by hand".to_owned())
        } else {
            self.without(lines)
        };
        Some((Code::LinesDamaged, self.item(None, evidence, cure)))
    }

    /// A call or a result that stands alone may go where no line but damaged ones follow: others name it as
    /// their parent.
    fn unpaired(&self) -> Vec<(Code, Item)> {
        let Some(seen) = self.seen else { return Vec::new() };
        if self.row.is_some_and(|row| row.status == Some(Status::Running)) {
            return Vec::new();
        }
        let uncalled = seen.uncalled.iter().map(|(line, call)| {
            (*line, format!("line {line} is a result of {call}, which nobody called"))
        });
        let unanswered = seen.unanswered.iter().map(|(line, call)| {
            (*line, format!("line {line} calls {call}, and there is no result"))
        });
        uncalled
            .chain(unanswered)
            .map(|(line, evidence)| {
                let cure = if line == seen.last_sound {
                    self.without(vec![line])
                } else {
                    Cure::Person("other lines build on it: reset the session".to_owned())
                };
                (Code::ToolUnpaired, self.item(Some(Place::Line(line)), evidence, cure))
            })
            .collect()
    }

    fn without(&self, lines: Vec<u64>) -> Cure {
        let path = self.folder().join(&*self.file.name);
        let was = Stamp { bytes: 0, sha256: String::new() };
        Cure::Steps(vec![Step::DropLines { path, was, lines }])
    }
}

fn time(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(|| "without a time".to_owned(), |at| at.to_string())
}

/// Events that cannot be read, tools without their other half, and transcripts without a window.
fn in_database(agent: &AgentSeen) -> Vec<(Code, Item)> {
    let Some(database) = &agent.database else { return Vec::new() };
    let subject = |session: &str| Subject::DbRow {
        database: database.path.clone(),
        table: "transcript_events".to_owned(),
        id: session.to_owned(),
    };
    let running: HashSet<&str> = database
        .windows
        .iter()
        .filter(|(_, (_, status))| *status == Some(Status::Running))
        .map(|(id, _)| &**id)
        .collect();
    let mut found = Vec::new();
    let mut all: Vec<_> = database.transcripts.iter().collect();
    all.sort_by_key(|(id, _)| *id);
    for (id, seen) in all {
        let item = |evidence: String, help: &str| Item {
            subject: subject(id),
            evidence,
            bytes: None,
            cure: Cure::Person(help.to_owned()),
        };
        if !database.windows.contains_key(id) {
            let evidence =
                format!("{} of a session without a window", counted(seen.lines, "event"));
            found.push((Code::TranscriptOrphaned, item(evidence, "run `openclaw doctor --fix`")));
        }
        if database.cold.get(&**id) == Some(&false) {
            // What is left of one whose beginning cannot be read has no fault of its own.
            continue;
        }
        if let Some((seq, reason)) = seen.damaged.first() {
            let evidence =
                format!("{}; event {seq}: {reason}", counted(seen.damaged.len() as u64, "event"));
            found.push((Code::LinesDamaged, item(evidence, "restore the database from a backup")));
        }
        let unpaired = seen.unanswered.len() + seen.uncalled.len();
        if unpaired > 0 && !running.contains(&**id) {
            let evidence = format!("calls or results of tools that stand alone: {unpaired}");
            found.push((Code::ToolUnpaired, item(evidence, "reset the session")));
        }
    }
    found
}
