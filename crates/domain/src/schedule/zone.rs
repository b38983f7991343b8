//! Time zones by IANA name, and the one rule for civil times that a change of clock hits.
//!
//! The tables are those compiled into the program, never the host's: every node of a store must
//! compute the same slots, and this crate reads no files. A change of law reaches Sexton with an update.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// An IANA time zone, for example `Europe/Berlin`. Read without regard to case, printed canonically.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

/// A text that names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {name:?} as a time zone: {}", hint(near))]
pub struct ZoneError {
    /// What was given, cut to 80 characters.
    pub name: String,
    /// Names that look alike, the nearest first; at most three.
    pub near: Vec<String>,
}

fn hint(near: &[String]) -> String {
    if near.is_empty() {
        return "unknown name, expected an IANA name like Europe/Berlin or UTC".to_owned();
    }
    format!("unknown name, did you mean {}?", near.join(" or "))
}

/// What a civil time is in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// It comes once.
    Once(Timestamp),
    /// It does not exist: the clock jumps over it. This is the first instant after the jump.
    Gap(Timestamp),
    /// It comes twice, because the clock is put back.
    Twice {
        /// The first time.
        first: Timestamp,
        /// The second time.
        second: Timestamp,
    },
}

impl Resolved {
    /// The instant the written rule takes: the first valid one after a gap, the first of two.
    pub const fn at(self) -> Timestamp {
        match self {
            Self::Once(at) | Self::Gap(at) | Self::Twice { first: at, .. } => at,
        }
    }
}

/// A stretch of civil time that does not exist, because the clock jumps from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first civil time that does not exist.
    pub from: DateTime,
    /// The first that exists again.
    pub to: DateTime,
}

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The canonical IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The zone for `jiff`.
    pub const fn time_zone(&self) -> &TimeZone {
        &self.0
    }

    /// The civil time at an instant.
    pub fn civil(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at)
    }

    /// The offset from UTC at an instant.
    pub fn offset(&self, at: Timestamp) -> Offset {
        self.0.to_offset(at)
    }

    /// The instant of a civil time; `None` outside the years -9999 to 9999.
    pub fn resolve(&self, civil: DateTime) -> Option<Resolved> {
        match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                offset.to_timestamp(civil).ok().map(Resolved::Once)
            }
            AmbiguousOffset::Fold { before, after } => Some(Resolved::Twice {
                first: before.to_timestamp(civil).ok()?,
                second: after.to_timestamp(civil).ok()?,
            }),
            AmbiguousOffset::Gap { after, .. } => {
                // Read with the later offset, a time in the gap is an instant just before the jump.
                let before = after.to_timestamp(civil).ok()?;
                self.change_after(before).map(Resolved::Gap)
            }
        }
    }

    /// The first change of the clock, or of its name, strictly after an instant.
    pub fn change_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.0.following(at).next().map(|change| change.timestamp())
    }

    /// The gap that ends exactly at this instant.
    pub fn gap_before(&self, at: Timestamp) -> Option<Gap> {
        let earlier = at.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?;
        let (before, after) = (self.offset(earlier), self.offset(at));
        (before < after).then(|| Gap { from: before.to_datetime(at), to: after.to_datetime(at) })
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        let known = TimeZoneDatabase::bundled();
        match known.get(name) {
            Ok(zone) if !zone.is_unknown() => Ok(Self(zone)),
            _ => Err(ZoneError { name: name.chars().take(80).collect(), near: near(name, &known) }),
        }
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The three names most like `name`, as a whole or in their last part (`berlin`, `New York`).
fn near(name: &str, known: &TimeZoneDatabase) -> Vec<String> {
    let plain = |text: &str| text.to_ascii_lowercase().replace([' ', '-'], "_");
    let asked: String = plain(name.trim()).chars().take(40).collect();
    let limit = asked.chars().count() / 3;
    let mut found: Vec<(usize, String)> = known
        .available()
        .filter_map(|candidate| {
            let whole = plain(candidate.as_str());
            let city = whole.rsplit('/').next().unwrap_or(&whole);
            let distance = distance(&asked, &whole).min(distance(&asked, city) + 1);
            (distance <= limit + 1).then(|| (distance, candidate.as_str().to_owned()))
        })
        .collect();
    found.sort();
    found.truncate(3);
    found.into_iter().map(|(_, name)| name).collect()
}

/// The edit distance of Levenshtein: insertions, deletions and replacements that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    #[test]
    fn a_name_reads_in_any_case_and_prints_canonically() {
        assert_eq!(zone("europe/BERLIN").name(), "Europe/Berlin");
        assert_eq!(zone("utc"), Zone::UTC);
        assert_eq!(zone("utc").to_string(), "UTC");
        let json = serde_json::to_string(&zone("asia/kolkata")).unwrap();
        assert_eq!(json, "\"Asia/Kolkata\"");
        assert_eq!(serde_json::from_str::<Zone>(&json).unwrap(), zone("Asia/Kolkata"));
    }

    #[test]
    fn an_unknown_name_comes_with_those_that_look_like_it() {
        let near = |name: &str| name.parse::<Zone>().unwrap_err().near;
        assert_eq!(near("Europe/Berln")[0], "Europe/Berlin");
        assert_eq!(near("berlin")[0], "Europe/Berlin");
        assert_eq!(near("New York")[0], "America/New_York");
        assert_eq!(near("Mars/Olympus_Mons"), [""; 0]);
        let error = "Europe/Berln".parse::<Zone>().unwrap_err().to_string();
        assert!(
            error.contains("\"Europe/Berln\" as a time zone: unknown name, did you"),
            "{error}"
        );
        let error = "".parse::<Zone>().unwrap_err().to_string();
        assert!(error.contains("expected an IANA name"), "{error}");
        for refused in ["Etc/Unknown", "EST5EDT4", "+02:00", "local", "../etc/passwd"] {
            assert!(refused.parse::<Zone>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_civil_time_is_once_in_a_gap_or_twice() {
        let berlin = zone("Europe/Berlin");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let resolve = |text: &str| berlin.resolve(text.parse().unwrap()).unwrap();
        assert_eq!(resolve("2026-07-01T12:00"), Resolved::Once(at("2026-07-01T10:00:00Z")));
        for missing in ["2026-03-29T02:00", "2026-03-29T02:30", "2026-03-29T02:59:59.999"] {
            assert_eq!(resolve(missing), Resolved::Gap(at("2026-03-29T01:00:00Z")));
        }
        let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_eq!(resolve("2026-10-25T02:30"), Resolved::Twice { first, second });
    }

    #[test]
    fn a_gap_is_seen_only_from_its_end() {
        let end: Timestamp = "2026-10-03T15:30:00Z".parse().unwrap();
        let lord_howe = zone("Australia/Lord_Howe");
        let gap = lord_howe.gap_before(end).unwrap();
        assert_eq!(
            (gap.from.to_string(), gap.to.to_string()),
            ("2026-10-04T02:00:00".to_owned(), "2026-10-04T02:30:00".to_owned(),)
        );
        assert_eq!(lord_howe.gap_before(end + jiff::SignedDuration::from_mins(1)), None);
        assert_eq!(lord_howe.gap_before("2026-04-04T15:00:00Z".parse().unwrap()), None);
    }
}
