//! `Idempotency-Key`: a write that is repeated under the same key is answered as the first one was, and is
//! not made again. See [`sexton_engine::once`] for what that holds for.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sexton_domain::access::{Idempotency, IdempotencyKey};
use sexton_engine::handle::{Handle, JobRef};
use sexton_engine::once::{Once, Standing};
use sha2::{Digest, Sha256};

use crate::api::{Code, Job, Problem, Run, Session, Turn};
use crate::body::MAX_BODY_BYTES;
use crate::failure::{Failure, Result};
use crate::query::Param;

/// The header, for the document and for errors.
pub(crate) const KEY: Param =
    Param::header("idempotency-key", "1 to 255 visible ASCII characters, for instance a UUID");
/// The longest key.
const MAX_KEY_BYTES: usize = 255;
/// The headers that are part of an answer.
const HEADERS: [HeaderName; 3] = [CONTENT_TYPE, ETAG, LOCATION];

/// An answer as it is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    headers: Vec<(String, String)>,
    body: String,
}

/// Makes writes that come with a key once.
pub(crate) async fn once(State(handle): State<Handle>, request: Request, next: Next) -> Response {
    let writes = writes(request.method());
    let Some(key) = request.headers().get(KEY.name).filter(|_| writes) else {
        return next.run(request).await;
    };
    let key = match read_key(key) {
        Ok(key) => key,
        Err(failure) => return failure.into_response(),
    };
    make(&handle, key, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

/// Whether calls of this method take a key.
pub(crate) fn writes(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

async fn make(handle: &Handle, key: String, request: Request, next: Next) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let route = format!("{} {}", parts.method, parts.uri.path());
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| too_large())?;
    let sha256 = hash(parts.uri.query().unwrap_or_default(), &body);
    // There is one token, the local admin's, which has no record.
    let id = IdempotencyKey { token: None, route, key };
    if let Some(earlier) = handle.remembered(&id).await? {
        return repeat(handle, &earlier, &sha256).await;
    }
    let once = Once::new(id, sha256.clone(), handle.now());
    let request = Request::from_parts(parts, Body::from(body));
    let response = once.scope(next.run(request)).await;
    if once.standing() != Standing::Repeated && response.status().is_success() {
        return remember(handle, &once, response).await;
    }
    // A twin was quicker: it is in the way of this call, or the reason why it was refused. What was made
    // and then failed to answer is found, too; what was refused may be asked for again.
    match handle.remembered(once.id()).await? {
        Some(earlier) => repeat(handle, &earlier, &sha256).await,
        None => Ok(response),
    }
}

fn read_key(key: &HeaderValue) -> Result<String> {
    let text = key.to_str().unwrap_or_default();
    if (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Ok(text.to_owned());
    }
    Err(KEY.refuse(text, "it is empty, too long, or has odd characters"))
}

fn too_large() -> Failure {
    let detail = format!("read the body: it is larger than {MAX_BODY_BYTES} bytes, or broke off");
    Problem::new(Code::BodyTooLarge, detail).into()
}

/// The hash of everything that says what is asked for besides method and path.
fn hash(query: &str, body: &[u8]) -> String {
    let hash = Sha256::new().chain_update(query).chain_update([0]).chain_update(body).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps the answer for whoever repeats the call; if that fails, the call was made all the same.
async fn remember(handle: &Handle, once: &Once, response: Response) -> Result<Response> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let of = |name: &HeaderName| {
        Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned()))
    };
    let headers = HEADERS.iter().filter_map(of).collect();
    let text = String::from_utf8_lossy(&body).into_owned();
    let answer = serde_json::to_string(&Answer { headers, body: text }).unwrap_or_default();
    if let Err(error) = handle.remember(once, parts.status.as_u16(), answer).await {
        tracing::warn!(%error, route = once.id().route, "the answer to a write could not be remembered");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Answers as the first call was.
async fn repeat(handle: &Handle, earlier: &Idempotency, sha256: &str) -> Result<Response> {
    if earlier.body_sha256 != sha256 {
        let detail =
            format!("use key {:?} again: it came with another request before", earlier.id.key);
        return Err(Problem::new(Code::IdempotencyKeyReused, detail)
            .about(KEY.name, &earlier.id.key)
            .hint("send a new key with a new request")
            .into());
    }
    let remembered = StatusCode::from_u16(earlier.status).ok();
    let answer = serde_json::from_str::<Answer>(&earlier.result).ok();
    let Some((status, answer)) = remembered.zip(answer) else {
        return unanswered(handle, earlier).await;
    };
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers {
        let name = name.parse::<HeaderName>().ok();
        headers.extend(name.zip(HeaderValue::from_str(&value).ok()));
    }
    Ok((status, headers, Bytes::from(answer.body)).into_response())
}

/// Answers for a call that was made and whose answer is not known, because the process died before, or
/// because it is still on its way: with what it made, as it is now.
async fn unanswered(handle: &Handle, earlier: &Idempotency) -> Result<Response> {
    let (method, path) = earlier.id.route.split_once(' ').unwrap_or_default();
    let made = |kind: &str| {
        let mut subjects = earlier.result.lines().filter_map(|line| line.split_once(' '));
        subjects.find(|(known, _)| *known == kind).map(|(_, id)| id.to_owned())
    };
    let wanted = match path.split('/').skip(2).collect::<Vec<_>>()[..] {
        ["jobs", _, "run"] | ["runs", ..] | ["messages"] => "run",
        ["jobs", ..] => "job",
        ["sessions", ..] if method != Method::DELETE => "session",
        _ => "",
    };
    match (wanted, made(wanted)) {
        ("run", Some(id)) if path == "/v1/messages" => {
            Ok(json(&Turn::from(&handle.turn(parse(&id)?).await?)))
        }
        ("run", Some(id)) => Ok(json(&Run::from(&handle.run(parse(&id)?).await?))),
        ("job", Some(id)) => Ok(json(&Job::from(&handle.job(&JobRef::Id(parse(&id)?)).await?))),
        ("session", Some(id)) => Ok(json(&Session::from(&handle.session(parse(&id)?).await?))),
        _ => Err(Problem::new(
            Code::AnswerLost,
            "repeat the answer: it was lost, the change was made",
        )
        .about(KEY.name, &earlier.id.key)
        .hint("read what it changed")
        .into()),
    }
}

fn json(value: &impl Serialize) -> Response {
    axum::Json(value).into_response()
}

fn parse<T: std::str::FromStr<Err: std::error::Error>>(id: &str) -> Result<T> {
    id.parse().map_err(|error: T::Err| {
        Problem::new(Code::Internal, format!("read a remembered id: {error}")).into()
    })
}
