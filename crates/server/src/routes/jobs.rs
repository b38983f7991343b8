//! Jobs: add, read, edit, remove, run, suspend, resume, and their next slots.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use sexton_domain::errors::causes;
use sexton_domain::job;
use sexton_domain::name::{AgentName, JobKey};
use sexton_engine::handle::{Error, Handle, JobRef, Placed};
use sexton_engine::page::{JobFilter, PageRequest};

use crate::api::{self, Code, Context, Job, JobPreview, JobSpec, Page, Past, Problem, Run, Slots};
use crate::body::{self, Json, Segment};
use crate::cursor;
use crate::failure::{Failure, Result};
use crate::query::{CURSOR, LIMIT, Param, Query};
use crate::route::Route;

mod slots;

const AGENT: Param = Param::query("agent", "the name of an agent");
const SOURCE: Param = Param::query("source", "`api` or the name of a config source");
const REMOVED: Param = Param::query("removed", "`true` to list removed jobs as well");
const DRY_RUN: Param = Param::query("dry_run", "`true` to see what would happen, or `false`");
const COUNT: Param = Param::query("count", "a number from 1 to 100; 5 by default");
const EXPLAIN: Param = Param::query("explain", "`true` for notes on each slot, or `false`");
const REVISION: Param = Param::header("if-match", "the `ETag` of the job as it was read, or `*`");

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/v1/jobs/{id}";
    vec![
        Route::get("/v1/jobs", list)
            .summary("Jobs, newest first. `{id}` is an id or a key everywhere.")
            .params(&[AGENT, SOURCE, REMOVED, LIMIT, CURSOR])
            .answers::<Page<Job>>(200),
        Route::post("/v1/jobs", post)
            .summary("Adds a job, or brings the one of this key to this spec")
            .params(&[DRY_RUN])
            .reads::<JobSpec>()
            .answers::<JobPreview>(200)
            .answers::<Job>(200)
            .answers::<Job>(201),
        Route::get(ONE, show).summary("A job").answers::<Job>(200),
        Route::put(ONE, put)
            .summary("Replaces the spec of a job")
            .params(&[REVISION])
            .reads::<JobSpec>()
            .answers::<Job>(200),
        Route::patch(ONE, patch)
            .summary(
                "Changes fields of a job's spec (JSON merge patch: null goes back to the default)",
            )
            .params(&[REVISION])
            .reads::<JobSpec>()
            .answers::<Job>(200),
        Route::delete(ONE, remove)
            .summary("Removes a job; what runs, runs to its end")
            .params(&[REVISION])
            .answers::<Job>(200),
        Route::post("/v1/jobs/{id}/run", run).summary("Queues a run now").answers::<Run>(201),
        Route::post("/v1/jobs/{id}/enable", enable)
            .summary("Lets a suspended job run again")
            .answers::<Job>(200),
        Route::post("/v1/jobs/{id}/disable", disable)
            .summary("Suspends a job, whoever owns it")
            .answers::<Job>(200),
        Route::get("/v1/jobs/{id}/next", slots::next)
            .summary("The next slots of a job")
            .params(&[COUNT, EXPLAIN])
            .answers::<Slots>(200),
    ]
}

async fn list(State(handle): State<Handle>, query: Query) -> Result<Reply<Page<Job>>> {
    let source = query.text(&SOURCE).map(|source| match source {
        "api" => job::Source::Api,
        name => job::Source::Config(name.to_owned()),
    });
    let filter = JobFilter {
        source,
        agent: query.parse::<AgentName>(&AGENT)?,
        removed: query.flag(&REMOVED)?.unwrap_or(false),
    };
    let page = PageRequest { after: cursor::read(&query)?, limit: query.limit()? };
    let page = handle.jobs(filter, page).await?;
    Ok(Reply(Page {
        items: page.items.iter().map(|job| Job::from(job).listed()).collect(),
        next: page.next.map(cursor::write),
    }))
}

async fn show(State(handle): State<Handle>, id: Segment) -> Result<Response> {
    let job = find(&handle, &id.0).await?;
    Ok(tagged(StatusCode::OK, &job))
}

async fn post(
    State(handle): State<Handle>,
    query: Query,
    Json(form): Json<JobSpec>,
) -> Result<Response> {
    let key = key_of(&form)?;
    let now = handle.now();
    let spec = |existing: Option<&job::Job>| spec(form.clone(), existing, now);
    if query.flag(&DRY_RUN)?.unwrap_or(false) {
        let (job, placed) = handle.preview_job(key, spec).await?;
        return Ok(Reply(preview(&job, placed, now)).into_response());
    }
    let (job, placed) = handle.put_job(key, spec).await?;
    let status = if placed == Placed::Added { StatusCode::CREATED } else { StatusCode::OK };
    Ok(tagged(status, &job))
}

async fn put(
    State(handle): State<Handle>,
    id: Segment,
    headers: HeaderMap,
    Json(form): Json<JobSpec>,
) -> Result<Response> {
    let job = refer(&handle, &id.0).await?;
    let now = handle.now();
    let edit = |job: &job::Job| {
        same_key(&form, job)?;
        spec(form.clone(), Some(job), now)
    };
    let job = handle.edit_job(&job, revision(&headers)?, edit).await?;
    Ok(tagged(StatusCode::OK, &job))
}

async fn patch(
    State(handle): State<Handle>,
    id: Segment,
    headers: HeaderMap,
    Json(patch): Json<serde_json::Value>,
) -> Result<Response> {
    let job = refer(&handle, &id.0).await?;
    let now = handle.now();
    let edit = |job: &job::Job| {
        let form = patched(job, &patch)?;
        same_key(&form, job)?;
        spec(form, Some(job), now)
    };
    let job = handle.edit_job(&job, revision(&headers)?, edit).await?;
    Ok(tagged(StatusCode::OK, &job))
}

