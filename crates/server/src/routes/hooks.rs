//! Hooks and what is on its way to them.

use axum::Json as Reply;
use axum::extract::State;
use sexton_domain::id::SessionId;
use sexton_domain::name::HookName;
use sexton_engine::handle::{Handle, Switch};
use sexton_engine::page::{DeliveryFilter, PageRequest, Standing};

use crate::api::{Delivery, Hook, HookTest, Page};
use crate::body::Segment;
use crate::cursor;
use crate::failure::Result;
use crate::query::{CURSOR, LIMIT, Param, Query};
use crate::route::Route;

const HOOK: Param = Param::query("hook", "the name of a hook");
const STATE: Param = Param::query("state", "`pending`, `delivered` or `dead`");
const SESSION: Param = Param::query("session", "the id of a session");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/hooks", list)
            .summary("Every hook, by name; there is one page")
            .answers::<Page<Hook>>(200),
        Route::post("/v1/hooks/{name}/enable", enable)
            .summary("Switches a hook on; what it missed goes out in its order")
            .answers::<Hook>(200),
        Route::post("/v1/hooks/{name}/disable", disable)
            .summary("Switches a hook off; what it misses waits, at most for its `max_age`")
            .answers::<Hook>(200),
        Route::post("/v1/hooks/{name}/test", test)
            .summary("Sends a hook a made-up event now and shows what it answers")
            .answers::<HookTest>(200),
        Route::get("/v1/deliveries", deliveries)
            .summary("Events on their way to hooks, newest first")
            .params(&[HOOK, STATE, SESSION, LIMIT, CURSOR])
            .answers::<Page<Delivery>>(200),
        Route::post("/v1/deliveries/{id}/redeliver", redeliver)
            .summary("Sends what was acknowledged or given up again, outside the order")
            .answers::<Delivery>(200),
    ]
}

async fn list(State(handle): State<Handle>) -> Result<Reply<Page<Hook>>> {
    let hooks = handle.hooks().await?;
    Ok(Reply(Page { items: hooks.iter().map(Hook::from).collect(), next: None }))
}

async fn enable(State(handle): State<Handle>, name: Segment) -> Result<Reply<Hook>> {
    switch(&handle, &name, Switch::On).await
}

async fn disable(State(handle): State<Handle>, name: Segment) -> Result<Reply<Hook>> {
    switch(&handle, &name, Switch::Off).await
}

async fn switch(handle: &Handle, name: &Segment, switch: Switch) -> Result<Reply<Hook>> {
    Ok(Reply(Hook::from(&handle.switch_hook(&name.parse()?, switch).await?)))
}

async fn test(State(handle): State<Handle>, name: Segment) -> Result<Reply<HookTest>> {
    Ok(Reply(handle.test_hook(&name.parse()?).await?.into()))
}

async fn deliveries(State(handle): State<Handle>, query: Query) -> Result<Reply<Page<Delivery>>> {
    let states = Standing::ALL.map(|state| (state.name().to_owned(), state));
    let filter = DeliveryFilter {
        hook: query.parse::<HookName>(&HOOK)?,
        state: query.word(&STATE, states)?,
        session: query.parse::<SessionId>(&SESSION)?,
    };
    let page = PageRequest { after: cursor::read(&query)?, limit: query.limit()? };
    let page = handle.deliveries(filter, page).await?;
    Ok(Reply(Page {
        items: page.items.iter().map(Delivery::from).collect(),
        next: page.next.map(cursor::write),
    }))
}

async fn redeliver(State(handle): State<Handle>, id: Segment) -> Result<Reply<Delivery>> {
    Ok(Reply(Delivery::from(&handle.redeliver(id.parse()?).await?)))
}
