//! Reads of runs.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use rusqlite::types::Value;
use sexton_domain::id::{JobId, RunId};
use sexton_domain::key::SessionKey;
use sexton_domain::node::Epoch;
use sexton_domain::run::{Outcome, Run};
use sexton_store::page::{Page, PageRequest, Queue, RunFilter, RunState};

use crate::codec;
use crate::fail::Fail;
use crate::read::orphans::Owned;
use crate::read::page::{Condition, Ids, Scan};
use crate::read::{View, at_most};

pub(crate) const ACTIVE: &str = "SELECT id, body FROM run INDEXED BY run_active_job \
     WHERE job = ? AND state <> 'ended' ORDER BY id";
pub(crate) const NEWEST_SLOT: &str = "SELECT id, body FROM run INDEXED BY run_slot \
     WHERE job = ? AND slot IS NOT NULL ORDER BY slot DESC, attempt DESC";
pub(crate) const RUNNING: &str = "SELECT id, body FROM run INDEXED BY run_active_state \
     WHERE state = 'running' AND state <> 'ended' ORDER BY id";
pub(crate) const RESTED: &str = "SELECT id, body FROM run INDEXED BY run_rest \
     WHERE state = 'waiting' AND rests_until <= ? ORDER BY rests_until, id";
pub(crate) const NEXT_RESTED: &str = "SELECT id, body, rests_until FROM run INDEXED BY run_rest \
     WHERE state = 'waiting' ORDER BY rests_until";
pub(crate) const QUEUED_AGENT: &str = "SELECT agent FROM run INDEXED BY run_queue \
     WHERE state = 'queued' AND agent > ? ORDER BY agent LIMIT 1";
pub(crate) const QUEUED: &str = "SELECT id, body FROM run INDEXED BY run_queue \
     WHERE state = 'queued' AND agent = ? AND (turn, id) > (?, ?) ORDER BY turn, id";
pub(crate) const ACTIVE_ON: &str = "SELECT id, body FROM run INDEXED BY run_active_key \
     WHERE session_key = ? AND state <> 'ended' ORDER BY turn, id";
pub(crate) const LAST_TURN: &str =
    "SELECT n FROM counter WHERE what = 'last_turn' AND a = '' AND b = ''";
pub(crate) const OWNED: Owned = Owned { index: "run_owner", only: "state = 'running'" };

/// See [`sexton_store::Driver::runs`].
pub(crate) fn page(
    view: &View<'_>,
    filter: &RunFilter,
    page: PageRequest<RunId>,
) -> Result<Page<Run, RunId>, Fail> {
    let ids = Ids::all().after(page.after.map(RunId::uuid)).since(filter.since).until(filter.until);
    scan(filter).page(view, &ids, page.limit)
}

/// How a list is read: along the index of the filter that leaves the fewest rows.
pub(crate) fn scan(filter: &RunFilter) -> Scan {
    let equals = |sql, value| Condition::new(sql, vec![value]);
    let job = filter.job.map(|job| equals("job = ?", codec::id(job.uuid())));
    let agent = filter.agent.as_ref().map(|agent| equals("agent = ?", codec::text(agent.as_str())));
    let state = filter.state.map(|state| equals("state = ?", codec::text(state.name())));
    let outcome = filter.outcome.map(|outcome| equals("outcome = ?", outcome_value(outcome)));
    let all = |conditions: [&Option<Condition>; 3]| {
        let some = conditions.into_iter().flatten().cloned();
        some.fold(Condition::none(), Condition::and)
    };
    let active = filter.state.filter(|state| *state != RunState::Ended).and(state.clone());
    let unended = Condition::new("state <> 'ended'", Vec::new());
    match (&job, active, &agent, &outcome) {
        (Some(job), Some(active), ..) => {
            let job = job.clone().and(unended);
            Scan::along("run_active_job", job, active.and(all([&agent, &outcome, &None])))
        }
        (None, Some(active), ..) => {
            let rest = all([&agent, &outcome, &None]);
            Scan::along("run_active_state", active.and(unended), rest)
        }
        (Some(job), ..) => Scan::along("run_job", job.clone(), all([&agent, &state, &outcome])),
        (None, _, Some(agent), _) => {
            Scan::along("run_agent", agent.clone(), all([&state, &outcome, &None]))
        }
        (None, _, None, Some(outcome)) => {
            Scan::along("run_outcome", outcome.clone(), state.unwrap_or_default())
        }
        (None, _, None, None) if filter.state.is_some() => Scan {
            index: Some("run_outcome"),
            arms: Outcome::ALL.map(|outcome| equals("outcome = ?", outcome_value(outcome))).into(),
            rest: Condition::none(),
        },
        (None, _, None, None) => Scan::by_id(Condition::none()),
    }
}