async fn remove(
    State(handle): State<Handle>,
    id: Segment,
    headers: HeaderMap,
) -> Result<Reply<Job>> {
    let job = refer(&handle, &id.0).await?;
    let removed = handle.remove_job(&job, revision(&headers)?).await?;
    Ok(Reply(Job::from(&removed)))
}

async fn run(State(handle): State<Handle>, id: Segment) -> Result<Response> {
    let job = refer(&handle, &id.0).await?;
    let run = Run::from(&handle.run_job(&job).await?);
    let location = format!("/v1/runs/{}", run.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Reply(run)).into_response())
}

async fn enable(State(handle): State<Handle>, id: Segment) -> Result<Reply<Job>> {
    let job = refer(&handle, &id.0).await?;
    Ok(Reply(Job::from(&handle.enable_job(&job).await?)))
}

async fn disable(State(handle): State<Handle>, id: Segment) -> Result<Reply<Job>> {
    let job = refer(&handle, &id.0).await?;
    Ok(Reply(Job::from(&handle.disable_job(&job).await?)))
}

/// The job that a path or a parameter means. Keys may look like ids (imported ones do): a job of
/// that id comes first.
pub(super) async fn find(handle: &Handle, text: &str) -> Result<job::Job> {
    if let Ok(id) = text.parse() {
        match handle.job(&JobRef::Id(id)).await {
            Err(Error::NotFound { .. }) => {}
            found => return Ok(found?),
        }
    }
    let key: JobKey = text.parse().map_err(|error| {
        let detail = format!("{error}, and it is not an id either");
        Failure::from(Problem::new(Code::InvalidParameter, detail).about("id", text))
    })?;
    Ok(handle.job(&JobRef::Key(key)).await?)
}

async fn refer(handle: &Handle, text: &str) -> Result<JobRef> {
    Ok(JobRef::Id(find(handle, text).await?.id))
}

fn spec(form: JobSpec, existing: Option<&job::Job>, now: Timestamp) -> Result<job::Spec> {
    if let Some(old) = &form.renamed_from {
        return Err(field("renamed_from", old, "only a config file can rename a job").into());
    }
    let existing = existing.map(|job| &job.spec.schedule);
    Ok(form.into_spec(Context { now, existing, past: Past::Refuse })?)
}

fn key_of(form: &JobSpec) -> Result<JobKey> {
    let Some(key) = &form.key else {
        let problem = field("key", "", "it is missing");
        return Err(problem.hint("name the job: letters, digits, `.`, `_` and `-`").into());
    };
    key.parse().map_err(|error| field("key", key, &causes(&error)).into())
}

fn same_key(form: &JobSpec, job: &job::Job) -> Result<()> {
    match &form.key {
        Some(key) if key != job.key.as_str() => {
            let problem = field("key", key, &format!("the key of job {} stays", job.key));
            Err(problem.hint("add a job of the new key, then remove this one").into())
        }
        _ => Ok(()),
    }
}

fn field(name: &str, value: &str, why: &str) -> Problem {
    Problem::new(Code::InvalidField, format!("use `{name}`: {why}")).about(name, value)
}

/// The job's spec as a form, with a merge patch (RFC 7396) applied. A new schedule of another sort
/// takes the place of the old one.
fn patched(job: &job::Job, patch: &serde_json::Value) -> Result<JobSpec> {
    let Some(patch) = patch.as_object() else {
        let detail = "read the body: a merge patch is an object";
        return Err(Problem::new(Code::InvalidField, detail).into());
    };
    let internal = |error: serde_json::Error| {
        Failure::from(Problem::new(Code::Internal, format!("write the job: {error}")))
    };
    let mut form = serde_json::to_value(JobSpec::from(&job.spec)).map_err(internal)?;
    let sorts = ["at", "every", "cron"];
    let given = |name: &&str| patch.get(*name).is_some_and(|value| !value.is_null());
    if let Some(form) = form.as_object_mut() {
        if sorts.iter().any(given) {
            sorts.iter().for_each(|name| drop(form.remove(*name)));
            if !given(&"cron") {
                form.remove("tz");
            }
        }
        for (name, value) in patch {
            match value.is_null() {
                true => drop(form.remove(name)),
                false => drop(form.insert(name.clone(), value.clone())),
            }
        }
    }
    body::reread(form)
}

fn preview(job: &job::Job, placed: Placed, now: Timestamp) -> JobPreview {
    JobPreview {
        placed: match placed {
            Placed::Added => api::Placed::Added,
            Placed::Changed => api::Placed::Changed,
            Placed::Unchanged => api::Placed::Unchanged,
        },
        spec: Job::from(job).spec,
        schedule: job.spec.schedule.describe(),
        next: slots::upcoming(job, placed, now),
    }
}

/// A job with its revision as the tag.
fn tagged(status: StatusCode, job: &job::Job) -> Response {
    let mut response = (status, Reply(Job::from(job))).into_response();
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", job.revision)) {
        headers.insert(ETAG, tag);
    }
    if status == StatusCode::CREATED
        && let Ok(location) = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id))
    {
        headers.insert(LOCATION, location);
    }
    response
}

/// The revision that the caller has seen.
fn revision(headers: &HeaderMap) -> Result<Option<u32>> {
    let Some(given) = headers.get(IF_MATCH) else { return Ok(None) };
    let given = given.to_str().unwrap_or("?");
    if given == "*" {
        return Ok(None);
    }
    let tag = given.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    match tag.and_then(|tag| tag.parse().ok()) {
        Some(revision) => Ok(Some(revision)),
        None => Err(REVISION.refuse(given, format!("{given:?} is not the `ETag` of a job"))),
    }
}
