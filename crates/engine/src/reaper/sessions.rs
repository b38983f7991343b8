//! Which sessions a sweep looks at: those that are due, those beyond their job's cap, and those whose
//! policy was edited.

use std::time::Duration;

use sexton_domain::id::{JobId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::plan::sweep;
use sexton_domain::session::Session;
use sexton_domain::sweep::Reaper as Memory;
use sexton_store::Error;
use sexton_store::page::{PageRequest, SessionFilter};

use super::{SLICE, Sweep};
use crate::unreadable::readable;

/// A sweep that has indexed for this long leaves the rest to the next one, so that what becomes due
/// meanwhile does not wait.
const REINDEX_TIME: Duration = Duration::from_secs(10);

impl Sweep<'_> {
    /// Those whose time to be looked at has come.
    pub(super) async fn due_sessions(&mut self) -> Result<(), Error> {
        while self.goes_on().await? {
            let due = self.store.read().due_sessions(self.env.clock.now(), SLICE).await?;
            if due.is_empty() || self.slice(due).await?.settled == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Those that are more than their job keeps.
    pub(super) async fn capped_sessions(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let jobs = self.store.read().capped_jobs(after, SLICE).await?;
            let Some(last) = jobs.last() else { return Ok(()) };
            after = Some(last.id);
            for job in jobs {
                if let Some(max) = job.spec.retention.max_sessions {
                    self.beyond(job.id, max).await?;
                }
            }
        }
    }

    async fn beyond(&mut self, job: JobId, max: u32) -> Result<(), Error> {
        while self.goes_on().await? {
            let now = self.env.clock.now();
            let beyond = self.store.read().ended_beyond(job, max, now, SLICE).await?;
            if beyond.is_empty() || self.slice(beyond).await?.settled == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Those whose policy is another one than when they were looked at.
    pub(super) async fn reindex(&mut self, mut memory: Memory) -> Result<(), Error> {
        let until = self.env.clock.monotonic() + REINDEX_TIME;
        for job in self.store.read().jobs_to_reindex(SLICE).await? {
            self.reindex_job(job).await?;
        }
        while let Some(part) = memory.reindex.first().copied() {
            if !self.goes_on().await? {
                return Ok(());
            }
            if self.env.clock.monotonic() >= until {
                self.report.unfinished = true;
                return Ok(());
            }
            let filter = SessionFilter {
                kinds: vec![part.kind],
                open: Some(false),
                ..SessionFilter::default()
            };
            let (next, left) = self.page(filter, part.after).await?;
            if left > 0 {
                return Ok(());
            }
            memory = self
                .remember(|memory, _| {
                    // Edited again meanwhile: it begins from the beginning.
                    let same = memory.reindex.first() == Some(&part);
                    same.then(|| sweep::reindexed(memory, next))
                })
                .await?;
        }
        Ok(())
    }

    async fn reindex_job(&mut self, job: Job) -> Result<(), Error> {
        let mut after = None;
        loop {
            if !self.goes_on().await? {
                return Ok(());
            }
            let filter =
                SessionFilter { job: Some(job.id), open: Some(false), ..SessionFilter::default() };
            let (next, left) = self.page(filter, after).await?;
            if left > 0 {
                return Ok(());
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut attempts = self.store.attempts("index the sessions of a job");
        loop {
            let found = readable(self.store.job(job.id).await, "a job cannot be read again")?;
            let indexed = found.and_then(|found| sweep::job_reindexed(&found, &job.spec.retention));
            let Some(indexed) = indexed else { return Ok(()) };
            if attempts.commit(vec![indexed.into()]).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Judges a page of a list; returns where the next one begins, and how many of this one are left.
    async fn page(
        &mut self,
        filter: SessionFilter,
        after: Option<SessionId>,
    ) -> Result<(Option<SessionId>, usize), Error> {
        let request = PageRequest { after, limit: SLICE };
        let found = self.store.read().sessions(filter, request).await?;
        let ended: Vec<Session> =
            found.items.into_iter().filter(|session| !session.is_open()).collect();
        let left = if ended.is_empty() { 0 } else { self.slice(ended).await?.left };
        Ok((found.next, left))
    }
}
