//! Usage: the ledger, summed up.

use axum::Json as Reply;
use axum::extract::State;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sexton_domain::usage::By;
use sexton_engine::handle::Handle;

use crate::api::UsageSums;
use crate::failure::Result;
use crate::query::{Param, Query};
use crate::route::Route;

const BY: Param = Param::query("by", "`job` (the default), `agent`, `model` or `day`");
const SINCE: Param =
    Param::query("since", "a day, an instant or a duration before now; its whole UTC day counts");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/usage", sums)
            .summary("What model calls took, summed up over UTC days; there is one page")
            .params(&[BY, SINCE])
            .answers::<UsageSums>(200),
    ]
}

async fn sums(State(handle): State<Handle>, query: Query) -> Result<Reply<UsageSums>> {
    let words = By::ALL.map(|(word, by)| (word.to_owned(), by));
    let by = query.word(&BY, words)?.unwrap_or(By::Job);
    let since = since(&query, &handle)?;
    let ledger = handle.usage(by, since.unwrap_or(Date::MIN)).await?;
    Ok(Reply(UsageSums::new(ledger, since)))
}

fn since(query: &Query, handle: &Handle) -> Result<Option<Date>> {
    let written = query.text(&SINCE).and_then(|text| text.parse::<Date>().ok());
    // A date alone; what goes on after it is an instant.
    if let Some(day) = written.filter(|day| query.text(&SINCE) == Some(&*day.to_string())) {
        return Ok(Some(day));
    }
    let instant = query.instant(&SINCE, handle.now())?;
    Ok(instant.map(|at| TimeZone::UTC.to_datetime(at).date()))
}
