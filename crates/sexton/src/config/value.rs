//! Values that only the config file knows: something or `false`, and amounts of bytes.

use jiff::civil::Time;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use sexton_domain::agent::DEFAULT_OUTPUT_LIMIT_BYTES;
use sexton_domain::duration::Duration;

/// A value, or `false` where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Switch<T> {
    /// `false`
    #[default]
    Off,
    /// The value.
    On(T),
}

impl<T: Copy> Switch<T> {
    /// The value, if there is one.
    pub fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Switch<Duration> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor {
            expected: "a duration like \"12h\", or false",
            parse: |text| {
                let duration: Duration = text.parse().map_err(|error| format!("{error}"))?;
                if duration.is_zero() {
                    return Err(
                        "read a silence of zero: every turn would open a fresh session".into()
                    );
                }
                Ok(duration)
            },
        })
    }
}

impl<'de> Deserialize<'de> for Switch<Time> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor {
            expected: "a time of the day like \"04:00\", or false",
            parse: |text| text.parse().map_err(|_| format!("read {text:?} as a time of the day")),
        })
    }
}

struct SwitchVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for SwitchVisitor<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Switch<T>, E> {
        if on { Err(E::invalid_type(de::Unexpected::Bool(true), &self)) } else { Ok(Switch::Off) }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Switch<T>, E> {
        (self.parse)(text).map(Switch::On).map_err(E::custom)
    }
}

/// An amount of bytes: a bare number, or `"64KiB"`, `"16MiB"`, `"1GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Default for Bytes {
    fn default() -> Self {
        Self(DEFAULT_OUTPUT_LIMIT_BYTES)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match BYTE_UNITS.iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => serializer.collect_str(&format_args!("{}{unit}", self.0 / size)),
            None => serializer.serialize_u64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number of bytes like 65536, \"64KiB\" or \"16MiB\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bytes, E> {
        match u64::try_from(number) {
            Ok(number) => Ok(Bytes(number)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Bytes, E> {
        Ok(Bytes(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        BYTE_UNITS
            .iter()
            .find_map(|(unit, size)| {
                let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
                number.checked_mul(*size)
            })
            .map(Bytes)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}
