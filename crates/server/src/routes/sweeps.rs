//! Sweeping and reconciling now.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::StatusCode;
use sexton_domain::plan::sweep::Word;
use sexton_engine::handle::Handle;
use sexton_engine::page::{MAX_PAGE, PageRequest};

use crate::api::{Code, Judgement, Page, Problem, Reconciled, Sweep, SweepReport, Swept};
use crate::body::Json;
use crate::cursor;
use crate::failure::Result;
use crate::query::DEFAULT_PAGE;
use crate::route::Route;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/v1/sweep", sweep)
            .summary(
                "Sweeps now, or says what a sweep would do; 202 when it goes on after the answer",
            )
            .reads::<Sweep>()
            .answers::<Swept>(200)
            .answers::<Swept>(202),
        Route::post("/v1/reconcile", reconcile)
            .summary("Ends what is dead and finishes what is half done, now")
            .answers::<Reconciled>(200),
    ]
}

async fn sweep(
    State(handle): State<Handle>,
    Json(asked): Json<Sweep>,
) -> Result<(StatusCode, Reply<Swept>)> {
    let page = page(&asked)?;
    let acts = !asked.dry_run && asked.cursor.is_none();
    let report = match acts {
        true => handle.sweep().await?.map(SweepReport::from),
        false => None,
    };
    let goes_on = acts && report.is_none();
    let status = if goes_on { StatusCode::ACCEPTED } else { StatusCode::OK };
    let sessions = match asked.dry_run || asked.explain {
        true => Some(judgements(&handle, &asked, page).await?),
        false => None,
    };
    Ok((status, Reply(Swept { report, sessions })))
}

fn page(asked: &Sweep) -> Result<PageRequest<sexton_domain::id::SessionId>> {
    let limit = asked.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let why = format!("{limit} is not a number from 1 to {MAX_PAGE}");
        let detail = format!("use field `limit`: {why}");
        return Err(Problem::new(Code::InvalidField, detail)
            .about("limit", &limit.to_string())
            .into());
    }
    let after = asked.cursor.as_deref().map(cursor::parse).transpose()?;
    Ok(PageRequest { after, limit })
}

async fn judgements(
    handle: &Handle,
    asked: &Sweep,
    page: PageRequest<sexton_domain::id::SessionId>,
) -> Result<Page<Judgement>> {
    let found = handle.judgements(page).await?;
    let judged = found.items.iter().map(Judgement::from);
    let shown = judged.filter(|judged| asked.explain || judged.fate == Word::Reap);
    Ok(Page { items: shown.collect(), next: found.next.map(cursor::write) })
}

async fn reconcile(State(handle): State<Handle>) -> Result<Reply<Reconciled>> {
    Ok(Reply(Reconciled { done: handle.reconcile().await? }))
}
