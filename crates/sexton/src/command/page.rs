//! Pages of lists.

use jiff::Timestamp;
use serde_json::Value;
use sexton_domain::duration::Duration;
use sexton_domain::schedule::Zone;
use sexton_domain::when::parse_at;

use crate::client::Answer;
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Says how to get the next page, if there is one.
pub fn more(output: Output, next: Option<&str>) {
    if let Some(next) = next {
        output.note(format_args!("there is more: --cursor {next}"));
    }
}

/// A list in the form every list has, whatever else the answer carries.
pub fn document(answer: &Answer) -> Value {
    serde_json::json!({ "items": answer.0["items"], "next": answer.0["next"] })
}

/// A point in the past: RFC 3339, a civil time in UTC, or how long ago.
pub fn since(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(ago) = text.parse::<Duration>() {
        return Ok(Some(ago.before(clock::now())));
    }
    match parse_at(text, Some(&Zone::UTC), Timestamp::UNIX_EPOCH) {
        Ok(at) => Ok(Some(at)),
        Err(error) => {
            Err(Failure::chain(Exit::Usage, &error).hint("write a time, or how long ago: 24h"))
        }
    }
}
