//! The databases of a folder: each is copied, opened, and read into the survey.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use sexton_domain::key::SessionKey;

use super::Gatherer;
use crate::finding::{Code, Cure, Item, Subject};
use crate::folder::copies;
use crate::inspect::survey::{AgentSeen, DatabaseSeen, Row, TranscriptSeen};
use crate::model::{JobRecord, ReceiptStatus, Tally};
use crate::read::agent_db::{AgentDb, Cold};
use crate::read::database::DatabaseError;
use crate::read::jobs;
use crate::read::snapshot::{Quality, Snapshot};
use crate::read::state_db::StateDb;
use crate::read::transcript::Survey as TranscriptSurvey;
use sexton_domain::words::counted;

/// How many faults of a database are looked for.
const FAULTS: u32 = 10;
/// What helps with records of a database that cannot be read.
const DOCTOR: &str = "run `openclaw doctor --fix`, or restore the database from a backup";

impl Gatherer<'_, '_> {
    /// `state/openclaw.sqlite`.
    pub(super) fn state_database(&mut self) {
        let Some(path) = self.folder.state_database.clone() else { return };
        // The files of the older era are not read any more: what they say of jobs is no evidence.
        (self.survey.jobs, self.survey.all_jobs, self.survey.earlier_jobs) = (None, false, None);
        let Some(snapshot) = self.snapshot(&path) else { return };
        let database = match StateDb::open(&snapshot) {
            Ok(database) => database,
            Err(error) => return self.refused(&path, &error),
        };
        self.damage(&path, &database.integrity(FAULTS));
        self.version.clone_from(&database.info().app_version);
        let mut found = Vec::new();
        let tally = database.jobs(&mut |job| found.push(job));
        self.dropped_rows(&path, &tally);
        self.survey.jobs_source.clone_from(&path);
        let are_told = self.unmigrated_jobs(&path, &found);
        self.take_jobs(found);
        self.survey.all_jobs = tally.dropped.is_empty()
            && are_told
            && self.survey.unmigrated_jobs.is_empty()
            && self.folder.job_quarantine.is_none();
        self.history(&path, &database);
        // Most of it was copied from files of a time before.
        let tally = database.run_log(&mut |_, entry| self.logged(&entry, false));
        self.dropped_rows(&path, &tally);
        let tally = database.receipts(&mut |receipt| {
            self.alive_at(receipt.finished_at.or(receipt.started_at));
            let agent = self.survey.agent_of(&receipt.job_id).map(str::to_owned);
            self.survey.told_agents.extend(agent);
            if receipt.status == Some(ReceiptStatus::Ok) {
                self.done(&receipt.job_id, receipt.started_at, "receipt");
            }
            self.ended_receipt(&receipt);
            if receipt.status == Some(ReceiptStatus::Running) {
                self.processes.insert(receipt.owner);
                self.survey.receipts.push(receipt);
            }
        });
        self.dropped_rows(&path, &tally);
        let tally = database.leases(&mut |lease| self.survey.leases.push(lease));
        self.dropped_rows(&path, &tally);
        let mut retained = Vec::new();
        let tally = database.retained(&mut |source| retained.push(source));
        self.dropped_rows(&path, &tally);
        self.retained(&retained);
        let tally = database.boots(&mut |boot| {
            self.alive_at(boot.completed_at.or(boot.started_at));
            self.survey.boots.push(boot);
        });
        self.survey.boots.sort_by_key(|boot| boot.started_at);
        self.dropped_rows(&path, &tally);
    }

    /// `tasks/runs.sqlite`, of the JSON era.
    pub(super) fn task_database(&mut self) {
        let Some(path) = self.folder.task_database.clone() else { return };
        let Some(snapshot) = self.snapshot(&path) else { return };
        match StateDb::open_tasks(&snapshot) {
            Ok(database) => {
                self.damage(&path, &database.integrity(FAULTS));
                self.history(&path, &database);
            }
            Err(error) => self.refused(&path, &error),
        }
    }

    fn history(&mut self, path: &Path, database: &StateDb) {
        let tally = database.tasks(&mut |task| {
            if self.folder.state_database.as_deref() == Some(path) {
                let key = task.session_key.as_deref();
                let key = key.and_then(|key| SessionKey::parse(key).ok());
                self.survey.told_agents.extend(key.and_then(|key| key.agent().map(str::to_owned)));
            }
            self.task(path, task);
        });
        self.dropped_rows(path, &tally);
    }

