//! Reads a state folder for an import: which sessions and runs there are, and where their records stand.
//! Transcripts are looked through once for their times and sums, and read again when they are stored.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::key::{SessionKey, SessionKind, Shape};
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::run::{Outcome, Run};
use sexton_domain::schedule::Zone;
use sexton_domain::session::Session;
use sexton_domain::usage::{Tokens, Usage};

use super::account::Source;
use super::brought::Brought;
use super::entries;
use super::runs::{Past, Place as RunPlace};
use super::sessions::{self, End, Home};
use super::text::{Text, Texts};
use crate::folder::{CONFIG, Folder, FolderError, copies};
use crate::model::is_of_this_run;
use crate::read::config::agent_id;
use under_way::Gateway;

mod agents;
mod database;
mod files;
mod history;
mod index;
mod jobs;
mod under_way;

pub use agents::Agent;
pub use jobs::NewJob;
pub use under_way::UnderWay;

/// How an import is done.
pub struct Options<'a> {
    /// Now.
    pub now: Timestamp,
    /// Where copies of databases are made.
    pub scratch: PathBuf,
    /// Agents that are called otherwise here: theirs to ours.
    pub agents: BTreeMap<String, AgentName>,
    /// The jobs that are stored, removed ones too.
    pub jobs: BTreeMap<JobId, Job>,
    /// The sessions that earlier imports brought.
    pub sessions: Brought,
    /// Whether jobs that are enabled there are enabled here.
    pub enable: bool,
    /// The zone of their machine.
    pub zone: Zone,
    /// What answers where the gateway would listen, in words; none if that is known to be another one.
    pub served: Option<String>,
    /// Told before a file is read, with its size.
    pub progress: &'a mut dyn FnMut(&Path, u64),
}

/// What was found.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The account of each source: what was found, and what became of the records that are not handed on.
    pub sources: Vec<Source>,
    /// The sessions, those of one key in the order of time. One may be told of more than once.
    pub generations: Vec<Generation>,
    /// The agents of the config, and those that jobs name which are not stored yet; each name once.
    pub agents: Vec<Agent>,
    /// Agents that are to be called otherwise and are not there, each in a sentence.
    pub nobody: Vec<String>,
    /// The jobs that are not stored yet.
    pub jobs: Vec<NewJob>,
    /// Those that are stored and are to run now, as they are then.
    pub enabled: Vec<Job>,
    /// The runs.
    pub runs: Vec<Ran>,
    /// Files that are not imported: copies, locks, what belongs to a transcript; with the reason where the
    /// name does not tell it.
    pub left_out: Vec<String>,
    /// What is to be said about the reading.
    pub remarks: Vec<String>,
    /// What is left out because a living gateway is at work on it; none where there is no such gateway.
    pub under_way: Option<UnderWay>,
    /// Where the transcripts are read from.
    pub texts: Texts,
}

/// A run with where its records are.
#[derive(Debug)]
pub struct Ran {
    /// The run.
    pub run: Run,
    /// The sources of its records.
    pub records: Vec<usize>,
    /// What it took, where no line of a transcript tells of it.
    pub sum: Option<Usage>,
}

/// A session with where its records are.
#[derive(Debug)]
pub struct Generation {
    /// The session, without entries yet.
    pub session: Session,
    /// The sources of its rows.
    pub rows: Vec<usize>,
    /// Its transcript, if there is one.
    pub text: Option<Text>,
}

/// A session of theirs before it is ours.
#[derive(Debug)]
struct Draft {
    told: sessions::Told,
    rows: Vec<usize>,
    text: Option<Text>,
    /// What else it is called there: the name of its file and its row may have another id than its header.
    also: Vec<String>,
}

/// The sessions of the folder as ours, as far as runs have to know them.
#[derive(Default)]
struct Met {
    /// By the agent and the id there.
    ids: HashMap<There, SessionId>,
    /// Those whose transcripts tell what they took.
    told: HashSet<There>,
    /// What the sessions of runs took, by their transcripts.
    took: HashMap<RunId, Tokens>,
}

/// An agent and the id of a session there.
type There = (AgentName, String);