fn outcome_value(outcome: Outcome) -> Value {
    codec::text(codec::word(&outcome))
}

/// See [`sexton_store::Driver::active_runs`].
pub(crate) fn active(view: &View<'_>, job: JobId) -> Result<Vec<Run>, Fail> {
    view.list(ACTIVE, vec![codec::id(job.uuid())], usize::MAX)
}

/// See [`sexton_store::Driver::active_on`].
pub(crate) fn active_on(view: &View<'_>, key: &SessionKey) -> Result<Vec<Run>, Fail> {
    view.list(ACTIVE_ON, vec![codec::text(key.as_str())], usize::MAX)
}

/// See [`sexton_store::Driver::newest_slot`].
pub(crate) fn newest_slot(view: &View<'_>, job: JobId) -> Result<Option<Run>, Fail> {
    Ok(view.list(NEWEST_SLOT, vec![codec::id(job.uuid())], 1)?.pop())
}

/// See [`sexton_store::Driver::running`].
pub(crate) fn running(view: &View<'_>) -> Result<Vec<Run>, Fail> {
    view.list(RUNNING, Vec::new(), usize::MAX)
}

/// See [`sexton_store::Driver::rested_runs`].
pub(crate) fn rested(view: &View<'_>, now: Timestamp, limit: u32) -> Result<Vec<Run>, Fail> {
    view.list(RESTED, vec![codec::time(now)], at_most(limit))
}

/// See [`sexton_store::Driver::next_rested`].
pub(crate) fn next_rested(view: &View<'_>) -> Result<Option<Timestamp>, Fail> {
    view.first_time::<Run>(NEXT_RESTED, Vec::new())
}

/// See [`sexton_store::Driver::last_turn`].
pub(crate) fn last_turn(view: &View<'_>) -> Result<u64, Fail> {
    let turn = view.db.prepare_cached(LAST_TURN)?.query_row([], |row| row.get(0)).optional()?;
    Ok(turn.map_or(0, codec::unsigned))
}

/// See [`sexton_store::Driver::queue`]. Goes from agent to agent, so that the runs of agents that
/// are left out cost nothing, however many they are.
pub(crate) fn queue(view: &View<'_>, queue: &Queue) -> Result<Vec<Run>, Fail> {
    let limit = at_most(queue.limit);
    let (turn, after) = match queue.after {
        Some((turn, run)) => (codec::number(turn), codec::id(run.uuid())),
        None => (Value::Integer(-1), Value::Blob(Vec::new())),
    };
    let mut runs: Vec<Run> = Vec::new();
    let mut last = String::new();
    while let Some(agent) = queued_agent_after(view, &last)? {
        if !queue.without.iter().any(|without| without.as_str() == agent) {
            let values = vec![codec::text(&*agent), turn.clone(), after.clone()];
            runs.extend(view.list(QUEUED, values, limit)?);
            runs.sort_by_key(|run: &Run| (run.turn, run.id));
            runs.truncate(limit);
        }
        last = agent;
    }
    Ok(runs)
}

fn queued_agent_after(view: &View<'_>, last: &str) -> rusqlite::Result<Option<String>> {
    view.db.prepare_cached(QUEUED_AGENT)?.query_row([last], |row| row.get(0)).optional()
}

/// See [`sexton_store::Driver::orphan_runs`].
pub(crate) fn orphans(view: &View<'_>, living: &[Epoch], limit: u32) -> Result<Vec<Run>, Fail> {
    OWNED.orphans(view, living, limit, |run: &Run| run.id)
}
