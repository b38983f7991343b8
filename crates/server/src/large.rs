//! Large answers: how many are in memory at once.
//!
//! A page of a transcript may have megabytes, and is in memory from before it is read until the last of it
//! is handed over, which is up to the reader.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use crate::api::{Code, Problem};
use crate::held::hold;

/// How many there are at once.
const MOST: usize = 4;
/// How long who asks for one more waits before he is refused.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Room for large answers.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

/// Answers when there is room.
pub(crate) async fn when_there_is_room(
    State(Room(room)): State<Room>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(TIMEOUT, room.acquire_owned()).await {
        Ok(Ok(permit)) => hold(next.run(request).await, permit),
        _ => Problem::new(Code::Busy, "read a transcript: as many pages are under way as may")
            .hint("try again in a moment, and read what was asked for before")
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    /// A page of a transcript used to be held for every reader that did not read: a few hundred of them
    /// made the daemon grow by as many times 4 MB.
    #[tokio::test]
    async fn an_answer_takes_its_room_until_it_is_handed_over() {
        let layer = from_fn_with_state(Room::default(), when_there_is_room);
        let router = Router::new().route("/", get(async || "page")).layer(layer);
        let ask = || router.clone().oneshot(Request::new(Body::empty()));
        let mut answers = Vec::new();
        for _ in 0..MOST {
            answers.push(ask().await.unwrap());
        }
        assert_eq!(ask().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        answers.pop();
        assert_eq!(ask().await.unwrap().status(), StatusCode::OK);
        assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
    }
}
