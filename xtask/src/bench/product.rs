//! Figures that the product measures itself: `sexton bench …`, read and judged. Beside them those of
//! `measure-store`, which only developers need.

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::book::{Figure, Part};
use super::times::Spread;
use super::{Disk, Lab, SLOWER_MS, path};

/// What `sexton bench … --json` prints, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Document<F> {
    figures: F,
}

fn ask<F: DeserializeOwned>(lab: &Lab, args: &[&str], disk: Disk) -> anyhow::Result<F> {
    let document: Document<F> =
        serde_json::from_value(lab.bench(args, disk)?).context("read what was measured")?;
    Ok(document.figures)
}

/// What is told of times, in few words.
fn short(Spread { p50_ms, p99_ms, .. }: &Spread) -> String {
    let p99 = p99_ms.map_or_else(String::new, |p99_ms| format!(" (p99 {p99_ms:.2} ms)"));
    format!("{p50_ms:.2} ms{p99}")
}

/// What is said of the disk where it was made slower.
fn slower(disk: Disk) -> String {
    match disk {
        Disk::AsItIs => String::new(),
        Disk::Slow => format!("; every fsync and fdatasync takes {SLOWER_MS} ms longer"),
    }
}

#[derive(Debug, Deserialize)]
struct Commits {
    sessions: u64,
    rounds: u32,
    slice_ms: u64,
    entry_bytes: usize,
    writers: Vec<Writers>,
    one_at_a_time: Rate,
}

#[derive(Debug, Deserialize)]
struct Writers {
    writers: u64,
    commits_per_second: f64,
    syncs_per_second: f64,
    syncs_per_commit: f64,
    commit: Spread,
    against_one_at_a_time: f64,
    bytes_per_sync: f64,
    raw_syncs_per_second: f64,
    of_raw: f64,
}

#[derive(Debug, Deserialize)]
struct Rate {
    commits_per_second: f64,
    syncs_per_commit: f64,
}

/// Group commit.
pub fn store(lab: &Lab, disk: Disk) -> anyhow::Result<Part> {
    let args: &[&str] = if lab.small {
        &["store", "--sessions", "500", "--rounds", "2", "--slice", "200ms"]
    } else {
        &["store"]
    };
    let it: Commits = ask(lab, args, disk)?;
    let conditions = format!(
        "{} sessions; a commit is a session's record and an entry of {} bytes; median of {} rounds of {} \
         ms, modes in turn{}",
        it.sessions,
        it.entry_bytes,
        it.rounds,
        it.slice_ms,
        slower(disk)
    );
    let mut part = Part::default();
    for writers in &it.writers {
        part.figures.extend(writers.figures(&it.one_at_a_time, &conditions, disk));
    }
    let points = it.writers.iter().map(|it| (it.writers as f64, it.commits_per_second));
    part.lines.insert("commits per second".into(), points.collect());
    Ok(part)
}

impl Writers {
    fn figures(&self, alone: &Rate, conditions: &str, disk: Disk) -> Vec<Figure> {
        let number = self.writers;
        let rate = Figure::new(
            format!("commits with {number} in flight"),
            format!("{:.0}/s, {}", self.commits_per_second, self.commit.shown()),
            format!("{conditions}; {} commits", self.commit.count),
        );
        let key = format!("commits.{number}");
        let rate = if disk == Disk::AsItIs { rate.key(&key) } else { rate };
        let waits = Figure::new(
            format!("waits for the disk per commit, {number} in flight"),
            format!("{:.3}", self.syncs_per_commit),
            conditions,
        );
        let waits = match number {
            16 => waits.goal("<= 0.2", self.syncs_per_commit <= 0.2),
            256 => waits.goal("<= 0.05", self.syncs_per_commit <= 0.05),
            _ => waits,
        };
        let of_raw = Figure::new(
            format!("waits per second of the writer against raw ones, {number} in flight"),
            format!(
                "{:.0} % ({:.0}/s against {:.0}/s)",
                self.of_raw * 100.0,
                self.syncs_per_second,
                self.raw_syncs_per_second
            ),
            format!(
                "raw: write and fdatasync of {:.0} KiB, as much as is written for each wait, in the same \
                 round",
                self.bytes_per_sync / 1024.0
            ),
        );
        let mut figures = vec![rate, waits, of_raw.goal(">= 60 %", self.of_raw >= 0.6)];
        if number == 256 {
            figures.push(
                Figure::new(
                    "commits with 256 in flight against one commit for each wait",
                    format!(
                        "{:.1}x ({:.0}/s against {:.0}/s at {:.2} waits per commit)",
                        self.against_one_at_a_time,
                        self.commits_per_second,
                        alone.commits_per_second,
                        alone.syncs_per_commit
                    ),
                    format!("{conditions}; one at a time: on the calling thread, nothing between"),
                )
                .goal(">= 4x", self.against_one_at_a_time >= 4.0),
            );
        }
        figures
    }
}

