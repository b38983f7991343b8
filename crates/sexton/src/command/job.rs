//! `job …`

use serde_json::{Map, Value, json};
use sexton_server::api::{Job, JobPreview, JobSpec, Page, Placed, Run, Slots};

use crate::args::job::{Add, Command, Edit};
use crate::args::list;
use crate::client::{Ask, Client, encoded};
use crate::clock::now;
use crate::command::{origin::origin, page, run};
use crate::failure::{Exit, Failure};
use crate::output::{Output, instant, relative, relative_or_dash};

/// Runs `job …`.
pub async fn main(command: Command, client: &mut Client, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Add(add) => self::add(*add, client, output).await?,
        Command::List(filter) => list(filter, client, output).await?,
        Command::Show { job } => show(&job, client, output).await?,
        Command::Edit(edit) => self::edit(*edit, client, output).await?,
        Command::Enable { job } => switch(&job, "enable", client, output).await?,
        Command::Disable { job } => switch(&job, "disable", client, output).await?,
        Command::Run { job, wait } => return trigger(&job, wait, client, output).await,
        Command::Rm { job } => remove(&job, client, output).await?,
        Command::Next { job, count, explain } => {
            let ask = Ask::get(format!("{}/next", path(&job)))
                .with("count", Some(count))
                .with("explain", explain.then_some(true));
            next(ask, client, output).await?;
        }
    }
    Ok(Exit::Ok)
}

fn path(job: &str) -> String {
    format!("/v1/jobs/{}", encoded(job))
}

async fn add(add: Add, client: &mut Client, output: Output) -> Result<(), Failure> {
    let Add { key, dry_run, options, disabled } = add;
    let spec =
        JobSpec { key: Some(key.clone()), enabled: disabled.then_some(false), ..options.spec()? };
    let ask = Ask::post("/v1/jobs").with("dry_run", dry_run.then_some(true)).body(json!(spec));
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&answer.0);
    }
    if dry_run {
        return preview(&key, &answer.read()?, output);
    }
    let job: Job = answer.read()?;
    let verb = match (job.revision, job.created_at == job.updated_at) {
        (1, true) => "has",
        _ => "is at",
    };
    let state = if job.active { "" } else { ", which does not run for now" };
    let revision = job.revision;
    output.line(format_args!("job {} {verb} revision {revision}{state}", job.key))?;
    next_line(&job, output)
}

fn next_line(job: &Job, output: Output) -> Result<(), Failure> {
    match job.next_at {
        Some(at) => output.line(format_args!("next at {}", instant(at, now()))),
        None => output.line("no slot to come"),
    }
}

fn preview(key: &str, preview: &JobPreview, output: Output) -> Result<(), Failure> {
    let would = match preview.placed {
        Placed::Added => "would be added",
        Placed::Changed => "would be changed",
        Placed::Unchanged => "is like that already",
    };
    output.line(format_args!("job {key} {would}: {}", preview.schedule))?;
    let slots = Slots { items: preview.next.clone(), active: true, note: None };
    slot_table(&slots, output)
}

async fn list(filter: list::Jobs, client: &mut Client, output: Output) -> Result<(), Failure> {
    let ask = Ask::get("/v1/jobs")
        .with("agent", filter.agent)
        .with("source", filter.source)
        .with("removed", filter.removed.then_some(true))
        .with("limit", Some(filter.page.limit))
        .with("cursor", filter.page.cursor);
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&page::document(&answer));
    }
    let jobs: Page<Job> = answer.read()?;
    let now = now();
    let row = |job: &Job| {
        vec![
            job.key.to_string(),
            job.spec.agent.clone().unwrap_or_default(),
            job.schedule.clone(),
            relative_or_dash(job.next_at, now),
            state(job).to_owned(),
            ended(job),
            job.source.clone(),
        ]
    };
    let header = ["key", "agent", "schedule", "next", "state", "ok/bad", "source"];
    output.table(&header, jobs.items.iter().map(row).collect(), "no jobs")?;
    page::more(output, jobs.next.as_deref());
    Ok(())
}

fn ended(job: &Job) -> String {
    let bad = job.counters.failed + job.counters.timed_out + job.counters.interrupted;
    format!("{}/{bad}", job.counters.ok)
}

fn state(job: &Job) -> &'static str {
    use sexton_domain::job::SuspendedBy;

    match (&job.suspension, job.spec.enabled) {
        _ if job.removed_at.is_some() => "removed",
        _ if job.done_at.is_some() => "done",
        (_, Some(false)) => "disabled",
        (Some(suspension), _) if suspension.by == SuspendedBy::AutoDisable => "failing, suspended",
        (Some(_), _) => "suspended",
        (None, _) => "active",
    }
}

