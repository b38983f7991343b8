//! `sweep`: what is over goes now, or is shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sexton_domain::plan::sweep::Word;
use sexton_server::api::{Judgement, SweepReport, Swept};

use crate::args;
use crate::client::{Ask, Client};
use crate::clock::now;
use crate::failure::{Exit, Failure};
use crate::output::{Output, count, relative_or_dash, rough_ms, word};

/// How many sessions are asked for at once.
const PAGE: u32 = 500;

/// Runs `sweep`.
pub async fn main(
    asked: args::Sweep,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    let args::Sweep { dry_run, explain } = asked;
    let mut report = Value::Null;
    if !dry_run {
        let answer = client.ask(Ask::post("/v1/sweep").body(json!({}))).await?;
        report = answer.0["report"].clone();
        if !output.json {
            tell(answer.read::<Swept>()?.report.as_ref(), output)?;
        }
    }
    if !dry_run && !explain {
        return match output.json {
            true => output.document(&json!({ "report": report })).map(|()| Exit::Ok),
            false => Ok(Exit::Ok),
        };
    }
    let mut shown = Shown::new(report, output)?;
    let mut cursor: Option<String> = None;
    loop {
        let body = json!({
            "dry_run": true, "explain": explain, "limit": PAGE, "cursor": cursor.take(),
        });
        let swept: Swept = client.fetch(Ask::post("/v1/sweep").body(body)).await?;
        let page = swept.sessions.map(|page| (page.items, page.next));
        let (items, next) = page.unwrap_or_default();
        shown.add(&items)?;
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    shown.finish(dry_run)?;
    Ok(Exit::Ok)
}

fn tell(report: Option<&SweepReport>, output: Output) -> Result<(), Failure> {
    let Some(report) = report else {
        return output
            .line("the sweep takes longer than one waits for; `sexton status` shows its end");
    };
    if let Some(until) = report.held_until {
        let until = relative_or_dash(Some(until), now());
        let text = format!("nothing was deleted: the wall clock jumped, wait until {until}");
        output.line(output.alarming(&text))?;
    }
    for fault in &report.faults {
        let segment = fault.segment.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        output.line(output.alarming(&format!("archives{segment}: {}", fault.message)))?;
    }
    let summary = &report.summary;
    let records = count(summary.records, "other record");
    output.line(format_args!(
        "{} deleted{}, {} archived, {} held{}, {records} deleted, in {}",
        count(summary.reaped, "session"),
        listed(&report.gone),
        summary.archived,
        summary.held,
        listed(&report.held),
        rough_ms(Some(summary.took_ms)),
    ))?;
    if report.unfinished {
        output.note("there is more to do; another sweep follows at once");
    }
    Ok(())
}

/// Counts by their words, in brackets.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// Sessions that are shown as they come: no more than a page of them is ever held.
struct Shown {
    output: Output,
    total: u64,
    counts: BTreeMap<(String, String), u64>,
}

impl Shown {
    fn new(report: Value, output: Output) -> Result<Self, Failure> {
        if output.json {
            let report = serde_json::to_string(&report).unwrap_or_default();
            output.line(format_args!("{{\"report\": {report}, \"items\": ["))?;
        }
        Ok(Self { output, total: 0, counts: BTreeMap::new() })
    }

    fn add(&mut self, items: &[Judgement]) -> Result<(), Failure> {
        for item in items {
            let why = item.hold.map_or_else(|| word(&item.rule), |hold| word(&hold));
            *self.counts.entry((word(&item.fate), why)).or_default() += 1;
            if self.output.json {
                let comma = if self.total == 0 { "" } else { "," };
                let item = serde_json::to_string(item).unwrap_or_default();
                self.output.line(format_args!("{comma}{item}"))?;
            } else {
                self.output.line(line(item))?;
            }
            self.total += 1;
        }
        Ok(())
    }

    fn finish(self, dry_run: bool) -> Result<(), Failure> {
        if self.output.json {
            return self.output.line("], \"next\": null}");
        }
        for ((fate, why), number) in &self.counts {
            self.output.line(format_args!("{fate} {why}: {}", count(*number, "session")))?;
        }
        if self.total == 0 {
            let nothing = if dry_run { "nothing would go" } else { "no ended sessions are left" };
            self.output.line(nothing)?;
        }
        Ok(())
    }
}

fn line(item: &Judgement) -> String {
    let now = now();
    let until = relative_or_dash(item.until, now);
    let rule = word(&item.rule);
    let fate = match (item.fate, item.hold) {
        (Word::Reap, _) => format!("goes ({rule})"),
        (Word::Hold, Some(hold)) => format!("held by {} until {until} ({rule})", word(&hold)),
        (Word::Hold | Word::Later, _) => format!("looked at {until} ({rule})"),
        (Word::Keep, _) => format!("stays ({rule})"),
    };
    let ended = relative_or_dash(item.ended_at, now);
    format!("{}  {}  ended {ended}  {fate}", item.session_id, item.session_key)
}