/// The reading of a folder.
struct Gather<'a, 'b> {
    options: &'a mut Options<'b>,
    folder: Folder,
    found: Gathered,
    /// Jobs of ours by the ids of theirs.
    jobs: BTreeMap<String, (JobId, JobKey)>,
    /// The ids of the state database's jobs, if it has some: those of the older era's files are not current.
    job_table: Option<BTreeSet<String>>,
    /// The gateway that runs on it.
    gateway: Option<Gateway>,
    /// Jobs that are here already and the same.
    same: Vec<JobKey>,
    pasts: BTreeMap<RunId, (Past, Vec<usize>)>,
    /// The last run of each session of theirs.
    run_of: HashMap<String, RunId>,
    drafts: Vec<Draft>,
}

/// Reads a folder.
///
/// # Errors
///
/// [`FolderError`] if it is none. What cannot be read within it is quarantined.
pub fn gather(path: &Path, mut options: Options<'_>) -> Result<Gathered, FolderError> {
    let folder = Folder::open(path)?;
    let texts = Texts::new(folder.root.clone());
    let remarks = folder.remarks.iter().map(|remark| format!("{CONFIG}: {remark}")).collect();
    let found = Gathered { texts, remarks, ..Gathered::default() };
    let mut gather = Gather {
        options: &mut options,
        folder,
        found,
        jobs: BTreeMap::new(),
        job_table: None,
        gateway: None,
        same: Vec::new(),
        pasts: BTreeMap::new(),
        run_of: HashMap::new(),
        drafts: Vec::new(),
    };
    for link in gather.folder.linked_out.clone() {
        gather.lost(&link, "it leads out of the folder by a link, and is not followed".to_owned());
    }
    for (folder, reason) in gather.folder.unreadable.clone() {
        gather.lost(&folder, reason);
    }
    gather.history();
    gather.settle_runs();
    gather.job_files();
    gather.job_quarantine();
    gather.say_what_stays();
    gather.found.agents = gather.agents();
    gather.say_what_lies_beside();
    gather.find_who_is_none();
    for index in 0..gather.folder.agents.len() {
        gather.database(index);
        gather.files(index);
    }
    gather.say_what_is_under_way();
    Ok(gather.finish())
}

impl Gather<'_, '_> {
    /// A source, to be counted into.
    fn source(&mut self, source: Source) -> usize {
        self.found.sources.push(source);
        self.found.sources.len() - 1
    }

    /// Where a file of the folder is.
    fn at(&self, path: &Path) -> PathBuf {
        self.folder.root.join(path)
    }

