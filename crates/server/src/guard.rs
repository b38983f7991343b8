//! What holds for every request: an answer in time, even from a handler that panics, and headers
//! that keep answers out of caches.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::api::{Code, Problem};

/// How long a request may take until its answer begins; a stream may go on after it.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            Problem::new(Code::Internal, format!("answer {method} {path}: the handler panicked"))
                .hint("please report it with the log")
                .into_response()
        }
        Err(_) => Problem::new(Code::TooSlow, format!("answer {method} {path} within 30 s"))
            .hint("a change may have been made all the same: read before trying again")
            .into_response(),
    };
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) async fn no_route(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("find a route for {}", uri.path()))
        .about("path", uri.path())
        .hint("`GET /openapi.json` lists every route")
}

pub(crate) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{method} {}: the path does not take it", uri.path()),
    )
    .about("method", method.as_str())
    .hint("the `Allow` header lists what it takes")
}
