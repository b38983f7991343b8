//! Single fields of records: what has the wrong type, or is no time, is absent.

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::Value;

/// The instant of a number of milliseconds; `None` unless it is positive and in range.
pub fn instant(ms: f64) -> Option<Timestamp> {
    const LAST: f64 = 8.64e15;
    if !(1.0..=LAST).contains(&ms) {
        return None;
    }
    // Within range by the check above; the fraction of a millisecond goes, as in a `Date` of theirs.
    Timestamp::from_millisecond(ms as i64).ok()
}

/// The instant of a number of milliseconds.
pub fn millis(value: Option<&Value>) -> Option<Timestamp> {
    instant(value?.as_f64()?)
}

/// A text that is not blank.
pub fn text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// A whole number that is not negative: a number, or its plain decimal digits as text.
pub fn count(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => digits(text),
        _ => None,
    }
}

/// A flag: a boolean, or its name as text in any case.
pub fn flag(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A number that is not negative, its fraction cut off.
pub fn whole(number: f64) -> Option<u64> {
    const LAST: f64 = 9_007_199_254_740_991.0;
    (0.0..=LAST).contains(&number).then_some(number as u64)
}

fn digits(text: &str) -> Option<u64> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// A text of JSON that may have halves of surrogate pairs, as their cut texts do: these become
/// replacement characters.
pub struct Lossy(pub String);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Lossy;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Lossy, E> {
        Ok(Lossy(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Lossy, E> {
        Ok(Lossy(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_positive_and_in_range() {
        assert_eq!(
            millis(Some(&json!(1_795_197_787_363_u64))).unwrap().as_millisecond(),
            1_795_197_787_363
        );
        assert_eq!(millis(Some(&json!(1.5))).unwrap().as_millisecond(), 1);
        for none in [json!(0), json!(-5), json!(1e300), json!("1795197787363"), json!(null)] {
            assert_eq!(millis(Some(&none)), None, "{none}");
        }
        assert_eq!(instant(f64::NAN), None);
        assert_eq!(instant(f64::INFINITY), None);
    }

    #[test]
    fn a_count_is_read_from_digits_and_from_nothing_else() {
        assert_eq!(count(Some(&json!("60000"))), Some(60_000));
        assert_eq!(count(Some(&json!(" 60000 "))), Some(60_000));
        assert_eq!(count(Some(&json!(60_000.9))), Some(60_000));
        for none in [json!("60000ms"), json!("0x10"), json!("1e3"), json!(""), json!(-1), json!([])]
        {
            assert_eq!(count(Some(&none)), None, "{none}");
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_does_not_lose_the_text() {
        let text: Lossy = serde_json::from_str(r#""a\ud83db\u00e9""#).unwrap();
        assert!(text.0.starts_with('a') && text.0.ends_with("bé"), "{}", text.0);
    }
}
