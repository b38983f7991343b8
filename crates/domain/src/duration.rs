//! Durations as people write them: `90s`, `1h30m`, `7d`.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod keep;

pub use keep::{Keep, KeepError};

/// A span of time in whole milliseconds.
///
/// Written with the units `ms`, `s`, `m`, `h` and `d` (a day is 24 hours), largest first, each at most
/// once: `500ms`, `90s`, `1h30m`, `1h 30m`, `7d`. At most 100 years can be written. A number without a
/// unit is an error: no unit is the obvious one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

/// The units, largest first: name and milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// The longest that can be written: 100 years of 365.25 days.
    pub const MAX: Self = Self(36_525 * 86_400_000);

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// So many seconds; saturates far beyond [`Self::MAX`].
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// From `a` to `b`, rounded down to a millisecond; zero if `b` is before `a`.
    pub fn between(a: Timestamp, b: Timestamp) -> Self {
        Self(u64::try_from(b.duration_since(a).as_millis()).unwrap_or(0))
    }

    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// In seconds, for metrics.
    pub fn as_secs_f64(self) -> f64 {
        self.to_std().as_secs_f64()
    }

    /// Whether there is nothing of it.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// For the standard library.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// From the standard library, rounded down to a millisecond.
    pub fn from_std(std: std::time::Duration) -> Self {
        Self(u64::try_from(std.as_millis()).unwrap_or(u64::MAX))
    }

    /// The sum, or the longest there is.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many times this, or the longest there is.
    #[must_use]
    pub const fn saturating_mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }

    /// The instant this much later than `at`, or the last one there is.
    pub fn after(self, at: Timestamp) -> Timestamp {
        at.checked_add(self.signed()).unwrap_or(Timestamp::MAX)
    }

    /// The instant this much earlier than `at`, or the first one there is.
    pub fn before(self, at: Timestamp) -> Timestamp {
        at.checked_sub(self.signed()).unwrap_or(Timestamp::MIN)
    }

    fn signed(self) -> SignedDuration {
        SignedDuration::from_millis(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut left = self.0;
        for (unit, millis) in UNITS {
            let count = left / millis;
            left %= millis;
            if count > 0 {
                text.push_str(&format!("{count}{unit}"));
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a duration. Offsets are in bytes from the start of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was given.
    #[error("read a duration from an empty text: write for example `90s`, `5m` or `1h30m`")]
    Empty,
    /// A number without a unit.
    #[error(
        "read {text:?} as a duration: {number} at byte {offset} needs a unit, for example `{number}s` or `{number}m` (units: ms, s, m, h, d)"
    )]
    NoUnit {
        /// What was given.
        text: String,
        /// The bare number.
        number: String,
        /// Where it begins.
        offset: usize,
    },
    /// A unit nobody knows.
    #[error(
        "read {text:?} as a duration: unknown unit {unit:?} at byte {offset} (units: ms, s, m, h, d)"
    )]
    UnknownUnit {
        /// What was given.
        text: String,
        /// The offending letters.
        unit: String,
        /// Where they begin.
        offset: usize,
    },
    /// Something else where a number had to be.
    #[error("read {text:?} as a duration: expected a number at byte {offset}, found {found:?}")]
    NoNumber {
        /// What was given.
        text: String,
        /// The offending character.
        found: char,
        /// Where it is.
        offset: usize,
    },
    /// Time does not run backwards.
    #[error("read {text:?} as a duration: it is negative (byte {offset})")]
    Negative {
        /// What was given.
        text: String,
        /// Where the sign is.
        offset: usize,
    },
    /// A fraction of a unit.
    #[error(
        "read {text:?} as a duration: fractions are not allowed (byte {offset}); write `1h30m` for `1.5h`"
    )]
    Fraction {
        /// What was given.
        text: String,
        /// Where the point is.
        offset: usize,
    },
    /// The same unit twice.
    #[error("read {text:?} as a duration: unit `{unit}` appears a second time at byte {offset}")]
    Repeated {
        /// What was given.
        text: String,
        /// The unit.
        unit: &'static str,
        /// Where its second part begins.
        offset: usize,
    },
    /// A larger unit after a smaller one.
    #[error(
        "read {text:?} as a duration: unit `{unit}` at byte {offset} belongs before the smaller one (largest first: d, h, m, s, ms)"
    )]
    Order {
        /// What was given.
        text: String,
        /// The unit.
        unit: &'static str,
        /// Where its part begins.
        offset: usize,
    },
    /// More than 100 years.
    #[error("read {text:?} as a duration: more than 100 years (byte {offset})")]
    TooLong {
        /// What was given.
        text: String,
        /// Where the part begins that goes over it.
        offset: usize,
    },
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut parts = Parts { text, at: 0 };
        let (mut total, mut last) = (0_u64, None::<usize>);
        while let Some(Part { offset, number, unit }) = parts.next()? {
            let (name, millis) = UNITS[unit];
            match last {
                Some(last) if unit == last => {
                    return Err(DurationError::Repeated { text: shown(text), unit: name, offset });
                }
                Some(last) if unit < last => {
                    return Err(DurationError::Order { text: shown(text), unit: name, offset });
                }
                _ => last = Some(unit),
            }
            total = number
                .and_then(|number| number.checked_mul(millis))
                .and_then(|part| total.checked_add(part))
                .filter(|&total| total <= Self::MAX.0)
                .ok_or_else(|| DurationError::TooLong { text: shown(text), offset })?;
        }
        if last.is_none() {
            return Err(DurationError::Empty);
        }
        Ok(Self(total))
    }
}

