//! `usage`: what model calls took, from the ledger.

use sexton_server::api::{Usage, UsageSum, UsageSums};

use crate::args;
use crate::client::{Ask, Client};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Runs `usage`.
pub async fn main(
    asked: args::Usage,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    let ask = Ask::get("/v1/usage")
        .with("by", Some(asked.by.word()))
        .with("since", asked.since.as_deref());
    let answer = client.ask(ask).await?;
    if output.json {
        output.document(&answer.0)?;
        return Ok(Exit::Ok);
    }
    let sums: UsageSums = answer.read()?;
    let header = [asked.by.word(), "reports", "in", "out", "cached", "cost"];
    let named = sums.items.iter().map(|sum| row(name(sum), sum));
    let total = sums.items.get(1).map(|_| row("total".to_owned(), &sums.total));
    let none = match sums.since {
        Some(day) => format!("no usage was reported since {day}"),
        None => "no usage was reported yet: agents append it to the file $SEXTON_REPORT".to_owned(),
    };
    output.table(&header, named.chain(total).collect(), &none)?;
    Ok(Exit::Ok)
}

/// What a run or a session took, on one line.
pub fn spent(usage: &Usage) -> String {
    let (read, written) = (usage.input_tokens, usage.output_tokens);
    format!("{read} tokens in, {written} out, ${:.4}", usage.cost_usd)
}

fn row(name: String, sum: &UsageSum) -> Vec<String> {
    let usage = sum.usage;
    let counts = [sum.reports, usage.input_tokens, usage.output_tokens, usage.cached_tokens];
    let counts = counts.iter().map(u64::to_string);
    let cost = format!("${:.4}", usage.cost_usd);
    std::iter::once(name).chain(counts).chain([cost]).collect()
}

fn name(sum: &UsageSum) -> String {
    let names = [
        sum.job_key.as_ref().map(ToString::to_string),
        sum.job_id.map(|id| id.to_string()),
        sum.agent.as_ref().map(ToString::to_string),
        sum.model.clone(),
        sum.day.map(|day| day.to_string()),
    ];
    names.into_iter().flatten().next().unwrap_or_else(|| "(no job)".to_owned())
}
