//! One instant as people write it: RFC 3339, a civil time in a zone, or `+20m` from now.

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::duration::{Duration, DurationError};
use crate::schedule::Zone;

/// How far in the past an instant may be and still be meant: typing takes time, clocks differ.
pub const GRACE: Duration = Duration::from_secs(60);

/// A text that is not an instant one can wait for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AtError {
    /// Nothing was given.
    #[error(
        "read a time: it is empty; write for example `2027-01-31T09:00:00Z`, `2027-01-31 09:00` with a zone, or `+20m`"
    )]
    Empty,
    /// What follows the `+` is not a duration.
    #[error("read {text:?} as a time from now")]
    Relative {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: DurationError,
    },
    /// A duration without the `+`.
    #[error("read {text:?} as a time: it is a duration, write `+{text}` for that long from now")]
    NoPlus {
        /// What was given.
        text: String,
    },
    /// A civil time without a zone could be any of some forty instants.
    #[error("read {text:?} as a time: it needs a zone, or an offset like `Z` or `+01:00`")]
    NoZone {
        /// What was given.
        text: String,
    },
    /// No known form, or a date that does not exist.
    #[error("read {text:?} as a time: {reason}")]
    Invalid {
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// It is over.
    #[error("read {text:?} as a time: {at} is {ago} ago (it is {now})")]
    Past {
        /// What was given.
        text: String,
        /// The instant it names.
        at: Timestamp,
        /// How long ago that was.
        ago: Duration,
        /// The time of asking.
        now: Timestamp,
    },
}

/// Reads an instant; finer than a millisecond is cut off.
///
/// - RFC 3339 with its own offset, or a `Z`: `zone` does not matter.
/// - A civil time `2027-01-31 09:00` or a date (its midnight), in `zone`. One that a change of clock
///   leaves out is the first instant after it, one that comes twice is the first, as for cron.
/// - `+20m`: that long after `now`.
///
/// Impossible dates are errors, and so is what lies more than [`GRACE`] before `now`.
pub fn parse_at(text: &str, zone: Option<&Zone>, now: Timestamp) -> Result<Timestamp, AtError> {
    let given = text.trim();
    let owned = || given.chars().take(80).collect::<String>();
    if given.is_empty() {
        return Err(AtError::Empty);
    }
    let at = if let Some(ahead) = given.strip_prefix('+') {
        let ahead: Duration =
            ahead.parse().map_err(|source| AtError::Relative { text: owned(), source })?;
        ahead.after(now)
    } else if given.parse::<Duration>().is_ok() {
        return Err(AtError::NoPlus { text: owned() });
    } else {
        absolute(given, zone)?
    };
    let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
    let ago = Duration::between(at, now);
    if ago > GRACE {
        return Err(AtError::Past { text: owned(), at, ago, now });
    }
    Ok(at)
}

fn absolute(text: &str, zone: Option<&Zone>) -> Result<Timestamp, AtError> {
    let owned = || text.chars().take(80).collect::<String>();
    // The reason repeats the text, whatever its length.
    let invalid = |reason: String| {
        let reason = reason.chars().take(200).collect();
        AtError::Invalid { text: owned(), reason }
    };
    if !is_dashed_date(text) {
        return Err(invalid(
            "expected a date like 2027-01-31, or a date and a time like 2027-01-31T09:00:00Z"
                .into(),
        ));
    }
    if has_offset(text) {
        return text.parse().map_err(|error: jiff::Error| invalid(error.to_string()));
    }
    let civil: DateTime = text.parse().map_err(|error: jiff::Error| invalid(error.to_string()))?;
    let zone = zone.ok_or_else(|| AtError::NoZone { text: owned() })?;
    let resolved = zone.resolve(civil).ok_or_else(|| invalid("out of range".into()))?;
    Ok(resolved.at())
}

/// Whether it begins `YYYY-MM-DD`: other ISO 8601 forms (weeks, no dashes) are more likely typos.
fn is_dashed_date(text: &str) -> bool {
    text.len() >= 10
        && text.bytes().take(10).enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
        && text[10..].chars().next().is_none_or(|c| matches!(c, 'T' | 't' | ' '))
}