/// Reads one number with its unit after the other.
struct Parts<'a> {
    text: &'a str,
    at: usize,
}

struct Part {
    offset: usize,
    /// `None` where it does not fit 64 bits.
    number: Option<u64>,
    /// Index into [`UNITS`].
    unit: usize,
}

impl Parts<'_> {
    fn next(&mut self) -> Result<Option<Part>, DurationError> {
        let text = || shown(self.text);
        let rest = self.text[self.at..].trim_start();
        let offset = self.text.len() - rest.len();
        match rest.chars().next() {
            None => return Ok(None),
            Some('0'..='9') => {}
            Some('-' | '\u{2212}') => return Err(DurationError::Negative { text: text(), offset }),
            Some('.' | ',') => return Err(DurationError::Fraction { text: text(), offset }),
            Some(found) => return Err(DurationError::NoNumber { text: text(), found, offset }),
        }
        let digits = span(rest, |c| c.is_ascii_digit());
        let after = &rest[digits.len()..];
        let unit_offset = offset + digits.len();
        if after.starts_with(['.', ',']) {
            return Err(DurationError::Fraction { text: text(), offset: unit_offset });
        }
        let unit = span(after, |c| {
            !c.is_ascii_digit() && !c.is_whitespace() && !matches!(c, '-' | '.' | ',')
        });
        if unit.is_empty() {
            let number = shown(digits);
            return Err(DurationError::NoUnit { text: text(), number, offset });
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            let unit = shown(unit);
            return Err(DurationError::UnknownUnit { text: text(), unit, offset: unit_offset });
        };
        self.at = unit_offset + unit.len();
        Ok(Some(Part { offset, number: digits.parse().ok(), unit: index }))
    }
}

/// The longest start of `text` whose characters all satisfy `belongs`.
fn span(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !belongs(c)).unwrap_or(text.len())]
}

/// What an error repeats of its input.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

struct DurationVisitor;

