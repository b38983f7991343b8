//! What the predicates look at: a whole state folder in a few hundred bytes a session.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use jiff::Timestamp;
use sexton_domain::duration::Duration;

use super::rows::MADE_ANEW;
use crate::address::Address;
use crate::finding::{Code, Item};
use crate::folder::Era;
use crate::heal::owner::{self, Liveness, Owner};
use crate::model::{
    Boot, DbArchive, JobRecord, Lease, Lock, Process, Receipt, SessionRow, Status, Task, TaskStatus,
};
use crate::read::names::{self, FileKind};
use crate::read::transcript::Summary;

/// A state folder as it was found.
#[derive(Debug)]
pub struct Survey {
    /// The instant that ages are counted to. Under a living gateway it is now. Else it is the newest
    /// time that the folder's records name: what nobody could do since then is no fault of theirs.
    pub as_of: Timestamp,
    /// Of which era its files are.
    pub era: Era,
    /// Where the folder lies.
    pub root: PathBuf,
    /// Stores, other than those in folders of sessions, that have more than one name, and how many.
    pub many_names: Vec<(PathBuf, u64)>,
    /// What leads out of it by a link.
    pub linked_out: Vec<PathBuf>,
    /// Folders that cannot be looked into, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// The clock's time, for files and for silence.
    pub now: Timestamp,
    /// The config, if something of it could not be read.
    pub config: Option<ConfigFault>,
    /// The process that owns the folder, if one lives.
    pub owner: Option<Owner>,
    /// What answers where its gateway would listen, if no such process is seen: one may run where processes
    /// have other ids.
    pub served: Option<String>,
    /// The agent of jobs that name none.
    pub default_agent: String,
    /// `cron.sessionRetention`; none if it is off.
    pub retention: Option<Duration>,
    /// `session.maintenance.maxEntries`.
    pub max_entries: u64,
    /// Whether the scheduler is switched on.
    pub cron_enabled: bool,
    /// The longest that a run may take by the timeouts of their jobs.
    pub longest_run: Duration,
    /// Where the jobs stand.
    pub jobs_source: PathBuf,
    /// The jobs; none if their source could not be read.
    pub jobs: Option<Vec<JobRecord>>,
    /// Whether these are all: none was unreadable, none is in quarantine, and none was left behind by a migration.
    pub all_jobs: bool,
    /// The file of jobs, if it is not there.
    pub no_jobs: Option<Absent>,
    /// The folders of the file of jobs and of the config, each with its files: of the latter's those that are
    /// named after it.
    pub other_folders: Vec<(PathBuf, Vec<FileSeen>)>,
    /// Files that lie beside jobs only.
    pub beside_jobs: Vec<PathBuf>,
    /// What migrations made of the file of jobs.
    pub migrated_jobs: Vec<PathBuf>,
    /// The shared database, if it is not there.
    pub no_state_database: Option<Absent>,
    /// The agents whose sessions the history names: run logs, and tasks and receipts of the shared database.
    pub told_agents: BTreeSet<String>,
    /// Jobs in files that the SQLite era does not read any more.
    pub unmigrated_jobs: Vec<(PathBuf, usize)>,
    /// The agents that jobs had when they were migrated, by the job, and which file says so.
    pub agents_before: BTreeMap<String, (PathBuf, Option<String>)>,
    /// Files of sessions that were imported, have to stay as they were, and have not.
    pub changed_sources: Vec<ChangedSource>,
    /// The jobs of the file of jobs before it was last written, if that could be read as a whole.
    pub earlier_jobs: Option<EarlierJobs>,
    /// The last run of each job that ended well, by the job.
    pub done: HashMap<Box<str>, Done>,
    /// How runs ended, by the id of their session.
    pub ends: HashMap<Box<str>, End>,
    /// How runs of jobs ended, by their job and start and by the id of their receipt.
    pub runs: HashMap<Box<str>, End>,
    /// The sessions that some run of a job worked in, with the job: their transcripts are its history.
    pub sessions_of_jobs: HashMap<Box<str>, Box<str>>,
    /// Tasks that have not ended, or are lost.
    pub tasks: Vec<(PathBuf, Task)>,
    /// Receipts that are running.
    pub receipts: Vec<Receipt>,
    /// Who has databases of agents open.
    pub leases: Vec<Lease>,
    /// Lives of their gateway.
    pub boots: Vec<Boot>,
    /// Lock files, and whether their owners live.
    pub locks: Vec<(Lock, Option<Liveness>)>,
    /// What is known of processes that records name.
    pub living: HashMap<Process, Liveness>,
    /// The agents.
    pub agents: Vec<AgentSeen>,
    /// What reading itself found.
    pub found: Vec<(Code, Item)>,
}

