//! `openclaw import`: a state folder into the store, with a receipt of every record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sexton_domain::errors::on_one_line;
use sexton_domain::name::AgentName;
use sexton_openclaw::import::account::Source;
use sexton_openclaw::import::gather::{Gathered, Options, gather};
use sexton_store::Store;
use sexton_store_sqlite::Access;

use super::port::served;
use super::progress::reading;
use crate::args::Globals;
use crate::args::openclaw::Import;
use crate::atomic;
use crate::clock::now;
use crate::config::{Config, Surroundings};
use crate::failure::{Exit, Failure};
use crate::output::{Output, bytes, count};
use crate::place::{self, DataDir};
use crate::store::{self, Machine, Opening};

mod agents;
mod jobs;
mod keeper;
mod known;
mod receipt;

use keeper::Keeper;
use known::Known;
use receipt::{Kept, Receipt};

/// Runs `openclaw import`.
pub fn main(args: &Import, globals: &Globals, output: Output) -> Result<Exit, Failure> {
    let dir = DataDir::find(globals)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, format!("failed to start: {error}")))?;
    let inside = runtime.enter();
    // Before anything is read: a store that a daemon holds is refused at once.
    let around = Surroundings { data_dir: dir.path(), now: now() };
    let config_file = place::config_file(globals)?;
    let config = Config::load(config_file.as_deref(), around)?;
    let store = open(&dir, &config, args.dry_run)?;
    let at = now();
    let path = (!args.dry_run).then(|| receipt_path(args, &dir, at)).transpose()?;
    let writes = store.as_ref().filter(|_| !args.dry_run);
    let earlier =
        writes.map(|store| receipt::catch_up(store, &runtime, &dir)).transpose()?.flatten();
    let known = store.as_ref().map(|store| Known::of(store, &runtime)).transpose()?;
    let found = read(args, known.unwrap_or_default(), at)?;
    let Gathered {
        sources,
        generations,
        agents,
        nobody,
        jobs,
        enabled,
        runs,
        left_out,
        mut remarks,
        under_way,
        texts,
    } = found;
    // Before anything is stored: what has a name keeps it.
    if let Some(nobody) = nobody.into_iter().next() {
        return Err(Failure::new(Exit::Usage, nobody).hint("mend --agent; nothing was stored"));
    }
    remarks.extend(earlier);
    remarks.extend(jobs::undeclared(&jobs, &config));
    let begun = Receipt {
        folder: args.path.clone(),
        at,
        dry_run: args.dry_run,
        cut_off: false,
        kept: Kept::default(),
        agents: agents.into_iter().map(|agent| agents::Shown::of(agent, &config)).collect(),
        jobs: jobs.iter().map(|new| jobs::Shown::of(new, at)).collect(),
        sources,
        left_out,
        remarks,
        under_way,
    };
    let mut keeper = Keeper::new(writes, store.as_ref(), begun);
    for new in jobs {
        keeper.job(new)?;
    }
    for job in enabled {
        keeper.put(job)?;
    }
    for ran in runs {
        keeper.run(ran)?;
    }
    for generation in generations {
        keeper.session(generation, &texts)?;
    }
    let mut receipt = keeper.finish()?;
    drop(inside);
    let odd: Vec<_> = receipt.sources.iter().filter_map(odd).collect();
    receipt.remarks.extend(odd);
    let written = path.as_ref().map(|path| receipt::write(&receipt, path)).transpose();
    if output.json {
        output.document(&receipt)?;
    } else {
        show(&receipt, path.filter(|_| written.is_ok()).as_deref(), output)?;
        let config_file = config_file.map_or_else(place::user_config, Ok)?;
        agents::show(&receipt.agents, &config_file, output)?;
    }
    written?;
    writes.map_or(Ok(()), |store| receipt::close(store, &runtime))?;
    Ok(exit(&receipt.sources))
}

/// Whether everything was taken, and is accounted for.
fn exit(sources: &[Source]) -> Exit {
    let whole = |source: &Source| source.done.quarantined.is_empty() && source.adds_up();
    if sources.iter().all(whole) { Exit::Ok } else { Exit::No }
}

/// What is to be said about a source that does not add up.
fn odd(source: &Source) -> Option<String> {
    (!source.adds_up()).then(|| {
        let Source { path, read, .. } = source;
        format!("{path} does not add up: {read} records read, {} accounted for", source.accounted())
    })
}

/// The store: to write, or for a dry run to look, if there is one.
fn open(dir: &DataDir, config: &Config, dry_run: bool) -> Result<Option<Store>, Failure> {
    let access = if dry_run { Access::ReadOnly } else { Access::ReadWrite };
    if dry_run && !config.database.exists() {
        return Ok(None);
    }
    atomic::make_private_dir(dir.path())?;
    let durability = config.file.store.durability;
    let opening = Opening { path: &config.database, durability, access };
    store::open(opening, &Machine::new()?).map(Some)
}

/// `THEIRS=OURS`.
fn agents(asked: &[String]) -> Result<BTreeMap<String, AgentName>, Failure> {
    let one = |text: &String| {
        let (theirs, ours) = text.split_once('=').ok_or_else(|| {
            Failure::new(Exit::Usage, format!("read {text:?} as a renamed agent: it has no '='"))
                .hint("write THEIRS=OURS, for example --agent main=helper")
        })?;
        let ours = ours.parse().map_err(|error| Failure::chain(Exit::Usage, &error))?;
        Ok((sexton_openclaw::read::config::agent_id(theirs), ours))
    };
    asked.iter().map(one).collect()
}

