//! What is wrong with session rows: overdue, of deleted jobs, without a transcript, with a wrong
//! pointer, too large.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value};
use sexton_domain::duration::Duration;

use super::survey::{AgentSeen, FileSeen, Row, StoreSeen, Survey};
use crate::address::{self, Address, is_family};
use crate::finding::{Code, Cure, Item, Step, Subject};
use crate::model::Status;
use crate::read::names::{self, FileKind, Reason};
use sexton_domain::words::counted;

/// A row above this is oversized, whatever it holds: seven times what a real one has.
pub const OVERSIZED_BYTES: u64 = 64 * 1024;
/// The longest text that the engine under OpenClaw can read, in characters: a longer index reads as empty, and
/// the next write replaces it.
pub const STRING_LIMIT: u64 = 0x1fff_ffe8;
/// Fields that OpenClaw makes anew whenever it needs them.
pub const MADE_ANEW: &[&str] = &["skillsSnapshot", "systemPromptReport", "pluginDebugEntries"];
/// A row that was touched within this long may still be without its transcript.
const FRESH_SECS: u64 = 3600;

/// What helps where two rows have one session.
const RESET_ONE: &str = "decide which of the two keys the session belongs to, and reset the other";

/// Everything that is wrong with rows.
pub fn find(survey: &Survey) -> Vec<(Code, Item)> {
    let mut found = Vec::new();
    for agent in &survey.agents {
        let lineage = Lineage::of(survey, agent);
        for place in places(agent) {
            for (row, stamp) in place.rows() {
                let seen = Seen { survey, agent, lineage: &lineage, place: &place, row, stamp };
                let going = seen.overdue().or_else(|| seen.of_deleted_job());
                found.extend(going.or_else(|| seen.without_transcript()));
                found.extend(seen.wrong_pointer());
                found.extend(seen.oversized());
            }
            found.extend(made_anew(&place));
        }
    }
    found
}

/// Where rows stand: a file or a database.
enum RowsOf<'a> {
    Store(&'a StoreSeen),
    Database(&'a super::survey::DatabaseSeen),
}

fn places(agent: &AgentSeen) -> Vec<RowsOf<'_>> {
    let stores = agent.store.iter().map(RowsOf::Store);
    stores.chain(agent.database.iter().map(RowsOf::Database)).collect()
}

impl RowsOf<'_> {
    fn rows(&self) -> Box<dyn Iterator<Item = (&Row, &str)> + '_> {
        match self {
            Self::Store(store) => Box::new(store.rows.iter().map(|row| (row, ""))),
            Self::Database(database) => {
                Box::new(database.nodes.iter().map(|(row, stamp)| (row, &**stamp)))
            }
        }
    }

    fn subject(&self, key: &str) -> Subject {
        match self {
            Self::Store(store) => Subject::Row { store: store.path.clone(), key: key.to_owned() },
            Self::Database(database) => Subject::DbRow {
                database: database.path.clone(),
                table: "session_nodes".to_owned(),
                id: key.to_owned(),
            },
        }
    }
}

/// Which rows share a session or a file, and the home that their pointers name. An index may have a hundred
/// thousand rows, so they are found in sorted lists.
struct Lineage<'a> {
    /// The rows that name a session, by that.
    by_session: Vec<&'a Row>,
    /// The same of the nodes of the agent's database.
    nodes: Vec<&'a Row>,
    /// The transcripts that rows could mean, without their ending: one for each row and name.
    meant: Vec<&'a str>,
    home: Option<String>,
    files: BTreeSet<&'a str>,
    /// The newest file that the transcript of a session was put aside as, by the session.
    aside: HashMap<&'a str, &'a FileSeen>,
}

