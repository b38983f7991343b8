//! Cursors: where the next page of a list begins. Opaque to callers, versioned for us.

use std::str::FromStr;

use sexton_domain::id::{DeliveryId, JobId, RunId, SessionId};

use crate::api::{Code, Problem};
use crate::failure::Result;
use crate::query::{CURSOR, Query};

/// The version of the form; a later one would be refused by this server, and this one by a later.
const VERSION: char = '1';

/// An id that lists are ordered by.
pub(crate) trait Cursor: Copy + FromStr + std::fmt::Display {
    /// Tells a cursor of one list from those of others.
    const LIST: char;
}

impl Cursor for JobId {
    const LIST: char = 'j';
}

impl Cursor for RunId {
    const LIST: char = 'r';
}

impl Cursor for SessionId {
    const LIST: char = 's';
}

impl Cursor for DeliveryId {
    const LIST: char = 'd';
}

/// The cursor after this item.
pub(crate) fn write<I: Cursor>(id: I) -> String {
    let id = id.to_string().replace('-', "");
    format!("{VERSION}{}{id}", I::LIST)
}

/// The item that the request's cursor stands for.
pub(crate) fn read<I: Cursor>(query: &Query) -> Result<Option<I>> {
    query.text(&CURSOR).map(parse).transpose()
}

/// The item that a cursor stands for.
pub(crate) fn parse<I: Cursor>(text: &str) -> Result<I> {
    let mut rest = text.chars();
    let known = rest.next() == Some(VERSION) && rest.next() == Some(I::LIST);
    let id = Some(rest.as_str()).filter(|id| known && id.len() == 32);
    match id.and_then(|id| id.parse().ok()) {
        Some(id) => Ok(id),
        None => {
            let detail = "use parameter `cursor`: this list did not give it out";
            let hint = "send the `next` of the page before, or leave it out for the first page";
            Err(Problem::new(Code::InvalidCursor, detail).about("cursor", text).hint(hint).into())
        }
    }
}
