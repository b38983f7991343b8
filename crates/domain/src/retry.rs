//! How long to wait before a failed run is tried again.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::duration::{Duration, DurationError};

/// The waits after the first, second, … failure in a row; the last one repeats. One to ten of them.
///
/// The default is OpenClaw's table: 30 s, 1 min, 5 min, 15 min, 1 h.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Duration>", into = "Vec<Duration>")]
pub struct Backoff(Vec<Duration>);

/// A list of waits that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    /// Not one to ten waits.
    #[error("read a backoff of {count} waits: 1 to {max} are allowed", max = Backoff::MAX_WAITS)]
    Count {
        /// How many there were.
        count: usize,
    },
    /// One of them is not a duration.
    #[error("read wait {position} of a backoff")]
    Wait {
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong with it.
        source: DurationError,
    },
}

impl Backoff {
    /// The most waits a list may have.
    pub const MAX_WAITS: usize = 10;

    /// The waits in order; an error if there are none or more than [`Self::MAX_WAITS`].
    pub fn new(waits: Vec<Duration>) -> Result<Self, BackoffError> {
        match waits.len() {
            1..=Self::MAX_WAITS => Ok(Self(waits)),
            count => Err(BackoffError::Count { count }),
        }
    }

    /// How long to wait after so many failures in a row; nothing after none.
    pub fn delay(&self, failures: u32) -> Duration {
        let Some(index) = failures.checked_sub(1) else { return Duration::ZERO };
        let index = usize::try_from(index).unwrap_or(usize::MAX).min(self.0.len() - 1);
        self.0[index]
    }

    /// The waits in order.
    pub fn waits(&self) -> &[Duration] {
        &self.0
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self([30, 60, 300, 900, 3600].map(Duration::from_secs).to_vec())
    }
}

impl TryFrom<Vec<Duration>> for Backoff {
    type Error = BackoffError;

    fn try_from(waits: Vec<Duration>) -> Result<Self, BackoffError> {
        Self::new(waits)
    }
}

impl From<Backoff> for Vec<Duration> {
    fn from(backoff: Backoff) -> Self {
        backoff.0
    }
}

impl FromStr for Backoff {
    type Err = BackoffError;

    /// Reads a list with commas, as on the command line: `30s,1m,5m`.
    fn from_str(text: &str) -> Result<Self, BackoffError> {
        let read = |(index, wait): (usize, &str)| {
            wait.parse().map_err(|source| BackoffError::Wait { position: index + 1, source })
        };
        Self::new(text.split(',').enumerate().map(read).collect::<Result<_, _>>()?)
    }
}

impl std::fmt::Display for Backoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waits: Vec<String> = self.0.iter().map(Duration::to_string).collect();
        f.pad(&waits.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_table_of_openclaw_and_its_last_wait_repeats() {
        let backoff = Backoff::default();
        let delays: Vec<String> = (0..8).map(|n| backoff.delay(n).to_string()).collect();
        assert_eq!(delays, ["0s", "30s", "1m", "5m", "15m", "1h", "1h", "1h"]);
        assert_eq!(backoff.delay(u32::MAX), Duration::from_secs(3600));
    }

    #[test]
    fn a_list_reads_with_commas_and_prints_the_same() {
        let backoff: Backoff = "10s, 2m".parse().unwrap();
        assert_eq!(backoff.to_string(), "10s,2m");
        assert_eq!(serde_json::to_string(&backoff).unwrap(), r#"["10s","2m"]"#);
        assert_eq!(serde_json::from_str::<Backoff>(r#"["10s","2m"]"#).unwrap(), backoff);
    }

    #[test]
    fn a_list_of_none_or_of_eleven_is_refused_and_so_is_a_wait_that_does_not_read() {
        assert_eq!(Backoff::new(Vec::new()), Err(BackoffError::Count { count: 0 }));
        assert_eq!(Backoff::new(vec![Duration::ZERO; 11]), Err(BackoffError::Count { count: 11 }));
        assert!(serde_json::from_str::<Backoff>("[]").is_err());
        let error = "10s,5".parse::<Backoff>().unwrap_err();
        assert!(matches!(error, BackoffError::Wait { position: 2, .. }), "{error}");
    }
}