impl<'a> Lineage<'a> {
    fn of(survey: &'a Survey, agent: &'a AgentSeen) -> Self {
        let (mut by_session, mut meant) = (Vec::new(), Vec::new());
        let mut homes: HashMap<&str, usize> = HashMap::new();
        for row in survey.rows_beside(agent) {
            if !row.session_id.is_empty() {
                by_session.push(row);
            }
            let named = row.named.as_deref().and_then(names::named).map(without_ending);
            meant.extend(named.filter(|named| *named != &*row.session_id));
            meant.push(&row.session_id);
            if let Some(home) = row.named.as_deref().and_then(folder_of) {
                *homes.entry(home).or_default() += 1;
            }
        }
        // A row that names the folder as it lies now is right, however many name another one.
        let own = agent.sessions.as_deref().map(|sessions| survey.root.join(sessions));
        let own = own.and_then(|own| own.to_str().map(str::to_owned));
        let own = own.filter(|own| homes.contains_key(own.as_str()));
        let most = homes.into_iter().max_by_key(|(home, count)| (*count, *home));
        let home = own.or_else(|| most.map(|(home, _)| home.to_owned()));
        let files = survey.files_beside(agent).map(|file| &*file.name).collect();
        by_session.sort_by_key(|row| &*row.session_id);
        meant.sort_unstable();
        let nodes = agent.database.iter().flat_map(|database| &database.nodes).map(|(row, _)| row);
        let mut nodes: Vec<&Row> = nodes.filter(|row| !row.session_id.is_empty()).collect();
        nodes.sort_by_key(|row| &*row.session_id);
        let aside = put_aside(survey.files_beside(agent));
        Self { by_session, nodes, meant, home, files, aside }
    }

    /// The rows of a session in the same kind of store.
    fn of_session(&self, place: &RowsOf<'_>, session: &str) -> &[&'a Row] {
        let rows = match place {
            RowsOf::Store(_) => &self.by_session,
            RowsOf::Database(_) => &self.nodes,
        };
        let from = rows.partition_point(|row| &*row.session_id < session);
        let rest = &rows[from..];
        &rest[..rest.partition_point(|row| &*row.session_id == session)]
    }

    /// Whether no two rows could mean a transcript.
    fn is_of_one(&self, file: &str) -> bool {
        let name = without_ending(file);
        let from = self.meant.partition_point(|other| *other < name);
        self.meant.get(from + 1).is_none_or(|second| *second != name)
    }

    /// Whether there is a file whose name begins so.
    fn has_file_of(&self, prefix: &str) -> bool {
        self.files.range(prefix..).next().is_some_and(|name| name.starts_with(prefix))
    }
}

fn without_ending(file: &str) -> &str {
    file.strip_suffix(".jsonl").unwrap_or(file)
}

/// Of each session the newest archive that was made in the place of its transcript.
fn put_aside<'a>(files: impl Iterator<Item = &'a FileSeen>) -> HashMap<&'a str, &'a FileSeen> {
    let mut aside: HashMap<&str, (Option<Timestamp>, &FileSeen)> = HashMap::new();
    for file in files {
        let FileKind::Archive { session_id, reason: Reason::Reset | Reason::Deleted, at, .. } =
            &file.kind
        else {
            continue;
        };
        if aside.get(session_id.as_str()).is_none_or(|(known, _)| known < at) {
            aside.insert(session_id, (*at, file));
        }
    }
    aside.into_iter().map(|(session, (_, file))| (session, file)).collect()
}

fn folder_of(path: &str) -> Option<&str> {
    path.rsplit_once(['/', '\\']).map(|(folder, _)| folder)
}

/// A file in the folder of the one that a pointer names.
fn beside(named: &str, file: &str) -> String {
    let own = names::named(named).map_or(0, str::len);
    format!("{}{file}", &named[..named.len() - own])
}

struct Seen<'a> {
    survey: &'a Survey,
    agent: &'a AgentSeen,
    lineage: &'a Lineage<'a>,
    place: &'a RowsOf<'a>,
    row: &'a Row,
    /// Of a node, what it was read from.
    stamp: &'a str,
}

