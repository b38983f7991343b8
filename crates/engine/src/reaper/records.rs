//! Every other kind of record: each line of the retention table, in slices.

use jiff::Timestamp;
use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::id::JobId;
use sexton_domain::plan::jobs::{self, Existing};
use sexton_domain::retention::{Line, MAX_RUNS_PER_JOB};
use sexton_store::page::Expired;
use sexton_store::{CommitError, Committed, Conflict, Error};

use super::{SLICE, Sweep};
use crate::unreadable::readable;

impl Sweep<'_> {
    /// Deletes what is over by every line of the table.
    pub(super) async fn expire_records(&mut self) -> Result<(), Error> {
        for line in Line::ALL {
            let horizon = line.horizon(&self.settings.retention, self.env.clock.now());
            match (expired(line), horizon) {
                (Some(of), Some(before)) => self.expire(of(before)).await?,
                (None, Some(before)) => self.remove_done_jobs(before).await?,
                (_, None) if line == Line::RunsPerJob => self.expire_surplus_runs().await?,
                (_, None) => {}
            }
        }
        Ok(())
    }

    async fn expire_surplus_runs(&mut self) -> Result<(), Error> {
        for job in self.store.read().jobs_over(MAX_RUNS_PER_JOB, SLICE).await? {
            self.expire(Expired::RunsBeyond(job, MAX_RUNS_PER_JOB)).await?;
        }
        Ok(())
    }

    async fn expire(&mut self, what: Expired) -> Result<(), Error> {
        while self.goes_on().await? {
            let began = self.env.clock.monotonic();
            let over = self.store.read().expired(what.clone(), SLICE).await?;
            let found = over.len();
            let deleted = self.delete_records(over).await?;
            self.report.summary.records += deleted;
            if deleted == 0 || found < SLICE as usize {
                break;
            }
            self.pause(began).await;
        }
        Ok(())
    }

    /// Deletes records at the versions that were read; what was touched meanwhile is left out.
    async fn delete_records(&self, mut over: Vec<(RecordId, Version)>) -> Result<u64, Error> {
        while !over.is_empty() {
            let deletes = over.iter().cloned().map(|(id, version)| Change::Delete(id, version));
            match self.store.commit(deletes.collect()).await {
                Ok(_) => break,
                Err(CommitError::Conflict(Conflict::Version(touched))) => {
                    let before = over.len();
                    over.retain(|(id, _)| *id != touched);
                    if over.len() == before {
                        return Ok(0);
                    }
                }
                Err(CommitError::Conflict(_) | CommitError::AnswerLost) => return Ok(0),
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        Ok(over.len() as u64)
    }

    /// Removes one-shots that were done long ago: they leave tombstones, which go by their own line.
    async fn remove_done_jobs(&mut self, before: Timestamp) -> Result<(), Error> {
        while self.goes_on().await? {
            let over = self.store.read().expired(Expired::DoneJobs(before), SLICE).await?;
            let found = over.len();
            let mut removed = 0;
            for (id, _) in over {
                if let RecordId::Job(id) = id {
                    removed += u64::from(self.remove_done_job(id, before).await?);
                }
            }
            self.report.summary.records += removed;
            if removed == 0 || found < SLICE as usize {
                break;
            }
        }
        Ok(())
    }

    async fn remove_done_job(&self, id: JobId, before: Timestamp) -> Result<bool, Error> {
        let job =
            readable(self.store.job(id).await, "a job that is done cannot be read and stays")?;
        let Some(job) = job else { return Ok(false) };
        let active = self.store.read().active_runs(id).await?;
        let existing = Existing { job: &job, active: &active };
        let decision = jobs::remove_done(existing, before, &mut self.env.moment());
        if decision.is_empty() {
            return Ok(false);
        }
        self.took(self.store.commit(decision.changes).await)
    }

    /// Whether a commit was taken; one that conflicts is found again by the next sweep.
    pub(super) fn took(&self, answer: Result<Committed, CommitError>) -> Result<bool, Error> {
        match answer {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict(_) | CommitError::AnswerLost) => Ok(false),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }
}

/// Which records a line means, by their horizon; none where a decision is needed, or a bound other
/// than age is meant.
fn expired(line: Line) -> Option<fn(Timestamp) -> Expired> {
    match line {
        Line::Nodes => Some(Expired::Nodes),
        Line::DoneJobs | Line::RunsPerJob => None,
        Line::Tombstones => Some(Expired::Tombstones),
        Line::Runs => Some(Expired::Runs),
        Line::Events => Some(Expired::Events),
        Line::Delivered => Some(Expired::Delivered),
        Line::Dead => Some(Expired::Dead),
        Line::Usage => Some(Expired::Usage),
        Line::Stubs => Some(Expired::Stubs),
        Line::Segments => Some(Expired::Segments),
        Line::Idempotency => Some(Expired::Idempotency),
        Line::Alerts => Some(Expired::Alerts),
    }
}