/// What could not be read of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it could be read as a whole.
    pub is_read: bool,
    /// What could not.
    pub remarks: Vec<String>,
    /// Copies of it that lie beside it, the newest first.
    pub copies: Vec<PathBuf>,
}

/// A file that was imported and is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedSource {
    /// Where it lies, or lay.
    pub path: PathBuf,
    /// When it was imported.
    pub imported_at: Option<Timestamp>,
    /// Its size then, in bytes.
    pub was: u64,
    /// Its size now; none if it is gone.
    pub is: Option<u64>,
}

/// A store that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Where it belongs.
    pub path: PathBuf,
    /// Copies of it that lie there, the newest first.
    pub copies: Vec<PathBuf>,
}

/// An earlier state of the file of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierJobs {
    /// Where it lies.
    pub path: PathBuf,
    /// The ids of its jobs, and when those were made.
    pub jobs: Vec<(String, Option<Timestamp>)>,
}

/// A run that ended well, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// When it began.
    pub at: Timestamp,
    /// Which record says so.
    pub says: &'static str,
}

/// Who says that a run ended with the death of its process: what it came to nobody knows.
pub const INTERRUPTED: &str = "interrupted receipt";

/// How a run ended, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: Option<Timestamp>,
    /// How, in the words of session rows.
    pub status: Status,
    /// Which record says so.
    pub says: &'static str,
}

/// A file in a sessions folder.
#[derive(Debug)]
pub struct FileSeen {
    /// Its name.
    pub name: Box<str>,
    /// What it is, by its name.
    pub kind: FileKind,
    /// Its size.
    pub bytes: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// How many names it has.
    pub links: u64,
    /// A symbolic link.
    pub is_link: bool,
}

/// An agent's part of the folder.
#[derive(Debug, Default)]
pub struct AgentSeen {
    /// Its id.
    pub id: String,
    /// Its sessions folder.
    pub sessions: Option<PathBuf>,
    /// Its index.
    pub store: Option<StoreSeen>,
    /// Its index, if it is not there.
    pub no_index: Option<Absent>,
    /// Its database, if it is not there.
    pub no_database: Option<Absent>,
    /// Whether it has one of a version before sessions were kept in it.
    pub has_older_database: bool,
    /// Whether all of its index could be read; without one, whether none is to be expected.
    pub is_indexed: bool,
    /// Sessions that its rows name as earlier ones of their keys.
    pub earlier: HashSet<Box<str>>,
    /// The files in its sessions folder.
    pub files: Vec<FileSeen>,
    /// What its transcripts say, by file name.
    pub transcripts: BTreeMap<Box<str>, TranscriptSeen>,
    /// Its database.
    pub database: Option<DatabaseSeen>,
}

/// A `sessions.json`.
#[derive(Debug)]
pub struct StoreSeen {
    /// Where.
    pub path: PathBuf,
    /// Its rows; of a repeated key the last.
    pub rows: Vec<Row>,
    /// Copies of it that lie beside it, the newest first.
    pub copies: Vec<PathBuf>,
    /// Its size.
    pub bytes: u64,
}

/// A session row, without what no predicate asks for.
#[derive(Debug, Clone)]
pub struct Row {
    /// The session key.
    pub key: Box<str>,
    /// `sessionId`; empty if there is none.
    pub session_id: Box<str>,
    /// `status`.
    pub status: Option<Status>,
    /// `sessionFile`.
    pub named: Option<Box<str>>,
    /// `updatedAt`.
    pub updated_at: Option<Timestamp>,
    /// `startedAt`, else `sessionStartedAt`.
    pub started_at: Option<Timestamp>,
    /// Whether the row counts any tokens.
    pub has_usage: bool,
    /// The size of its value.
    pub bytes: u64,
    /// Its largest field, of rows above [`Row::PLAIN_BYTES`].
    pub largest: Option<(Cow<'static, str>, u64)>,
    /// Where the value stands in its file.
    pub range: Range<u64>,
}

impl Row {
    /// Up to this size the fields of a row are of no interest.
    pub const PLAIN_BYTES: u64 = 4096;

