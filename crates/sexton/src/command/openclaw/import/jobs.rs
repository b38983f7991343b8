//! What became of each job: its next slots there and here, and what a person should know.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sexton_domain::name::{AgentName, JobKey};
use sexton_openclaw::import::gather::NewJob;
use sexton_openclaw::schedule::{Difference, side_by_side};

use crate::config::Config;
use crate::failure::Failure;
use crate::output::{Output, count};

/// How many slots are shown.
const SLOTS: usize = 3;

/// A job that is new here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Its key here.
    key: JobKey,
    /// Its id there.
    id: String,
    /// Whether it runs here.
    enabled: bool,
    /// Its next slots.
    slots: Vec<Slot>,
    /// What a person should know.
    notes: Vec<String>,
}

/// An instant at which it is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// There.
    theirs: Option<Timestamp>,
    /// Here.
    ours: Option<Timestamp>,
    /// Why in one of both only.
    difference: Option<String>,
}

impl Shown {
    /// A job as it is shown.
    pub fn of(new: &NewJob, now: Timestamp) -> Self {
        let zone = super::super::zone();
        let rows = side_by_side(&new.record, &new.imported.translated, &zone, now, SLOTS);
        // A one-shot that is late there is late here as well, if it may run.
        let late = new.job.next_slot.filter(|slot| *slot <= now);
        let slot = |(theirs, ours, why): (_, Option<_>, Option<Difference>)| {
            let late = late.filter(|late| theirs == Some(*late) && ours.is_none());
            let why = why.filter(|_| late.is_none());
            let difference = why.map(|why| why.sentence().to_owned());
            Slot { theirs, ours: ours.or(late), difference }
        };
        let note =
            |note: &sexton_openclaw::schedule::Note| format!("{}: {}", note.field, note.text);
        Self {
            key: new.job.key.clone(),
            id: new.record.id.clone(),
            enabled: new.job.spec.enabled,
            slots: rows.into_iter().map(slot).collect(),
            notes: new.imported.notes.iter().map(note).collect(),
        }
    }

    /// Shows it.
    pub fn show(&self, output: Output) -> Result<(), Failure> {
        let state = if self.enabled { "enabled" } else { "disabled" };
        output.line(format_args!(
            "job {} ({state}), there {}",
            output.bold(self.key.as_str()),
            self.id
        ))?;
        let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        for slot in &self.slots {
            let why = slot.difference.as_ref().map_or_else(String::new, |why| format!("  {why}"));
            output.line(format_args!(
                "    there {}  here {}{why}",
                time(slot.theirs),
                time(slot.ours)
            ))?;
        }
        for note in &self.notes {
            output.line(format_args!("    {}", output.dim(note)))?;
        }
        Ok(())
    }
}

/// The agents of jobs that the config does not have, each in a sentence.
pub fn undeclared(jobs: &[NewJob], config: &Config) -> Vec<String> {
    let mut missing: BTreeMap<&AgentName, u64> = BTreeMap::new();
    for NewJob { job, .. } in jobs {
        if !config.file.agents.contains_key(&job.spec.agent) {
            *missing.entry(&job.spec.agent).or_default() += 1;
        }
    }
    let sentence = |(agent, jobs): (&AgentName, u64)| {
        let jobs = count(jobs, "job");
        format!(
            "{jobs} of agent {agent}, which the config does not have: add [agents.{agent}] before they run"
        )
    };
    missing.into_iter().map(sentence).collect()
}
