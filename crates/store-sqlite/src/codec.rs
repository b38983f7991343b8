//! Values: how ids, times, words and bodies are written into columns and read back.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use rusqlite::types::{Value, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sexton_store::Error;
use uuid::Uuid;

const DAY_MS: i64 = 86_400_000;
const FIRST_DAY: Date = jiff::civil::date(1970, 1, 1);

/// An id as 16 bytes: they sort as the ids do.
pub(crate) fn id(uuid: impl Into<Option<Uuid>>) -> Value {
    uuid.into().map_or(Value::Null, |uuid| Value::Blob(uuid.as_bytes().to_vec()))
}

/// A time in milliseconds since 1970.
pub(crate) fn time(at: impl Into<Option<Timestamp>>) -> Value {
    at.into().map_or(Value::Null, |at| Value::Integer(at.as_millisecond()))
}

/// A yes or no.
pub(crate) fn flag(set: bool) -> Value {
    Value::Integer(set.into())
}

/// A text.
pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// A number. The database's numbers have a sign: what is above 2^63 - 1, where no counter gets and
/// no honest report of tokens, becomes that.
pub(crate) fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A number read back.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The word by which JSON calls a plain value.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// The value that JSON calls by a word.
pub(crate) fn from_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

/// A record as JSON.
pub(crate) fn body(record: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(record).map_err(|error| Error::Unavailable {
        doing: "write a record as JSON",
        why: error.to_string(),
    })
}

/// A record from JSON; what is wrong with it, if it is not one.
pub(crate) fn from_body<T: DeserializeOwned>(body: ValueRef<'_>) -> Result<T, String> {
    let bytes = body.as_bytes().map_err(|error| error.to_string())?;
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// A time read back.
pub(crate) fn from_time(ms: i64) -> Result<Timestamp, String> {
    // By seconds, because `from_millisecond` refuses the last second of all.
    let nanos = ms.rem_euclid(1000) as i32 * 1_000_000;
    Timestamp::new(ms.div_euclid(1000), nanos).map_err(|error| error.to_string())
}

/// An id read back, for messages: a damaged one is shown as it is.
pub(crate) fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Blob(bytes) => match Uuid::from_slice(bytes) {
            Ok(uuid) => uuid.to_string(),
            Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => "without an id".to_owned(),
    }
}

/// The UTC day of a time, counted from 1970.
pub(crate) fn day_of(at: Timestamp) -> i64 {
    at.as_millisecond().div_euclid(DAY_MS)
}

/// The number of a civil day, counted from 1970.
pub(crate) fn day_number(day: Date) -> i64 {
    day.duration_since(FIRST_DAY).as_secs() / 86_400
}

/// A civil day from its number.
pub(crate) fn from_day_number(number: i64) -> Result<Date, String> {
    let days = i32::try_from(number).map_err(|error| error.to_string())?;
    FIRST_DAY.checked_add(days.days()).map_err(|error| error.to_string())
}

/// The lowest bytes an id made at a time can have: ids begin with 48 bits of milliseconds.
pub(crate) fn first_id_at(at: Timestamp) -> Vec<u8> {
    let ms = u64::try_from(at.as_millisecond()).unwrap_or(0).min((1 << 48) - 1);
    let mut bytes = vec![0; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_millisecond_read_back() {
        for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            let ms = at.as_millisecond();
            assert_eq!(from_time(ms).unwrap().as_millisecond(), ms);
        }
        assert!(from_time(i64::MAX).is_err());
    }

    #[test]
    fn days_are_counted_alike_from_times_and_from_dates_before_and_after_1970() {
        for at in [
            "1970-01-01T00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-20T12:00Z",
            "-009999-01-03T00:00Z",
        ] {
            let at: Timestamp = at.parse().unwrap();
            let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
            assert_eq!(day_of(at), day_number(date), "{at}");
            assert_eq!(from_day_number(day_of(at)).unwrap(), date, "{at}");
        }
    }
}