    /// What is kept of a row.
    pub fn of(row: SessionRow) -> Self {
        Self {
            started_at: row.run_began_at(),
            key: row.key,
            session_id: row.session_id.unwrap_or_default(),
            status: row.status,
            named: match row.pointer {
                crate::model::Pointer::Derived => None,
                crate::model::Pointer::Named(file) => Some(file),
            },
            updated_at: row.updated_at,
            has_usage: row.usage.is_some_and(|usage| usage.input + usage.output > 0),
            bytes: row.bytes,
            largest: row.largest.filter(|_| row.bytes > Self::PLAIN_BYTES).map(|(field, bytes)| {
                // Most rows have one of these: no name of its own for each.
                let known = MADE_ANEW.iter().find(|known| **known == &*field);
                (
                    known.map_or_else(|| Cow::Owned(field.into_string()), |it| Cow::Borrowed(*it)),
                    bytes,
                )
            }),
            range: row.range,
        }
    }

    /// The name of the file that it means: that of its `sessionFile`, else the one that follows from its id.
    pub fn file_name(&self) -> String {
        names::file_name(self.named.as_deref(), &self.session_id)
    }

    /// What the key addresses.
    pub fn address(&self) -> Address {
        Address::of(&self.key)
    }
}

/// What a transcript says about itself.
#[derive(Debug, Clone, Default)]
pub struct TranscriptSeen {
    /// The id in its header.
    pub header_id: Option<Box<str>>,
    /// How many lines it has.
    pub lines: u64,
    /// The number of the last of them that can be read.
    pub last_sound: u64,
    /// How many of them are messages.
    pub messages: u64,
    /// How many of these the agent's database does not have in its transcript of the session.
    pub lacking: u64,
    /// The time of its first line.
    pub first_at: Option<Timestamp>,
    /// The time of its last line.
    pub last_at: Option<Timestamp>,
    /// The job that its first prompt names.
    pub job: Option<Box<str>>,
    /// Lines that cannot be read.
    pub damaged: Vec<(u64, String)>,
    /// Calls of tools without a result: line and call.
    pub unanswered: Vec<(u64, String)>,
    /// Results of tools without a call: line and call.
    pub uncalled: Vec<(u64, String)>,
}

/// An agent's database.
#[derive(Debug)]
pub struct DatabaseSeen {
    /// Where.
    pub path: PathBuf,
    /// Its nodes: rows whose range is empty, each with its stamp.
    pub nodes: Vec<(Row, Box<str>)>,
    /// Sessions whose events were moved out of the table, and whether their archive can be read.
    pub cold: HashMap<Box<str>, bool>,
    /// The keys of their windows.
    pub cold_keys: HashSet<Box<str>>,
    /// Its windows: id, key and status.
    pub windows: HashMap<Box<str>, (Box<str>, Option<Status>)>,
    /// The transcripts in it.
    pub transcripts: HashMap<Box<str>, TranscriptSeen>,
    /// Whether these are all, but for those in archives that cannot be read: each event could be read.
    pub all_transcripts: bool,
    /// The archives in it.
    pub archives: Vec<DbArchive>,
    /// Of one that never had a session: the newest copy beside it that has some, and how many.
    pub fuller: Option<(PathBuf, usize)>,
    /// The size of the database.
    pub bytes: u64,
    /// The size of its log.
    pub wal_bytes: u64,
    /// Bytes of its free pages.
    pub free_bytes: u64,
}

impl AgentSeen {
    /// Whether there is no database that its sessions could be kept in.
    pub fn keeps_files(&self) -> bool {
        self.no_database.is_some() || self.has_older_database
    }
}

impl DatabaseSeen {
    /// Whether it has the transcript of a session, in the table or moved out of it.
    pub fn has(&self, session: &str) -> bool {
        self.transcripts.contains_key(session) || self.cold.contains_key(session)
    }

    /// Whether it is certain that it has no transcript of a session.
    pub fn lacks(&self, session: &str) -> bool {
        self.all_transcripts && !self.has(session)
    }

    /// Whether nothing in it tells of a session, not even of one that is gone.
    pub fn is_blank(&self) -> bool {
        self.nodes.is_empty()
            && self.windows.is_empty()
            && self.transcripts.is_empty()
            && self.cold.is_empty()
            && self.archives.is_empty()
    }
}

impl TranscriptSeen {
    /// What is kept of a summary. A last line that was cut off counts as damaged, words such as
    /// `undefined` too.
    pub fn of(summary: Summary) -> Self {
        let mut damaged = summary.damaged.first;
        damaged.extend(
            summary.void.first.into_iter().map(|(line, word)| (line, format!("the word {word}"))),
        );
        damaged.extend(summary.partial_tail);
        damaged.sort();
        if summary.header_fault.is_some() && damaged.first().is_none_or(|(line, _)| *line != 1) {
            damaged.insert(0, (1, summary.header_fault.unwrap_or_default()));
        }
        let job = summary.prompt.as_deref().and_then(|prompt| {
            let (job, _) = prompt.strip_prefix("[cron:")?.split_once([' ', ']'])?;
            Some(job.into())
        });
        Self {
            header_id: summary.header.and_then(|header| header.id).map(String::into_boxed_str),
            lines: summary.lines,
            last_sound: summary.last_sound,
            messages: summary.messages,
            lacking: 0,
            first_at: summary.first_at,
            last_at: summary.last_at,
            job,
            damaged,
            unanswered: summary.open_calls.first,
            uncalled: summary.lone_results.first,
        }
    }
}

impl Survey {
    /// Whether a job of this id is there; `None` if that is not known.
    pub fn has_job(&self, id: &str) -> Option<bool> {
        let known = self.jobs.as_ref()?.iter().any(|job| job.id.eq_ignore_ascii_case(id));
        (known || self.all_jobs).then_some(known)
    }

