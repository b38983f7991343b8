//! What earlier imports have stored, as far as the next one has to know it before it reads.

use std::collections::BTreeMap;

use sexton_domain::id::JobId;
use sexton_domain::job::Job;
use sexton_openclaw::import::brought::Brought;
use sexton_store::page::{JobFilter, MAX_PAGE, Page, PageRequest, SessionFilter};
use sexton_store::{Error, Store};
use tokio::runtime::Runtime;

use crate::failure::{Exit, Failure};

/// What is stored.
#[derive(Debug, Default)]
pub struct Known {
    /// The jobs, removed ones too.
    pub jobs: BTreeMap<JobId, Job>,
    /// The sessions that were brought.
    pub sessions: Brought,
}

impl Known {
    /// Of a store.
    pub fn of(store: &Store, runtime: &Runtime) -> Result<Self, Failure> {
        let mut known = Self::default();
        let all = JobFilter { removed: true, ..JobFilter::default() };
        let jobs = |page| runtime.block_on(store.read().jobs(all.clone(), page));
        each(jobs, |job| {
            known.jobs.insert(job.id, job);
        })?;
        let all = SessionFilter::default();
        let sessions = |page| runtime.block_on(store.read().sessions(all.clone(), page));
        each(sessions, |session| known.sessions.add(&session))?;
        Ok(known)
    }
}

/// Hands on everything of a list, a page at a time.
fn each<T, C>(
    list: impl Fn(PageRequest<C>) -> Result<Page<T, C>, Error>,
    mut take: impl FnMut(T),
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = list(PageRequest { after, limit: MAX_PAGE });
        let page = page.map_err(|error| Failure::chain(Exit::Unavailable, &error))?;
        page.items.into_iter().for_each(&mut take);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}