    /// A file that is about to be read; quarantined where it cannot be.
    fn opened(&mut self, path: &Path) -> Option<File> {
        let real = self.at(path);
        let opened = File::open(&real).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((size, file)) => {
                (self.options.progress)(path, size);
                Some(file)
            }
            Err(error) => {
                self.unread(path, &error);
                None
            }
        }
    }

    /// A source of which nothing can be read.
    fn unread(&mut self, path: &Path, error: &dyn std::error::Error) {
        self.lost(path, sexton_domain::errors::causes(error));
    }

    /// The same, for this reason.
    fn lost(&mut self, path: &Path, reason: String) {
        let mut source = Source { path: path.display().to_string(), ..Source::default() };
        source.unread(reason);
        self.source(source);
    }

    /// Names the copies of databases: a folder that lost its store may have it there.
    fn say_what_lies_beside(&mut self) {
        let Folder { root, agents, state_database, task_database, .. } = &self.folder;
        let of_agents = agents.iter().filter_map(|agent| agent.database.as_ref());
        for store in of_agents.chain(state_database).chain(task_database) {
            let copies = copies(root, store).into_iter();
            let copy = |path: PathBuf| format!("{}: a copy of a database", path.display());
            self.found.left_out.extend(copies.map(copy));
        }
    }

    /// Our name of an agent of theirs.
    fn agent(&self, theirs: &str) -> AgentName {
        let ours = self.options.agents.get(&agent_id(theirs)).cloned();
        ours.unwrap_or_else(|| own_agent(theirs))
    }

    /// A key of theirs with our name of its agent.
    fn key(&self, theirs: &str) -> Result<SessionKey, String> {
        let key = SessionKey::parse(theirs).map_err(|error| error.to_string())?;
        let Some(agent) = key.agent() else { return Ok(key) };
        let Some(ours) = self.options.agents.get(agent) else { return Ok(key) };
        let rest = key.as_str().splitn(3, ':').nth(2).unwrap_or_default();
        SessionKey::parse(&format!("agent:{ours}:{rest}")).map_err(|error| error.to_string())
    }

    /// The key and the agent of a session: that of its run where it has one, else that of its row, else
    /// one that is made for it; and how that run ended, unless the row tells of one that began later.
    fn home(
        &self,
        row: Option<&str>,
        agent: &str,
        session: &str,
        began_at: Option<Timestamp>,
    ) -> Home {
        let run = self.run_of.get(session).copied();
        let theirs = self.run_key(session).or(row).filter(|key| self.key(key).is_ok());
        let own = theirs.and_then(agent_of).unwrap_or_else(|| own_agent(agent));
        let agent = self.agent(agent);
        let made =
            || SessionKey::makeshift(&agent, session).unwrap_or_else(|_| SessionKey::main(&agent));
        let key = theirs.and_then(|key| self.key(key).ok()).unwrap_or_else(made);
        let agent = key.agent().and_then(|agent| agent.parse().ok()).unwrap_or(agent);
        let job = job_of(&key).and_then(|job| self.jobs.get(job).cloned());
        // When an interrupted run ended is not known: it was last heard of then.
        let is_of = |past: &&Past| {
            past.outcome == Outcome::Interrupted || is_of_this_run(past.ended_at, began_at)
        };
        let past = run.and_then(|run| self.pasts.get(&run)).map(|(past, _)| past).filter(is_of);
        let ended_at = past.and_then(|past| past.ended_at);
        Home { key, agent, own, run, job, outcome: past.map(|past| past.outcome), ended_at }
    }

    /// The key that the run of a session of theirs gives to it.
    fn run_key(&self, session: &str) -> Option<&str> {
        let key = self.pasts.get(self.run_of.get(session)?)?.0.session_key.as_deref()?;
        self.key(key).is_ok_and(|key| key.kind() == SessionKind::Run).then_some(key)
    }

    /// A session of theirs is told of.
    fn draft(&mut self, told: sessions::Told, rows: Vec<usize>, text: Option<Text>) {
        self.drafts.push(Draft { told, rows, text, also: Vec::new() });
    }

    fn finish(mut self) -> Gathered {
        let now = self.options.now;
        let drafts = joined(std::mem::take(&mut self.drafts));
        let mut seen: HashSet<SessionId> = HashSet::new();
        let (mut met, mut others) = (Met::default(), Vec::new());
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for Draft { told, rows, text, also } in drafts {
            let own = told.home.own.clone();
            let theirs = (own.clone(), told.id.clone());
            let mut session = sessions::session(told, now);
            let other = self.options.sessions.other_id(&session, text.is_some());
            session.id = other.unwrap_or(session.id);
            let tells = text.is_some() && session.usage.is_some();
            met.meet(theirs, session.id, tells);
            let other = |id| ((own.clone(), id), session.id, tells);
            others.extend(also.into_iter().map(other));
            let generation = Generation { session, rows, text };
            if seen.insert(generation.session.id) {
                met.takes(&generation);
                first.push(generation);
            } else {
                again.push(generation);
            }
        }
        others.retain(|(theirs, ..)| !met.ids.contains_key(theirs));
        others.into_iter().for_each(|(theirs, id, tells)| met.meet(theirs, id, tells));
        sessions::link(first.iter_mut().map(|generation| &mut generation.session));
        first.sort_by_key(|generation| generation.session.id);
        first.append(&mut again);
        let pasts = std::mem::take(&mut self.pasts);
        let runs = pasts.into_values().map(|(past, records)| {
            let there = past.there();
            let place = self.place(&past, there.as_ref().and_then(|it| met.ids.get(it)).copied());
            let model = past.model.clone();
            let mut run = past.run(place, now);
            let sum = entries::sum(&run, model);
            let sum = sum.filter(|_| there.is_none_or(|it| !met.told.contains(&it)));
            // A run log tells of no cost.
            if run.usage.is_none_or(|usage| usage.cost_micro_usd == 0) {
                run.usage = met.took.get(&run.id).copied().or(run.usage);
            }
            Ran { run, records, sum }
        });
        self.found.runs = runs.collect();
        self.found.generations = first;
        self.found
    }

    /// Whose a run is.
    fn place(&self, past: &Past, session: Option<SessionId>) -> RunPlace {
        let job = past.job.as_deref().and_then(|job| self.jobs.get(job).cloned());
        let key = past.session_key.as_deref().and_then(|key| self.key(key).ok());
        let agent = key.as_ref().and_then(|key| key.agent()?.parse().ok());
        let agent: AgentName = agent.unwrap_or_else(|| self.agent("main"));
        let job_key = match (&job, &past.job) {
            (Some((_, key)), _) => Some(key.clone()),
            (None, Some(theirs)) => theirs.parse().ok(),
            (None, None) => None,
        };
        let key = key.unwrap_or_else(|| match &job_key {
            Some(job) => SessionKey::for_job(&agent, job),
            None => SessionKey::main(&agent),
        });
        RunPlace { agent, key, job: job.map(|(id, _)| id), job_key, session }
    }
}