    /// Jobs where this era does not read them, and that the table has not: in the file of the other era, and
    /// beside a table without a job that a person made in what was made of that, and in copies of the database.
    /// Returns whether all of these could be read.
    fn unmigrated_jobs(&mut self, path: &Path, migrated: &[JobRecord]) -> bool {
        let is_of_person = |job: &JobRecord| job.system_mark().is_none();
        let lacks =
            |job: &JobRecord| is_of_person(job) && migrated.iter().all(|other| other.id != job.id);
        let is_emptied = !migrated.iter().any(is_of_person);
        let links = &self.folder.linked_out;
        let mut are_told = !links.iter().any(|link| self.folder.jobs_at.starts_with(link));
        let (current, old) = (self.folder.jobs.clone(), self.folder.migrated_jobs.clone());
        let files = current.into_iter().map(|path| (path, true));
        for (path, is_read) in files.chain(old.into_iter().map(|path| (path, is_emptied))) {
            let bytes = fs::read(self.root().join(&path));
            let (there, tally) = jobs::jobs(bytes.as_deref().unwrap_or_default());
            are_told &= !is_read || bytes.is_ok() && tally.dropped.is_empty();
            for job in &there {
                let before = (path.clone(), job.agent.clone());
                self.survey.agents_before.entry(job.id.clone()).or_insert(before);
            }
            let count = there.iter().filter(|job| is_read && lacks(job)).count();
            if count > 0 {
                self.survey.unmigrated_jobs.push((path, count));
            }
        }
        let copies = if is_emptied { copies(self.root(), path) } else { Vec::new() };
        for copy in copies {
            let found = self.jobs_of(&copy);
            are_told &= found.is_some();
            let count = found.iter().flatten().filter(|job| lacks(job)).count();
            if count > 0 {
                self.survey.unmigrated_jobs.push((copy, count));
            }
        }
        are_told
    }

    /// The jobs of a copy of the state database; none if it cannot be read.
    fn jobs_of(&self, copy: &Path) -> Option<Vec<JobRecord>> {
        let snapshot = Snapshot::take(&self.root().join(copy), &self.options.scratch).ok()?;
        let database = StateDb::open(&snapshot).ok()?;
        let mut found = Vec::new();
        database.jobs(&mut |job| found.push(job));
        Some(found)
    }

    /// An agent's database. What the agent has otherwise is compared with it, and learns which sessions its
    /// nodes name as earlier ones.
    pub(super) fn agent_database(
        &mut self,
        path: &Path,
        agent: &mut AgentSeen,
    ) -> Option<DatabaseSeen> {
        let snapshot = self.snapshot(path)?;
        let mut database = match AgentDb::open(&snapshot) {
            Ok(database) => database,
            Err(error) if error.is_older() => {
                agent.has_older_database = true;
                return None;
            }
            Err(error) => {
                self.refused(path, &error);
                return None;
            }
        };
        self.damage(path, &database.integrity(FAULTS));
        if self.version.is_none() {
            self.version.clone_from(&database.info().app_version);
        }
        let mut seen = DatabaseSeen {
            path: path.to_owned(),
            nodes: Vec::new(),
            cold: HashMap::new(),
            cold_keys: HashSet::new(),
            windows: HashMap::new(),
            transcripts: HashMap::new(),
            all_transcripts: false,
            archives: Vec::new(),
            fuller: None,
            bytes: snapshot.bytes,
            wal_bytes: snapshot.wal_bytes,
            free_bytes: database.info().free_bytes(),
        };
        let mut began: HashMap<Box<str>, Timestamp> = HashMap::new();
        let tally = database.windows(&mut |window| {
            self.alive_at(window.ended_at.or(window.updated_at));
            began.extend(window.started_at.map(|at| (window.session_id.clone(), at)));
            seen.windows.insert(window.session_id, (window.key, window.status));
        });
        self.dropped_rows(path, &tally);
        let tally = database.nodes(&mut |mut node| {
            self.alive_at(node.row.updated_at);
            let began = node.row.session_id.as_ref().and_then(|id| began.get(id)).copied();
            node.row.started_at = node.row.started_at.or(began);
            agent.earlier.extend(node.row.earlier.drain(..));
            seen.nodes.push((Row::of(node.row), node.stamp.into()));
        });
        self.dropped_rows(path, &tally);
        let tally = database.archives(&mut |archive, _| seen.archives.push(archive));
        self.dropped_rows(path, &tally);
        let mut archives = Vec::new();
        let tally = database.cold(self.root(), path, &mut |cold| archives.push(cold));
        self.dropped_rows(path, &tally);
        for cold in archives {
            cold.file.iter().for_each(|file| self.reading(file));
            let opened = database.open_cold(&cold);
            if let Err(reason) = &opened {
                self.cold_unreadable(path, &cold, reason);
            }
            let window = seen.windows.get(&cold.session_id);
            seen.cold_keys.extend(window.map(|(key, _)| key.clone()));
            seen.cold.insert(cold.session_id, opened.is_ok());
        }
        let events = self.transcripts_in(&database, &mut seen.transcripts);
        seen.all_transcripts = tally.dropped.is_empty() && events.dropped.is_empty();
        self.dropped_rows(path, &events);
        self.compare(agent, &database, &seen);
        if seen.is_blank() {
            seen.fuller = copies(self.root(), path).into_iter().find_map(|copy| {
                let count = self.sessions_of(&copy).filter(|count| *count > 0)?;
                Some((copy, count))
            });
        }
        Some(seen)
    }

