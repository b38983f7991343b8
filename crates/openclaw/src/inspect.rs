//! Looks at a state folder and says what is wrong with it, with evidence, and what would heal it.
//!
//! Never writes. Databases are read from copies. First everything is gathered into a [`survey::Survey`];
//! then each file of predicates looks at that, purely: `heal` acts on the very same findings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use sexton_domain::key::SessionKind;
use sexton_domain::schedule::Zone;

use crate::address::Address;
use crate::finding::{Code, Finding, Item};
use crate::folder::{Era, Folder, FolderError};
use crate::heal::{Healing, State, list_healings};
use crate::model::Status;

mod files;
mod gather;
mod jobs;
mod resurrected;
mod rows;
mod seal;
mod stores;
pub mod survey;
mod transcripts;
mod zombies;

pub use rows::STRING_LIMIT;
pub use transcripts::Piles;

/// What looking needs from outside.
pub struct Options<'a> {
    /// The clock's time.
    pub now: Timestamp,
    /// The zone of the machine: their cron expressions without a zone follow it.
    pub zone: Zone,
    /// Where copies of databases may lie.
    pub scratch: PathBuf,
    /// What answers where its gateway would listen, in words; none if that is known to be another one.
    pub served: Option<String>,
    /// Hears of each file before it is read, with its size in bytes.
    pub progress: &'a mut dyn FnMut(&Path, u64),
}

/// A state folder and what is wrong with it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Which folder.
    pub folder: PathBuf,
    /// Of which era its files are.
    pub era: Era,
    /// The version that last wrote to it, where it says so.
    pub version: Option<String>,
    /// The instant that ages are counted to.
    pub as_of: Timestamp,
    /// The process of the gateway that owns it.
    pub gateway_pid: Option<u32>,
    /// Why it is believed that this one does.
    pub gateway_evidence: Option<String>,
    /// What answers where its gateway would listen, if no process owns it: a gateway in a container shows by
    /// nothing else. What only a look at processes tells is left alone then.
    pub served: Option<String>,
    /// Healings of it that were cut off, or whose undoing was: what is read then is half of it.
    pub cut_off: Vec<Healing>,
    /// What could be read only while it was being written to.
    pub best_effort: Vec<PathBuf>,
    /// The agents.
    pub agents: Vec<AgentCount>,
    /// How many jobs there are, and how many are enabled; `None` if they could not be read.
    pub jobs: Option<JobCount>,
    /// Where the transcripts belong.
    pub transcripts: Piles,
    /// How many bytes were read.
    pub bytes_read: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What an agent has.
#[derive(Debug, Serialize)]
pub struct AgentCount {
    /// Its id.
    pub id: String,
    /// Its sessions.
    pub sessions: u64,
    /// By kind and, within it, status as it was found; `none` for rows without one.
    pub kinds: BTreeMap<SessionKind, BTreeMap<&'static str, u64>>,
    /// The size of its index.
    pub index_bytes: u64,
    /// The size of its database with its log.
    pub database_bytes: u64,
    /// The files in its sessions folder.
    pub files: u64,
    /// Their size.
    pub file_bytes: u64,
}

/// The jobs.
#[derive(Debug, Serialize)]
pub struct JobCount {
    /// All.
    pub total: u64,
    /// Those that are enabled.
    pub enabled: u64,
}

/// Looks at a folder.
///
/// # Errors
///
/// [`FolderError`] when it is no state folder or cannot be opened. What cannot be read in it is a finding.
pub fn inspect(path: &Path, options: Options<'_>) -> Result<Report, FolderError> {
    let folder = Folder::open(path)?;
    let zone = options.zone.clone();
    let mut gathered = gather::gather(&folder, options);
    let agents = gathered.survey.agents.iter().map(count).collect();
    let mut found = zombies::find(&gathered.survey);
    // What is proven to be over is judged as that: one healing takes care of all of it.
    zombies::settle(&mut gathered.survey, &found);
    let survey = &gathered.survey;
    let (piles, more) = transcripts::find(survey);
    found.extend(more);
    found.extend(rows::find(survey));
    found.extend(jobs::find(survey, &zone));
    found.extend(files::find(survey));
    found.extend(stores::find(survey));
    found.extend(stores::changed_sources(survey, &found));
    Ok(Report {
        era: survey.era,
        version: gathered.version,
        as_of: survey.as_of,
        gateway_pid: survey.owner.as_ref().map(|owner| owner.pid),
        gateway_evidence: survey.owner.as_ref().map(|owner| owner.evidence.clone()),
        served: survey.served.clone(),
        cut_off: cut_off(&folder.root),
        best_effort: gathered.best_effort,
        agents,
        jobs: jobs::count(survey),
        transcripts: piles,
        bytes_read: gathered.bytes_read,
        findings: {
            found.extend(gathered.survey.found.iter().cloned());
            let mut found = grouped(found);
            seal::seal(&folder.root, &gathered.survey, &mut found);
            found
        },
        folder: folder.root,
    })
}

fn cut_off(root: &Path) -> Vec<Healing> {
    let mut all = list_healings(root).unwrap_or_default();
    all.retain(|healing| matches!(healing.state, State::Unfinished | State::Undoing));
    all
}

fn grouped(found: Vec<(Code, Item)>) -> Vec<Finding> {
    let mut groups: BTreeMap<Code, Vec<Item>> = BTreeMap::new();
    for (code, item) in found {
        groups.entry(code).or_default().push(item);
    }
    let finding = |(code, mut items): (Code, Vec<Item>)| {
        items.sort_by(|a, b| a.subject.cmp(&b.subject));
        Finding { code, items }
    };
    groups.into_iter().map(finding).collect()
}

fn count(agent: &survey::AgentSeen) -> AgentCount {
    let mut kinds: BTreeMap<SessionKind, BTreeMap<&'static str, u64>> = BTreeMap::new();
    let rows = agent.store.iter().flat_map(|store| &store.rows);
    let nodes = agent.database.iter().flat_map(|database| &database.nodes).map(|(row, _)| row);
    for row in rows.chain(nodes) {
        let kind = match row.address() {
            Address::Job(_) => SessionKind::Job,
            Address::Run { .. } => SessionKind::Run,
            Address::Other(kind) => kind,
        };
        let status = row.status.map_or("none", Status::as_str);
        *kinds.entry(kind).or_default().entry(status).or_default() += 1;
    }
    AgentCount {
        id: agent.id.clone(),
        sessions: kinds.values().flat_map(BTreeMap::values).sum(),
        kinds,
        index_bytes: agent.store.as_ref().map_or(0, |store| store.bytes),
        database_bytes: agent.database.as_ref().map_or(0, |db| db.bytes + db.wal_bytes),
        files: agent.files.len() as u64,
        file_bytes: agent.files.iter().map(|file| file.bytes).sum(),
    }
}

impl Report {
    /// How many things are wrong.
    pub fn total(&self) -> usize {
        self.findings.iter().map(|finding| finding.items.len()).sum()
    }
}