impl de::Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like \"90s\", \"5m\" or \"1h30m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Duration, DurationError> {
        text.parse()
    }

    #[test]
    fn durations_read_in_every_unit_and_in_combination() {
        let cases = [
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            (" 7d ", 604_800_000),
            ("0s", 0),
            ("1d1h1m1s1ms", 90_061_001),
            ("1m500ms", 60_500),
            ("36525d", Duration::MAX.as_millis()),
        ];
        for (text, millis) in cases {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_print_in_their_shortest_form() {
        let cases = [
            (0, "0s"),
            (1, "1ms"),
            (90_000, "1m30s"),
            (5_400_000, "1h30m"),
            (86_400_000, "1d"),
            (604_800_500, "7d500ms"),
        ];
        for (millis, text) in cases {
            assert_eq!(Duration::from_millis(millis).to_string(), text);
        }
    }

    // A string that does not parse is an error, never a default.
    #[test]
    fn an_error_points_at_the_part_that_is_wrong() {
        use DurationError::*;
        let text = |text: &str| text.to_owned();
        let no_unit = |of: &str, number: &str, offset| NoUnit {
            text: text(of),
            number: text(number),
            offset,
        };
        assert_eq!(read(""), Err(Empty));
        assert_eq!(read("  "), Err(Empty));
        assert_eq!(read("90"), Err(no_unit("90", "90", 0)));
        assert_eq!(read("1h30"), Err(no_unit("1h30", "30", 2)));
        assert_eq!(read("5 m"), Err(no_unit("5 m", "5", 0)));
        assert_eq!(read("1h-5m"), Err(Negative { text: text("1h-5m"), offset: 2 }));
        assert_eq!(read("-5m"), Err(Negative { text: text("-5m"), offset: 0 }));
        assert_eq!(read("1.5h"), Err(Fraction { text: text("1.5h"), offset: 1 }));
        assert_eq!(read(".5h"), Err(Fraction { text: text(".5h"), offset: 0 }));
        let unknown =
            |of: &str, unit: &str, offset| UnknownUnit { text: text(of), unit: text(unit), offset };
        assert_eq!(read("2w"), Err(unknown("2w", "w", 1)));
        assert_eq!(read("1h5M"), Err(unknown("1h5M", "M", 3)));
        assert_eq!(read("1h5Sekündchen"), Err(unknown("1h5Sekündchen", "Sekündchen", 3)));
        assert_eq!(read("soon"), Err(NoNumber { text: text("soon"), found: 's', offset: 0 }));
        assert_eq!(read("1h1h"), Err(Repeated { text: text("1h1h"), unit: "h", offset: 2 }));
        assert_eq!(read("5m 1h"), Err(Order { text: text("5m 1h"), unit: "h", offset: 3 }));
        assert_eq!(read("36525d1ms"), Err(TooLong { text: text("36525d1ms"), offset: 6 }));
        let huge = format!("1d{}s", "9".repeat(30));
        assert_eq!(read(&huge), Err(TooLong { text: huge, offset: 2 }));
    }

    #[test]
    fn an_instant_moved_beyond_the_end_of_time_stays_at_the_end() {
        let now: Timestamp = "2026-11-20T18:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(hour.after(now).to_string(), "2026-11-20T19:00:00Z");
        assert_eq!(hour.before(now).to_string(), "2026-11-20T17:00:00Z");
        assert_eq!(Duration::from_millis(u64::MAX).after(now), Timestamp::MAX);
        assert_eq!(Duration::from_millis(u64::MAX).before(now), Timestamp::MIN);
        assert_eq!(Duration::between(now, hour.after(now)), hour);
        assert_eq!(Duration::between(hour.after(now), now), Duration::ZERO);
    }

    #[test]
    fn a_number_in_json_is_asked_for_its_unit() {
        assert_eq!(serde_json::from_str::<Duration>("\"5m\"").unwrap(), Duration::from_secs(300));
        let error = serde_json::from_str::<Duration>("90").unwrap_err().to_string();
        assert!(error.contains("90 at byte 0 needs a unit, for example `90s`"), "{error}");
        let error = serde_json::from_str::<Duration>("1.5").unwrap_err().to_string();
        assert!(error.contains("fractions are not allowed"), "{error}");
        let error = serde_json::from_str::<Duration>("[]").unwrap_err().to_string();
        assert!(error.contains("expected a duration like"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 0..=Duration::MAX.as_millis()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(read(&duration.to_string()), Ok(duration));
        }
    }
}
