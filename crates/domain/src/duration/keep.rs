//! How long a record is kept.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Duration, DurationError};

/// How long a record is kept, counted from its end. In files `false` or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// It is never removed because of its age. Written `false`.
    Forever,
    /// It goes when this much time has passed; never zero when it was read from a text.
    For(Duration),
}

impl Keep {
    /// When a record that ended at `end` may go; `None` if never.
    pub fn until(self, end: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Forever => None,
            Self::For(time) => Some(time.after(end)),
        }
    }
}

/// A text that does not say how long something is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// Zero, which some read as "keep nothing" and others as "keep for ever".
    #[error(
        "read a retention of zero, which could mean two things: to keep nothing, write the smallest duration `1ms` (for a job also `on_failure`); to keep for ever, write `false`"
    )]
    Zero,
    /// `true`, which names no time.
    #[error(
        "read `true` as a retention: write how long, for example `24h`, or `false` to keep for ever"
    )]
    True,
    /// Not a duration either.
    #[error(transparent)]
    Duration(#[from] DurationError),
}

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let bare_zero = |text: &str| !text.is_empty() && text.bytes().all(|b| b == b'0');
        match text.trim() {
            "false" => Ok(Self::Forever),
            "true" => Err(KeepError::True),
            zero if bare_zero(zero) => Err(KeepError::Zero),
            _ => match text.parse::<Duration>()? {
                Duration::ZERO => Err(KeepError::Zero),
                time => Ok(Self::For(time)),
            },
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.pad("false"),
            Self::For(time) => fmt::Display::fmt(time, f),
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Forever => serializer.serialize_bool(false),
            Self::For(time) => time.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor)
    }
}

struct KeepVisitor;

impl de::Visitor<'_> for KeepVisitor {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("how long to keep, like \"24h\" or \"30d\", or false to keep for ever")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Keep, E> {
        if on { Err(E::custom(KeepError::True)) } else { Ok(Keep::Forever) }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Keep, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Keep, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Keep, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Keep, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // P6: "keep" is a policy, and nobody gets one by mistake.
    #[test]
    fn a_retention_of_zero_is_an_error_that_names_both_meanings() {
        for zero in ["\"0\"", "\"0s\"", "\"0d\"", "0"] {
            let error = serde_json::from_str::<Keep>(zero).unwrap_err().to_string();
            assert!(
                error.contains("to keep nothing") && error.contains("keep for ever"),
                "{error}"
            );
        }
        let error = serde_json::from_str::<Keep>("true").unwrap_err().to_string();
        assert!(error.contains("`false` to keep for ever"), "{error}");
        let error = serde_json::from_str::<Keep>("24").unwrap_err().to_string();
        assert!(error.contains("needs a unit"), "{error}");
        let error = serde_json::from_str::<Keep>("null").unwrap_err().to_string();
        assert!(error.contains("how long to keep"), "{error}");
    }

    #[test]
    fn a_retention_is_false_or_a_duration() {
        let day = Keep::For(Duration::from_secs(86_400));
        for (json, keep) in [("false", Keep::Forever), ("\"1d\"", day)] {
            assert_eq!(serde_json::from_str::<Keep>(json).unwrap(), keep);
            assert_eq!(serde_json::to_string(&keep).unwrap(), json);
            assert_eq!(keep.to_string().parse(), Ok(keep));
        }
        assert_eq!(Keep::Forever.until(Timestamp::UNIX_EPOCH), None);
        let next_day = day.until(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(next_day.to_string(), "1970-01-02T00:00:00Z");
    }
}