/// The drafts, each row without a transcript joined to the one that has the transcript of its session: it was
/// put aside while the row stayed, or has a name that the row does not tell.
fn joined(drafts: Vec<Draft>) -> Vec<Draft> {
    let there = |draft: &Draft| (draft.told.home.own.clone(), draft.told.id.clone());
    let (mut told, bare): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| draft.text.is_some());
    let mut places = HashMap::new();
    for (place, draft) in told.iter().enumerate() {
        places.entry(there(draft)).or_insert(place);
    }
    for draft in bare {
        match places.get(&there(&draft)) {
            Some(place) => told[*place].join(draft),
            None => told.push(draft),
        }
    }
    told
}

impl Past {
    /// Its session there.
    fn there(&self) -> Option<There> {
        let own = self.session_key.as_deref().and_then(agent_of).unwrap_or_else(main_agent);
        Some((own, self.session.clone()?))
    }
}

impl Met {
    /// A session; `tells` if its transcript tells what it took.
    fn meet(&mut self, theirs: There, id: SessionId, tells: bool) {
        if tells {
            self.told.insert(theirs.clone());
        }
        self.ids.entry(theirs).or_insert(id);
    }

    /// What a session took counts for the run that has it to itself, if its cost is known.
    fn takes(&mut self, generation: &Generation) {
        let Generation { session, text, .. } = generation;
        let usage = session.usage.filter(|usage| text.is_some() && usage.cost_micro_usd > 0);
        if let (Some(run), Some(usage)) = (session.run, usage) {
            let sum = self.took.entry(run).or_default();
            *sum = sum.plus(usage);
        }
    }
}

impl Draft {
    /// Takes over the row of its session.
    fn join(&mut self, row: Self) {
        self.rows.extend(row.rows);
        let told = &mut self.told;
        if !told.home.key.is_makeshift() {
            return;
        }
        told.home = row.told.home;
        if matches!(told.end, End::Followed(_)) {
            (told.end, told.data) = (row.told.end, row.told.data);
        }
    }
}

/// The job in a key of theirs.
fn job_of(key: &SessionKey) -> Option<&str> {
    match key.shape() {
        Shape::Cron { job, .. } | Shape::CronRun { job, .. } => Some(job),
        _ => None,
    }
}

/// The name that an agent of theirs has where it is not called otherwise.
fn own_agent(theirs: &str) -> AgentName {
    // What their rule for ids leaves is a name of ours.
    agent_id(theirs).parse().unwrap_or_else(|_| main_agent())
}

/// The agent in a key of theirs.
fn agent_of(key: &str) -> Option<AgentName> {
    SessionKey::parse(key).ok()?.agent()?.parse().ok()
}

fn main_agent() -> AgentName {
    SessionKey::parse("agent:main:main")
        .ok()
        .and_then(|key| key.agent()?.parse().ok())
        .expect("main is a name of an agent")
}

/// Reads a whole file that is not a transcript, with its account.
fn whole(file: File, path: &Path) -> io::Result<(Vec<u8>, Source)> {
    let mut reader = crate::stamp::Hashing::new(file);
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut reader, &mut bytes)?;
    Ok((bytes, super::text::source(reader, path)))
}