/// Whether the part after the date ends in `Z` or has the sign of an offset.
fn has_offset(text: &str) -> bool {
    text[10..].contains(['Z', 'z', '+', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-07T12:00:00.500Z";

    fn read(text: &str) -> Result<String, AtError> {
        let zone: Zone = "America/New_York".parse().unwrap();
        parse_at(text, Some(&zone), NOW.parse().unwrap()).map(|at| at.to_string())
    }

    fn read_without_zone(text: &str) -> Result<String, AtError> {
        parse_at(text, None, NOW.parse().unwrap()).map(|at| at.to_string())
    }

    #[test]
    fn an_instant_reads_with_its_own_offset_in_a_zone_or_from_now() {
        let cases = [
            ("2027-01-15T12:30:00Z", "2027-01-15T12:30:00Z"),
            ("2027-01-15t12:30:00z", "2027-01-15T12:30:00Z"),
            (" 2027-01-15 12:30:00+05:30 ", "2027-01-15T07:00:00Z"),
            ("2027-01-15T12:30:00-12:00", "2027-01-16T00:30:00Z"),
            ("2027-01-15T12:30:00.123456789Z", "2027-01-15T12:30:00.123Z"),
            ("2027-01-15T12:30", "2027-01-15T17:30:00Z"),
            ("2027-01-15 12:30:15", "2027-01-15T17:30:15Z"),
            ("2027-01-15", "2027-01-15T05:00:00Z"),
            ("+20m", "2026-03-07T12:20:00.5Z"),
            ("+1h 30m", "2026-03-07T13:30:00.5Z"),
        ];
        for (text, at) in cases {
            assert_eq!(read(text).as_deref(), Ok(at), "{text}");
        }
        assert_eq!(read_without_zone("2027-01-15T12:30:00Z").unwrap(), "2027-01-15T12:30:00Z");
    }

    #[test]
    fn a_civil_time_at_a_change_of_clock_follows_the_rule_of_cron() {
        assert_eq!(read("2026-03-08T02:30").unwrap(), "2026-03-08T07:00:00Z");
        assert_eq!(read("2026-11-01T01:30").unwrap(), "2026-11-01T05:30:00Z");
    }

    #[test]
    fn a_civil_time_without_a_zone_asks_for_one() {
        for text in ["2027-01-15T12:30", "2027-01-15"] {
            let error = read_without_zone(text).unwrap_err();
            assert_eq!(error, AtError::NoZone { text: text.to_owned() });
        }
    }

    /// A text of 4 KB made a message of more than that: the reason repeated it.
    #[test]
    fn a_long_text_makes_a_short_message() {
        let text = format!("{}:30:00.123456789z", "2027-01-15t12".repeat(400));
        let error = parse_at(&text, None, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().len() < 500, "{error}");
    }

    #[test]
    fn what_does_not_exist_or_is_no_time_is_an_error() {
        for text in [
            "2027-02-29",
            "2027-02-31T09:00:00Z",
            "2027-04-31 09:00",
            "2027-01-15T25:00:00Z",
            "2027-1-5T9:00:00Z",
            "December 17, 2026 03:24:00",
            "2027/01/15",
            "20270115",
            "2027-W03-5",
            "2027-01-15T",
            "2027-01-15Z",
            "123abc",
            "tomorrow",
            "2027-01-15T12:30:00Z and more",
            "2027-01-1é",
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, AtError::Invalid { .. }), "{text}: {error}");
        }
        assert_eq!(read("  "), Err(AtError::Empty));
    }

    #[test]
    fn a_duration_needs_its_plus_and_what_follows_a_plus_is_a_duration() {
        let error = read("20m").unwrap_err().to_string();
        assert!(error.contains("write `+20m`"), "{error}");
        let error = read("+20").unwrap_err();
        assert!(matches!(error, AtError::Relative { .. }), "{error}");
    }

    #[test]
    fn a_minute_in_the_past_is_meant_and_more_is_not() {
        assert_eq!(read("2026-03-07T11:59:00.500Z").unwrap(), "2026-03-07T11:59:00.5Z");
        let error = read("2026-03-07T11:00:00.500Z").unwrap_err().to_string();
        assert!(error.contains("2026-03-07T11:00:00.5Z is 1h ago"), "{error}");
        assert!(error.contains("it is 2026-03-07T12:00:00.5Z"), "{error}");
        assert!(matches!(read("2026-03-07T11:59:00.499Z"), Err(AtError::Past { .. })));
    }
}
