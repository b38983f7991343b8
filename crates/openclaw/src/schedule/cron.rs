//! Their cron: which civil times an expression names, and which instants croner 10 makes of them.
//!
//! The civil times are the ones of our own expressions, but for `?`, which means `*` to it in every field
//! and makes a day field one that names days: `0 0 ? * MON` is every day. The search goes from the civil
//! time of an instant to the next one that is named, and only then asks which instant that is; hence what
//! it does where a clock changes.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use sexton_domain::schedule::{CronError, CronExpr, Zone};

/// The expression as it is meant; `None` if it is one that no date satisfies.
pub(super) fn read(expr: &str) -> Result<Option<CronExpr>, String> {
    match plain(expr).parse() {
        Ok(expr) => Ok(Some(expr)),
        Err(CronError::Never { .. }) => Ok(None),
        Err(error) => Err(reason(&error)),
    }
}

/// An error with its cause.
pub(super) fn reason(error: &CronError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The expression without `?`, and the same days.
pub(super) fn plain(expr: &str) -> String {
    if !expr.contains('?') {
        return expr.to_owned();
    }
    let asked: Vec<&str> = expr.split_whitespace().collect();
    let mut fields: Vec<String> = asked.iter().map(|field| field.replace('?', "*")).collect();
    let of_day = usize::from(fields.len() > 5) + 2;
    if let Some([day, _, weekday, ..]) = fields.get_mut(of_day..)
        && let Some([asked_day, _, asked_weekday, ..]) = asked.get(of_day..)
    {
        let is_any = (asked_day.contains('?') && day == "*")
            || (asked_weekday.contains('?') && weekday == "*");
        if is_any && !weekday.starts_with('+') {
            "*".clone_into(day);
            "*".clone_into(weekday);
        }
        if weekday == "+*" {
            "*".clone_into(weekday);
        }
    }
    fields.join(" ")
}

/// The next slot: strictly after an instant.
///
/// Where a search ends in the past, because time comes twice, OpenClaw asks again from the next second
/// and then from the next midnight in UTC.
pub(super) fn next(expr: &CronExpr, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
    let found = search(expr, zone, now)?;
    if found > now {
        return Some(found);
    }
    let later = |at: Timestamp| search(expr, zone, at).filter(|&found| found > now);
    let second = now.as_nanosecond().div_euclid(1_000_000_000) + 1;
    let second = Timestamp::from_second(i64::try_from(second).ok()?).ok()?;
    let midnight = Offset::UTC.to_datetime(now).date().tomorrow().ok()?.at(0, 0, 0, 0);
    later(second).or_else(|| later(Offset::UTC.to_timestamp(midnight).ok()?))
}

fn search(expr: &CronExpr, zone: &Zone, from: Timestamp) -> Option<Timestamp> {
    instant(zone, next_civil(expr, zone.civil(from))?)
}

/// The first civil time after another that an expression names.
pub(super) fn next_civil(expr: &CronExpr, after: DateTime) -> Option<DateTime> {
    let named = expr.next(&Zone::UTC, Offset::UTC.to_timestamp(after).ok()?)?;
    Some(Offset::UTC.to_datetime(named))
}

/// The instant that croner takes for a civil time: of two that are an hour apart the first, of two
/// others the one it meets; after a gap the one that is later by its length.
fn instant(zone: &Zone, civil: DateTime) -> Option<Timestamp> {
    let as_utc = Offset::UTC.to_timestamp(civil).ok()?;
    let guess = zone.offset(as_utc).to_timestamp(civil).ok()?;
    let seen = zone.civil(guess);
    if seen == civil {
        let earlier = guess.checked_sub(SignedDuration::from_hours(1)).ok()?;
        return Some(if zone.civil(earlier) == civil { earlier } else { guess });
    }
    let missing = as_utc.duration_since(Offset::UTC.to_timestamp(seen).ok()?);
    let moved = guess.checked_add(missing).ok()?;
    Some(if zone.civil(moved) == civil { moved } else { guess.max(moved) })
}