    /// The agent that a job works for, if the job is there.
    pub fn agent_of(&self, job: &str) -> Option<&str> {
        let job = self.jobs.iter().flatten().find(|other| other.id == job)?;
        Some(job.agent.as_deref().unwrap_or(&self.default_agent))
    }

    /// Whether it is certain that no process owns the folder.
    pub fn is_nobodys(&self) -> bool {
        self.owner.is_none() && self.served.is_none() && owner::sees_processes()
    }

    /// How long before `as_of` something was, in whole seconds.
    pub fn age(&self, at: Timestamp) -> Duration {
        Duration::from_secs(Duration::between(at, self.as_of).as_millis() / 1000)
    }

    /// The agents that keep their sessions in the same folder: most often just the one. The files are those
    /// of the first.
    pub fn beside<'a>(&'a self, agent: &'a AgentSeen) -> impl Iterator<Item = &'a AgentSeen> {
        let same = move |other: &&AgentSeen| {
            other.id == agent.id || (agent.sessions.is_some() && other.sessions == agent.sessions)
        };
        self.agents.iter().filter(same)
    }

    /// The rows of all agents that keep their sessions in the same folder.
    pub fn rows_beside<'a>(&'a self, agent: &'a AgentSeen) -> impl Iterator<Item = &'a Row> {
        self.beside(agent).flat_map(|agent| &agent.store).flat_map(|store| &store.rows)
    }

    /// The files in the folder of an agent's sessions.
    pub fn files_beside<'a>(&'a self, agent: &'a AgentSeen) -> impl Iterator<Item = &'a FileSeen> {
        self.beside(agent).flat_map(|agent| &agent.files)
    }

    /// What a transcript in the folder of an agent's sessions says.
    pub fn transcript<'a>(
        &'a self,
        agent: &'a AgentSeen,
        file: &str,
    ) -> Option<&'a TranscriptSeen> {
        self.beside(agent).find_map(|agent| agent.transcripts.get(file))
    }

    /// The ids of the sessions that some row or window names and that a transcript of the agent may be of: its
    /// name or its header says so.
    pub fn known_sessions<'a>(&'a self, agent: &'a AgentSeen) -> HashSet<Cow<'a, str>> {
        let named = agent.files.iter().filter_map(|file| match &file.kind {
            FileKind::Transcript { session_id, .. } | FileKind::Checkpoint { session_id, .. } => {
                Some(session_id.as_str())
            }
            _ => None,
        });
        let headers = agent.transcripts.values().filter_map(|seen| seen.header_id.as_deref());
        let asked: HashSet<&str> = named.chain(headers).collect();
        let rows = self.rows_beside(agent).flat_map(|row| {
            let own = &*row.session_id;
            let run = match row.address() {
                Address::Run { run, .. } if run != own => Some(Cow::Owned(run)),
                _ => None,
            };
            [Some(Cow::Borrowed(own)), run].into_iter().flatten()
        });
        let databases = self.beside(agent).flat_map(|agent| &agent.database);
        let windows = databases.flat_map(|database| database.windows.keys());
        let windows = windows.map(|id| Cow::Borrowed(&**id));
        rows.chain(windows).filter(|id| !id.is_empty() && asked.contains(&**id)).collect()
    }

    /// Takes down what reading found.
    pub fn note(&mut self, code: Code, item: Item) {
        self.found.push((code, item));
    }
}

/// How a task's end reads in the words of session rows; none while it is under way or lost.
pub fn ended_as(status: TaskStatus) -> Option<Status> {
    match status {
        TaskStatus::Succeeded => Some(Status::Done),
        TaskStatus::Failed => Some(Status::Failed),
        TaskStatus::TimedOut => Some(Status::Timeout),
        TaskStatus::Cancelled => Some(Status::Killed),
        TaskStatus::Queued | TaskStatus::Running | TaskStatus::Lost => None,
    }
}
