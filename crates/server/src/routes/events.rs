//! The event log: followed as server-sent events, or read in pages.

use std::str::FromStr;

use axum::Json as Reply;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream;
use schemars::json_schema;
use sexton_domain::event::EventType;
use sexton_engine::handle::Handle;

use crate::api::{Code, Event, EventPage, Gap, Problem};
use crate::failure::{Failure, Result};
use crate::query::{LIMIT, Param, Query, one_of};
use crate::route::{Content, Route};

mod follow;

use follow::Follower;

const AFTER: Param = Param::query(
    "after",
    "the id of a message, or the `seq` of an event; 0 begins with the oldest that is kept. By default a page begins there, and a stream with what is new",
);
const TYPES: Param = Param::query("types", "event types with commas between; all by default");
const LAST_ID: Param = Param::header("last-event-id", "the id of the last message that arrived");

/// How many events a page with a filter looks at.
const WINDOW: u32 = 5_000;
/// How many events are read at once.
const CHUNK: u32 = 100;

pub(super) fn routes() -> Vec<Route> {
    const STREAM: Content = Content {
        media: "text/event-stream",
        schema: |_| {
            json_schema!({
                "type": "string",
                "description": "One message per event: `id` is its cursor, `event` its type, `data` an Event. \
                    A `gap` message (data: Gap) tells that events between are no longer kept, a `lagged` \
                    message that the reader has fallen behind; nothing is lost by it."
            })
        },
    };
    vec![
        Route::get("/v1/events", events)
            .summary("The event log as a stream; with `Accept: application/json` a page")
            .params(&[AFTER, TYPES, LIMIT, LAST_ID])
            .answers_with(200, STREAM)
            .answers::<EventPage>(200),
    ]
}

async fn events(
    State(handle): State<Handle>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response> {
    let types = types(&query)?;
    let limit = query.limit()?;
    let after = query.parse::<Cursor>(&AFTER)?;
    let last_id = match headers.get("last-event-id") {
        None => None,
        Some(id) => {
            let id = id.to_str().unwrap_or("?");
            Some(id.parse::<Cursor>().map_err(|error| LAST_ID.refuse(id, error))?)
        }
    };
    let log = Log::read(&handle).await?;
    if wants_page(&headers) {
        let begin = log.begin(last_id.or(after).unwrap_or(Cursor::START))?;
        return Ok(Reply(page(&handle, begin, &types, limit).await?).into_response());
    }
    let begin = match last_id.or(after) {
        Some(cursor) => log.begin(cursor)?,
        None => Begin { seq: log.newest, gap: None },
    };
    let follower = Follower::new(handle, log.generation, begin, types);
    let stream = stream::unfold(follower, Follower::next);
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((unbuffered, Sse::new(stream)).into_response())
}

/// A place in the log: `<generation>-<seq>`, or the bare number of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    generation: Option<u32>,
    seq: u64,
}

impl Cursor {
    const START: Self = Self { generation: None, seq: 0 };
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> std::result::Result<Self, BadCursor> {
        let bad = || BadCursor(text.chars().take(80).collect());
        // `parse` alone would take a leading plus.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Err(bad());
        }
        let (generation, seq) = match text.split_once('-') {
            Some((generation, seq)) => (Some(generation.parse().map_err(|_| bad())?), seq),
            None => (None, text),
        };
        Ok(Self { generation, seq: seq.parse().map_err(|_| bad())? })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no place in the event log")]
struct BadCursor(String);

/// The ends of the log.
#[derive(Debug, Clone, Copy)]
struct Log {
    generation: u32,
    oldest: u64,
    newest: u64,
}

/// Where reading begins: after this number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Begin {
    seq: u64,
    gap: Option<Gap>,
}

impl Log {
    async fn read(handle: &Handle) -> Result<Self> {
        let generation = handle.generation().await?;
        let (oldest, newest) = handle.event_range().await?.unwrap_or((1, 0));
        Ok(Self { generation, oldest, newest })
    }

    fn begin(&self, cursor: Cursor) -> Result<Begin> {
        let restored = cursor.generation.is_some_and(|it| it < self.generation);
        let unknown = cursor.generation.is_some_and(|it| it > self.generation);
        if unknown || (!restored && cursor.seq > self.newest) {
            let end = format!("{}-{}", self.generation, self.newest);
            let detail = format!("use a place in the event log: the log ends at {end}");
            let given = cursor.seq.to_string();
            return Err(Problem::new(Code::InvalidCursor, detail)
                .about("after", &given)
                .hint("leave it out to follow what is new, or begin with 0")
                .into());
        }
        // Numbers of before a restore say nothing about the log of after it.
        let seq = if restored { 0 } else { cursor.seq };
        let missed = seq > 0 && seq + 1 < self.oldest;
        let gap = (restored || missed).then_some(Gap {
            after: cursor.seq,
            oldest: self.oldest,
            restored,
        });
        Ok(Begin { seq: if missed { self.oldest - 1 } else { seq }, gap })
    }
}

/// A page is asked for by a caller that takes JSON and no stream.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let media: Vec<&str> = accept
        .flat_map(|it| it.split(','))
        .filter_map(|it| it.split(';').next())
        .map(str::trim)
        .collect();
    media.contains(&"application/json") && !media.contains(&"text/event-stream")
}

fn types(query: &Query) -> Result<Vec<EventType>> {
    let known = || EventType::ALL.iter().map(|kind| (kind.name().to_owned(), *kind));
    let types = query.read(&TYPES, |text| {
        text.split(',')
            .map(|word| one_of(word, known()))
            .collect::<std::result::Result<Vec<_>, _>>()
    })?;
    Ok(types.unwrap_or_default())
}

async fn page(
    handle: &Handle,
    begin: Begin,
    types: &[EventType],
    limit: u32,
) -> std::result::Result<EventPage, Failure> {
    let mut seq = begin.seq;
    let (mut items, mut looked) = (Vec::new(), 0);
    let limit = limit as usize;
    while items.len() < limit && looked < WINDOW {
        let chunk = handle.events(seq, CHUNK).await?;
        if chunk.is_empty() {
            return Ok(EventPage { items, next: None, gap: begin.gap });
        }
        for event in chunk {
            if items.len() == limit {
                break;
            }
            looked += 1;
            seq = event.seq;
            if types.is_empty() || types.contains(&event.fact.kind) {
                items.push(Event::from(event));
            }
        }
    }
    let more = !handle.events(seq, 1).await?.is_empty();
    Ok(EventPage { items, next: more.then(|| seq.to_string()), gap: begin.gap })
}
