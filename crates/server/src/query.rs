//! Query parameters: each is declared once, for the reader, for its errors and for the document.

use sexton_domain::errors::causes;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{self, FromRequestParts, Request, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use sexton_domain::duration::Duration;
use sexton_engine::page::MAX_PAGE;

use crate::api::{Code, Problem};
use crate::failure::{Failure, Result};
use crate::suggest::did_you_mean;

/// How many items a page has unless the caller says otherwise.
pub(crate) const DEFAULT_PAGE: u32 = 50;

/// A parameter of a query, or a header, that a route knows.
#[derive(Debug)]
pub(crate) struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it takes, in words: for the document and for errors.
    pub takes: &'static str,
    /// Where it stands.
    pub place: Place,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Query,
    Header,
}

impl Param {
    pub const fn query(name: &'static str, takes: &'static str) -> Self {
        Self { name, takes, place: Place::Query }
    }

    pub const fn header(name: &'static str, takes: &'static str) -> Self {
        Self { name, takes, place: Place::Header }
    }

    /// The problem with a value of it.
    pub fn refuse(&self, value: &str, why: impl Display) -> Failure {
        let (code, what) = match self.place {
            Place::Query => (Code::InvalidParameter, "parameter"),
            Place::Header => (Code::InvalidHeader, "header"),
        };
        let detail = format!("use {what} `{}`: {why}", self.name);
        let hint = format!("`{}` takes {}", self.name, self.takes);
        Problem::new(code, detail).about(self.name, value).hint(hint).into()
    }
}

/// The size of a page.
pub(crate) const LIMIT: Param = Param::query("limit", "a number from 1 to 500; 50 by default");
/// Where a page begins.
pub(crate) const CURSOR: Param = Param::query("cursor", "the `next` of the page before");

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The value as it was sent.
    pub fn text(&self, param: &Param) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == param.name).map(|(_, value)| value.as_str())
    }

    /// The value, parsed.
    pub fn parse<T: FromStr<Err: std::error::Error>>(&self, param: &Param) -> Result<Option<T>> {
        self.read(param, |text| text.parse().map_err(|error: T::Err| causes(&error)))
    }

    /// The value as `read` understands it.
    pub fn read<T, E: Display>(
        &self,
        param: &Param,
        read: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<Option<T>> {
        match self.text(param) {
            None => Ok(None),
            Some(text) => read(text).map(Some).map_err(|error| param.refuse(text, error)),
        }
    }

    /// One of some values, by their names.
    pub fn word<T: Copy>(
        &self,
        param: &Param,
        words: impl IntoIterator<Item = (String, T)>,
    ) -> Result<Option<T>> {
        self.read(param, |text| one_of(text, words))
    }

    /// `true` or `false`.
    pub fn flag(&self, param: &Param) -> Result<Option<bool>> {
        self.word(param, [("true".to_owned(), true), ("false".to_owned(), false)])
    }

    /// A whole number within bounds.
    pub fn number(
        &self,
        param: &Param,
        bounds: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>> {
        let (low, high) = (*bounds.start(), *bounds.end());
        self.read(param, |text| match text.parse::<u32>() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            _ => Err(format!("{:?} is not a number from {low} to {high}", shown(text))),
        })
    }

    /// The size of the page.
    pub fn limit(&self) -> Result<u32> {
        Ok(self.number(&LIMIT, 1..=MAX_PAGE)?.unwrap_or(DEFAULT_PAGE))
    }

    /// An instant: RFC 3339, or a duration before `now`.
    pub fn instant(&self, param: &Param, now: Timestamp) -> Result<Option<Timestamp>> {
        self.read(param, |text| match text.parse::<Duration>() {
            Ok(ago) => Ok(ago.before(now)),
            Err(_) => text
                .parse::<Timestamp>()
                .map_err(|_| format!("{:?} is neither an instant nor a duration", shown(text))),
        })
    }
}

/// The value of this name.
pub(crate) fn one_of<T: Copy>(
    text: &str,
    words: impl IntoIterator<Item = (String, T)>,
) -> std::result::Result<T, String> {
    let words: Vec<(String, T)> = words.into_iter().collect();
    if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
    let near = did_you_mean(text, names.iter().copied());
    let near = near.map(|near| format!("; {near}")).unwrap_or_default();
    Err(format!("{:?} is none of `{}`{near}", shown(text), names.join("`, `")))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        pairs(&parts.uri).map(Self)
    }
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>> {
    let pairs = extract::Query::try_from_uri(uri).map_err(|rejection| {
        let detail = format!("read the query: {}", rejection.body_text());
        let query = uri.query().unwrap_or_default();
        Failure::from(Problem::new(Code::InvalidParameter, detail).about("query", query))
    })?;
    Ok(pairs.0)
}

/// Refuses parameters that the route does not know, and those that are given twice.
pub(crate) async fn only(
    State(known): State<&'static [Param]>,
    request: Request,
    next: Next,
) -> Response {
    match check(known, request.uri()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn check(known: &'static [Param], uri: &Uri) -> Result<()> {
    let known: Vec<&str> =
        known.iter().filter(|it| it.place == Place::Query).map(|it| it.name).collect();
    let pairs = pairs(uri)?;
    for (index, (name, value)) in pairs.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            let detail = format!("use parameter `{}`: this route does not know it", shown(name));
            let all = match known[..] {
                [] => "it takes none".to_owned(),
                _ => format!("it takes `{}`", known.join("`, `")),
            };
            let hint = did_you_mean(name, known.iter().copied()).unwrap_or(all);
            return Err(Problem::new(Code::UnknownParameter, detail)
                .about(shown(name), value)
                .hint(hint)
                .into());
        }
        if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
            let detail = format!("use parameter `{name}`: it is given twice");
            return Err(Problem::new(Code::InvalidParameter, detail).about(name, value).into());
        }
    }
    Ok(())
}
