//! `bench`: figures with their conditions beside them, each as a ratio to something measured in the same
//! run where that is possible, printed, kept in a book and drawn into `docs/performance.md`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use crate::gateway::{self, Gateway, Profile};
use crate::paint::{Ink, paint};
use crate::{Verdict, clock, process};

pub mod book;
mod conditions;
mod daemon;
mod drain;
mod field;
mod hooks;
mod page;
mod product;
mod steady;
#[path = "../../crates/sexton/src/bench/times.rs"]
pub mod times;

use book::{Book, Figure, Part};

/// `bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// Which parts; all but those that take long by default
    #[arg(value_enum)]
    names: Vec<Name>,
    /// Everything in small and not built for release, to see that it works: nothing is kept, and the
    /// figures mean little
    #[arg(long)]
    small: bool,
    /// Measure nothing: draw page and plots from the book again
    #[arg(long, conflicts_with_all = ["names", "small"])]
    draw: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Durable commits: group commit, beside raw writes (`sexton bench store`)
    Store,
    /// The same with 4 ms more for every wait for the disk
    StoreSlow,
    /// Lateness, runs per minute, CPU per run, fairness (`sexton bench fire`)
    Fire,
    /// The same with 4 ms more for every wait for the disk
    FireSlow,
    /// What the size of the store does to an update, a list, a status and a claim (`sexton bench list`)
    List,
    /// A sweep of 10,000 of a million sessions, and what it costs others (`sexton bench sweep`)
    Sweep,
    /// A sweep of 100,000 of them; takes long
    SweepLarge,
    /// A look of the reaper with nothing due, and the end of everything open
    Ends,
    /// A stop with many open sessions, and one with runs and a hook that hangs
    Drain,
    /// The stop with runs and a hook that hangs, with 4 ms more for every wait for the disk
    DrainSlow,
    /// From start to ready after kill -9, by the size of the store
    Boot,
    /// Resident memory at rest, by the size of the store
    Memory,
    /// Wake-ups of an idle gateway
    Idle,
    /// Deliveries to a webhook that acknowledges at once
    Hooks,
    /// Resident memory over many runs of virtual time; takes long
    Steady,
}

