//! The client: asks the daemon, and where it is not running, asks the store by the same requests.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sexton_domain::errors::causes;
use sexton_server::api::{Health, Problem};
use tower::ServiceExt as _;

use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::output::Output;

mod offline;
mod remote;

use remote::Remote;

/// The largest answer of the store that is read in one piece.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// A way to ask.
#[derive(Debug)]
pub struct Client {
    globals: Globals,
    output: Output,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Daemon(Remote),
    Store(axum::Router),
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    body: Option<Value>,
    revision: Option<u32>,
}

impl Ask {
    /// To look at something.
    pub fn get(path: impl Into<String>) -> Self {
        let (query, body, revision) = (Vec::new(), None, None);
        Self { method: Method::GET, path: path.into(), query, body, revision }
    }

    /// To do something.
    pub fn post(path: impl Into<String>) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    /// To change something.
    pub fn patch(path: impl Into<String>) -> Self {
        Self { method: Method::PATCH, ..Self::get(path) }
    }

    /// To remove something.
    pub fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Only if what is changed is at this revision.
    #[must_use]
    pub fn if_match(mut self, revision: Option<u32>) -> Self {
        self.revision = revision;
        self
    }

    /// With a parameter, if it has a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name.to_owned(), value.to_string())));
        self
    }

    /// Path and query as they go into a request.
    fn target(&self) -> String {
        let mut target = self.path.clone();
        for (index, (name, value)) in self.query.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            target.push_str(&format!("{separator}{name}={}", encoded(value)));
        }
        target
    }
}

/// A part of a path or a query that stands for itself.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What came back when it went well.
#[derive(Debug, Clone)]
pub struct Answer(pub Value);

impl Answer {
    /// As a type of the API.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.0.clone()).map_err(|error| {
            Failure::new(Exit::Bug, format!("failed to understand the daemon's answer: {error}"))
                .hint("do the daemon and this command have the same version?")
        })
    }
}

/// What came back.
struct Raw {
    status: StatusCode,
    body: Vec<u8>,
}

impl Client {
    /// Ready to ask; nothing is asked yet.
    pub fn new(globals: &Globals, output: Output) -> Result<Self, Failure> {
        let way = Way::Daemon(Remote::find(globals)?);
        Ok(Self { globals: globals.clone(), output, way })
    }

    /// Whether the daemon answers, as far as is known.
    pub fn is_online(&self) -> bool {
        matches!(self.way, Way::Daemon(_))
    }

    /// Asks. What only reads is answered from the store where no daemon runs.
    pub async fn ask(&mut self, ask: Ask) -> Result<Answer, Failure> {
        let raw = match &self.way {
            Way::Daemon(remote) => match remote.ask(&ask).await {
                Err(unreachable) if ask.method == Method::GET && remote.is_local() => {
                    let router = offline::router(&self.globals, self.output, unreachable).await?;
                    self.way = Way::Store(router.clone());
                    from_store(router, &ask).await?
                }
                answer => answer?,
            },
            Way::Store(router) => from_store(router.clone(), &ask).await?,
        };
        judge(raw)
    }

    /// Which life of the daemon answers, as far as it can be reached. Costs it next to nothing and does
    /// not need its store.
    pub async fn life(&self) -> Option<String> {
        let Way::Daemon(remote) = &self.way else { return None };
        let raw = remote.ask(&Ask::get("/healthz")).await.ok()?;
        judge(raw).ok()?.read::<Health>().ok()?.epoch
    }

    /// Asks and reads the answer as a type of the API.
    pub async fn fetch<T: DeserializeOwned>(&mut self, ask: Ask) -> Result<T, Failure> {
        self.ask(ask).await?.read()
    }
}

async fn from_store(router: axum::Router, ask: &Ask) -> Result<Raw, Failure> {
    let bug = |error: &dyn std::error::Error| {
        Failure::new(Exit::Bug, format!("failed to ask the store: {}", causes(error)))
    };
    let request = Request::builder()
        .method(ask.method.clone())
        .uri(ask.target())
        .header("host", "127.0.0.1")
        .body(Body::empty())
        .map_err(|error| bug(&error))?;
    let response = router.oneshot(request).await.map_err(|error| bug(&error))?;
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), MAX_ANSWER_BYTES).await;
    Ok(Raw { status, body: body.map_err(|error| bug(&error))?.to_vec() })
}

fn judge(raw: Raw) -> Result<Answer, Failure> {
    let Raw { status, body } = raw;
    if status.is_success() {
        if body.is_empty() {
            return Ok(Answer(Value::Null));
        }
        return serde_json::from_slice(&body).map(Answer).map_err(|error| {
            Failure::new(Exit::Bug, format!("failed to read the daemon's answer as JSON: {error}"))
        });
    }
    let exit = exit_of(status);
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        return Err(Failure::new(exit, format!("the daemon answered {status}: {}", text.trim())));
    };
    let mut failure = Failure::new(exit, format!("failed to {}", problem.detail));
    failure.hint = problem.hint;
    Err(failure)
}

fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        404 => Exit::NotFound,
        401 | 403 | 409 | 412 | 421 | 423 => Exit::Refused,
        429 => Exit::Unavailable,
        400..=499 => Exit::Usage,
        502..=504 => Exit::Unavailable,
        _ => Exit::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_parameters_are_encoded() {
        let ask = Ask::get(format!("/v1/jobs/{}", encoded("a b/c")))
            .with("key", Some("agent:x:ü"))
            .with("limit", None::<u32>)
            .with("count", Some(3));
        assert_eq!(ask.target(), "/v1/jobs/a%20b%2Fc?key=agent:x:%C3%BC&count=3");
    }

    #[test]
    fn every_status_has_its_exit_code() {
        let exit = |status| exit_of(StatusCode::from_u16(status).unwrap()) as u8;
        assert_eq!([400, 404, 409, 412, 401, 429, 503, 500].map(exit), [2, 3, 4, 4, 4, 6, 6, 70]);
    }
}
