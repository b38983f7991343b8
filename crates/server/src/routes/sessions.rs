//! Sessions and their transcripts.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::AgentName;
use sexton_domain::plan::sessions::End;
use sexton_domain::session::{self, Discard, EndReason};
use sexton_engine::handle::{Handle, Purged};
use sexton_engine::page::{PageRequest, SessionFilter};

use super::runs::{self, JOB};
use crate::api::{Archive, Entry, Page, Session, word};
use crate::body::Segment;
use crate::cursor;
use crate::failure::Result;
use crate::query::{CURSOR, LIMIT, Param, Query, one_of};
use crate::route::Route;

const KEY: Param = Param::query("key", "a session key");
const KIND: Param = Param::query(
    "kind",
    "`all`, or some of `main`, `chat`, `run`, `job`, `subagent`, `boot`, `temporary`, `other` with commas between; all but `run` by default, and all if `key` or `job` is given",
);
const AGENT: Param = Param::query("agent", "the name of an agent");
const OPEN: Param = Param::query("open", "`true` or `false`");
const REASON: Param = Param::query("reason", "why it ended: `completed`, `failed`, `timed_out`, …");
const SINCE: Param = Param::query("since", "RFC 3339, or a duration before now such as `24h`");
const PURGE: Param = Param::query("purge", "`true` to leave no archive either, or `false`");
pub(super) const AFTER: Param = Param::query("after", "the number of an entry; 0 by default");

/// How many bytes of entries a page of a transcript may have before it is cut.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How many entries are read at once: the largest of them together are no more than a page.
const CHUNK: u32 = 16;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/sessions", list)
            .summary("Sessions, newest first; `since` is about when they were opened")
            .params(&[KEY, KIND, AGENT, JOB, OPEN, REASON, SINCE, LIMIT, CURSOR])
            .answers::<Page<Session>>(200),
        Route::get("/v1/sessions/{id}", show).summary("A session").answers::<Session>(200),
        Route::delete("/v1/sessions/{id}", delete)
            .summary("Deletes a session as soon as its end is told; a turn in flight is cancelled first. With `purge`, one that is archived already: its archive is erased at once (200)")
            .params(&[PURGE])
            .answers::<Session>(202)
            .answers::<Archive>(200),
        Route::post("/v1/sessions/{id}/end", end)
            .summary("Ends a session: at once between two turns, soon (202) when one is in flight")
            .answers::<Session>(200)
            .answers::<Session>(202),
        Route::post("/v1/sessions/{id}/reset", reset)
            .summary("Ends a session as `end` does, with reason `reset`; the next turn begins a fresh one")
            .answers::<Session>(200)
            .answers::<Session>(202),
        Route::post("/v1/sessions/{id}/pin", pin)
            .summary("Keeps a session whatever its age")
            .answers::<Session>(200),
        Route::post("/v1/sessions/{id}/unpin", unpin)
            .summary("Lets a session go again when its time is over")
            .answers::<Session>(200),
        Route::get("/v1/sessions/{id}/transcript", transcript)
            .summary("Entries of a session in order; `next` is the `after` of the next page")
            .params(&[AFTER, LIMIT])
            .large()
            .answers::<Page<Entry>>(200),
    ]
}

async fn list(State(handle): State<Handle>, query: Query) -> Result<Reply<Page<Session>>> {
    let reasons = EndReason::ALL.map(|reason| (word(&reason), reason));
    let filter = SessionFilter {
        key: query.parse::<SessionKey>(&KEY)?,
        kinds: kinds(&query)?,
        agent: query.parse::<AgentName>(&AGENT)?,
        job: runs::job(&handle, &query).await?,
        open: query.flag(&OPEN)?,
        reason: query.word(&REASON, reasons)?,
        since: query.instant(&SINCE, handle.now())?,
    };
    let page = PageRequest { after: cursor::read(&query)?, limit: query.limit()? };
    let page = handle.sessions(filter, page).await?;
    Ok(Reply(Page {
        items: page.items.iter().map(Session::from).collect(),
        next: page.next.map(cursor::write),
    }))
}

/// Which kinds; none is all. Sessions of runs are many: they show where they are asked for.
fn kinds(query: &Query) -> Result<Vec<SessionKind>> {
    let known = || {
        let all = [("all".to_owned(), None)];
        all.into_iter().chain(SessionKind::ALL.map(|kind| (kind.as_str().to_owned(), Some(kind))))
    };
    let given = query.read(&KIND, |text| {
        text.split(',')
            .map(|word| one_of(word, known()))
            .collect::<std::result::Result<Vec<_>, _>>()
    })?;
    let asked = query.text(&KEY).is_some() || query.text(&JOB).is_some();
    Ok(match given {
        Some(kinds) => kinds.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default(),
        None if asked => Vec::new(),
        None => SessionKind::ALL.into_iter().filter(|kind| *kind != SessionKind::Run).collect(),
    })
}

async fn show(State(handle): State<Handle>, id: Segment) -> Result<Reply<Session>> {
    Ok(Reply(Session::from(&handle.session(id.parse()?).await?)))
}

async fn end(State(handle): State<Handle>, id: Segment) -> Result<(StatusCode, Reply<Session>)> {
    Ok(closed(&handle.end_session(id.parse()?, End::End).await?))
}

async fn reset(State(handle): State<Handle>, id: Segment) -> Result<(StatusCode, Reply<Session>)> {
    Ok(closed(&handle.end_session(id.parse()?, End::Reset).await?))
}

async fn delete(State(handle): State<Handle>, id: Segment, query: Query) -> Result<Response> {
    let id = id.parse()?;
    let goes = |session| (StatusCode::ACCEPTED, Reply(Session::from(session))).into_response();
    Ok(match query.flag(&PURGE)? {
        Some(true) => match handle.purge_session(id).await? {
            Purged::Session(session) => goes(&session),
            Purged::Archive(stub) => Reply(Archive::from(&stub)).into_response(),
        },
        _ => goes(&handle.delete_session(id, Discard::Archive).await?),
    })
}

async fn pin(State(handle): State<Handle>, id: Segment) -> Result<Reply<Session>> {
    Ok(Reply(Session::from(&handle.pin_session(id.parse()?).await?)))
}

async fn unpin(State(handle): State<Handle>, id: Segment) -> Result<Reply<Session>> {
    Ok(Reply(Session::from(&handle.unpin_session(id.parse()?).await?)))
}

/// A session that has ended, or that ends as soon as its turn has been cancelled.
fn closed(session: &session::Session) -> (StatusCode, Reply<Session>) {
    let status = if session.is_open() { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Reply(Session::from(session)))
}

async fn transcript(
    State(handle): State<Handle>,
    id: Segment,
    query: Query,
) -> Result<Reply<Page<Entry>>> {
    let session = handle.session(id.parse()?).await?.id;
    let mut after = query.parse::<u64>(&AFTER)?.unwrap_or(0);
    let limit = query.limit()? as usize;
    let mut items: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    while items.len() < limit && bytes < PAGE_BYTES {
        let wanted = u32::try_from(limit - items.len()).unwrap_or(CHUNK).min(CHUNK);
        let chunk = handle.entries(session, after, wanted).await?;
        let Some(last) = chunk.last() else { return Ok(Reply(Page { items, next: None })) };
        after = last.seq;
        bytes += chunk.iter().map(|entry| entry.content.len()).sum::<usize>();
        items.extend(chunk.into_iter().map(Entry::from));
    }
    let more = !handle.entries(session, after, 1).await?.is_empty();
    Ok(Reply(Page { items, next: more.then(|| after.to_string()) }))
}
