//! What became of the slots of a gateway's jobs, by its lists of jobs and runs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::books::{Run, list};
use crate::http::Client;

/// A job of the job list.
#[derive(Debug, Clone, Deserialize)]
struct Job {
    key: String,
    anchor: Option<Timestamp>,
    created_at: Timestamp,
    last_slot: Option<Timestamp>,
    suspension: Option<IgnoredAny>,
    spec: Spec,
}

/// What is looked at of a job's spec.
#[derive(Debug, Clone, Deserialize)]
struct Spec {
    /// Its grid, where it has one.
    every: Option<String>,
}

/// How far behind a scheduler may be that was alive to its end.
const LAG: SignedDuration = SignedDuration::from_secs(15);

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

    /// P5: jobs on a grid whose slots were no longer accounted for while they were still due, as they were
    /// until an instant. Jobs that were switched off have no slots.
    pub fn left_behind(&self, until: Timestamp) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for job in self.jobs.iter().filter(|job| job.suspension.is_none()) {
            let (Some(step), Some(anchor)) = (job.step()?, job.anchor) else { continue };
            let last = job.last_slot.unwrap_or(anchor - step);
            if last + step + LAG < until {
                let key = &job.key;
                found.push(format!(
                    "slots of {key} were due until {until} and the last one was {last}"
                ));
            }
        }
        Ok(found)
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
        let (Some(step), Some(anchor)) = (self.step()?, self.anchor) else { return Ok(1) };
        let steps = last.duration_since(anchor).as_millis() / step.as_millis();
        // A grid that begins in the very moment of its making has its first slot one step later.
        Ok(u64::try_from(steps)? + u64::from(anchor > self.created_at))
    }

    /// The distance of two slots of its grid.
    fn step(&self) -> anyhow::Result<Option<SignedDuration>> {
        let every = self.spec.every.as_ref();
        every.map(|every| every.parse().context("read the grid of a job")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scheduler that fell silent was not noticed: of each job the slots were counted only up to the last
    /// one that has a record.
    #[test]
    fn a_job_whose_slots_are_no_longer_accounted_for_is_found() {
        let at = |second: u32| -> Timestamp {
            format!("2026-11-20T18:00:{second:02}Z").parse().unwrap()
        };
        let job = |last_slot: Option<u32>, suspended_by: Option<&str>| {
            let job = serde_json::json!({
                "key": "j", "anchor": at(0), "created_at": at(0), "last_slot": last_slot.map(at),
                "suspension": suspended_by.map(|by| serde_json::json!({ "by": by, "since": at(3) })),
                "spec": { "every": "2s" },
            });
            serde_json::from_value::<Job>(job).unwrap()
        };
        let left_behind = |job, until| {
            let history = History { jobs: vec![job], runs: Vec::new() };
            history.left_behind(at(until)).unwrap().len()
        };
        assert_eq!(left_behind(job(Some(10), None), 27), 0);
        assert_eq!(left_behind(job(Some(10), None), 28), 1);
        assert_eq!(left_behind(job(None, None), 15), 0);
        assert_eq!(left_behind(job(None, None), 16), 1, "none was ever accounted for");
        assert_eq!(left_behind(job(Some(10), Some("auto_disable")), 28), 0);
    }
}
