//! The config file: read strictly, checked as a whole, and turned into what the engine takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sexton_domain::name::{AgentName, HookName, JobKey};
use sexton_domain::plan::admission;
use sexton_engine::settings::{AgentSettings, Drain, HookSettings, Settings};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::{Exit, Failure};

mod agents;
pub mod file;
#[cfg(test)]
mod fuzz;
mod hooks;
pub mod jobs;
mod section;
mod show;
mod source;
mod store;
mod twice;
mod value;
mod words;

pub use source::{Invalid, Source};

use section::{Findings, Section};
use source::Problem;
use twice::Twice;
use words::suggestion;

/// The name under which the jobs of the config file are stored. It does not follow the file's name:
/// a file that is moved still owns its jobs.
pub const JOBS_SOURCE: &str = "config";

const SECTIONS: [&str; 10] = [
    "server",
    "store",
    "limits",
    "retention",
    "reset",
    "lease",
    "drain",
    "agents",
    "jobs",
    "hooks",
];

/// A config that is right.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Every section with its defaults, as `config show` prints it.
    pub file: File,
    /// The database file.
    pub database: PathBuf,
    /// The agents, ready for the engine.
    agents: BTreeMap<AgentName, AgentSettings>,
    /// The hooks, likewise.
    hooks: BTreeMap<HookName, HookSettings>,
    data_dir: PathBuf,
}

/// Every section with its defaults.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub server: file::Server,
    pub store: file::Store,
    pub limits: file::Limits,
    pub retention: file::Retention,
    pub reset: file::Reset,
    pub lease: file::Lease,
    pub drain: file::Drain,
    pub agents: BTreeMap<AgentName, file::Agent>,
    pub jobs: BTreeMap<JobKey, jobs::Job>,
    pub hooks: BTreeMap<HookName, file::Hook>,
}

/// What the meaning of a config depends on.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where relative paths begin.
    pub data_dir: &'a Path,
    /// When it is read.
    pub now: Timestamp,
}

impl Config {
    /// Reads and checks a file; without one, everything is as it is by default.
    pub fn load(path: Option<&Path>, around: Surroundings<'_>) -> Result<Self, Failure> {
        Self::parse(Self::source(path)?, around)
            .map_err(|invalid| Failure::new(Exit::Usage, invalid.to_string()))
    }

    /// The text of a file; without one, an empty one.
    pub fn source(path: Option<&Path>) -> Result<Source, Failure> {
        let Some(path) = path else {
            return Ok(Source { name: "no config file".to_owned(), text: String::new() });
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("read the config file {}", path.display()))?;
        Ok(Source { name: path.display().to_string(), text })
    }

