//! Problems: what an error looks like (RFC 9457), and every code there is.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::errors::on_one_line;

/// Why a request was not fulfilled, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:sexton:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means, the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable: programs may rely on it.
    pub code: Code,
    /// What clears it, mostly a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The parameter, header or field that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it was, cut to 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

macro_rules! codes {
    ($($variant:ident $status:literal $title:literal;)*) => {
        /// Every code, in the order of their status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The HTTP status it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// What it means.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    InvalidJson 400 "the body is not JSON";
    InvalidField 400 "a field of the body has no usable value";
    UnknownField 400 "the body has a field that nobody knows";
    InvalidParameter 400 "a parameter has no usable value";
    UnknownParameter 400 "the query has a parameter that nobody knows";
    InvalidHeader 400 "a header has no usable value";
    InvalidCursor 400 "a cursor is not one that this server gave out";
    UnknownAgent 400 "the config has no agent of this name";
    Unauthorized 401 "a token is missing or wrong";
    WrongOrigin 403 "a page of another site may not call";
    NotFound 404 "there is no such thing";
    MethodNotAllowed 405 "the path does not take this method";
    Conflict 409 "the request does not fit what is stored";
    OwnedByConfig 409 "the job is declared in a config file";
    KeyTaken 409 "the key belongs to another source";
    JobRemoved 409 "the job was removed";
    JobDone 409 "the only slot of the job is over";
    JobActive 409 "a run of the job is active";
    RunEnded 409 "the run has ended";
    DeliveryPending 409 "the delivery is still to go out";
    SessionIsolated 409 "the session belongs to one run alone";
    SessionPinned 409 "the session is pinned";
    AnswerLost 409 "the change was made and its answer was lost";
    StaleRevision 412 "the job has changed since it was read";
    BodyTooLarge 413 "the body is too large";
    UnsupportedMediaType 415 "the body has the wrong content type";
    WrongHost 421 "the request was meant for another host";
    QueueFull 429 "as many turns wait on the session key as may";
    IdempotencyKeyReused 422 "the key came with another request before";
    Internal 500 "a fault of Sexton itself";
    ArchiveDamaged 500 "an archive cannot be read or written";
    Busy 503 "as many connections or streams are open as may";
    NotReady 503 "the daemon does not take this now";
    Offline 503 "the daemon is not running";
    StoreUnavailable 503 "the store does not answer";
    TooSlow 503 "the answer took too long";
}

impl Code {
    /// The word on the wire.
    pub fn as_str(self) -> String {
        super::schema::word(&self)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_str())
    }
}

/// The longest detail, in bytes before control characters are escaped: what it repeats of a request may
/// be as long as a body.
const MAX_DETAIL_BYTES: usize = 1024;
/// The longest name of a field, in characters.
const MAX_FIELD_CHARS: usize = 200;

/// A detail on one line, and without its middle if it is too long: it ends with what was expected.
fn bounded(detail: &str) -> String {
    let half = MAX_DETAIL_BYTES / 2 - "…".len();
    if detail.len() <= MAX_DETAIL_BYTES {
        return on_one_line(detail);
    }
    let (head, tail) = detail.split_at(detail.floor_char_boundary(half));
    let tail = &tail[tail.ceil_char_boundary(tail.len() - half)..];
    format!("{}…{}", on_one_line(head), on_one_line(tail))
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:sexton:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: bounded(&detail.into()),
            code,
            hint: None,
            field: None,
            value: None,
        }
    }

    /// With what clears it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the parameter, header or field that is meant, and its value.
    #[must_use]
    pub fn about(mut self, field: impl Into<String>, value: &str) -> Self {
        self.field = Some(field.into().chars().take(MAX_FIELD_CHARS).collect());
        self.value = Some(value.chars().take(80).collect());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}
