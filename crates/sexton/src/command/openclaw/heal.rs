//! `openclaw heal`: a plan, a backup, the changes, and what is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sexton_domain::errors::on_one_line;
use sexton_openclaw::finding::Code;
use sexton_openclaw::folder::HEAL_FOLDER;
use sexton_openclaw::heal::plan::Plan;
use sexton_openclaw::heal::{self, Error, Healing, LeftOut, Outcome, State};
use sexton_openclaw::inspect::Report;

use super::inspect::{look, subject};
use super::port::hold;
use super::progress::healing;
use crate::args::openclaw::Heal;
use crate::atomic::{self, Care, Durability, Existing};
use crate::clock::now;
use crate::failure::{Exit, Failure};
use crate::output::{Output, argument, bytes, count};

/// What heal says with `--json`.
#[derive(serde::Serialize)]
struct Said<'a> {
    plan: &'a Plan,
    outcome: &'a Outcome,
    left: &'a Report,
}

/// Runs `openclaw heal`.
pub fn main(args: &Heal, output: Output) -> Result<Exit, Failure> {
    finish(args, output)?;
    let report = look(&args.path, args.stopped)?;
    if let Some(pid) = report.gateway_pid.filter(|_| !args.plan_only) {
        let evidence = report.gateway_evidence.as_deref().unwrap_or_default();
        let message =
            format!("process {pid} owns {}: {}", report.folder.display(), on_one_line(evidence));
        return Err(Failure::new(Exit::Refused, message).hint(
            "stop the gateway first: openclaw gateway stop; a lock of a process that is none can be removed",
        ));
    }
    let at = now();
    let plan = match &args.plan {
        // The folder may have been moved since.
        Some(path) => {
            let plan = read(path)?;
            if plan.folder != report.folder {
                output.note(format_args!("the plan was made for {}", plan.folder.display()));
            }
            Plan { folder: report.folder.clone(), ..plan }
        }
        None => Plan::of(&report.findings, &report.folder, at, &args.only),
    };
    if args.plan_only {
        return plan_only(&plan, at, output);
    }
    if !output.json {
        show(&plan, output)?;
    }
    if plan.items.is_empty() {
        return done(&plan, &Outcome::default(), &report, output);
    }
    let _held = (!args.stopped).then(|| hold(&args.path)).transpose()?;
    if !args.yes {
        let cases = count(plan.items.len() as u64, "case");
        ask(&format!("heal {cases} in {}", plan.folder.display()), output)?;
    }
    let outcome = healing(|observer| heal::apply(&plan, &report.folder, &stamp(at), observer))?;
    // Nobody else has its port.
    let left = look(&args.path, true)?;
    done(&plan, &outcome, &left, output)
}

/// Ends a healing that was cut off, and refuses where an undoing was: before that, nothing of the folder can be
/// believed.
fn finish(args: &Heal, output: Output) -> Result<(), Failure> {
    let Ok(all) = heal::list_healings(&args.path) else { return Ok(()) };
    for Healing { stamp, state, .. } in all {
        if state == State::Undoing {
            let folder = argument(&args.path);
            let undo = format!("sexton openclaw undo {folder} {stamp}");
            if args.plan_only {
                output.note(format_args!("the undoing of {stamp} was cut off; go on with {undo}"));
                continue;
            }
            let message = format!("the undoing of {stamp} was cut off: half of it is in {folder}");
            return Err(Failure::new(Exit::Refused, message).hint(format!("go on with it: {undo}")));
        }
        if state != State::Unfinished {
            continue;
        }
        if args.plan_only {
            output.note(format_args!("the healing of {stamp} was cut off; heal finishes it first"));
            continue;
        }
        let _held = (!args.stopped).then(|| hold(&args.path)).transpose()?;
        if !args.yes {
            let folder = args.path.display();
            ask(&format!("finish the healing of {stamp}, which was cut off, in {folder}"), output)?;
        }
        let outcome = healing(|observer| heal::finish(&args.path, &stamp, observer))?;
        output.note(format_args!("the healing of {stamp} was cut off; it is finished now"));
        let plan = read(&args.path.join(HEAL_FOLDER).join(&stamp).join("plan.json"));
        for item in &outcome.left_out {
            output.note(left_out(plan.as_ref().ok(), item));
        }
    }
    Ok(())
}

/// An item that was not healed, and why.
fn left_out(plan: Option<&Plan>, item: &LeftOut) -> String {
    let about = plan.and_then(|plan| plan.items.iter().find(|other| other.n == item.n));
    let about = about.map_or_else(|| item.n.to_string(), |item| subject(&item.subject));
    format!("left out: {about}: {}", on_one_line(&item.reason))
}

/// An instant as the name of a backup.
fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S%3fZ").to_string()
}

