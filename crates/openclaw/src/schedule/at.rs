//! Their absolute times: milliseconds since 1970, or an ISO date, with a time and a zone if it has them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

/// Reads the `at` of a job.
///
/// # Errors
/// What OpenClaw refuses: impossible dates, unpadded fields, free text, parts of a time.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let refused =
        || format!("read {text:?} as a time: expected milliseconds since 1970 or an ISO time");
    let at = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        millis(text)
    } else {
        iso(text)
    };
    at.ok_or_else(refused)
}

fn millis(text: &str) -> Option<Timestamp> {
    let millis = text.parse::<i64>().ok().filter(|&millis| millis > 0)?;
    Timestamp::from_millisecond(millis).ok()
}

fn iso(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = date_of(date)?;
    if rest.is_empty() {
        return utc(date.at(0, 0, 0, 0));
    }
    let rest = rest.strip_prefix('T')?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let offset = if zone.is_empty() { Offset::UTC } else { offset_of(zone)? };
    // The end of a day is the beginning of the next.
    if matches!(strip_fraction(time)?, ("24:00" | "24:00:00", 0)) {
        return offset.to_timestamp(date.tomorrow().ok()?.at(0, 0, 0, 0)).ok();
    }
    offset.to_timestamp(date.to_datetime(time_of(time)?)).ok()
}

fn utc(civil: DateTime) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(civil).ok()
}

fn date_of(text: &str) -> Option<Date> {
    let (year, rest) = text.split_at_checked(4)?;
    let (month, day) = rest.strip_prefix('-')?.split_once('-')?;
    let year = i16::try_from(digits(year, 4)?).ok()?;
    Date::new(year, digits(month, 2)?.try_into().ok()?, digits(day, 2)?.try_into().ok()?).ok()
}

/// Hours and minutes, with seconds and a fraction if it has them; what is finer than a millisecond goes.
fn time_of(text: &str) -> Option<Time> {
    let (whole, millis) = strip_fraction(text)?;
    let mut parts = whole.split(':').map(|part| digits(part, 2).and_then(|n| i8::try_from(n).ok()));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        Some(second) => second?,
        None => 0,
    };
    // A leap second is none of theirs.
    let time = Time::new(hour, minute, second, millis * 1_000_000).ok()?;
    parts.next().is_none().then_some(time)
}

/// The part before a fraction, and the fraction in whole milliseconds.
fn strip_fraction(time: &str) -> Option<(&str, i32)> {
    let Some((whole, fraction)) = time.split_once('.') else { return Some((time, 0)) };
    let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let of_seconds = whole.split(':').count() == 3;
    let millis = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    (is_number && of_seconds).then_some((whole, millis))
}

fn offset_of(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None => rest.split_at_checked(2)?,
    };
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    let is_offset = hours < 24 && minutes < 60;
    let signed = match sign {
        "+" => seconds,
        "-" => -seconds,
        _ => return None,
    };
    Offset::from_seconds(signed).ok().filter(|_| is_offset)
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Milliseconds since 1970 of theirs, where they are a time.
pub(super) fn from_millis(millis: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

/// The whole milliseconds since 1970, rounded towards the past.
pub(super) fn floor_millis(at: Timestamp) -> i128 {
    at.as_nanosecond().div_euclid(1_000_000)
}
