//! Reads a whole state folder into a [`Survey`]: every source once, what cannot be read is taken down.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sexton_domain::duration::Duration;
use sexton_domain::key::SessionKey;

use super::Options;
use super::survey::{
    Absent, AgentSeen, ConfigFault, Done, EarlierJobs, End, INTERRUPTED, Survey, ended_as,
};
use crate::address::Address;
use crate::address::cron_id;
use crate::finding::{Code, Cure, Item, Subject};
use crate::folder::{self, Era, Folder};
use crate::heal::cut_off_holders;
use crate::heal::owner::{self, Claims, Liveness};
use crate::model::{
    JobRecord, Lock, Place, Process, Receipt, ReceiptStatus, RunEntry, RunStatus, Status, Tally,
    Task,
};
use crate::read::config::Retention;
use crate::read::{jobs, runs};
use sexton_domain::words::counted;

mod beside;
mod databases;
mod files;
mod retained;

/// The longest that a run may take where its job says nothing (an agent's turn).
const DEFAULT_RUN_SECS: u64 = 3600;

/// A folder, gathered.
pub(super) struct Gathered {
    pub survey: Survey,
    pub version: Option<String>,
    pub best_effort: Vec<PathBuf>,
    pub bytes_read: u64,
}

/// Reads everything.
pub(super) fn gather(folder: &Folder, options: Options<'_>) -> Gathered {
    let mut gatherer = Gatherer {
        folder,
        survey: blank(folder, options.now),
        options,
        version: None,
        best_effort: Vec::new(),
        bytes_read: 0,
        newest: None,
        processes: BTreeSet::new(),
    };
    gatherer.jobs();
    gatherer.run_logs();
    gatherer.state_database();
    gatherer.task_database();
    gatherer.job_quarantine();
    for agent in &folder.agents {
        gatherer.agent(agent);
    }
    gatherer.finish()
}

fn blank(folder: &Folder, now: Timestamp) -> Survey {
    let config = &folder.config;
    Survey {
        root: folder.root.clone(),
        many_names: files::many_names(folder),
        linked_out: folder.linked_out.clone(),
        unreadable: folder.unreadable.clone(),
        config: (!folder.remarks.is_empty()).then(|| ConfigFault {
            path: PathBuf::from(folder::CONFIG),
            is_read: folder.config_is_read,
            remarks: folder.remarks.clone(),
            copies: folder::copies(&folder.root, Path::new(folder::CONFIG)),
        }),
        as_of: now,
        now,
        owner: None,
        served: None,
        default_agent: config.default_agent().to_owned(),
        retention: match config.session_retention {
            Retention::Never => None,
            // A switch: the newer versions take it for off, and so does everybody who reads it.
            Retention::After(retention) => Some(retention).filter(|retention| !retention.is_zero()),
        },
        era: folder.era(),
        max_entries: 0,
        cron_enabled: config.cron_enabled,
        longest_run: Duration::from_secs(DEFAULT_RUN_SECS),
        jobs_source: folder.jobs.clone().unwrap_or_default(),
        jobs: None,
        all_jobs: false,
        no_jobs: absent(&folder.root, &folder.jobs_at),
        other_folders: files::of_jobs_and_config(&folder.root, &folder.jobs_at),
        beside_jobs: folder.job_states.iter().chain(&folder.job_backup).cloned().collect(),
        migrated_jobs: folder.migrated_jobs.clone(),
        no_state_database: absent(&folder.root, Path::new(folder::STATE_DATABASE)),
        told_agents: BTreeSet::new(),
        unmigrated_jobs: Vec::new(),
        agents_before: BTreeMap::new(),
        changed_sources: Vec::new(),
        earlier_jobs: None,
        done: HashMap::new(),
        ends: HashMap::new(),
        runs: HashMap::new(),
        sessions_of_jobs: HashMap::new(),
        tasks: Vec::new(),
        receipts: Vec::new(),
        leases: Vec::new(),
        boots: Vec::new(),
        locks: Vec::new(),
        living: HashMap::new(),
        agents: Vec::new(),
        found: Vec::new(),
    }
}

