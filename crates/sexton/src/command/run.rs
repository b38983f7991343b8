//! `run …`

use std::time::Duration;

use sexton_domain::run::Outcome;
use sexton_server::api::{Page, Run, RunDetail, RunState};

use crate::args;
use crate::args::list;
use crate::client::{Ask, Client, encoded};
use crate::clock::{Pace, now};
use crate::command::origin::origin;
use crate::command::page;
use crate::command::usage::spent;
use crate::failure::{Exit, Failure};
use crate::output::{Output, instant, relative, rough, rough_ms, word};

/// How often a run that goes on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs `run …`.
pub async fn main(
    command: args::Run,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        args::Run::List(filter) => list(filter, client, output).await?,
        args::Run::Show { id } => {
            let answer = client.ask(Ask::get(path(&id))).await?;
            if output.json {
                output.document(&answer.0)?;
            } else {
                show(&answer.read()?, output)?;
            }
        }
        args::Run::Cancel { id } => cancel(&id, client, output).await?,
    }
    Ok(Exit::Ok)
}

fn path(id: &str) -> String {
    format!("/v1/runs/{}", encoded(id))
}

async fn list(filter: list::Runs, client: &mut Client, output: Output) -> Result<(), Failure> {
    let ask = Ask::get("/v1/runs")
        .with("job", filter.job)
        .with("agent", filter.agent)
        .with("state", filter.state.map(list::State::word))
        .with("outcome", filter.outcome.map(list::Outcome::word))
        .with("since", page::since(filter.since.as_deref())?)
        .with("until", page::since(filter.until.as_deref())?)
        .with("limit", Some(filter.page.limit))
        .with("cursor", filter.page.cursor);
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&page::document(&answer));
    }
    let runs: Page<Run> = answer.read()?;
    let now = now();
    let row = |run: &Run| {
        vec![
            run.id.to_string(),
            run.job_key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            run.attempt.to_string(),
            standing(run),
            run.reason.map_or_else(|| "-".to_owned(), |reason| word(&reason)),
            relative(run.started_at.unwrap_or(run.queued_at), now),
            rough_ms(run.duration_ms),
            cost(run),
        ]
    };
    let header = ["run", "job", "try", "outcome", "reason", "when", "took", "cost"];
    output.table(&header, runs.items.iter().map(row).collect(), "no runs")?;
    page::more(output, runs.next.as_deref());
    Ok(())
}

/// The outcome, or the state while there is none.
fn standing(run: &Run) -> String {
    run.outcome.map_or_else(|| word(&run.state), |outcome| word(&outcome))
}

fn cost(run: &Run) -> String {
    run.usage.map_or_else(|| "-".to_owned(), |usage| format!("${:.4}", usage.cost_usd))
}

fn show(detail: &RunDetail, output: Output) -> Result<(), Failure> {
    let (run, now) = (&detail.run, now());
    let text = |value: Option<String>| value.unwrap_or_default();
    let error = run.error.as_ref().map(|error| format!("{}: {}", error.class, error.message));
    let slots = run.range.map(|range| format!("{} slots up to {}", range.count, range.to));
    output.fields(&[
        ("run", run.id.to_string()),
        ("job", text(run.job_key.as_ref().map(ToString::to_string))),
        ("agent", run.agent.to_string()),
        ("state", word(&run.state)),
        ("outcome", text(run.outcome.map(|outcome| word(&outcome)))),
        ("reason", text(run.reason.map(|reason| word(&reason)))),
        ("error", text(error)),
        ("cause", format!("{}, attempt {}", word(&run.cause), run.attempt)),
        ("slot", text(run.slot.map(|slot| instant(slot, now)))),
        ("slots", text(slots)),
        ("took", text(run.duration_ms.map(|_| rough_ms(run.duration_ms)))),
        ("deadline", text(run.deadline.map(|at| instant(at, now)))),
        ("timeout", text(detail.timeout.map(rough))),
        ("not before", text(run.not_before.map(|at| instant(at, now)))),
        ("session", text(run.session_id.map(|id| id.to_string()))),
        ("session key", run.session_key.to_string()),
        ("retry of", text(run.retry_of.map(|id| id.to_string()))),
        ("usage", text(run.usage.as_ref().map(spent))),
        ("imported", text(detail.imported_at.map(|at| instant(at, now)))),
        ("origin", text(detail.origin.as_ref().map(origin))),
    ])?;
    timeline(detail, output)?;
    for (title, body) in [("output", &detail.output), ("stderr", &detail.stderr)] {
        if let Some(body) = body.as_ref().filter(|body| !body.is_empty()) {
            output.line(format_args!("\n{}\n{}", output.bold(title), body.trim_end()))?;
        }
    }
    Ok(())
}

fn timeline(detail: &RunDetail, output: Output) -> Result<(), Failure> {
    if detail.timeline.is_empty() {
        return Ok(());
    }
    output.line(format_args!("\n{}", output.bold("timeline")))?;
    for entry in &detail.timeline {
        output.line(format_args!("{}  {}", output.dim(&entry.at.to_string()), entry.what))?;
    }
    Ok(())
}

async fn cancel(id: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::post(format!("{}/cancel", path(id)))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let run: Run = answer.read()?;
    match run.state {
        RunState::Ended => output.line(format_args!("run {} ended {}", run.id, standing(&run))),
        _ => output.line(format_args!("run {} is asked to stop", run.id)),
    }
}

/// Waits for the end of a run, not of what may retry it, and prints how it ended.
pub async fn follow(run: Run, client: &mut Client, output: Output) -> Result<Exit, Failure> {
    output.note(format_args!("waiting for run {}", run.id));
    let mut pace = Pace::up_to(LOOK_EVERY);
    let ended = loop {
        let answer = client.ask(Ask::get(path(&run.id.to_string()))).await?;
        let seen: RunDetail = answer.read()?;
        if seen.run.state == RunState::Ended {
            break (answer, seen);
        }
        if !client.is_online() {
            let message =
                format!("the daemon went away while run {} was {}", run.id, word(&seen.run.state));
            return Err(Failure::new(Exit::Unreachable, message)
                .hint(format!("the next start ends it; see `sexton run show {}`", run.id)));
        }
        pace.wait().await;
    };
    let (answer, detail) = ended;
    if output.json {
        output.document(&answer.0)?;
    } else {
        summary(&detail, output)?;
    }
    Ok(if detail.run.outcome == Some(Outcome::Ok) { Exit::Ok } else { Exit::No })
}

fn summary(detail: &RunDetail, output: Output) -> Result<(), Failure> {
    if let Some(text) = detail.output.as_ref().filter(|text| !text.is_empty()) {
        output.line(text.trim_end())?;
    }
    let run = &detail.run;
    let reason = run.reason.map_or_else(String::new, |reason| format!(" ({})", word(&reason)));
    let error = run.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
    let took = rough_ms(run.duration_ms);
    output.note(format_args!("run {} ended {}{reason} after {took}{error}", run.id, standing(run)));
    Ok(())
}
