//! The router without a daemon: over a store that is open for reading, within one process.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use sexton_engine::archive::files::Folder;
use sexton_engine::handle::Handle;
use sexton_server::api::{Code, Job, Page, Phase, Problem, Status};
use sexton_server::{Access, router};
use tower::ServiceExt;

use crate::world::store;

async fn ask(router: axum::Router, method: &str, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    (response.status(), to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

#[tokio::test]
async fn reads_are_answered_without_a_token_and_writes_say_how_to_start_the_daemon() {
    let archives = Arc::new(Folder::new(Path::new("/nowhere")));
    let handle = Handle::offline(store(), archives, "2026-11-20T18:00:00Z".parse().unwrap());
    let router = router(handle, Access::in_process());
    let (status, body) = ask(router.clone(), "GET", "/v1/status").await;
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_slice::<Status>(&body).unwrap().phase, Phase::Offline);
    let (status, body) = ask(router.clone(), "GET", "/v1/jobs").await;
    assert_eq!(status, 200);
    assert!(serde_json::from_slice::<Page<Job>>(&body).unwrap().items.is_empty());
    // The stream ends where the log does: nobody will add to it.
    assert_eq!(ask(router.clone(), "GET", "/v1/events?after=0").await.0, 200);
    let id = "/v1/runs/00000000-0000-7000-8000-000000000000/cancel";
    let (status, body) = ask(router.clone(), "POST", id).await;
    assert_eq!(status, 503);
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.code, Code::Offline);
    assert!(problem.hint.unwrap().contains("sexton serve"));
    assert_eq!(ask(router, "GET", "/readyz").await.0, 503);
}
