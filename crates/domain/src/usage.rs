//! The usage ledger: immutable reports of what models cost, and their daily sums.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::id::{JobId, RunId, SessionId, UsageId};
use crate::name::AgentName;

/// What one or more model calls took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens read by the model, cached ones included.
    pub input: u64,
    /// Tokens written by the model.
    pub output: u64,
    /// Of `input`, those served from a cache.
    pub cached: u64,
    /// Millionths of a US dollar, so that sums are exact.
    pub cost_micro_usd: u64,
}

impl Tokens {
    /// The sum. It stays at the largest number instead of becoming a wrong one.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cached: self.cached.saturating_add(other.cached),
            cost_micro_usd: self.cost_micro_usd.saturating_add(other.cost_micro_usd),
        }
    }
}

/// The sum of two, where nothing and nothing is nothing.
pub fn plus(a: Option<Tokens>, b: Option<Tokens>) -> Option<Tokens> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(b)),
        (a, b) => a.or(b),
    }
}

/// What a line of a run's report says that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The line's number, from 1: with the run it is the identity of the report.
    pub line: u64,
    /// The model, as the agent names it.
    pub model: String,
    /// What it took.
    pub tokens: Tokens,
}

/// The sum of a run's reports; none without any.
pub fn total(spent: &[Spent]) -> Option<Tokens> {
    spent.iter().map(|spent| spent.tokens).reduce(Tokens::plus)
}

/// One report of an agent. Never changed; rolled up per day before it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Its identity; the same report saved twice counts once.
    pub id: UsageId,
    /// When it was reported.
    pub at: Timestamp,
    /// The job, if any.
    pub job: Option<JobId>,
    /// The agent.
    pub agent: AgentName,
    /// The run.
    pub run: RunId,
    /// The session.
    pub session: Option<SessionId>,
    /// The model, as the agent names it.
    pub model: String,
    /// What it took.
    pub tokens: Tokens,
}

/// The sum of a UTC day for one job, agent and model. Kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyUsage {
    /// The UTC day.
    pub day: Date,
    /// The job, if any.
    pub job: Option<JobId>,
    /// The agent.
    pub agent: AgentName,
    /// The model.
    pub model: String,
    /// How many reports are summed.
    pub reports: u64,
    /// The sum.
    pub tokens: Tokens,
}
