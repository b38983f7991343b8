//! Runs: history, one run in full, and cancelling.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::StatusCode;
use sexton_domain::id::JobId;
use sexton_domain::name::AgentName;
use sexton_domain::run::Outcome;
use sexton_engine::handle::Handle;
use sexton_engine::page::{PageRequest, RunFilter, RunState};

use super::jobs;
use crate::api::{Page, Run, RunDetail, word};
use crate::body::Segment;
use crate::cursor;
use crate::failure::Result;
use crate::query::{CURSOR, LIMIT, Param, Query};
use crate::route::Route;

pub(super) const JOB: Param = Param::query("job", "the id or the key of a job");
const AGENT: Param = Param::query("agent", "the name of an agent");
const STATE: Param = Param::query("state", "`queued`, `waiting`, `running` or `ended`");
const OUTCOME: Param = Param::query(
    "outcome",
    "`ok`, `failed`, `timed_out`, `cancelled`, `interrupted`, `skipped`, `missed` or `coalesced`",
);
const SINCE: Param = Param::query("since", "RFC 3339, or a duration before now such as `24h`");
const UNTIL: Param = Param::query("until", "RFC 3339, or a duration before now such as `1h`");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/runs", list)
            .summary("Runs, newest first; `since` and `until` are about when they were made")
            .params(&[JOB, AGENT, STATE, OUTCOME, SINCE, UNTIL, LIMIT, CURSOR])
            .answers::<Page<Run>>(200),
        Route::get("/v1/runs/{id}", show).summary("A run in full").answers::<RunDetail>(200),
        Route::post("/v1/runs/{id}/cancel", cancel)
            .summary("Cancels a run: at once while it waits, soon (202) while it runs")
            .answers::<Run>(200)
            .answers::<Run>(202),
    ]
}

async fn list(State(handle): State<Handle>, query: Query) -> Result<Reply<Page<Run>>> {
    let now = handle.now();
    let filter = RunFilter {
        job: job(&handle, &query).await?,
        agent: query.parse::<AgentName>(&AGENT)?,
        state: query.word(&STATE, RunState::ALL.map(|state| (state.name().to_owned(), state)))?,
        outcome: query.word(&OUTCOME, Outcome::ALL.map(|outcome| (word(&outcome), outcome)))?,
        since: query.instant(&SINCE, now)?,
        until: query.instant(&UNTIL, now)?,
    };
    let page = PageRequest { after: cursor::read(&query)?, limit: query.limit()? };
    let page = handle.runs(filter, page).await?;
    Ok(Reply(Page {
        items: page.items.iter().map(Run::from).collect(),
        next: page.next.map(cursor::write),
    }))
}

async fn show(State(handle): State<Handle>, id: Segment) -> Result<Reply<RunDetail>> {
    Ok(Reply(RunDetail::from(&handle.run(id.parse()?).await?)))
}

async fn cancel(State(handle): State<Handle>, id: Segment) -> Result<(StatusCode, Reply<Run>)> {
    let run = handle.cancel_run(id.parse()?).await?;
    let status = if run.is_active() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Reply(Run::from(&run))))
}

/// The job that the filter names.
pub(super) async fn job(handle: &Handle, query: &Query) -> Result<Option<JobId>> {
    match query.text(&JOB) {
        None => Ok(None),
        Some(text) => Ok(Some(jobs::find(handle, text).await?.id)),
    }
}