    /// How many sessions a copy of an agent's database has; none if it cannot be read.
    fn sessions_of(&self, copy: &Path) -> Option<usize> {
        let snapshot = Snapshot::take(&self.root().join(copy), &self.options.scratch).ok()?;
        let database = AgentDb::open(&snapshot).ok()?;
        let mut count = 0;
        database.nodes(&mut |_| count += 1);
        Some(count)
    }

    fn transcripts_in(
        &mut self,
        database: &AgentDb,
        all: &mut HashMap<Box<str>, TranscriptSeen>,
    ) -> Tally {
        let mut current: Option<Current> = None;
        let tally = database.events(&mut |event| {
            if current.as_ref().is_none_or(|current| current.session != event.session_id) {
                finish(current.take(), all);
                let survey = TranscriptSurvey::new();
                current = Some(Current { session: event.session_id, survey, damaged: Vec::new() });
            }
            let Some(current) = &mut current else { return };
            let number = u64::try_from(event.seq).unwrap_or(0) + 1;
            match event.json {
                Ok(json) => current.survey.push(number, json.as_bytes()),
                Err(reason) => current.damaged.push((number, reason)),
            }
        });
        finish(current, all);
        self.alive_at(all.values().filter_map(|seen| seen.last_at).max());
        tally
    }

    fn snapshot(&mut self, path: &Path) -> Option<Snapshot> {
        self.reading(path);
        match Snapshot::take(&self.root().join(path), &self.options.scratch) {
            Ok(snapshot) => {
                if snapshot.quality == Quality::BestEffort {
                    self.best_effort.push(path.to_owned());
                }
                Some(snapshot)
            }
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
        }
    }

    fn refused(&mut self, path: &Path, error: &DatabaseError) {
        match error {
            // Theirs all have one: it was just made, or is somebody else's.
            DatabaseError::UnknownVersion { found: 0, .. } => {
                let evidence = "it is no database of OpenClaw: its version is 0".to_owned();
                self.database_sick(path, evidence, DOCTOR);
            }
            DatabaseError::UnknownVersion { .. } => {
                let help = "use a newer version of Sexton; nothing in it was read";
                self.database_sick(path, error.to_string(), help);
            }
            DatabaseError::NotADatabase | DatabaseError::Malformed(_) => {
                self.database_sick(path, error.to_string(), DOCTOR);
            }
        }
    }

    fn damage(&mut self, path: &Path, lines: &[String]) {
        if let Some(first) = lines.first() {
            self.database_sick(
                path,
                format!("{}; {first}", counted(lines.len() as u64, "fault")),
                DOCTOR,
            );
        }
    }

    fn database_sick(&mut self, path: &Path, evidence: String, help: &str) {
        let cure = Cure::Person(self.with_copy(path, help));
        let subject = Subject::File(path.to_owned());
        self.survey.note(Code::DatabaseUnreadable, Item { subject, evidence, bytes: None, cure });
    }

    fn cold_unreadable(&mut self, database: &Path, cold: &Cold, reason: &str) {
        let subject = Subject::DbRow {
            database: database.to_owned(),
            table: "session_transcript_cold_archives".to_owned(),
            id: cold.session_id.to_string(),
        };
        let events = counted(cold.events, "event");
        let evidence = format!("{events} moved to {}, which cannot be read: {reason}", cold.name);
        let cure = Cure::Person("bring the archive back from a backup".to_owned());
        self.survey.note(Code::RecordUnreadable, Item { subject, evidence, bytes: None, cure });
    }

    fn dropped_rows(&mut self, path: &Path, tally: &Tally) {
        self.dropped(Code::RecordUnreadable, path, tally, Cure::Person(DOCTOR.to_owned()));
    }
}

/// The transcript that is being read.
struct Current {
    session: String,
    survey: TranscriptSurvey,
    damaged: Vec<(u64, String)>,
}

fn finish(current: Option<Current>, all: &mut HashMap<Box<str>, TranscriptSeen>) {
    let Some(Current { session, survey, damaged }) = current else { return };
    let mut seen = TranscriptSeen::of(survey.finish());
    seen.damaged.extend(damaged);
    all.insert(session.into(), seen);
}