#[derive(Debug, Deserialize)]
struct Fired {
    limit: usize,
    raw_spawn_cpu_ms: f64,
    bursts: Vec<Bursts>,
    fairness: Option<Contest>,
}

#[derive(Debug, Deserialize)]
struct Bursts {
    jobs: u64,
    recorded: Spread,
    started: Spread,
    runs_per_minute: Option<f64>,
    cpu_per_run_ms: f64,
}

#[derive(Debug, Deserialize)]
struct Contest {
    places: usize,
    seconds: f64,
    jobs: usize,
    starts: usize,
    fewest: usize,
    most: usize,
    unfair: usize,
}

/// Slots and runs.
pub fn fire(lab: &Lab, disk: Disk) -> anyhow::Result<Part> {
    let args: &[&str] = if lab.small {
        &["fire", "--jobs", "1,20,200", "--rounds", "3", "--contest", "5s"]
    } else {
        &["fire"]
    };
    let it: Fired = ask(lab, args, disk)?;
    let engine = format!(
        "the engine in the measuring process, a shim and /bin/true for each run, {} at once{}",
        it.limit,
        slower(disk)
    );
    let keyed = |figure: Figure, key: &str| match disk {
        Disk::AsItIs => figure.key(key),
        Disk::Slow => figure,
    };
    let mut part = Part::default();
    for burst in &it.bursts {
        let due = format!("{} due in one second", counted(burst.jobs, "job"));
        let slots = counted(burst.recorded.count as u64, "slot");
        part.figures.push(Figure::new(
            format!("lateness of the record, {due}"),
            burst.recorded.shown(),
            format!("{slots}, from each until the record of its run is on disk; {engine}"),
        ));
        part.figures.push(Figure::new(
            format!("lateness of the start, {due}"),
            burst.started.shown(),
            format!(
                "{slots}, from each until the claim is on disk, the wait for a place included; {engine}"
            ),
        ));
    }
    // The largest burst is the one that says what goes on for a while.
    let sustained = it.bursts.iter().rev().find_map(|it| Some((it, it.runs_per_minute?)));
    if let Some((burst, rate)) = sustained {
        let runs = format!("{} of /bin/true", counted(burst.jobs, "run"));
        let figure =
            Figure::new("runs per minute", format!("{rate:.0}"), format!("{runs}; {engine}"));
        part.figures.push(keyed(figure, "runs"));
        let (cpu, raw) = (burst.cpu_per_run_ms, it.raw_spawn_cpu_ms);
        let figure = Figure::new(
            "CPU of everything Sexton does per run of /bin/true",
            format!("{cpu:.2} ms ({:.1}x a raw spawn of it, {raw:.2} ms)", cpu / raw),
            format!("engine, shim and agent and looking on, user and system; {runs}; {engine}"),
        );
        part.figures.push(keyed(figure.goal("<= 10 ms", cpu <= 10.0), "cpu"));
    }
    part.figures.extend(it.fairness.map(|it| keyed(it.figure(), "fair")));
    let line = |of: fn(&Bursts) -> Option<f64>| {
        it.bursts.iter().filter_map(|it| Some((it.jobs as f64, of(it)?))).collect()
    };
    part.lines.insert("record, p50".into(), line(|it| Some(it.recorded.p50_ms)));
    part.lines.insert("record, p99".into(), line(|it| it.recorded.p99_ms));
    part.lines.insert("start, p50".into(), line(|it| Some(it.started.p50_ms)));
    part.lines.insert("start, p99".into(), line(|it| it.started.p99_ms));
    Ok(part)
}

