//! What the fate of some ended sessions depends on, read for all of them at once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sexton_domain::id::{JobId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::plan::sweep::{self, Case, Judgement, Law};
use sexton_domain::retention::{Policies, Rank};
use sexton_domain::session::Session;
use sexton_store::page::Ended;
use sexton_store::{Error, Store};

use crate::unreadable::known;

/// The cases of some sessions.
pub(crate) struct Docket {
    /// Without one where the job's row cannot be read.
    jobs: BTreeMap<JobId, Option<Standing>>,
    undelivered: BTreeSet<SessionId>,
    continued: BTreeSet<SessionId>,
}

/// A job with its newest ended sessions, as many as its floors and its cap ask for.
struct Standing {
    job: Job,
    newest: Vec<SessionId>,
    failures: Vec<SessionId>,
}

/// By what the sessions of one moment are judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bench {
    pub kinds: Policies,
    pub held_until: Option<Timestamp>,
    pub now: Timestamp,
}

impl Docket {
    /// Reads what there is to know about these sessions.
    pub async fn read(store: &Store, sessions: &[Session]) -> Result<Self, Error> {
        let mut jobs = BTreeMap::new();
        let ids: BTreeSet<JobId> = sessions.iter().filter_map(|session| session.job).collect();
        for id in ids {
            match known(store.job(id).await)? {
                Ok(Some(job)) => jobs.insert(id, Some(Standing::read(store, job).await?)),
                Ok(None) => None,
                Err(error) => {
                    tracing::error!(%error, "sessions are held for a job that cannot be read");
                    jobs.insert(id, None)
                }
            };
        }
        let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
        let undelivered = store.read().undelivered(ids.clone()).await?.into_iter().collect();
        let continued = store.read().continued(ids).await?.into_iter().collect();
        Ok(Self { jobs, undelivered, continued })
    }

    /// Judges one of them.
    pub fn judge(&self, session: &Session, bench: Bench) -> Judgement {
        let Bench { kinds, held_until, now } = bench;
        let law = Law { kinds: &kinds, held_until, now };
        let standing = match session.job.and_then(|job| self.jobs.get(&job)) {
            Some(None) => return sweep::unjudged(session, law),
            Some(standing) => standing.as_ref(),
            None => None,
        };
        let case = Case {
            session,
            job: standing.map(|standing| &standing.job),
            rank: standing.map_or(Rank::default(), |standing| standing.rank(session.id)),
            undelivered: self.undelivered.contains(&session.id),
            continued: self.continued.contains(&session.id),
        };
        sweep::judge(case, law)
    }
}

impl Standing {
    async fn read(store: &Store, job: Job) -> Result<Self, Error> {
        let retention = &job.spec.retention;
        let all = retention.keep_last.max(retention.max_sessions).unwrap_or(0);
        let failed = retention.keep_last_failures.unwrap_or(0);
        let newest = newest_of(store, job.id, Ended::All, all).await?;
        let failures = newest_of(store, job.id, Ended::Failures, failed).await?;
        Ok(Self { job, newest, failures })
    }

    /// A session that is not among the newest has more newer ones than anybody asks for.
    fn rank(&self, session: SessionId) -> Rank {
        let place = |among: &[SessionId]| {
            let place = among.iter().position(|id| *id == session);
            place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX)
        };
        Rank { newer: place(&self.newest), newer_failures: place(&self.failures) }
    }
}

async fn newest_of(
    store: &Store,
    job: JobId,
    which: Ended,
    limit: u32,
) -> Result<Vec<SessionId>, Error> {
    match limit {
        0 => Ok(Vec::new()),
        limit => store.read().newest_ended(job, which, limit).await,
    }
}
