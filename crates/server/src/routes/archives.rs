//! Archives: what there is, what is in it, whether it is sound, and bringing it back.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::StatusCode;
use sexton_engine::handle::Handle;
use sexton_engine::page::PageRequest;

use super::sessions::AFTER;
use crate::api::{Archive, Checkup, Entry, Page, Segment, Segments, Session};
use crate::body;
use crate::cursor;
use crate::failure::Result;
use crate::query::{CURSOR, LIMIT, Param, Query};
use crate::route::Route;

const OFFSET: Param = Param::query("after", "the `next` of the part before");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/archives", list)
            .summary("Archives and the stubs of deleted ones, newest session first")
            .params(&[LIMIT, CURSOR])
            .answers::<Page<Archive>>(200),
        Route::get("/v1/archives/{id}", show)
            .summary("The archive of a session")
            .answers::<Archive>(200),
        Route::delete("/v1/archives/{id}", purge)
            .summary("Erases the archive of a session: its bytes are overwritten, a stub is left")
            .answers::<Archive>(200),
        Route::get("/v1/archives/{id}/transcript", transcript)
            .summary(
                "Entries of an archived session in order; `next` is the `after` of the next page",
            )
            .params(&[AFTER, LIMIT])
            .large()
            .answers::<Page<Entry>>(200),
        Route::post("/v1/archives/{id}/restore", restore)
            .summary("Brings an archived session back, ended and pinned; its archive stays")
            .answers::<Session>(201),
        Route::get("/v1/segments", segments)
            .summary("The files of archives, and files that nobody knows; there is one page")
            .answers::<Segments>(200),
        Route::get("/v1/segments/{id}/verify", verify)
            .summary("Reads a segment and checks it; `next` is the `after` of its next part")
            .params(&[OFFSET])
            .answers::<Checkup>(200),
    ]
}

async fn list(State(handle): State<Handle>, query: Query) -> Result<Reply<Page<Archive>>> {
    let page = PageRequest { after: cursor::read(&query)?, limit: query.limit()? };
    let page = handle.archives(page).await?;
    Ok(Reply(Page {
        items: page.items.iter().map(Archive::from).collect(),
        next: page.next.map(cursor::write),
    }))
}

async fn show(State(handle): State<Handle>, id: body::Segment) -> Result<Reply<Archive>> {
    Ok(Reply(Archive::from(&handle.archive(id.parse()?).await?)))
}

async fn purge(State(handle): State<Handle>, id: body::Segment) -> Result<Reply<Archive>> {
    Ok(Reply(Archive::from(&handle.purge_archive(id.parse()?).await?)))
}

async fn transcript(
    State(handle): State<Handle>,
    id: body::Segment,
    query: Query,
) -> Result<Reply<Page<Entry>>> {
    let session = id.parse()?;
    let after = query.parse::<u64>(&AFTER)?.unwrap_or(0);
    let entries = handle.archived_entries(session, after, query.limit()?).await?;
    let last = entries.last().map(|entry| entry.seq);
    let all = handle.archive(session).await?.entries;
    Ok(Reply(Page {
        items: entries.into_iter().map(Entry::from).collect(),
        next: last.filter(|last| *last < all).map(|last| last.to_string()),
    }))
}

async fn restore(
    State(handle): State<Handle>,
    id: body::Segment,
) -> Result<(StatusCode, Reply<Session>)> {
    let session = handle.restore_session(id.parse()?).await?;
    Ok((StatusCode::CREATED, Reply(Session::from(&session))))
}

async fn segments(State(handle): State<Handle>) -> Result<Reply<Segments>> {
    let found = handle.segments().await?;
    let items = found.segments.iter().map(Segment::from).collect();
    Ok(Reply(Segments { items, next: None, unknown_files: found.strangers }))
}

async fn verify(
    State(handle): State<Handle>,
    name: body::Segment,
    query: Query,
) -> Result<Reply<Checkup>> {
    let after = query.parse::<u64>(&OFFSET)?;
    Ok(Reply(handle.check_segment(&name.parse::<String>()?, after).await?.into()))
}
