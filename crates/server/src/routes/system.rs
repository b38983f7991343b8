//! The node itself: health, status, nodes, the document, and stopping.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json as Reply;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use sexton_domain::job::Job;
use sexton_engine::drain::Progress;
use sexton_engine::handle::{self, Error, Handle};
use sexton_engine::page::Tally;
use sexton_engine::{Stats, page};

use crate::api::{
    Alert, Code, Drain, Health, NextSlot, Node, Outbox, Page, Phase, Problem, ReaperStatus, Run,
    RunCount, RunState, SessionCount, Status, Stop, Stopping, StoreStatus,
};
use crate::body::Json;
use crate::failure::Result;
use crate::openapi;
use crate::query::{LIMIT, Query};
use crate::route::Route;

/// How long an answer waits for the first word of a stop.
const NOTICED: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/healthz", health)
            .summary("Whether the process answers. Needs no token.")
            .answers::<Health>(200),
        Route::get("/readyz", ready)
            .summary("Whether the node is at work, or why not. Needs no token.")
            .answers::<Health>(200),
        Route::get("/openapi.json", document).summary("This document").answers::<Value>(200),
        Route::get("/v1/status", status)
            .summary("What a status screen shows")
            .answers::<Status>(200),
        Route::get("/v1/nodes", nodes)
            .summary("The newest lives of all nodes, newest first; there is one page")
            .params(&[LIMIT])
            .answers::<Page<Node>>(200),
        Route::get("/v1/alerts", alerts)
            .summary(
                "What needs a look, then what was cleared, each newest first; there is one page",
            )
            .params(&[LIMIT])
            .answers::<Page<Alert>>(200),
        Route::post("/v1/stop", stop)
            .summary(
                "Asks the node to stop: within its budget, at once, or as soon as nothing runs",
            )
            .reads::<Stop>()
            .answers::<Stopping>(202),
    ]
}

async fn health(State(handle): State<Handle>) -> Reply<Health> {
    Reply(Health { status: "ok".to_owned(), epoch: epoch(&handle) })
}

fn epoch(handle: &Handle) -> Option<String> {
    handle.epoch().map(|epoch| epoch.to_string())
}

async fn ready(State(handle): State<Handle>) -> Result<Reply<Health>> {
    match handle.phase() {
        handle::Phase::Ready => {
            Ok(Reply(Health { status: "ready".to_owned(), epoch: epoch(&handle) }))
        }
        phase => Err(Problem::new(Code::NotReady, format!("be ready: the node {phase}")).into()),
    }
}

async fn document() -> Reply<Value> {
    Reply(openapi::document().clone())
}

async fn status(State(handle): State<Handle>) -> Result<Reply<Status>> {
    let status = handle.status().await?;
    Ok(Reply(Status {
        phase: phase(status.phase),
        alerts: status.alerts.iter().map(Alert::from).collect(),
        drain: handle.progress().map(Drain::from),
        node: status.node.as_ref().map(Node::from),
        before: status.before.as_ref().map(Node::from),
        now: handle.now(),
        jobs: status.tally.jobs,
        sessions: sessions(&status.tally),
        runs: runs(&status.tally),
        events: status.tally.events,
        ownerless: status.ownerless,
        next: status.upcoming.iter().filter_map(next).collect(),
        running: status.running.iter().map(Run::from).collect(),
        outbox: outbox(&status),
        reaper: ReaperStatus::new(
            &status.reaper,
            status.overdue,
            status.tally.archives,
            handle.now(),
        ),
        store: store(status.stats),
    }))
}

async fn nodes(State(handle): State<Handle>, query: Query) -> Result<Reply<Page<Node>>> {
    let nodes = handle.nodes(query.limit()?).await?;
    Ok(Reply(Page { items: nodes.iter().map(Node::from).collect(), next: None }))
}

async fn alerts(State(handle): State<Handle>, query: Query) -> Result<Reply<Page<Alert>>> {
    let alerts = handle.alerts(query.limit()?).await?;
    Ok(Reply(Page { items: alerts.iter().map(Alert::from).collect(), next: None }))
}

async fn stop(
    State(handle): State<Handle>,
    Json(stop): Json<Stop>,
) -> Result<(StatusCode, Reply<Stopping>)> {
    if handle.phase() == handle::Phase::Offline {
        return Err(Error::Unavailable(handle::Phase::Offline).into());
    }
    tracing::info!(reason = ?stop.reason, patience = ?stop.patience, "asked to stop over HTTP");
    handle.drain(stop.reason.into(), stop.patience);
    let drain = begun(&handle).await.map(Drain::from);
    let (phase, epoch) = (phase(handle.phase()), epoch(&handle));
    Ok((StatusCode::ACCEPTED, Reply(Stopping { phase, epoch, drain })))
}

/// How far a stop that was just asked for has come: its task notices within a moment.
async fn begun(handle: &Handle) -> Option<Progress> {
    let mut progress = handle.watch_progress()?;
    let begun = tokio::time::timeout(NOTICED, progress.wait_for(Option::is_some)).await;
    begun.ok()?.ok().and_then(|progress| *progress)
}

fn phase(phase: handle::Phase) -> Phase {
    match phase {
        handle::Phase::Reconciling => Phase::Reconciling,
        handle::Phase::Ready => Phase::Ready,
        handle::Phase::Draining(_) => Phase::Draining,
        handle::Phase::Stopped => Phase::Stopped,
        handle::Phase::Offline => Phase::Offline,
    }
}

fn sessions(tally: &Tally) -> Vec<SessionCount> {
    let mut kinds = BTreeMap::new();
    for (&(kind, open), &count) in &tally.sessions {
        let (opened, ended) = kinds.entry(kind).or_insert((0, 0));
        *if open { opened } else { ended } += count;
    }
    kinds.into_iter().map(|(kind, (open, ended))| SessionCount { kind, open, ended }).collect()
}

fn runs(tally: &Tally) -> Vec<RunCount> {
    let count = |(&(state, outcome), &count): (&(page::RunState, _), &u64)| {
        let state = match state {
            page::RunState::Queued => RunState::Queued,
            page::RunState::Waiting => RunState::Waiting,
            page::RunState::Running => RunState::Running,
            page::RunState::Ended => RunState::Ended,
        };
        RunCount { state, outcome, count }
    };
    tally.runs.iter().map(count).collect()
}

fn outbox(status: &handle::Status) -> Outbox {
    let count = |standing| -> u64 {
        let of = status.tally.deliveries.iter().filter(|((_, it), _)| *it == standing);
        of.map(|(_, count)| count).sum()
    };
    Outbox {
        pending: count(page::Standing::Pending),
        oldest_at: status.oldest_deliveries.iter().filter_map(|(_, at)| *at).min(),
        dead: count(page::Standing::Dead),
    }
}

fn next(job: &Job) -> Option<NextSlot> {
    let (slot, at) = job.next_slot.zip(job.due_at())?;
    Some(NextSlot { job_id: job.id, job_key: job.key.clone(), slot, at })
}

fn store(stats: Stats) -> StoreStatus {
    StoreStatus {
        commits: stats.commits,
        transactions: stats.transactions,
        syncs: stats.syncs,
        commit_ms: stats.commit_time.as_secs_f64() * 1e3,
        store_bytes: stats.store_bytes,
        wal_bytes: stats.wal_bytes,
        free_bytes: stats.free_bytes,
    }
}