    /// Checks a text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn parse(source: Source, around: Surroundings<'_>) -> Result<Self, Invalid> {
        let mut findings = Findings::new(&source.text);
        let config = Self::check(&source.text, around, &mut findings);
        let problems = findings.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Invalid { source, problems }),
        }
    }

    /// What the engine takes from it.
    pub fn settings(&self) -> Settings {
        let File { limits, lease, retention, reset, drain, .. } = &self.file;
        let limits = admission::Limits {
            runs: limits.runs.get(),
            runs_per_agent: limits.runs_per_agent.get(),
        };
        Settings {
            agents: self.agents.clone(),
            hooks: self.hooks.clone(),
            retention: retention.periods(),
            sweep_every: retention.sweep_every,
            reset: reset.rules(),
            drain: Drain { runs: drain.runs, hooks: drain.hooks },
            store_alarm_bytes: self.file.store.alarm.0,
            ..Settings::new(limits, lease.length, self.data_dir.clone())
        }
    }

    /// What differs from `other` and needs a restart.
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let (new, old) = (&self.file, &other.file);
        [
            ("server", new.server != old.server),
            ("store", new.store != file::Store { alarm: new.store.alarm, ..old.store.clone() }),
            ("lease", new.lease != old.lease),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// What is in force after a reload: what needs a restart stays as it was started.
    pub fn with_reloaded(&self, mut new: Self) -> Self {
        new.file.server = self.file.server.clone();
        new.file.store = file::Store { alarm: new.file.store.alarm, ..self.file.store.clone() };
        new.file.lease = self.file.lease.clone();
        new.database.clone_from(&self.database);
        new
    }

    fn check<'t>(
        text: &'t str,
        around: Surroundings<'_>,
        findings: &mut Findings<'t>,
    ) -> Option<Self> {
        let mut sections = Sections::split(text, findings)?;
        let server: file::Server = sections.read("server", findings);
        store::loopback(&server, &sections, findings);
        let store: file::Store = sections.read("store", findings);
        let database = store::database(&store, &sections, around.data_dir, findings);
        let mut file = File {
            server,
            store,
            limits: sections.read("limits", findings),
            retention: sections.read("retention", findings),
            reset: sections.read("reset", findings),
            lease: sections.read("lease", findings),
            drain: sections.read("drain", findings),
            ..File::default()
        };
        store::lease(&file.lease, &sections, findings);
        let tables = sections.tables("agents", findings);
        // A job may name an agent that is there and wrong: that is one fault, not two.
        let names: Vec<String> = tables.iter().map(|(name, _)| name.get_ref().clone()).collect();
        let agents = agents::read(tables, &mut file.agents, findings);
        let jobs = sections.tables("jobs", findings);
        file.jobs = jobs::read(jobs, &names, around, findings);
        let tables = sections.tables("hooks", findings);
        let near = hooks::Around { agents: &names, data_dir: around.data_dir };
        let hooks = hooks::read(tables, &near, &mut file.hooks, findings);
        Some(Self { file, database, agents, hooks, data_dir: around.data_dir.to_owned() })
    }
}

/// The top level of a file.
struct Sections<'t> {
    found: BTreeMap<&'static str, Section<'t>>,
}

impl<'t> Sections<'t> {
    /// Parses a text. What is no TOML at all is reported alone: what follows from it would not help.
    fn split(text: &'t str, findings: &mut Findings<'t>) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let fatal = errors.iter().any(|error| error.message() != "duplicate key");
        let mut twice = Twice::new(text);
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            if error.message() == "duplicate key" {
                twice.report(at, findings);
            } else {
                let hint = Some("see https://toml.io for how values are written".to_owned());
                let message = error.message().to_owned();
                findings.add(Problem { at, key: String::new(), message, hint });
            }
        }
        let mut sections = Self { found: BTreeMap::new() };
        if fatal {
            return None;
        }
        for (name, value) in table.into_inner() {
            sections.take(name, value, findings);
        }
        Some(sections)
    }

    fn take(
        &mut self,
        name: Spanned<std::borrow::Cow<'t, str>>,
        value: Spanned<DeValue<'t>>,
        findings: &mut Findings<'t>,
    ) {
        match SECTIONS.into_iter().find(|known| name.get_ref() == known) {
            Some(known) => {
                self.found.extend(findings.section(known, value).map(|section| (known, section)));
            }
            None => findings.add(Problem {
                at: name.span(),
                key: name.get_ref().to_string(),
                message: format!("unknown section `{}`", name.get_ref()),
                hint: Some(suggestion(name.get_ref(), SECTIONS.into_iter(), "sections")),
            }),
        }
    }

    fn get(&self, name: &str) -> Option<&Section<'t>> {
        self.found.get(name)
    }

    fn read<T: DeserializeOwned + Default>(&self, name: &str, findings: &mut Findings<'t>) -> T {
        self.get(name).and_then(|section| findings.read(section)).unwrap_or_default()
    }

    fn tables(
        &mut self,
        name: &str,
        findings: &mut Findings<'t>,
    ) -> Vec<(Spanned<String>, Section<'t>)> {
        match self.get(name).cloned() {
            Some(section) => findings.sections(section),
            None => Vec::new(),
        }
    }
}
