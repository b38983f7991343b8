//! `openclaw inspect`: what is wrong with a state folder, on one screen.

use std::io::Write as _;
use std::path::Path;

use sexton_domain::errors::on_one_line;
use sexton_openclaw::finding::{Cure, Finding, Item, Subject};
use sexton_openclaw::folder::Era;
use sexton_openclaw::heal::State;
use sexton_openclaw::inspect::{AgentCount, Options, Report, inspect};

use super::port::served;
use super::progress::reading;
use crate::args::openclaw::Inspect;
use crate::clock::now;
use crate::failure::{Exit, Failure};
use crate::output::{Output, argument, bytes, count};

/// Cases of each finding that are shown unless all are asked for.
const EXAMPLES: usize = 3;

/// Runs `openclaw inspect`.
pub fn main(args: &Inspect, output: Output) -> Result<Exit, Failure> {
    // What can be looked at is shown, whatever is wrong with another path.
    let (mut reports, mut failed) = (Vec::new(), None);
    for path in &args.paths {
        match look(path, args.stopped) {
            Ok(report) => reports.push(report),
            Err(failure) if args.paths.len() == 1 => return Err(failure),
            Err(failure) => {
                say(&failure);
                failed.get_or_insert(failure.exit);
            }
        }
    }
    let sick = reports.iter().any(|report| report.total() > 0);
    if output.json {
        match reports.as_slice() {
            [report] => output.document(report)?,
            reports => output.document(&reports)?,
        }
    } else {
        for report in &reports {
            show(report, args.all, output)?;
        }
    }
    Ok(failed.unwrap_or(if sick { Exit::No } else { Exit::Ok }))
}

/// Looks at a folder, whose gateway is known to be stopped or not.
pub fn look(path: &Path, is_stopped: bool) -> Result<Report, Failure> {
    reading(|progress| {
        let scratch = std::env::temp_dir();
        let served = served(path).filter(|_| !is_stopped);
        inspect(path, Options { now: now(), zone: super::zone(), scratch, served, progress })
    })
}

fn say(failure: &Failure) {
    // Whoever closed stderr does not want to know.
    let _ = writeln!(std::io::stderr().lock(), "{failure}");
}

fn show(report: &Report, all: bool, output: Output) -> Result<(), Failure> {
    output.line(output.bold(&report.folder.display().to_string()))?;
    output.fields(&[
        ("era", era(report.era).to_owned()),
        ("version", report.version.clone().unwrap_or_default()),
        ("gateway", gateway(report)),
        ("jobs", jobs(report)),
        ("transcripts", transcripts(report)),
        ("read", bytes(report.bytes_read)),
    ])?;
    for path in &report.best_effort {
        output
            .note(format_args!("{} was being written to: read as well as it went", path.display()));
    }
    if let Some(served) = &report.served {
        output.note(format_args!(
            "{served}, and no process shows: what only a dead process tells is left alone, and heal refuses; \
             --stopped says that it is another gateway"
        ));
    }
    for healing in &report.cut_off {
        let (stamp, folder) = (&healing.stamp, argument(&report.folder));
        let on = match healing.state {
            State::Undoing => format!("`sexton openclaw undo {folder}`"),
            _ => format!("`sexton openclaw heal {folder}` or `sexton openclaw undo {folder}`"),
        };
        output.note(format_args!(
            "the healing of {stamp} was cut off, and what is seen here is half of it; go on with {on}"
        ));
    }
    output.line("")?;
    let rows = report.agents.iter().flat_map(agent_rows).collect();
    output.table(&["agent", "kind", "sessions", "by status"], rows, "no sessions")?;
    output.line("")?;
    for finding in &report.findings {
        show_finding(finding, all, output)?;
    }
    output.line(summary(report, output))
}

fn era(era: Era) -> &'static str {
    match era {
        Era::Json => "JSON files (until 2026.7.1)",
        Era::Mixed => "sessions in JSON files, jobs in SQLite (2026.6.1 to 2026.7.1)",
        Era::Sqlite => "SQLite (since 2026.7.2)",
        Era::Both => "SQLite, with an index of the JSON era beside it",
        Era::Empty => "none: nothing was ever stored here",
    }
}

