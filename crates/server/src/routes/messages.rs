//! Messages to sessions.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::StatusCode;
use sexton_engine::handle::Handle;

use crate::api::{NewMessage, Turn};
use crate::body::Json;
use crate::failure::Result;
use crate::route::Route;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/v1/messages", send)
            .summary("Queues a turn on the session behind a key")
            .reads::<NewMessage>()
            .answers::<Turn>(202),
    ]
}

async fn send(
    State(handle): State<Handle>,
    Json(message): Json<NewMessage>,
) -> Result<(StatusCode, Reply<Turn>)> {
    let turn = handle.send(&message.into_message()?).await?;
    Ok((StatusCode::ACCEPTED, Reply(Turn::from(&turn))))
}
