//! Reads of jobs.

use jiff::Timestamp;
use rusqlite::types::Value;
use sexton_domain::id::JobId;
use sexton_domain::job::Job;
use sexton_domain::name::JobKey;
use sexton_store::page::{JobFilter, Page, PageRequest};

use crate::codec;
use crate::fail::Fail;
use crate::read::page::{Condition, Ids, Scan};
use crate::read::{View, at_most, uuid};
use crate::record::source_word;
use crate::table;

pub(crate) const BY_KEY: &str = "SELECT id, body FROM job WHERE key = ? AND removed = 0";
pub(crate) const DUE: &str = "SELECT id, body FROM job INDEXED BY job_due \
     WHERE due_at IS NOT NULL AND due_at <= ? ORDER BY due_at, id";
pub(crate) const NEXT_DUE: &str = "SELECT id, body, due_at FROM job INDEXED BY job_due \
     WHERE due_at IS NOT NULL ORDER BY due_at";

pub(crate) const CAPPED: &str = "SELECT id, body FROM job INDEXED BY job_capped \
     WHERE capped = 1 AND id > ? ORDER BY id";
pub(crate) const TO_REINDEX: &str =
    "SELECT id, body FROM job INDEXED BY job_reindex WHERE reindex = 1 ORDER BY id";
pub(crate) const TROUBLED: &str =
    "SELECT id, body FROM job INDEXED BY job_troubled WHERE troubled = 1 ORDER BY id";
pub(crate) const OVER: &str = "SELECT job FROM job_runs INDEXED BY job_runs_most \
     WHERE n > ? ORDER BY n DESC";

/// See [`sexton_store::Driver::job_by_key`].
pub(crate) fn by_key(view: &View<'_>, key: &JobKey) -> Result<Option<Job>, Fail> {
    let mut statement = view.db.prepare_cached(BY_KEY)?;
    let mut rows = statement.query([key.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    table::read(row).map(Some)
}

/// See [`sexton_store::Driver::jobs`].
pub(crate) fn page(
    view: &View<'_>,
    filter: &JobFilter,
    page: PageRequest<JobId>,
) -> Result<Page<Job, JobId>, Fail> {
    scan(filter).page(view, &Ids::all().after(page.after.map(JobId::uuid)), page.limit)
}

/// How a list is read.
pub(crate) fn scan(filter: &JobFilter) -> Scan {
    let equals = |column, text: String| Condition::new(column, vec![Value::Text(text)]);
    let source = filter.source.as_ref().map(|source| equals("source = ?", source_word(source)));
    let agent = filter.agent.as_ref().map(|agent| equals("agent = ?", agent.as_str().to_owned()));
    let kept = match filter.removed {
        true => Condition::none(),
        false => Condition::new("removed = 0", Vec::new()),
    };
    match (source, agent) {
        (Some(source), agent) => {
            Scan::along("job_source", source, kept.and(agent.unwrap_or_default()))
        }
        (None, Some(agent)) => Scan::along("job_agent", agent, kept),
        (None, None) if filter.removed => Scan::by_id(Condition::none()),
        (None, None) => Scan::along("job_kept", kept, Condition::none()),
    }
}

/// See [`sexton_store::Driver::due_jobs`].
pub(crate) fn due(view: &View<'_>, now: Timestamp, limit: u32) -> Result<Vec<Job>, Fail> {
    view.list(DUE, vec![codec::time(now)], at_most(limit))
}

/// See [`sexton_store::Driver::next_due`].
pub(crate) fn next_due(view: &View<'_>) -> Result<Option<Timestamp>, Fail> {
    view.first_time::<Job>(NEXT_DUE, Vec::new())
}

/// See [`sexton_store::Driver::capped_jobs`].
pub(crate) fn capped(view: &View<'_>, after: Option<JobId>, limit: u32) -> Result<Vec<Job>, Fail> {
    let after = after.map_or(Value::Blob(Vec::new()), |job| codec::id(job.uuid()));
    view.list(CAPPED, vec![after], at_most(limit))
}

/// See [`sexton_store::Driver::jobs_to_reindex`].
pub(crate) fn to_reindex(view: &View<'_>, limit: u32) -> Result<Vec<Job>, Fail> {
    view.list(TO_REINDEX, Vec::new(), at_most(limit))
}

/// See [`sexton_store::Driver::troubled_jobs`].
pub(crate) fn troubled(view: &View<'_>, limit: u32) -> Result<Vec<Job>, Fail> {
    view.list(TROUBLED, Vec::new(), at_most(limit))
}

/// See [`sexton_store::Driver::jobs_over`].
pub(crate) fn over(view: &View<'_>, keep: u64, limit: u32) -> Result<Vec<JobId>, Fail> {
    view.collect(OVER, vec![codec::number(keep)], at_most(limit), |row| Ok(uuid(row, 0)?.into()))
}