fn gateway(report: &Report) -> String {
    match report.gateway_pid {
        Some(pid) => {
            let evidence = report.gateway_evidence.as_deref().unwrap_or_default();
            format!("process {pid} owns the folder: {evidence}")
        }
        None => {
            let runs =
                if report.served.is_some() { "no process of it shows" } else { "not running" };
            format!("{runs}; the last sign of life is of {}", report.as_of)
        }
    }
}

fn jobs(report: &Report) -> String {
    report.jobs.as_ref().map_or_else(
        || "none that could be read".to_owned(),
        |jobs| format!("{}, {} enabled", jobs.total, jobs.enabled),
    )
}

fn transcripts(report: &Report) -> String {
    let piles = report.transcripts;
    format!(
        "{} current, {} history, {} of nothing known; {}, {}",
        piles.current,
        piles.history,
        piles.orphans,
        count(piles.archives, "archive"),
        count(piles.side_files, "side file")
    )
}

fn agent_rows(agent: &AgentCount) -> Vec<Vec<String>> {
    let row = |(kind, statuses): (
        &sexton_domain::key::SessionKind,
        &std::collections::BTreeMap<_, u64>,
    )| {
        let total: u64 = statuses.values().sum();
        let words: Vec<String> =
            statuses.iter().map(|(status, count)| format!("{count} {status}")).collect();
        vec![agent.id.clone(), kind.to_string(), total.to_string(), words.join(", ")]
    };
    agent.kinds.iter().map(row).collect()
}

fn show_finding(finding: &Finding, all: bool, output: Output) -> Result<(), Failure> {
    let size: u64 = finding.items.iter().filter_map(|item| item.bytes).sum();
    let size = if size > 0 { format!(", {}", bytes(size)) } else { String::new() };
    let title = format!("{}: {}{size}", finding.code.title(), finding.items.len());
    output.line(format_args!(
        "{}  {}",
        output.alarming(&title),
        output.dim(finding.code.as_str())
    ))?;
    let shown = if all { finding.items.len() } else { EXAMPLES };
    for item in finding.items.iter().take(shown) {
        output.line(format_args!("    {}", subject(&item.subject)))?;
        output.line(format_args!("      {}", output.dim(&on_one_line(&item.evidence))))?;
    }
    if finding.items.len() > shown {
        output.line(format_args!("    … and {} more", finding.items.len() - shown))?;
    }
    output.line(format_args!("    {}", cure(&finding.items)))?;
    output.line("")
}

/// What a finding is about, in one line.
pub fn subject(subject: &Subject) -> String {
    on_one_line(&match subject {
        Subject::Row { key, .. } => key.clone(),
        Subject::DbRow { table, id, .. } => format!("{table} {id}"),
        Subject::File(path) => path.display().to_string(),
        Subject::Part { path, place } => format!("{} {place}", path.display()),
        Subject::Job { id, .. } => format!("job {id}"),
    })
}

/// How many of the items heal takes care of, and what is left to a person.
fn cure(items: &[Item]) -> String {
    let healed = items.iter().filter(|item| matches!(item.cure, Cure::Steps(_))).count();
    let person = items.iter().find_map(|item| match &item.cure {
        Cure::Person(help) => Some(on_one_line(help)),
        Cure::Steps(_) => None,
    });
    match (healed, person) {
        (0, Some(help)) => format!("-> {help}"),
        (healed, Some(help)) => format!("-> heal takes care of {healed}; else: {help}"),
        (_, None) => "-> heal takes care of it".to_owned(),
    }
}

fn summary(report: &Report, output: Output) -> String {
    if report.findings.is_empty() {
        return "nothing is wrong".to_owned();
    }
    let total = report.total() as u64;
    let steps =
        |finding: &Finding| finding.items.iter().any(|item| matches!(item.cure, Cure::Steps(_)));
    let next = if report.findings.iter().any(steps) {
        format!("to heal: sexton openclaw heal {}", argument(&report.folder))
    } else {
        "all of it needs a person".to_owned()
    };
    let findings = count(report.findings.len() as u64, "finding");
    let text = format!("{} in {findings}", count(total, "case"));
    format!("{}; {next}", output.bold(&text))
}