async fn show(job: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::get(path(job))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let job: Job = answer.read()?;
    let now = now();
    let at = |at: Option<_>| at.map(|at| instant(at, now)).unwrap_or_default();
    output.fields(&[
        ("key", job.key.to_string()),
        ("id", job.id.to_string()),
        ("name", job.spec.name.clone().unwrap_or_default()),
        ("state", state(&job).to_owned()),
        ("source", job.source.clone()),
        ("agent", job.spec.agent.clone().unwrap_or_default()),
        ("schedule", job.schedule.clone()),
        ("next", at(job.next_at)),
        ("last slot", at(job.last_slot)),
        ("backoff until", at(job.backoff_until)),
        ("suspended", at(job.suspension.map(|suspension| suspension.since))),
        ("revision", format!("{} of {}", job.revision, instant(job.updated_at, now))),
        ("counters", counters(&job)),
        ("origin", job.origin.as_ref().map(origin).unwrap_or_default()),
    ])?;
    options(&job.spec, output)?;
    match &job.spec.prompt {
        Some(prompt) => output.line(format_args!("\n{}", prompt.trim_end())),
        None => Ok(()),
    }
}

/// The options that have no line of their own above.
fn options(spec: &JobSpec, output: Output) -> Result<(), Failure> {
    let shown = ["key", "name", "agent", "at", "every", "cron", "tz", "prompt"];
    let Value::Object(fields) = json!(spec) else { return Ok(()) };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields: Vec<(String, String)> = fields
        .iter()
        .filter(|(name, value)| !shown.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.replace('_', " "), text(value)))
        .collect();
    let fields: Vec<(&str, String)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    output.fields(&fields)
}

fn counters(job: &Job) -> String {
    let Value::Object(counters) = json!(job.counters) else { return String::new() };
    let some = |(name, value): (&String, &Value)| {
        let count = value.as_u64().filter(|count| *count > 0)?;
        Some(format!("{count} {}", name.replace('_', " ")))
    };
    counters.iter().filter_map(some).collect::<Vec<_>>().join(", ")
}

async fn edit(edit: Edit, client: &mut Client, output: Output) -> Result<(), Failure> {
    let Edit { job, revision, options, unset } = edit;
    let patch = patch(options.spec()?, unset)?;
    let ask = Ask::patch(path(&job)).body(Value::Object(patch)).if_match(revision);
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let job: Job = answer.read()?;
    output.line(format_args!("job {} is at revision {}", job.key, job.revision))?;
    next_line(&job, output)
}

/// What was given, null for what goes back to its default. Another kind of schedule replaces the one
/// there is.
fn patch(spec: JobSpec, unset: Vec<String>) -> Result<Map<String, Value>, Failure> {
    let mut patch = match json!(spec) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    const SCHEDULES: [&str; 3] = ["at", "every", "cron"];
    if SCHEDULES.into_iter().any(|field| patch.contains_key(field)) {
        for field in SCHEDULES {
            patch.entry(field).or_insert(Value::Null);
        }
        if patch.get("cron").is_none_or(Value::is_null) {
            patch.entry("tz").or_insert(Value::Null);
        }
    }
    for option in unset {
        patch.insert(option.trim_start_matches('-').replace('-', "_"), Value::Null);
    }
    if patch.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is nothing to change")
            .hint("name options, for example `--timeout 10m`; see `sexton job edit --help`"));
    }
    Ok(patch)
}

async fn switch(job: &str, verb: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::post(format!("{}/{verb}", path(job)))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let job: Job = answer.read()?;
    output.line(format_args!("job {} is {}", job.key, state(&job)))?;
    if job.active { next_line(&job, output) } else { Ok(()) }
}

async fn trigger(
    job: &str,
    wait: bool,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    let answer = client.ask(Ask::post(format!("{}/run", path(job)))).await?;
    if wait {
        let run: Run = answer.read()?;
        return run::follow(run, client, output).await;
    }
    if output.json {
        output.document(&answer.0)?;
    } else {
        let run: Run = answer.read()?;
        output.line(format_args!("run {} is queued", run.id))?;
    }
    Ok(Exit::Ok)
}

async fn remove(job: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::delete(path(job))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    output.line(format_args!("job {job} is removed"))
}

async fn next(ask: Ask, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&answer.0);
    }
    slot_table(&answer.read()?, output)
}

fn slot_table(slots: &Slots, output: Output) -> Result<(), Failure> {
    let now = now();
    let explained = slots.items.iter().any(|slot| !slot.notes.is_empty());
    let row = |slot: &sexton_server::api::Slot| {
        let mut row = vec![slot.slot.to_string(), slot.at.to_string(), relative(slot.at, now)];
        row.extend(explained.then(|| slot.notes.join("; ")));
        row
    };
    let header = ["slot", "starts", "that is", "notes"];
    let header = if explained { &header[..] } else { &header[..3] };
    output.table(header, slots.items.iter().map(row).collect(), "no slot to come")?;
    match &slots.note {
        Some(note) => output.line(note),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_to_another_schedule_takes_the_old_one_away() {
        let spec = JobSpec { every: Some("5m".into()), ..JobSpec::default() };
        let patch = patch(spec, vec!["--keep-last".to_owned()]).unwrap();
        let expected = json!({
            "every": "5m", "at": null, "cron": null, "tz": null, "keep_last": null
        });
        assert_eq!(Value::Object(patch), expected);
        assert_eq!(super::patch(JobSpec::default(), Vec::new()).unwrap_err().exit, Exit::Usage);
    }
}
