//! Usage on the wire.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::id::JobId;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::usage::{Group, Sum, Tokens};
use sexton_engine::handle::Ledger;

use super::schema::Id;

/// What model calls took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens read by the model, cached ones included.
    pub input_tokens: u64,
    /// Tokens written by the model.
    pub output_tokens: u64,
    /// Of the input, those served from a cache.
    pub cached_tokens: u64,
    /// US dollars.
    pub cost_usd: f64,
}

/// Sums of the usage ledger. There is one page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSums {
    /// The newest day first; jobs, agents and models by their cost, the dearest first.
    pub items: Vec<UsageSum>,
    /// Always null.
    pub next: Option<String>,
    /// All of them together.
    pub total: UsageSum,
    /// The first UTC day that counts; null when all do.
    #[schemars(with = "Option<String>")]
    pub since: Option<Date>,
}

/// One sum; of job, agent, model and day at most one is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSum {
    /// The job; null for what had none.
    #[schemars(with = "Option<Id>")]
    pub job_id: Option<JobId>,
    /// Its key, of a removed one, too, while its record is kept.
    #[schemars(with = "Option<String>")]
    pub job_key: Option<JobKey>,
    /// The agent.
    #[schemars(with = "Option<String>")]
    pub agent: Option<AgentName>,
    /// The model, as the agents name it.
    pub model: Option<String>,
    /// The UTC day.
    #[schemars(with = "Option<String>")]
    pub day: Option<Date>,
    /// How many reports are summed.
    pub reports: u64,
    /// What they took.
    #[serde(flatten)]
    pub usage: Usage,
}

impl UsageSums {
    /// Of the ledger from a day on.
    pub fn new(ledger: Ledger, since: Option<Date>) -> Self {
        let Ledger { sums, total, keys } = ledger;
        let item = |(group, sum)| {
            let blank = UsageSum::from(sum);
            match group {
                Group::Job(job_id) => {
                    let job_key = job_id.and_then(|id| keys.get(&id).cloned());
                    UsageSum { job_id, job_key, ..blank }
                }
                Group::Agent(agent) => UsageSum { agent: Some(agent), ..blank },
                Group::Model(model) => UsageSum { model: Some(model), ..blank },
                Group::Day(day) => UsageSum { day: Some(day), ..blank },
            }
        };
        let items = sums.into_iter().map(item).collect();
        Self { items, next: None, total: total.into(), since }
    }
}

impl From<Sum> for UsageSum {
    fn from(sum: Sum) -> Self {
        Self {
            job_id: None,
            job_key: None,
            agent: None,
            model: None,
            day: None,
            reports: sum.reports,
            usage: sum.tokens.into(),
        }
    }
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cached_tokens: tokens.cached,
            cost_usd: tokens.cost_usd(),
        }
    }
}