/// Reads the folder.
fn read(args: &Import, known: Known, at: Timestamp) -> Result<Gathered, Failure> {
    let agents = agents(&args.agents)?;
    reading(|progress| {
        let scratch = std::env::temp_dir();
        let (enable, zone) = (args.enable, super::zone());
        let Known { jobs, sessions } = known;
        let served = served(&args.path).filter(|_| !args.stopped);
        let options =
            Options { now: at, scratch, agents, jobs, sessions, enable, zone, served, progress };
        gather(&args.path, options)
    })
}

/// Where the receipt goes: beside the store, or where it was asked for. Nothing is stored if it cannot.
fn receipt_path(args: &Import, dir: &DataDir, at: Timestamp) -> Result<PathBuf, Failure> {
    let Some(path) = &args.receipt else { return receipt::file(dir, at) };
    let folder = std::path::absolute(path)?;
    if path.is_dir() || !folder.parent().is_some_and(Path::is_dir) {
        let message = format!("failed to write the receipt to {}", path.display());
        return Err(Failure::new(Exit::Usage, message)
            .hint("name a file in a folder that is there; nothing was imported"));
    }
    Ok(path.clone())
}

fn show(receipt: &Receipt, written: Option<&Path>, output: Output) -> Result<(), Failure> {
    let live = receipt.sources.iter().filter(|source| source.best_effort);
    for source in live {
        output.note(format_args!("{} was being written to: read as well as it went", source.path));
    }
    for remark in &receipt.remarks {
        output.note(remark);
    }
    let groups = groups(&receipt.sources);
    let told = groups.iter().filter(|(_, group)| group.read > 0);
    let rows = told.map(|(name, group)| group.row(name)).collect();
    let header =
        ["source", "size", "read", "imported", "already present", "quarantined", "under way"];
    output.table(&header, rows, "nothing to import")?;
    show_quarantined(&receipt.sources, output)?;
    jobs::show(&receipt.jobs, output)?;
    let Kept { jobs, sessions, runs, entries, reports } = receipt.kept;
    let what = [
        count(jobs, "job"),
        count(sessions, "session"),
        format!("{entries} transcript entries"),
        count(runs, "run"),
        count(reports, "usage report"),
    ];
    let verb = if receipt.dry_run { "would be imported" } else { "imported" };
    output.line(format_args!("{}: {}", output.bold(verb), what.join(", ")))?;
    match written {
        Some(path) => output.line(format_args!("receipt: {}", path.display())),
        None => Ok(()),
    }
}

/// What could not be taken; of much the beginning.
fn show_quarantined(sources: &[Source], output: Output) -> Result<(), Failure> {
    /// Records that are shown one by one.
    const NAMED: usize = 20;
    let of = |source: &'_ Source| source.done.quarantined.len();
    let all = sources.iter().flat_map(|source| {
        source.done.quarantined.iter().map(move |dropped| (&source.path, dropped))
    });
    for (path, dropped) in all.take(NAMED) {
        let (place, reason) = (dropped.place.to_string(), &dropped.reason);
        output.line(format_args!("  {path} {}: {}", on_one_line(&place), on_one_line(reason)))?;
    }
    match sources.iter().map(of).sum::<usize>().saturating_sub(NAMED) {
        0 => Ok(()),
        more => {
            output.line(format_args!("  … and {more} more; the receipt, or --json, has them all"))
        }
    }
}

/// Sources of one kind.
#[derive(Debug, Default)]
struct Group {
    files: u64,
    bytes: u64,
    read: u64,
    imported: u64,
    present: u64,
    quarantined: u64,
    under_way: u64,
}

/// Transcripts and run logs count together: there can be thousands.
fn groups(sources: &[Source]) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for source in sources {
        let name = Path::new(&source.path);
        let many = source.path.contains(".jsonl");
        let folder = name.parent().map(|folder| format!("{}/*.jsonl", folder.display()));
        let name = folder.filter(|_| many).unwrap_or_else(|| source.path.clone());
        let group = groups.entry(name).or_default();
        group.files += 1;
        group.bytes += source.bytes;
        group.read += source.read;
        group.imported += source.done.imported;
        group.present += source.done.already_present;
        group.quarantined += source.done.quarantined.len() as u64;
        group.under_way += source.done.under_way;
    }
    groups
}

impl Group {
    fn row(&self, name: &str) -> Vec<String> {
        let name =
            if self.files > 1 { format!("{name} ({})", self.files) } else { name.to_owned() };
        let Self { read, imported, present, quarantined, under_way, .. } = self;
        let numbers = [read, imported, present, quarantined, under_way];
        let numbers = numbers.iter().map(ToString::to_string);
        [name, bytes(self.bytes)].into_iter().chain(numbers).collect()
    }
}

#[cfg(test)]
mod tests {
    use sexton_openclaw::import::account::Done;

    use super::*;

    #[test]
    fn a_source_that_does_not_add_up_is_named_and_the_command_does_not_succeed() {
        let source = |imported| Source {
            path: "cron/jobs.json".to_owned(),
            read: 2,
            done: Done { imported, ..Done::default() },
            ..Source::default()
        };
        assert_eq!((odd(&source(2)), exit(&[source(2)])), (None, Exit::Ok));
        let said = "cron/jobs.json does not add up: 2 records read, 1 accounted for";
        assert_eq!(odd(&source(1)).as_deref(), Some(said));
        assert_eq!(exit(&[source(2), source(1)]), Exit::No);
    }
}