impl Seen<'_> {
    fn item(&self, code: Code, evidence: String, cure: Cure) -> (Code, Item) {
        let subject = self.place.subject(&self.row.key);
        (code, Item { subject, evidence, bytes: Some(self.row.bytes), cure })
    }

    /// Iff it is the row of a run, it is not running, and it is older than the retention.
    fn overdue(&self) -> Option<(Code, Item)> {
        let retention = self.survey.retention?;
        let Address::Run { job, .. } = self.row.address() else { return None };
        if self.row.status == Some(Status::Running) {
            return None;
        }
        let future = self.row.updated_at.is_some_and(|at| at > self.survey.as_of);
        let touched = match self.row.updated_at {
            Some(at) if !future => Some(at),
            _ => self.row.started_at,
        };
        if touched.is_some_and(|at| at > self.survey.as_of || self.survey.age(at) <= retention) {
            return None;
        }
        let age = touched.map_or_else(
            || "without a time".to_owned(),
            |at| format!("{} old", self.survey.age(at)),
        );
        let escaped = self.escaped(&job, future);
        let evidence = format!("{age}, kept for {retention}; {escaped}");
        Some(self.item(Code::RunOverdue, evidence, self.archived()))
    }

    /// Why their sweep never took it.
    fn escaped(&self, job: &str, future: bool) -> String {
        let jobs_here = self.survey.jobs.as_deref().unwrap_or_default().iter();
        let mut jobs_here = jobs_here.filter(|job| {
            job.agent
                .as_deref()
                .unwrap_or(&self.survey.default_agent)
                .eq_ignore_ascii_case(&self.agent.id)
        });
        if future {
            "its updatedAt lies in the future, so that it never expires".to_owned()
        } else if !self.survey.cron_enabled {
            "the sweep rides on the scheduler, which is off".to_owned()
        } else if jobs_here.next().is_none() {
            "the sweep visits agents with jobs only, and this one has none".to_owned()
        } else if self.survey.is_nobodys() {
            "the sweep rides on the scheduler's ticks, and no gateway runs".to_owned()
        } else {
            format!("the sweep did not reach it (job {job})")
        }
    }

    /// Iff it is a job's own row, the jobs could be read, the job is not among them, and the row has
    /// been silent for longer than rows of runs are kept.
    fn of_deleted_job(&self) -> Option<(Code, Item)> {
        let Address::Job(job) = self.row.address() else { return None };
        if self.survey.has_job(&job)? || self.row.status == Some(Status::Running) {
            return None;
        }
        let retention = self.survey.retention?;
        let silent = self.row.updated_at.map(|at| self.survey.age(at));
        if silent.is_some_and(|silent| silent <= retention) {
            return None;
        }
        let silent = silent
            .map_or_else(|| "it names no time".to_owned(), |silent| format!("silent for {silent}"));
        let evidence = format!("there is no job {job}; {silent}");
        Some(self.item(Code::JobRowOrphaned, evidence, self.archived()))
    }

    /// Takes the row out, and its transcript into the archive form where no other row needs it.
    fn archived(&self) -> Cure {
        match self.place {
            RowsOf::Store(store) => {
                let mut steps = vec![remove(store.path.clone(), &self.row.key)];
                if let (Some(file), Some(folder)) =
                    (self.transcript(), self.agent.sessions.as_deref())
                    && matches!(names::kind(file), FileKind::Transcript { .. })
                    && self.lineage.is_of_one(file)
                {
                    steps.push(archive(folder, file, self.survey));
                }
                Cure::Steps(steps)
            }
            RowsOf::Database(database)
                if database.cold.contains_key(&self.row.session_id)
                    || database.cold_keys.contains(&self.row.key) =>
            {
                let help = "delete it in OpenClaw: a transcript of its is in a cold archive";
                Cure::Person(help.to_owned())
            }
            RowsOf::Database(database) => Cure::Steps(vec![Step::ArchiveNode {
                database: database.path.clone(),
                key: self.row.key.to_string(),
                session_id: self.row.session_id.to_string(),
                was: self.stamp.to_owned(),
                at: self.survey.now,
            }]),
        }
    }

    /// The name of its transcript file, if that is there.
    fn transcript(&self) -> Option<&str> {
        let has = |name: &str| self.lineage.files.get(name).copied();
        let Row { key, session_id, named, .. } = self.row;
        address::transcript(key, named.as_deref(), Some(session_id), has)
    }

    /// Whether its transcript may be about to be written. By the clock: a gateway that cannot be seen may do it.
    fn is_at_work(&self) -> bool {
        let fresh = self.row.updated_at.is_some_and(|at| {
            Duration::between(at, self.survey.now) <= Duration::from_secs(FRESH_SECS)
        });
        fresh || self.row.status == Some(Status::Running)
    }

    /// Iff it names a session, nothing of that session is there, and the row is not fresh or running.
    fn without_transcript(&self) -> Option<(Code, Item)> {
        if self.row.session_id.is_empty() || self.is_at_work() || self.has_transcript() {
            return None;
        }
        let used = if self.row.has_usage { "it counts tokens" } else { "it counts no tokens" };
        let session = &self.row.session_id;
        let aside = self.lineage.aside.get(&**session).map(|file| &*file.name);
        let evidence = match aside {
            Some(name) => {
                format!("the transcript of session {session} was put aside: {name}; {used}")
            }
            None => format!("session {session} has no transcript; {used}"),
        };
        let cure = match (self.row.address(), self.place) {
            (Address::Job(_) | Address::Run { .. }, RowsOf::Store(store)) => {
                Cure::Steps(vec![remove(store.path.clone(), &self.row.key)])
            }
            (Address::Job(_) | Address::Run { .. }, RowsOf::Database(_)) => self.archived(),
            (Address::Other(_), _) => {
                let back = aside.map_or_else(
                    || "bring the transcript back".to_owned(),
                    |name| match name.strip_suffix(".zst") {
                        Some(_) => format!("unpack {name} (zstd -d) to {session}.jsonl"),
                        None => format!("give {name} its name {session}.jsonl back"),
                    },
                );
                Cure::Person(format!(
                    "the row holds the way of a conversation: {back}, or let the next message begin a new one"
                ))
            }
        };
        Some(self.item(Code::TranscriptMissing, evidence, cure))
    }

    /// Whether there is one, or may be one that could not be read.
    fn has_transcript(&self) -> bool {
        match self.place {
            RowsOf::Store(_) => {
                self.transcript().is_some()
                    || self.lineage.has_file_of(&format!("{}-topic-", self.row.session_id))
                    || self
                        .agent
                        .database
                        .as_ref()
                        .is_some_and(|database| !database.lacks(&self.row.session_id))
            }
            RowsOf::Database(database) => !database.lacks(&self.row.session_id),
        }
    }

    /// Iff it names a file of another folder than the other rows do, the transcript or the session of another
    /// row, or a file that is not there while that of its session is.
    fn wrong_pointer(&self) -> Option<(Code, Item)> {
        let of_file = match self.place {
            RowsOf::Store(store) => self
                .elsewhere(store)
                .or_else(|| self.of_another(store))
                .or_else(|| self.to_nothing(store)),
            RowsOf::Database(_) => None,
        };
        of_file.or_else(|| self.shared())
    }

    fn elsewhere(&self, store: &StoreSeen) -> Option<(Code, Item)> {
        let (named, home) = (self.row.named.as_deref()?, self.lineage.home.as_deref()?);
        folder_of(named).filter(|folder| *folder != home)?;
        let evidence = format!("it names {named}; the other rows name files in {home}");
        let cure = match self.transcript() {
            Some(file) => self.pointed_to(store, format!("{home}/{file}")),
            None => Cure::Person("bring the file into the sessions folder".to_owned()),
        };
        Some(self.item(Code::PointerWrong, evidence, cure))
    }

    /// The file that it names has name and header of the session of another row.
    fn of_another(&self, store: &StoreSeen) -> Option<(Code, Item)> {
        let named = self.row.named.as_deref()?;
        let file = names::named(named)?;
        let session = without_ending(file);
        let header = self.survey.transcript(self.agent, file)?.header_id.as_deref();
        if session == &*self.row.session_id || header != Some(session) {
            return None;
        }
        let other = self.other_of(session)?;
        let evidence = format!("it names {file}, which is the transcript of {}", other.key);
        let own = format!("{}.jsonl", self.row.session_id);
        let cure = match self.lineage.files.contains(own.as_str()) {
            true => self.pointed_to(store, beside(named, &own)),
            false => Cure::Person(RESET_ONE.to_owned()),
        };
        Some(self.item(Code::PointerWrong, evidence, cure))
    }

    /// The file that it names is gone, and that of its session, which no other row has, is there.
    fn to_nothing(&self, store: &StoreSeen) -> Option<(Code, Item)> {
        let named = self.row.named.as_deref()?;
        let file = names::named(named).filter(|file| !self.lineage.files.contains(file))?;
        let own = format!("{}.jsonl", self.row.session_id);
        let is_own = self.lineage.files.contains(own.as_str());
        if !is_own || self.is_at_work() || self.other_of(&self.row.session_id).is_some() {
            return None;
        }
        let evidence = format!("it names {file}, which is not there; that of its session is {own}");
        let cure = self.pointed_to(store, beside(named, &own));
        Some(self.item(Code::PointerWrong, evidence, cure))
    }

    fn shared(&self) -> Option<(Code, Item)> {
        let other = self.other_of(&self.row.session_id)?;
        let evidence = format!("session {} is also that of {}", self.row.session_id, other.key);
        Some(self.item(Code::PointerWrong, evidence, Cure::Person(RESET_ONE.to_owned())))
    }

    /// Another row of a session, unless the two may share it.
    fn other_of(&self, session: &str) -> Option<&Row> {
        let others = self.lineage.of_session(self.place, session);
        others.iter().find(|other| !is_family(&other.key, &self.row.key)).copied()
    }

    fn pointed_to(&self, store: &StoreSeen, file: String) -> Cure {
        Cure::Steps(vec![Step::EditRow {
            store: store.path.clone(),
            key: self.row.key.to_string(),
            was: String::new(),
            set: Map::from_iter([("sessionFile".to_owned(), Value::String(file))]),
            unset: Vec::new(),
        }])
    }

    /// Iff it is far above the usual size.
    fn oversized(&self) -> Option<(Code, Item)> {
        let (field, bytes) = self.row.largest.as_ref()?;
        let anew = MADE_ANEW.contains(&&**field);
        if self.row.bytes <= OVERSIZED_BYTES {
            return None;
        }
        let evidence = format!("{} bytes, of which {field} takes {bytes}", self.row.bytes);
        let cure = match self.place {
            RowsOf::Store(store) if anew => Cure::Steps(vec![Step::EditRow {
                store: store.path.clone(),
                key: self.row.key.to_string(),
                was: String::new(),
                set: Map::new(),
                unset: MADE_ANEW.iter().map(|field| (*field).to_owned()).collect(),
            }]),
            _ => {
                Cure::Person(format!("look at {field}; a reset of the session begins a small row"))
            }
        };
        Some(self.item(Code::RowOversized, evidence, cure))
    }
}

