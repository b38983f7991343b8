//! What became of each job: its next slots there and here, and what a person should know.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sexton_domain::errors::on_one_line;
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

    /// Its next slots as rows: the first, or all where one of them is not the same in both.
    fn rows(&self) -> Vec<Vec<String>> {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let is_same = |slot: &Slot| slot.theirs == slot.ours;
        let shown = if self.slots.iter().all(is_same) { 1 } else { SLOTS };
        let slots = self.slots.iter().take(shown);
        let mut rows: Vec<Vec<String>> = slots
            .map(|slot| vec![String::new(), String::new(), time(slot.theirs), time(slot.ours)])
            .collect();
        if rows.is_empty() {
            rows.push(vec![String::new(), String::new(), time(None), time(None)]);
        }
        let state = if self.enabled { "enabled" } else { "disabled" };
        (rows[0][0], rows[0][1]) = (self.key.to_string(), state.to_owned());
        rows
    }

    /// What a person should know, differences of slots with it.
    fn said(&self) -> impl Iterator<Item = &str> {
        let reasons = self.slots.iter().filter_map(|slot| slot.difference.as_deref());
        reasons.chain(self.notes.iter().map(String::as_str))
    }
}

/// Shows jobs: their next slots side by side, then what a person should know, each with the jobs that it is of;
/// what is of few of them first.
pub fn show(jobs: &[Shown], output: Output) -> Result<(), Failure> {
    if jobs.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let rows = jobs.iter().flat_map(Shown::rows).collect();
    output.table(&["job", "state", "next there", "next here"], rows, "")?;
    let mut said: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for job in jobs {
        for text in job.said() {
            said.entry(text).or_default().insert(job.key.as_str());
        }
    }
    let mut said: Vec<(&str, BTreeSet<&str>)> = said.into_iter().collect();
    said.sort_by_key(|(_, keys)| keys.len());
    for (text, keys) in said {
        output.line(on_one_line(text))?;
        let of = match keys.len() {
            all if all == jobs.len() && all > 1 => format!("all {all} jobs"),
            _ => Vec::from_iter(keys).join(", "),
        };
        output.line(format_args!("    {}", output.dim(&of)))?;
    }
    output.line("")
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