impl Contest {
    fn figure(&self) -> Figure {
        let Self { places, seconds, jobs, starts, fewest, most, unfair } = self;
        Figure::new(
            "runs of a job that had run oftener than another one already",
            format!("{unfair} of {starts} (each of {jobs} jobs ran {fewest} to {most} times)"),
            format!(
                "every job wants to run every second, {places} at once for 100 ms each; counted over the \
                 event log of {seconds:.0} s"
            ),
        )
        .goal("0", *unfair == 0 && *fewest > 0)
    }
}

fn counted(number: u64, noun: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{end}")
}

#[derive(Debug, Deserialize)]
struct Listed {
    looks: usize,
    sizes: Vec<Size>,
    busy: Busy,
}

#[derive(Debug, Deserialize)]
struct Size {
    sessions: u64,
    update: Spread,
    list: Spread,
    status: Spread,
    claim: Spread,
}

#[derive(Debug, Deserialize)]
struct Busy {
    sessions: u64,
    writers: usize,
    commits_per_second: f64,
    list: Spread,
    status: Spread,
}

/// The flat line, and looks while others write.
pub fn list(lab: &Lab) -> anyhow::Result<Part> {
    let filled = lab.filled(lab.large())?;
    let large = lab.large().to_string();
    let (sizes, looks) = if lab.small {
        (format!("100,1000,{large}"), "50")
    } else {
        (format!("1000,10000,100000,{large}"), "500")
    };
    let filled = path(&filled)?;
    let args = ["list", "--sessions", &sizes, "--looks", looks, "--filled", filled];
    let it: Listed = ask(lab, &args, Disk::AsItIs)?;
    let (first, last) =
        it.sizes.first().zip(it.sizes.last()).context("measure more than one size")?;
    let mut part = Part::default();
    type Of = fn(&Size) -> Spread;
    let kinds: [(&str, &str, Of); 4] = [
        ("update", "durable, of a session anywhere in the store, a lone writer", |it| it.update),
        ("list", "the newest 50 sessions, from the store", |it| it.list),
        ("status", "all that it shows, from the store", |it| it.status),
        ("claim", "durable, of the run at the head of the queue, with its session", |it| it.claim),
    ];
    for (what, how, of) in kinds {
        let points = it.sizes.iter().map(|it| (it.sessions as f64, of(it).p50_ms));
        part.lines.insert(what.into(), points.collect());
        let ratio = of(last).p50_ms / of(first).p50_ms;
        let all = it.sizes.iter().map(|it| format!("{}: {}", it.sessions, short(&of(it))));
        part.figures.push(
            Figure::new(
                format!("one {what} with {} sessions against {}", last.sessions, first.sessions),
                format!("{ratio:.2}x ({})", all.collect::<Vec<_>>().join(", ")),
                format!("p50; {how}; {} times each, nothing else going on", it.looks),
            )
            .goal("<= 2x", ratio <= 2.0),
        );
        let end = |size: &Size, name: &str| {
            Figure::new(
                format!("one {what} with {} sessions", size.sessions),
                format!("{} at {} sessions", of(size).shown(), size.sessions),
                how,
            )
            .key(&format!("{what}.{name}"))
        };
        part.figures.push(end(first, "small"));
        part.figures.push(end(last, "large"));
    }
    let Busy { sessions, writers, commits_per_second, list, status } = it.busy;
    let meanwhile = format!(
        "{sessions} sessions; {writers} writers commit {commits_per_second:.0} times a second"
    );
    for (what, spread) in [("list", list), ("status", status)] {
        part.figures.push(Figure::new(
            format!("one {what} while {writers} write"),
            spread.shown(),
            format!("{meanwhile}; {} times", spread.count),
        ));
    }
    Ok(part)
}