/// A store that is not there, not even as a link.
fn absent(root: &Path, path: &Path) -> Option<Absent> {
    let gone = fs::symlink_metadata(root.join(path))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    gone.then(|| Absent { path: path.to_owned(), copies: folder::copies(root, path) })
}

struct Gatherer<'f, 'o> {
    folder: &'f Folder,
    options: Options<'o>,
    survey: Survey,
    version: Option<String>,
    best_effort: Vec<PathBuf>,
    bytes_read: u64,
    newest: Option<Timestamp>,
    processes: BTreeSet<Process>,
}

impl Gatherer<'_, '_> {
    fn root(&self) -> &Path {
        &self.folder.root
    }

    /// Says that a file is about to be read.
    fn reading(&mut self, path: &Path) {
        let size = fs::metadata(self.root().join(path)).map_or(0, |meta| meta.len());
        self.bytes_read += size;
        (self.options.progress)(path, size);
    }

    /// A time that some record names: the folder was alive then.
    fn alive_at(&mut self, at: Option<Timestamp>) {
        let sane = at.filter(|at| *at <= self.options.now);
        self.newest = self.newest.max(sane);
    }

    /// What helps with a file, and the newest copy beside it.
    fn with_copy(&self, path: &Path, help: &str) -> String {
        match folder::copies(self.root(), path).first() {
            Some(copy) => format!("{help}; a copy lies beside it: {}", copy.display()),
            None => help.to_owned(),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &dyn std::error::Error) {
        let cure = Cure::Person("see to the permissions and the disk".to_owned());
        let subject = Subject::File(path.to_owned());
        let evidence = error.to_string();
        self.survey.note(Code::RecordUnreadable, Item { subject, evidence, bytes: None, cure });
    }

    /// Records of a file that could not be read, as one case.
    fn dropped(&mut self, code: Code, path: &Path, tally: &Tally, cure: Cure) {
        let Some(first) = tally.dropped.first() else { return };
        let evidence = format!(
            "{} of {}; {}: {}",
            tally.dropped.len(),
            counted(tally.read + tally.dropped.len() as u64, "record"),
            first.place,
            first.reason
        );
        let subject = Subject::File(path.to_owned());
        self.survey.note(code, Item { subject, evidence, bytes: None, cure });
    }

    /// A file as a whole.
    fn bytes(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.reading(path);
        let read = fs::read(self.root().join(path));
        read.inspect_err(|error| self.unreadable(path, error)).ok()
    }

    fn jobs(&mut self) {
        let Some(path) = self.folder.jobs.clone() else { return };
        let Some(bytes) = self.bytes(&path) else { return };
        let (records, tally) = jobs::jobs(&bytes);
        let help = "mend the file by hand; openclaw doctor moves such jobs to jobs-quarantine.json";
        let whole = tally.dropped.iter().any(|dropped| dropped.place == Place::Whole);
        let help = if whole { self.with_copy(&path, help) } else { help.to_owned() };
        self.dropped(Code::RecordUnreadable, &path, &tally, Cure::Person(help));
        let states = self.folder.job_states.clone().and_then(|path| {
            self.reading(&path);
            let bytes = fs::read(self.root().join(&path)).ok()?;
            let (states, tally) = jobs::states(&bytes);
            let help = "OpenClaw makes the state anew: delete the file".to_owned();
            self.dropped(Code::RecordUnreadable, &path, &tally, Cure::Person(help));
            Some(states)
        });
        if !whole {
            self.take_jobs(jobs::join(records, &states.unwrap_or_default()));
        }
        self.survey.all_jobs = tally.dropped.is_empty() && self.folder.job_quarantine.is_none();
        self.earlier_jobs();
    }

    /// Jobs that OpenClaw put aside because it could not run them, unless they are back, or nobody misses them.
    fn job_quarantine(&mut self) {
        let Some(path) = self.folder.job_quarantine.clone() else { return };
        let Some(bytes) = self.bytes(&path) else { return };
        let (entries, tally) = jobs::quarantined(&bytes);
        let help = "look into it: OpenClaw goes by no such file".to_owned();
        self.dropped(Code::RecordUnreadable, &path, &tally, Cure::Person(help));
        for entry in entries {
            let why = entry.why();
            let (subject, name) = match entry.job {
                Ok(job) if !job.enabled || job.system_mark().is_some() => continue,
                Ok(job) if self.survey.has_job(&job.id) == Some(true) => continue,
                Ok(job) => {
                    let subject = Subject::Job { source: path.clone(), id: job.id.clone() };
                    (subject, job.name.unwrap_or(job.id))
                }
                Err(reason) => (Subject::Part { path: path.clone(), place: entry.place }, reason),
            };
            let evidence = format!("{name}: {why}");
            let help = format!(
                "make it anew (openclaw cron add) and take it out of {}; or bring the folder over and enable it",
                path.display()
            );
            let cure = Cure::Person(help);
            self.survey.note(Code::JobNeverFires, Item { subject, evidence, bytes: None, cure });
        }
    }

    /// OpenClaw keeps what the file of jobs held before it wrote it.
    fn earlier_jobs(&mut self) {
        let Some(path) = self.folder.job_backup.clone() else { return };
        self.reading(&path);
        let (jobs, tally) = jobs::jobs(&fs::read(self.root().join(&path)).unwrap_or_default());
        if tally.dropped.is_empty() {
            let jobs = jobs.into_iter().map(|job| (job.id, job.created_at)).collect();
            self.survey.earlier_jobs = Some(EarlierJobs { path, jobs });
        }
    }

    /// A run that ended well.
    fn done(&mut self, job: &str, at: Option<Timestamp>, says: &'static str) {
        let Some(at) = at else { return };
        if self.survey.done.get(job).is_none_or(|known| known.at < at) {
            self.survey.done.insert(job.into(), Done { at, says });
        }
    }

    fn take_jobs(&mut self, jobs: Vec<JobRecord>) {
        for job in &jobs {
            let timeout =
                job.raw.pointer("/payload/timeoutSeconds").and_then(|value| value.as_f64());
            let longest = match timeout {
                Some(seconds) if seconds <= 0.0 => Duration::from_millis(u64::MAX),
                Some(seconds) => Duration::from_millis((seconds * 1000.0) as u64),
                None => Duration::ZERO,
            };
            self.survey.longest_run = self.survey.longest_run.max(longest);
            let ended = job
                .state
                .last_run_at
                .map(|at| Duration::from_millis(job.state.last_duration_ms.unwrap_or(0)).after(at));
            for at in [job.updated_at, job.created_at, ended, job.state.running_at] {
                self.alive_at(at);
            }
        }
        self.survey.jobs = Some(jobs);
    }

    fn run_logs(&mut self) {
        for path in self.folder.run_logs.clone() {
            self.reading(&path);
            let file = match File::open(self.root().join(&path)) {
                Ok(file) => file,
                Err(error) => {
                    self.unreadable(&path, &error);
                    continue;
                }
            };
            // One that was migrated is of a time before the stores of now, and tells nothing of those.
            let is_migrated = path.extension().is_some_and(|ending| ending == "migrated");
            let mut entries = Vec::new();
            let read = runs::runs(BufReader::new(file), &mut |_, entry| entries.push(entry));
            for entry in entries {
                self.logged(&entry, !is_migrated);
            }
            match read {
                Ok(tally) => {
                    let lines = lines_of(&tally);
                    let was = crate::finding::Stamp { bytes: 0, sha256: String::new() };
                    let step = crate::finding::Step::DropLines { path: path.clone(), was, lines };
                    self.dropped(Code::RecordUnreadable, &path, &tally, Cure::Steps(vec![step]));
                }
                Err(error) => self.unreadable(&path, &error),
            }
        }
    }

    /// An entry of a run log, which may tell which agents there are.
    fn logged(&mut self, entry: &RunEntry, tells_agents: bool) {
        let key = entry.session_key.as_deref().and_then(|key| SessionKey::parse(key).ok());
        let agent = key.as_ref().and_then(|key| Some(key.agent()?.to_owned()));
        self.survey.told_agents.extend(agent.filter(|_| tells_agents));
        self.run(entry, "run log");
        self.ended(entry, "run log");
    }

    /// A finished run: how its session ended, and whose history the session is.
    fn run(&mut self, run: &RunEntry, says: &'static str) {
        let at = end_of(run);
        self.alive_at(at);
        if run.status == Some(RunStatus::Ok) {
            self.done(&run.job_id, run.run_at, says);
        }
        let Some(session) = run.session_id.as_deref() else { return };
        self.survey.sessions_of_jobs.insert(session.into(), run.job_id.as_str().into());
        if let Some(status) = status_of(run) {
            let end = End { at, status, says };
            let known = self.survey.ends.get(session);
            if known.is_none_or(|known| known.at < end.at) {
                self.survey.ends.insert(session.into(), end);
            }
        }
    }

    /// The end of a run by the run itself: its task may know neither session nor end.
    fn ended(&mut self, run: &RunEntry, says: &'static str) {
        let Some((began_at, status)) = run.run_at.zip(status_of(run)) else { return };
        let name = cron_id(&run.job_id, began_at).into_boxed_str();
        self.survey.runs.entry(name).or_insert(End { at: end_of(run), status, says });
    }

    /// The same by its receipt.
    fn ended_receipt(&mut self, receipt: &Receipt) {
        let Some(end) = end_of_receipt(receipt) else { return };
        let began = receipt.started_at.map(|at| cron_id(&receipt.job_id, at));
        for name in began.into_iter().chain([receipt.id.clone()]) {
            self.survey.runs.entry(name.into_boxed_str()).or_insert_with(|| end.clone());
        }
    }

    fn task(&mut self, path: &Path, task: Task) {
        for at in [task.ended_at, task.last_event_at, task.started_at] {
            self.alive_at(at);
        }
        if let Some(owner) = task.owner {
            self.processes.insert(owner);
        }
        let address = task.session_key.as_deref().map(Address::of);
        if let Some(Address::Run { job, run: session }) = address {
            let session = session.into_boxed_str();
            self.survey.sessions_of_jobs.insert(session.clone(), job.into());
            let status = task.status.and_then(ended_as);
            if let Some(status) = status
                && !self.survey.ends.contains_key(&session)
            {
                let end = End { at: task.ended_at, status, says: "task" };
                self.survey.ends.insert(session, end);
            }
        }
        match task.status.map(ended_as) {
            Some(None) => self.survey.tasks.push((path.to_owned(), task)),
            _ => {
                if let Some(run) = &task.run {
                    self.run(run, "task");
                }
            }
        }
    }

    fn agent(&mut self, agent: &folder::Agent) {
        let mut seen = AgentSeen {
            id: agent.id.clone(),
            sessions: agent.sessions.clone(),
            no_index: absent(self.root(), &agent.index_at),
            // Where the config names another place, the usual one is read as well.
            no_database: absent(self.root(), &agent.database_at)
                .filter(|_| agent.database.is_none()),
            ..AgentSeen::default()
        };
        let is_read = |other: &AgentSeen| other.sessions == agent.sessions;
        if let Some(sessions) = &agent.sessions
            && !self.survey.agents.iter().any(is_read)
        {
            self.files(sessions, &mut seen);
        }
        if let Some(index) = &agent.index {
            seen.store = self.store(index, &mut seen);
        }
        if let Some(path) = &agent.database {
            seen.database = self.agent_database(path, &mut seen);
        }
        self.survey.agents.push(seen);
    }

    /// Who lives, since when nobody does, and what that makes of locks.
    fn finish(mut self) -> Gathered {
        if self.survey.era == Era::Both && self.survey.agents.iter().all(AgentSeen::keeps_files) {
            self.survey.era = Era::Mixed;
        }
        let usual = match self.survey.era {
            Era::Json | Era::Mixed | Era::Empty => 500,
            Era::Sqlite | Era::Both => 5000,
        };
        self.survey.max_entries = self.folder.config.max_entries.unwrap_or(usual);
        for boot in self.survey.boots.iter().filter(|boot| boot.completed_at.is_none()) {
            self.processes.insert(Process { pid: boot.pid, started_ticks: None });
        }
        let locks: Vec<Lock> = self.survey.locks.iter().map(|(lock, _)| lock.clone()).collect();
        let Survey { receipts, leases, boots, .. } = &self.survey;
        let claims = Claims { locks: &locks, receipts, leases, boots };
        self.survey.owner = owner::live_gateway(self.root(), claims);
        if self.survey.owner.is_none() {
            self.survey.as_of = self.newest.unwrap_or(self.options.now);
            self.survey.served = self.options.served.take();
        }
        // A gateway that is not seen has its processes elsewhere: their ids say nothing here.
        let is_seen = self.survey.served.is_none();
        for process in std::mem::take(&mut self.processes) {
            let life = if is_seen { owner::is_alive(process) } else { Liveness::Unknown };
            self.survey.living.insert(process, life);
        }
        let holders = self.survey.locks.iter_mut().filter_map(|(_, holder)| holder.as_mut());
        holders.filter(|_| !is_seen).for_each(|holder| *holder = Liveness::Unknown);
        let cut_off = cut_off_holders(self.root());
        let is_left = |lock: &Lock| lock.owner.is_some_and(|owner| cut_off.contains(&owner));
        self.survey
            .locks
            .retain(|(lock, holder)| !is_left(lock) || *holder == Some(Liveness::Alive));
        Gathered {
            survey: self.survey,
            version: self.version,
            best_effort: self.best_effort,
            bytes_read: self.bytes_read,
        }
    }
}

fn lines_of(tally: &Tally) -> Vec<u64> {
    let line = |dropped: &crate::model::Dropped| match dropped.place {
        crate::model::Place::Line(line) => Some(line),
        _ => None,
    };
    tally.dropped.iter().filter_map(line).collect()
}

/// When a run ended: its start and how long it took, else when it was written down.
pub(super) fn end_of(run: &RunEntry) -> Option<Timestamp> {
    let end = run.run_at.zip(run.duration_ms);
    end.map(|(at, took)| Duration::from_millis(took).after(at)).or(run.at)
}

/// How a run ended in the words of session rows.
pub(super) fn status_of(run: &RunEntry) -> Option<Status> {
    match run.status? {
        RunStatus::Ok | RunStatus::Skipped => Some(Status::Done),
        RunStatus::Error => Some(failed(run.error.as_deref())),
    }
}

fn failed(error: Option<&str>) -> Status {
    match error {
        Some(error) if error.contains("timed out") => Status::Timeout,
        _ => Status::Failed,
    }
}

/// How a run ended by its receipt; none while it is under way.
fn end_of_receipt(receipt: &Receipt) -> Option<End> {
    let (status, says) = match receipt.status? {
        ReceiptStatus::Running => return None,
        ReceiptStatus::Ok | ReceiptStatus::Skipped => (Status::Done, "receipt"),
        ReceiptStatus::Error => (failed(receipt.error.as_deref()), "receipt"),
        ReceiptStatus::Superseded => (Status::Killed, "receipt"),
        ReceiptStatus::Interrupted => (Status::Failed, INTERRUPTED),
    };
    Some(End { at: receipt.finished_at, status, says })
}
