//! Bodies and path segments: what a request carries besides its query.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use sexton_domain::errors::causes;

use crate::api::{Code, Problem};
use crate::failure::{Failure, Result};
use crate::suggest::did_you_mean;

/// The largest body, in bytes: a prompt of the largest size fits however it is escaped in practice.
pub(crate) const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// The JSON of a request.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        check_content_type(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|it| unreadable(&it))?;
        parse(&bytes).map(Self)
    }
}

/// Reads JSON; errors name the place and the field.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // serde_json calls a value of the wrong type bad syntax where a word is expected.
        match is_json(bytes) {
            true => misread(error.inner(), Category::Data, &path),
            false => misread(error.inner(), error.inner().classify(), &path),
        }
    })?;
    json.end().map_err(|error| misread(&error, Category::Syntax, "."))?;
    Ok(value)
}

/// Reads JSON that was read before as something.
pub(crate) fn reread<T: DeserializeOwned>(value: serde_json::Value) -> Result<T> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| misread(error.inner(), Category::Data, &error.path().to_string()))
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// The problem with JSON that cannot be read as what is expected.
fn misread(error: &serde_json::Error, category: Category, path: &str) -> Failure {
    let text = error.to_string();
    if category != Category::Data {
        return Problem::new(Code::InvalidJson, format!("read the body as JSON: {text}")).into();
    }
    let field = Some(path).filter(|path| !matches!(*path, "." | ""));
    let at = field.map(|field| format!(" at `{field}`")).unwrap_or_default();
    let detail = format!("read the body{at}: {text}");
    let Some((given, known)) = unknown_field(&text) else {
        let problem = Problem::new(Code::InvalidField, detail);
        return match field {
            Some(field) => problem.about(field, "").into(),
            None => problem.into(),
        };
    };
    let problem = Problem::new(Code::UnknownField, detail).about(given, "");
    match did_you_mean(given, known) {
        Some(hint) => problem.hint(hint).into(),
        None => problem.into(),
    }
}

/// The name in serde's message of an unknown field, and those it would know.
fn unknown_field(text: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
    let (given, known) = text.strip_prefix("unknown field `")?.split_once('`')?;
    Some((given, known.split('`').skip(1).step_by(2)))
}

fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let given = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "application/merge-patch+json" => Ok(()),
        _ => {
            let detail = format!("read a body of type {given:?}: it has to be JSON");
            Err(Problem::new(Code::UnsupportedMediaType, detail)
                .about("content-type", given)
                .hint("send `Content-Type: application/json`")
                .into())
        }
    }
}

fn unreadable(rejection: &BytesRejection) -> Failure {
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("read the body: it is larger than {MAX_BODY_BYTES} bytes");
        return Problem::new(Code::BodyTooLarge, detail).into();
    }
    Problem::new(Code::InvalidJson, format!("read the body: {}", rejection.body_text())).into()
}

/// The `{…}` of the path.
#[derive(Debug)]
pub(crate) struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(rejection) => {
                let detail = format!("read the path: {}", rejection.body_text());
                Err(Problem::new(Code::InvalidParameter, detail)
                    .about("id", parts.uri.path())
                    .into())
            }
        }
    }
}

impl Segment {
    /// The segment as an id.
    pub fn parse<T: std::str::FromStr<Err: std::error::Error>>(&self) -> Result<T> {
        self.0.parse().map_err(|error: T::Err| {
            Problem::new(Code::InvalidParameter, causes(&error)).about("id", &self.0).into()
        })
    }
}
