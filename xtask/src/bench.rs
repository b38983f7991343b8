//! `bench`: figures with their conditions beside them, each as a ratio to something measured in the same
//! run, printed and written into `docs/performance.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use crate::gateway::{self, Profile};
use crate::paint::{Ink, paint};
use crate::{Verdict, clock, process};

mod daemon;
mod drain;
mod hooks;
mod machine;
mod report;
mod runs;
mod store;

use report::Figure;

/// `bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// Which figures; all of them by default, and only then is docs/performance.md written
    #[arg(value_enum)]
    names: Vec<Name>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Commits: group commit, and what the size of the store does to one of them
    Writes,
    /// A look of the reaper, what a sweep costs others, and the end of everything open
    Sweep,
    /// From start to ready, by the size of the store
    Start,
    /// Resident memory at rest, by the size of the store
    Memory,
    /// CPU time of everything Sexton does for a run of /bin/true
    Run,
    /// Wake-ups of an idle gateway
    Idle,
    /// Deliveries to a webhook that acknowledges at once
    Hooks,
    /// A stop with many open sessions
    Drain,
    /// Resident memory over many runs
    Runs,
}

/// Sessions of the stores that are compared.
const SMALL: u64 = 100;
const MIDDLE: u64 = 100_000;
const LARGE: u64 = 1_000_000;

/// Measures and reports; the answer is always yes.
pub fn run(bench: &Bench) -> anyhow::Result<Verdict> {
    ensure!(process::can_scan(), "figures of processes come from /proc, which is not here");
    gateway::clean_up_on_signals()?;
    let all = bench.names.is_empty();
    let wanted = |name| all || bench.names.contains(&name);
    println!("building for release …");
    let lab = Lab::new()?;
    let mut figures = Vec::new();
    if wanted(Name::Run) {
        figures.extend(told(daemon::cpu_per_run(&lab)?));
    }
    if wanted(Name::Idle) {
        figures.extend(told(vec![daemon::idle_wake_ups(&lab)?]));
    }
    if wanted(Name::Hooks) {
        figures.extend(told(vec![hooks::deliveries(&lab)?]));
    }
    if wanted(Name::Drain) {
        figures.extend(told(vec![drain::open_sessions(&lab)?]));
    }
    if wanted(Name::Runs) {
        figures.extend(told(vec![runs::memory(&lab)?]));
    }
    if wanted(Name::Start) {
        figures.extend(told(vec![daemon::time_to_ready(&lab)?]));
    }
    if wanted(Name::Writes) {
        figures.extend(told(store::writes(&lab)?));
    }
    if wanted(Name::Sweep) {
        figures.extend(told(store::sweeps(&lab)?));
    }
    if wanted(Name::Memory) {
        figures.extend(told(daemon::memory(&lab)?));
    }
    let conditions = machine::conditions(&lab.folder)?;
    println!();
    conditions.iter().for_each(|line| println!("{line}"));
    let missed: Vec<&str> =
        figures.iter().filter(|figure| !figure.is_met).map(|figure| figure.what.as_str()).collect();
    println!("\n{} of {} goals are met", figures.len() - missed.len(), figures.len());
    missed.iter().for_each(|what| println!("  {} {what}", paint(Ink::Bad, "not met:")));
    if all {
        let path = gateway::root().join("docs/performance.md");
        report::write(&path, &conditions, &figures)?;
        println!("written to docs/performance.md");
    }
    Ok(Verdict::Yes)
}

fn told(figures: Vec<Figure>) -> Vec<Figure> {
    for figure in &figures {
        let verdict =
            if figure.is_met { paint(Ink::Good, "met") } else { paint(Ink::Bad, "not met") };
        println!("\n{}\n  {}  (goal {}: {verdict})", figure.what, figure.value, figure.goal);
        println!("  {}", paint(Ink::Dim, &figure.conditions));
    }
    figures
}

/// Where is measured, and with what. Its folder is removed in the end.
struct Lab {
    /// On the disk of the build folder: temporary folders may be in memory.
    folder: PathBuf,
    program: PathBuf,
    measure_store: PathBuf,
}

impl Lab {
    fn new() -> anyhow::Result<Self> {
        let program = gateway::build(Profile::Release)?;
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--release", "--package", "xtask"]);
        build.args(["--features", "store", "--bin", "measure-store"]);
        let status = build.current_dir(gateway::root()).status().context("run cargo")?;
        ensure!(status.success(), "measure-store does not build");
        let measure_store = gateway::target().join("release/measure-store");
        let folder = gateway::target().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, program, measure_store })
    }

    /// A store with so many ended sessions, made when it is first asked for.
    fn filled(&self, sessions: u64) -> anyhow::Result<PathBuf> {
        let file = self.folder.join(format!("{sessions}/sexton.db"));
        if file.exists() {
            return Ok(file);
        }
        let folder = file.parent().context("find the folder of a store")?;
        fs::create_dir_all(folder)?;
        let start = clock::monotonic();
        self.measure_store(&["fill", path(&file)?, &sessions.to_string()])?;
        let (took, size) = (start.elapsed().as_secs(), fs::metadata(&file)?.len() >> 20);
        println!("\nfilled a store with {sessions} sessions: {size} MiB in {took} s");
        Ok(file)
    }

    fn measure_store(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.measure_store).args(args).output()?;
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