impl Name {
    /// What stands above its figures.
    fn title(self) -> &'static str {
        match self {
            Self::Store => "Durable commits",
            Self::StoreSlow => "Durable commits, 4 ms more for every wait for the disk",
            Self::Fire => "Slots and runs",
            Self::FireSlow => "Slots and runs, 4 ms more for every wait for the disk",
            Self::List => "The size of the store",
            Self::Sweep => "A sweep",
            Self::SweepLarge => "A large sweep",
            Self::Ends => "Looks of the reaper, and many ends",
            Self::Drain => "Stopping",
            Self::DrainSlow => "Stopping, 4 ms more for every wait for the disk",
            Self::Boot => "Starting after kill -9",
            Self::Memory => "Memory at rest",
            Self::Idle => "An idle gateway",
            Self::Hooks => "Hooks",
            Self::Steady => "Memory over many runs",
        }
    }

    /// Whether it is measured only when it is named.
    fn takes_long(self) -> bool {
        matches!(self, Self::SweepLarge | Self::Steady)
    }

    fn disk(self) -> Disk {
        match self {
            Self::StoreSlow | Self::FireSlow | Self::DrainSlow => Disk::Slow,
            _ => Disk::AsItIs,
        }
    }

    fn measure(self, lab: &Lab) -> anyhow::Result<Part> {
        let figures = match self {
            Self::Store | Self::StoreSlow => return product::store(lab, self.disk()),
            Self::Fire | Self::FireSlow => return product::fire(lab, self.disk()),
            Self::List => return product::list(lab),
            Self::Sweep => return product::sweep(lab, lab.size(10_000, 200)),
            Self::SweepLarge => return product::sweep(lab, lab.size(100_000, 400)),
            Self::Ends => product::ends(lab)?,
            Self::Drain => vec![drain::open_sessions(lab)?, drain::hanging(lab, self.disk())?],
            Self::DrainSlow => vec![drain::hanging(lab, self.disk())?],
            Self::Boot => daemon::boot(lab)?,
            Self::Memory => daemon::memory(lab)?,
            Self::Idle => vec![daemon::idle_wake_ups(lab)?],
            Self::Hooks => vec![hooks::deliveries(lab)?],
            Self::Steady => vec![steady::memory(lab)?],
        };
        Ok(Part { figures, ..Part::default() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// How long a wait for the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// As long as it takes.
    AsItIs,
    /// [`SLOWER_MS`] longer, as with small boards and disks behind a network.
    Slow,
}

/// What is added to every fsync and fdatasync.
const SLOWER_MS: u32 = 4;
/// Sessions of the largest store.
const LARGE: u64 = 1_000_000;

/// Measures and reports; the answer is no when a part could not be measured. The others are all the same.
pub fn run(bench: &Bench) -> anyhow::Result<Verdict> {
    if bench.draw {
        return draw(&Book::read(&Book::path())?).map(|()| Verdict::Yes);
    }
    ensure!(process::can_scan(), "figures of processes come from /proc, which is not here");
    gateway::clean_up_on_signals()?;
    let lab = Lab::new(bench.small)?;
    let names = Name::value_variants().iter().copied();
    let names: Vec<Name> = match bench.names.as_slice() {
        [] => names.filter(|name| !name.takes_long()).collect(),
        named => named.to_vec(),
    };
    let mut failures = Vec::new();
    for name in names {
        println!("\n{}", paint(Ink::Bold, &format!("── {name}: {}", name.title())));
        if let Err(error) = measure(name, &lab) {
            let failure = format!("{name} could not be measured: {error:#}");
            println!("{}", paint(Ink::Bad, &failure));
            failures.push(failure);
        }
    }
    if bench.small {
        println!("\nnothing was kept");
    } else {
        draw(&Book::read(&Book::path())?)?;
    }
    failures.iter().for_each(|failure| println!("{}", paint(Ink::Bad, failure)));
    Ok(if failures.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// Measures a part, prints it and puts it into the book.
fn measure(name: Name, lab: &Lab) -> anyhow::Result<()> {
    let start = clock::monotonic();
    let part = lab.measure(name)?;
    tell(&part);
    println!("\n{}", paint(Ink::Dim, &format!("{name} took {} s", start.elapsed().as_secs())));
    if lab.small {
        return Ok(());
    }
    let mut book = Book::read(&Book::path())?;
    book.0.insert(name.to_string(), part);
    book.write(&Book::path())
}

fn tell(part: &Part) {
    for Figure { what, value, goal, conditions, .. } in &part.figures {
        let goal = goal.as_ref().map_or_else(String::new, |goal| {
            let (ink, met) = if goal.is_met { (Ink::Good, "met") } else { (Ink::Bad, "not met") };
            format!("  (goal {}: {})", goal.text, paint(ink, met))
        });
        println!("\n{what}\n  {value}{goal}\n  {}", paint(Ink::Dim, conditions));
    }
    println!();
    part.conditions.iter().for_each(|line| println!("{}", paint(Ink::Dim, line)));
}

/// Draws page and plots. The plots are a program of their own, so that nothing else waits for what draws.
fn draw(book: &Book) -> anyhow::Result<()> {
    page::write(&gateway::root().join("docs/performance.md"), book)?;
    let mut plots = Command::new(env!("CARGO"));
    plots.args(["run", "--quiet", "--package", "xtask", "--features", "plots", "--bin", "plot"]);
    let status = plots.current_dir(gateway::root()).status().context("run cargo")?;
    ensure!(status.success(), "the plots cannot be drawn");
    println!("written: docs/performance.md, docs/performance.json and docs/plots");
    Ok(())
}

/// Where is measured, and with what. Its folder is removed in the end.
struct Lab {
    /// On the disk of the build folder: temporary folders may be in memory.
    folder: PathBuf,
    /// Below it, what the part that is measured needs for itself. It goes when the part is done.
    place: PathBuf,
    program: PathBuf,
    small: bool,
}

impl Lab {
    fn new(small: bool) -> anyhow::Result<Self> {
        let profile = if small { Profile::Dev } else { Profile::Release };
        println!("building …");
        let program = gateway::build(profile)?;
        let folder = gateway::target().join(format!("bench-{}", std::process::id()));
        gateway::remove_on_signals(&folder);
        let lab = Self { place: folder.join("part"), folder, program, small };
        fs::create_dir_all(&lab.place)?;
        let build = conditions::now(&lab, Disk::AsItIs)?.conditions.build;
        let (is_release, program) = (build == "release", lab.program.display());
        ensure!(small || is_release, "measure a release build: {program} is a {build} build");
        Ok(lab)
    }

    /// Measures a part, with the conditions before and after it.
    fn measure(&self, name: Name) -> anyhow::Result<Part> {
        fs::create_dir_all(&self.place)?;
        let before = conditions::now(self, name.disk())?;
        let measured = name.measure(self);
        fs::remove_dir_all(&self.place).context("remove what was measured")?;
        fs::create_dir_all(&self.place)?;
        let conditions = before.until(&conditions::now(self, name.disk())?);
        Ok(Part { conditions, ..measured? })
    }

    /// How much of something: the first, or the second where everything is small.
    fn size(&self, number: u64, small: u64) -> u64 {
        if self.small { small } else { number }
    }

    /// Sessions of the largest store.
    fn large(&self) -> u64 {
        self.size(LARGE, 2_000)
    }

    /// A store with so many ended sessions, made when it is first asked for.
    fn filled(&self, sessions: u64) -> anyhow::Result<PathBuf> {
        let file = self.folder.join(format!("{sessions}/sexton.db"));
        if file.exists() {
            return Ok(file);
        }
        let folder = file.parent().context("find the folder of a store")?;
        // Filled beside its place: one that is there is whole.
        let unfinished = self.place.join("filling/sexton.db");
        fs::create_dir_all(unfinished.parent().context("find the folder of a store")?)?;
        let start = clock::monotonic();
        let mut fill = Command::new(&self.program);
        fill.args(["bench", "fill"]).arg(&unfinished).arg(sessions.to_string());
        ensure!(fill.status().context("fill a store")?.success(), "a store cannot be filled");
        fs::create_dir_all(folder)?;
        fs::rename(&unfinished, &file).context("keep a store that was filled")?;
        let (took, size) = (start.elapsed().as_secs(), fs::metadata(&file)?.len() >> 20);
        println!("filled a store with {sessions} sessions: {size} MiB in {took} s");
        Ok(file)
    }

    /// A gateway with its data on the disk that is measured.
    fn gateway(&self, name: &str, config: &str) -> anyhow::Result<Gateway> {
        Gateway::below(&self.place, &self.program, name, config)
    }

    /// The same with a copy of [`Lab::filled`].
    fn gateway_on(&self, sessions: u64, name: &str, config: &str) -> anyhow::Result<Gateway> {
        let gateway = self.gateway(name, config)?;
        self.copy(sessions, &gateway.folder().join("sexton.db"))?;
        Ok(gateway)
    }

    /// A copy of [`Lab::filled`], to be changed.
    fn copy(&self, sessions: u64, file: &Path) -> anyhow::Result<()> {
        fs::copy(self.filled(sessions)?, file).context("copy a store")?;
        Ok(())
    }

    /// Runs `sexton bench …` and returns its document.
    fn bench(&self, args: &[&str], disk: Disk) -> anyhow::Result<serde_json::Value> {
        let mut command = Command::new(&self.program);
        command.args(["bench", "--json"]).args(args).arg("--dir").arg(&self.place);
        command.envs(self.environment(disk)?);
        let output = command.stderr(Stdio::inherit()).output().context("run sexton bench")?;
        ensure!(output.status.success(), "sexton bench {} fails", args.join(" "));
        serde_json::from_slice(&output.stdout).context("read what was measured")
    }

    /// What makes a process wait longer for the disk.
    fn environment(&self, disk: Disk) -> anyhow::Result<Vec<(&'static str, String)>> {
        Ok(match disk {
            Disk::AsItIs => Vec::new(),
            Disk::Slow => {
                let library = crate::preload::compile("bad_disk", &self.place)?;
                vec![
                    ("LD_PRELOAD", path(&library)?.to_owned()),
                    ("SEXTON_FSYNC_MS", SLOWER_MS.to_string()),
                ]
            }
        })
    }

    /// What measures what only developers need; built when it is first asked for.
    fn measure_store(&self) -> anyhow::Result<Command> {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "xtask"]);
        build.args(["--features", "store", "--bin", "measure-store"]);
        let folder = if self.small { "debug" } else { "release" };
        build.args((!self.small).then_some("--release"));
        let status = build.current_dir(gateway::root()).status().context("run cargo")?;
        ensure!(status.success(), "measure-store does not build");
        Ok(Command::new(gateway::target().join(folder).join("measure-store")))
    }

    fn measured(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.measure_store()?.args(args).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "measure-store {}: {complaint}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("use {} as an argument", path.display()))
}