#[derive(Debug, Deserialize)]
struct Swept {
    sessions: u64,
    expired: u64,
    entries: u64,
    entry_bytes: usize,
    sweep_ms: f64,
    before: Spread,
    during: Spread,
}

/// What a sweep costs others.
pub fn sweep(lab: &Lab, expired: u64) -> anyhow::Result<Part> {
    let filled = lab.filled(lab.large())?;
    let (large, expired) = (lab.large().to_string(), expired.to_string());
    let before = if lab.small { "1s" } else { "10s" };
    let args = ["sweep", "--sessions", &large, "--expired", &expired, "--before", before];
    let args = [&args[..], &["--filled", path(&filled)?]].concat();
    let it: Swept = ask(lab, &args, Disk::AsItIs)?;
    let conditions = format!(
        "the engine's own reaper, transcripts of {} entries of {} bytes; one writer, one commit after the \
         other: {} during the sweep and {} before",
        it.entries, it.entry_bytes, it.during.count, it.before.count
    );
    let of = format!("{} of {} sessions", it.expired, it.expired + it.sessions);
    let ratio = it.before.p99_ms.zip(it.during.p99_ms).map(|(before, during)| during / before);
    let of_before = ratio.map_or_else(|| "too few to say".to_owned(), |it| format!("{it:.1}x"));
    let whole = Figure::new(
        format!("a sweep of {of}"),
        format!(
            "{:.1} s ({:.0} sessions/s), longest pause of a writer {:.0} ms, beside {} sessions",
            it.sweep_ms / 1e3,
            it.expired as f64 / it.sweep_ms * 1e3,
            it.during.max_ms,
            it.sessions
        ),
        conditions.as_str(),
    );
    let whole = if it.expired == 10_000 { whole.key("sweep") } else { whole };
    let figures = vec![
        whole,
        Figure::new(
            "p99 of a foreground commit during the sweep against without",
            format!("{of_before} ({} against {})", short(&it.during), short(&it.before)),
            conditions.as_str(),
        )
        .goal("<= 5x", ratio.is_some_and(|ratio| ratio <= 5.0)),
        Figure::new(
            "longest pause of a foreground writer during the sweep against without",
            format!("{:.1} ms against {:.1} ms", it.during.max_ms, it.before.max_ms),
            conditions,
        ),
    ];
    Ok(Part { figures, ..Part::default() })
}

/// What `measure-store ends` prints.
#[derive(Debug, Deserialize)]
struct Ends {
    sessions: u64,
    deliveries: u64,
    rounds: u64,
    commit_ms: f64,
}

/// What `measure-store look` prints.
#[derive(Debug, Deserialize)]
struct Look {
    look: Spread,
}

/// What the reaper and a drain ask of a large store.
pub fn ends(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let (sessions, open) = (lab.large(), lab.size(10_000, 200).to_string());
    let large = lab.place.join("ends.db");
    lab.copy(sessions, &large)?;
    let read = "read what was measured";
    let Look { look } =
        serde_json::from_str(&lab.measured(&["look", path(&large)?])?).context(read)?;
    let ends: Ends =
        serde_json::from_str(&lab.measured(&["ends", path(&large)?, &open])?).context(read)?;
    Ok(vec![
        Figure::new(
            format!("a look of the reaper with nothing due at {sessions} sessions"),
            short(&look),
            format!("every read of a look, for every kind of record; {} looks", look.count),
        )
        .goal("<= 10 ms", look.p50_ms <= 10.0),
        Figure::new(
            format!("the commit that ends {} open sessions and tells two hooks of each", ends.sessions),
            format!("{:.0} ms", ends.commit_ms),
            format!(
                "their events and {} deliveries in one commit, in a store of {sessions} sessions; median of \
                 {} rounds after one that does not count",
                ends.deliveries, ends.rounds
            ),
        )
        .goal("<= 1000 ms", ends.commit_ms <= 1000.0),
    ])
}
