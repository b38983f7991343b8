//! The report: what a world, or many of them, have covered.

use std::collections::BTreeMap;
use std::fmt;

/// What was covered, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    counts: BTreeMap<String, u64>,
}

impl Report {
    /// Adds another report to this one.
    pub fn merge(&mut self, other: &Report) {
        for (what, count) in &other.counts {
            self.count(what, *count);
        }
    }

    /// How often something was reached; the words are those that the report prints.
    pub fn reached(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn count(&mut self, what: impl Into<String>, times: u64) {
        *self.counts.entry(what.into()).or_default() += times;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>10}  {what}")?;
        }
        Ok(())
    }
}
