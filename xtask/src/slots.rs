//! What became of the slots of a gateway's jobs, by its lists of jobs and runs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::books::{Run, list};
use crate::http::Client;

/// A job of the job list.
#[derive(Debug, Clone, Deserialize)]
struct Job {
    key: String,
    anchor: Option<Timestamp>,
    created_at: Timestamp,
    last_slot: Option<Timestamp>,
    spec: Spec,
}

/// What is looked at of a job's spec.
#[derive(Debug, Clone, Deserialize)]
struct Spec {
    /// Its grid, where it has one.
    every: Option<String>,
}

/// All jobs and all runs.
#[derive(Debug)]
pub struct History {
    jobs: Vec<Job>,
    runs: Vec<Run>,
}

/// What became of slots that were due.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the vocabulary")]
pub struct Slots {
    pub due: u64,
    pub ran: u64,
    pub skipped: u64,
    pub missed: u64,
    pub coalesced: u64,
}

impl History {
    /// Reads everything.
    pub fn read(client: &Client) -> anyhow::Result<Self> {
        let jobs = list(client, "/v1/jobs?limit=500")?;
        Ok(Self { jobs, runs: list(client, "/v1/runs?limit=500")? })
    }

    /// Runs that ended, by outcome.
    pub fn outcomes(&self) -> BTreeMap<&str, u64> {
        let mut outcomes = BTreeMap::new();
        for outcome in self.runs.iter().filter_map(|run| run.outcome.as_deref()) {
            *outcomes.entry(outcome).or_default() += 1;
        }
        outcomes
    }

    /// P5: slot by slot what became of it, and what is wrong with that.
    pub fn slots(&self) -> anyhow::Result<(Slots, Vec<String>)> {
        let mut slots = Slots::default();
        let mut found = Vec::new();
        for job in &self.jobs {
            self.slots_of(job, &mut slots, &mut found)?;
        }
        Ok((slots, found))
    }

    fn slots_of(
        &self,
        job: &Job,
        slots: &mut Slots,
        found: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let key = &job.key;
        let due = job.due()?;
        slots.due += due;
        let mut accounted = 0;
        let mut seen = BTreeSet::new();
        for run in self.runs.iter().filter(|run| run.job_key.as_ref() == Some(key)) {
            let Some(slot) = run.slot else { continue };
            if !seen.insert((slot, run.attempt)) {
                found.push(format!("slot {slot} of {key} has attempt {} twice", run.attempt));
            }
            if run.attempt > 1 {
                continue;
            }
            let count = run.range.as_ref().map_or(1, |range| range.count);
            accounted += count;
            match run.outcome.as_deref() {
                Some("skipped") => slots.skipped += count,
                Some("missed") => slots.missed += count,
                Some("coalesced") => slots.coalesced += count,
                _ => slots.ran += count,
            }
        }
        if due != accounted {
            found.push(format!("{due} slots of {key} were due and {accounted} have a record"));
        }
        Ok(())
    }
}

impl Job {
    /// How many slots its schedule has from its making to the last one that it accounted for.
    fn due(&self) -> anyhow::Result<u64> {
        let Some(last) = self.last_slot else { return Ok(0) };
        let (Some(every), Some(anchor)) = (&self.spec.every, self.anchor) else { return Ok(1) };
        let step: jiff::SignedDuration = every.parse()?;
        let steps = last.duration_since(anchor).as_millis() / step.as_millis();
        // A grid that begins in the very moment of its making has its first slot one step later.
        Ok(u64::try_from(steps)? + u64::from(anchor > self.created_at))
    }
}
