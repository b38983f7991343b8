//! The usage ledger: immutable reports of what models cost, and their daily sums.

use std::collections::BTreeMap;

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
    /// As events and answers show it.
    pub fn shown(self) -> serde_json::Value {
        serde_json::json!({
            "input_tokens": self.input,
            "output_tokens": self.output,
            "cached_tokens": self.cached,
            "cost_usd": self.cost_usd(),
        })
    }

    /// The cost in US dollars, for showing.
    pub fn cost_usd(self) -> f64 {
        self.cost_micro_usd as f64 / 1e6
    }

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
    /// When it was brought in from another system; then it is kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_at: Option<Timestamp>,
}

impl Usage {
    /// From when its age counts; none where it never goes. One that was brought in stays, because it can
    /// be brought in again: the sum of its day would count it twice.
    pub fn aged_from(&self) -> Option<Timestamp> {
        self.imported_at.is_none().then_some(self.at)
    }
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

/// What the ledger is summed up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The job.
    Job,
    /// The agent.
    Agent,
    /// The model.
    Model,
    /// The UTC day.
    Day,
}

impl By {
    /// Every way, with its word.
    pub const ALL: [(&'static str, Self); 4] =
        [("job", Self::Job), ("agent", Self::Agent), ("model", Self::Model), ("day", Self::Day)];
}

/// What a sum of the ledger is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// A job; none for what had none.
    Job(Option<JobId>),
    /// An agent.
    Agent(AgentName),
    /// A model.
    Model(String),
    /// A UTC day.
    Day(Date),
}

/// A sum of the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many reports are summed.
    pub reports: u64,
    /// What they took.
    pub tokens: Tokens,
}

impl Sum {
    fn add(&mut self, day: &DailyUsage) {
        self.reports = self.reports.saturating_add(day.reports);
        self.tokens = self.tokens.plus(day.tokens);
    }
}

/// Sums up daily sums: the newest day first, everything else by what it cost, the dearest first; and the
/// total.
pub fn sums(days: &[DailyUsage], by: By) -> (Vec<(Group, Sum)>, Sum) {
    let mut groups: BTreeMap<Group, Sum> = BTreeMap::new();
    let mut total = Sum::default();
    for day in days {
        let group = match by {
            By::Job => Group::Job(day.job),
            By::Agent => Group::Agent(day.agent.clone()),
            By::Model => Group::Model(day.model.clone()),
            By::Day => Group::Day(day.day),
        };
        groups.entry(group).or_default().add(day);
        total.add(day);
    }
    let mut sums: Vec<(Group, Sum)> = groups.into_iter().rev().collect();
    if by != By::Day {
        let price = |sum: &Sum| (sum.tokens.cost_micro_usd, sum.tokens.output, sum.tokens.input);
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse(price(sum)));
    }
    (sums, total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Ids;

    /// P12: every way to sum up the same days comes to the same total.
    #[test]
    fn sums_are_ordered_for_reading_and_all_add_up_to_the_total() {
        let mut ids = Ids::new(Timestamp::UNIX_EPOCH, 1);
        let jobs: [Option<JobId>; 3] = [None, Some(ids.mint()), Some(ids.mint())];
        let mut days = Vec::new();
        for n in 0..12_u64 {
            let tokens = Tokens { input: n, output: 1, cached: 2, cost_micro_usd: 10 * n };
            days.push(DailyUsage {
                day: Date::constant(2026, 11, 1 + (n % 4) as i8),
                job: jobs[n as usize % 3],
                agent: ["a", "b"][n as usize % 2].parse().unwrap(),
                model: format!("m{}", n % 5),
                reports: 1 + n,
                tokens,
            });
        }
        let total = sums(&days, By::Day).1;
        assert_eq!((total.reports, total.tokens.cost_micro_usd), (78, 660));
        for (by, groups) in [(By::Job, 3), (By::Agent, 2), (By::Model, 5), (By::Day, 4)] {
            let (sums, same) = sums(&days, by);
            assert_eq!((sums.len(), same), (groups, total));
            let mut added = Sum::default();
            for (_, sum) in &sums {
                added.reports += sum.reports;
                added.tokens = added.tokens.plus(sum.tokens);
            }
            assert_eq!(added, total);
            let costs = sums.iter().map(|(_, sum)| sum.tokens.cost_micro_usd);
            assert!(by == By::Day || costs.rev().is_sorted());
            assert!(by != By::Day || sums.iter().rev().map(|(group, _)| group).is_sorted());
        }
        assert_eq!(sums(&[], By::Job), (Vec::new(), Sum::default()));
    }
}