/// How an error of the healing ends a command.
pub fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::Owned(_)
        | Error::Locked { .. }
        | Error::Unfinished { .. }
        | Error::Undone { .. }
        | Error::Changed { .. } => Exit::Refused,
        Error::NoBackup { .. } => Exit::NotFound,
        Error::Busy { .. } => Exit::Unavailable,
        Error::Io { .. } => Exit::Usage,
    };
    let failure = Failure::chain(exit, &error);
    match error {
        Error::Changed { backup, lost, later: None, .. } if lost.is_empty() => {
            let [files, aside] = ["files", "aside"].map(|kind| backup.join(kind));
            failure.hint(format!(
                "take back single files by hand: {} holds copies as they were, {} what was taken out",
                files.display(),
                aside.display()
            ))
        }
        _ => failure,
    }
}

fn read(path: &Path) -> Result<Plan, Failure> {
    let of = |reason: String| {
        Failure::new(Exit::Usage, format!("failed to read the plan {}: {reason}", path.display()))
    };
    let bytes = fs::read(path).map_err(|error| of(error.to_string()))?;
    Plan::read(&bytes).map_err(of)
}

fn plan_only(plan: &Plan, at: Timestamp, output: Output) -> Result<Exit, Failure> {
    if output.json {
        output.line(plan.text().trim_end())?;
        return Ok(Exit::Ok);
    }
    show(plan, output)?;
    if plan.items.is_empty() {
        return Ok(Exit::Ok);
    }
    let path = write(plan, at)?;
    output.line(format_args!(
        "written to {}; to apply it: sexton openclaw heal {} --plan {}",
        path.display(),
        argument(&plan.folder),
        argument(&path)
    ))?;
    Ok(Exit::Ok)
}

fn write(plan: &Plan, at: Timestamp) -> Result<PathBuf, Failure> {
    let home = plan.folder.join(HEAL_FOLDER);
    let path = home.join(format!("plan-{}.json", stamp(at)));
    atomic::make_private_dir(&home)?;
    let care = Care { existing: Existing::Keep, durability: Durability::Full };
    atomic::write(&path, plan.text().as_bytes(), care)?;
    Ok(path)
}

/// What, how many, how large; then what needs a person.
fn show(plan: &Plan, output: Output) -> Result<(), Failure> {
    let mut codes: BTreeMap<Code, (u64, u64)> = BTreeMap::new();
    for item in &plan.items {
        let (count, bytes) = codes.entry(item.code).or_default();
        *count += 1;
        *bytes += item.bytes.unwrap_or(0);
    }
    let row = |(code, (count, size)): (Code, (u64, u64))| {
        let size = if size > 0 { bytes(size) } else { String::new() };
        vec![code.title().to_owned(), count.to_string(), size, code.as_str().to_owned()]
    };
    let rows = codes.into_iter().map(row).collect();
    output.table(
        &["to heal", "cases", "size", "code"],
        rows,
        "there is nothing that heal can do",
    )?;
    /// Cases for a person that are named one by one.
    const NAMED: usize = 10;
    for item in plan.person.iter().take(NAMED) {
        output.note(format_args!(
            "{} needs a person: {}",
            subject(&item.subject),
            on_one_line(&item.help)
        ));
    }
    if let Some(more) = plan.person.len().checked_sub(NAMED + 1) {
        output.note(format_args!("{} more for a person; inspect --all lists them", more + 1));
    }
    Ok(())
}

/// Asks on a terminal; elsewhere nobody can answer.
fn ask(what: &str, output: Output) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || output.json {
        return Err(Failure::new(Exit::Usage, "nobody is there to be asked")
            .hint("--yes heals without asking, --plan-only writes the plan"));
    }
    write!(std::io::stderr(), "{what}? [y/N] ")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::No, "nothing was changed"))
}

/// How much the files of a folder hold, as far as they can be looked at.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        meta => meta.map_or(0, |meta| meta.len()),
    };
    entries.map(of).sum()
}

fn done(plan: &Plan, outcome: &Outcome, left: &Report, output: Output) -> Result<Exit, Failure> {
    // A plan of which nothing could be done was one for another folder, or for another time.
    let idle = outcome.done.is_empty() && !plan.items.is_empty();
    let exit = if idle || left.total() > 0 { Exit::No } else { Exit::Ok };
    if output.json {
        output.document(&Said { plan, outcome, left })?;
        return Ok(exit);
    }
    for item in &outcome.left_out {
        output.line(left_out(Some(plan), item))?;
    }
    if let Some(backup) = &outcome.backup {
        let (healed, folder) = (count(outcome.done.len() as u64, "case"), argument(&plan.folder));
        let backup = plan.folder.join(backup);
        output.line(format_args!(
            "healed {healed}; the files are {} smaller",
            bytes(outcome.freed)
        ))?;
        output.line(format_args!(
            "the backup of {} is {}",
            bytes(size(&backup)),
            backup.display()
        ))?;
        output.line(format_args!(
            "to take it back: sexton openclaw undo {folder}; to keep it for good, remove the backup"
        ))?;
    }
    match left.total() as u64 {
        0 => output.line("nothing is wrong")?,
        more => {
            output.line(format_args!("{} left:", count(more, "case")))?;
            for finding in &left.findings {
                let line = format!("{}: {}", finding.code.title(), finding.items.len());
                output.line(format_args!("  {line}  {}", output.dim(finding.code.as_str())))?;
            }
        }
    }
    Ok(exit)
}
