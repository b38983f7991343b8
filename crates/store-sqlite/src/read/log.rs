//! Reads of the event log and of the usage ledger.

use jiff::civil::Date;
use rusqlite::types::{Value, ValueRef};
use sexton_domain::event::Event;
use sexton_domain::id::EventId;
use sexton_domain::usage::{DailyUsage, Tokens};
use sexton_store::Error;
use uuid::Uuid;

use crate::codec;
use crate::fail::Fail;
use crate::read::{View, at_most};

pub(crate) const EVENTS: &str = "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq";
pub(crate) const RANGE: &str = "SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)";
pub(crate) const DAYS: &str = "SELECT day, job, agent, model, reports, input, output, cached, \
     cost_micro_usd FROM usage_day WHERE day >= ? ORDER BY day, job, agent, model";

pub(crate) const EVENT: &str = "SELECT seq, body FROM event WHERE id = ?";

/// See [`sexton_store::Driver::event`].
pub(crate) fn event(view: &View<'_>, id: EventId) -> Result<Option<Event>, Fail> {
    let mut statement = view.db.prepare_cached(EVENT)?;
    let mut rows = statement.query([codec::id(id.uuid())])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    read_event(row, 0).map(Some)
}

/// See [`sexton_store::Driver::events`].
pub(crate) fn events(view: &View<'_>, after: u64, limit: u32) -> Result<Vec<Event>, Fail> {
    view.collect(EVENTS, vec![codec::number(after)], at_most(limit), |row| read_event(row, 0))
}

/// An event from a row that has its number and its body from column `first` on.
pub(super) fn read_event(row: &rusqlite::Row<'_>, first: usize) -> Result<Event, Fail> {
    let seq = codec::unsigned(row.get(first)?);
    let fact = codec::from_body(row.get_ref(first + 1)?)
        .map_err(|why| Error::Corrupt { what: format!("event {seq}"), why })?;
    Ok(Event { seq, fact })
}

/// See [`sexton_store::Driver::event_range`].
pub(crate) fn range(view: &View<'_>) -> Result<Option<(u64, u64)>, Fail> {
    let bounds: (Option<i64>, Option<i64>) =
        view.db.prepare_cached(RANGE)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match bounds {
        (Some(first), Some(last)) => Some((codec::unsigned(first), codec::unsigned(last))),
        _ => None,
    })
}

/// See [`sexton_store::Driver::daily_usage`].
pub(crate) fn days(view: &View<'_>, from: Date) -> Result<Vec<DailyUsage>, Fail> {
    let from = vec![Value::Integer(codec::day_number(from))];
    view.collect(DAYS, from, usize::MAX, read_day)
}

fn read_day(row: &rusqlite::Row<'_>) -> Result<DailyUsage, Fail> {
    let number: i64 = row.get(0)?;
    let corrupt = |why| Error::Corrupt { what: format!("the usage of day {number}"), why };
    let agent: String = row.get(2)?;
    let sum = |column| row.get(column).map(codec::unsigned);
    Ok(DailyUsage {
        day: codec::from_day_number(number).map_err(corrupt)?,
        job: match row.get_ref(1)? {
            ValueRef::Blob([]) => None,
            id => {
                let bytes = id.as_blob().map_err(|error| corrupt(error.to_string()))?;
                let uuid = Uuid::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
                Some(uuid.into())
            }
        },
        agent: agent.parse().map_err(|error| corrupt(format!("{error}")))?,
        model: row.get(3)?,
        reports: sum(4)?,
        tokens: Tokens {
            input: sum(5)?,
            output: sum(6)?,
            cached: sum(7)?,
            cost_micro_usd: sum(8)?,
        },
    })
}