/// Iff an index is near the limit, and the largest fields of many of its rows are made anew: one case for
/// all of them.
fn made_anew(place: &RowsOf<'_>) -> Option<(Code, Item)> {
    let RowsOf::Store(store) = place else { return None };
    if store.bytes <= STRING_LIMIT / 2 {
        return None;
    }
    let fields = store.rows.iter().filter_map(|row| row.largest.as_ref());
    let anew = fields.filter(|(field, _)| MADE_ANEW.contains(&&**field));
    let (rows, bytes) = anew.fold((0, 0), |(rows, sum), (_, bytes)| (rows + 1, sum + bytes));
    let evidence =
        format!("{bytes} bytes of {} in fields that OpenClaw makes anew", counted(rows, "row"));
    let step = Step::StripFields {
        store: store.path.clone(),
        was: crate::finding::Stamp { bytes: 0, sha256: String::new() },
        fields: MADE_ANEW.iter().map(|field| (*field).to_owned()).collect(),
    };
    let item = Item {
        subject: Subject::File(store.path.clone()),
        evidence,
        bytes: Some(bytes),
        cure: Cure::Steps(vec![step]),
    };
    (rows > 0).then_some((Code::RowOversized, item))
}

fn remove(store: PathBuf, key: &str) -> Step {
    Step::RemoveRow { store, key: key.to_owned(), was: String::new() }
}

/// Renames a transcript into the form of deleted ones.
pub fn archive(folder: &Path, file: &str, survey: &Survey) -> Step {
    let stamp = names::archive_name("", Reason::Deleted, survey.now);
    let to = format!("{}{}", file.trim_end_matches(".jsonl"), stamp);
    let was = crate::finding::Stamp { bytes: 0, sha256: String::new() };
    Step::Rename { from: folder.join(file), to: folder.join(to), was }
}
