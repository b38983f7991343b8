//! Failures: how every error becomes a problem, with the command that clears it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sexton_domain::errors::causes;
use sexton_domain::job::Source;
use sexton_domain::plan::jobs::Refused;
use sexton_domain::plan::turns::QueueFull;
use sexton_domain::plan::{messages, sessions};
use sexton_engine::StoreError;
use sexton_engine::handle::{Error, Phase};

use crate::api::{Code, FieldError, Problem};
use crate::suggest::did_you_mean;

/// What a handler answers instead of a result.
#[derive(Debug)]
pub(crate) struct Failure(Box<Problem>);

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// What goes over the wire.
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        problem(&error).into()
    }
}

impl From<FieldError> for Failure {
    fn from(error: FieldError) -> Self {
        let problem = Problem::new(Code::InvalidField, error.to_string());
        let problem = problem.about(error.field, &error.value);
        Self::from(match error.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.code == Code::Internal {
            tracing::error!(detail = self.detail, "request failed");
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (code, body) = (self.code, axum::Json(self));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        match code {
            Code::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Code::Busy
            | Code::NotReady
            | Code::StoreUnavailable
            | Code::TooSlow
            | Code::QueueFull => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// What an error of the engine is for the outside.
fn problem(error: &Error) -> Problem {
    let of = |code| Problem::new(code, causes(error));
    match error {
        Error::NotFound { what, id } => {
            let hint = match *what {
                "delivery" => "`sexton hook deliveries` lists what there is".to_owned(),
                "event" => "its event is no longer kept: see `retention.events`".to_owned(),
                "session" => "`sexton session list --kind all` lists what there is, `sexton archive list` what was".to_owned(),
                "segment" => "`sexton archive verify` reads every segment there is".to_owned(),
                what => format!("`sexton {what} list` lists what there is"),
            };
            of(Code::NotFound).about("id", id).hint(hint)
        }
        Error::Refused(refused) => refusal(refused),
        Error::Message(refused) => unsaid(refused),
        Error::Session(refused) => untouched(refused),
        Error::UnknownAgent { agent, known } => {
            let near = did_you_mean(agent.as_str(), known.split(", "));
            let hint = near.unwrap_or_else(|| {
                format!("add `[agents.{agent}]` to the config and reload it, or name another agent")
            });
            of(Code::UnknownAgent).about("agent", agent.as_str()).hint(hint)
        }
        Error::Pending { .. } => of(Code::DeliveryPending)
            .hint("`sexton hook deliveries --state pending` says when it is tried next"),
        Error::Unavailable(Phase::Offline) => {
            of(Code::Offline).hint("start the daemon: `sexton serve`")
        }
        Error::Unavailable(Phase::Draining(_) | Phase::Stopped) => of(Code::NotReady)
            .hint("ask again when it has started anew; `sexton status` shows how far the stop is"),
        Error::Unavailable(Phase::Reconciling | Phase::Ready) => {
            of(Code::NotReady).hint("try again; `sexton status` shows why")
        }
        Error::InStore(session) => {
            of(Code::Conflict).hint(format!("`sexton session show {session}` shows it"))
        }
        Error::ArchiveGone { .. } => of(Code::NotFound).hint(
            "its time is over; `archive` under `[retention]` says how long archives are kept",
        ),
        Error::Damaged(_) => of(Code::ArchiveDamaged)
            .hint("`sexton archive verify` names everything that is damaged"),
        Error::Store(StoreError::Corrupt { .. }) => {
            of(Code::Internal).hint("the daemon's log says which row cannot be read")
        }
        Error::Store(StoreError::TooLarge { .. }) => of(Code::BodyTooLarge),
        Error::Store(StoreError::ReadOnly) => {
            of(Code::Offline).hint("start the daemon: `sexton serve`")
        }
        Error::Store(StoreError::Closed) => {
            of(Code::NotReady).hint("the node has stopped: start it with `sexton serve`")
        }
        Error::Store(StoreError::Repeated) => {
            of(Code::AnswerLost).hint("read what it changed, or send a new key")
        }
        Error::Store(StoreError::Unavailable { .. }) => of(Code::StoreUnavailable)
            .hint("try again; `sexton status` shows the state of the disk"),
    }
}

fn refusal(refused: &Refused) -> Problem {
    let of = |code| Problem::new(code, refused.to_string());
    match refused {
        Refused::OwnedByConfig { key, owner } => owned(of(Code::OwnedByConfig), key, owner),
        Refused::KeyTaken { key, owner: Source::Config(owner) } => {
            owned(of(Code::OwnedByConfig), key, owner)
        }
        Refused::KeyTaken { key, owner: Source::Api } => {
            of(Code::KeyTaken).hint(format!("choose another key, or `sexton job rm {key}` first"))
        }
        Refused::Removed { key } => {
            of(Code::JobRemoved).hint(format!("add it again: `sexton job add --key {key} …`"))
        }
        Refused::Done { key } => {
            of(Code::JobDone).hint(format!("give it another time: `sexton job edit {key} --at …`"))
        }
        Refused::Active { key, state, .. } => of(Code::JobActive).hint(format!(
            "wait for it, or find it with `sexton run list --job {key} --state {state}` and stop it with `sexton run cancel ID`"
        )),
        Refused::QueueFull(full) => queue_full(full),
        Refused::WouldRemoveAll(_) => of(Code::Conflict).hint("reload with `--allow-empty`"),
        Refused::RunEnded => of(Code::RunEnded).hint("`sexton run show ID` says how"),
        Refused::Stale { key, revision } => of(Code::StaleRevision).about("if-match", "").hint(
            format!("read it again (`sexton job show {key}`) and send revision {revision}"),
        ),
    }
}

/// What a refusal of a message is for the outside.
fn unsaid(refused: &messages::Refused) -> Problem {
    let about = |field, value: &str| {
        Problem::new(Code::InvalidField, refused.to_string()).about(field, value)
    };
    match refused {
        messages::Refused::Empty => about("message", "").hint("say something"),
        messages::Refused::TooLong { .. } => {
            about("message", "").hint("put it into a file that the agent reads")
        }
        messages::Refused::RunKey(key) => about("key", key.as_str()).hint(
            "`sexton session list` shows the keys of conversations, for example `agent:NAME:main`",
        ),
        messages::Refused::NoAgent(_) => {
            about("agent", "").hint("name the agent that answers (`--agent`)")
        }
        messages::Refused::QueueFull(full) => queue_full(full),
    }
}

fn queue_full(full: &QueueFull) -> Problem {
    Problem::new(Code::QueueFull, full.to_string()).about("key", full.key.as_str()).hint(
        "wait for answers, or find what waits with `sexton run list --state queued` and cancel it \
         with `sexton run cancel ID`",
    )
}

/// What a refusal of a command on a session is for the outside.
fn untouched(refused: &sessions::Refused) -> Problem {
    let of = |code| Problem::new(code, refused.to_string());
    match refused {
        sessions::Refused::Isolated { run, .. } => {
            of(Code::SessionIsolated).hint(format!("stop it with `sexton run cancel {run}`"))
        }
        sessions::Refused::Pinned(id) => {
            of(Code::SessionPinned).hint(format!("`sexton session unpin {id}` first"))
        }
    }
}

fn owned(problem: Problem, key: &impl std::fmt::Display, owner: &str) -> Problem {
    problem.hint(format!(
        "change it in the config ({owner}) and reload, or stop it for now with `sexton job disable {key}`"
    ))
}
