//! `power`: a gateway works while everything that it does to its files is written down; then the power is
//! cut at any point of that, and what a disk could show is opened, checked, and now and then booted.
//!
//! What is assumed of disks stands in `power/disk.rs`, what is recorded and how in `xtask/disk/recorder.c`.
//! Images are opened by the program `cut-power`, which needs the store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use crate::gateway::{self, Profile};
use crate::paint::{Ink, paint};
use crate::{Verdict, clock};

pub mod claims;
pub mod config;
pub mod cut;
pub mod disk;
pub mod image;
mod load;
pub mod mark;
pub mod trace;
mod writers;

use disk::Blind;
use load::Plan;

/// The most cuts at which a disk that does not wait is to be found out.
const BLIND_CUTS: u64 = 400;

/// `power`
#[derive(Debug, Args)]
pub struct Power {
    /// How often the power is cut, of each kind of durability
    #[arg(long, default_value_t = 1000)]
    pub cuts: u64,
    /// Decides what is written, and where the power is cut; printed at the start
    #[arg(long)]
    pub seed: Option<u64>,
    /// How often the gateway is killed and stopped while it is recorded
    #[arg(long, default_value_t = 1)]
    pub rounds: u32,
    /// Instead of recording: cut the power in this trace
    #[arg(long)]
    pub trace: Option<PathBuf>,
    /// What the gateway of the trace was asked to survive
    #[arg(long, default_value = "full")]
    pub durability: Durability,
    /// Only this cut, and keep its image
    #[arg(long, requires = "trace")]
    pub only: Option<u64>,
}

impl Power {
    /// So many cuts of fresh recordings.
    pub fn with_cuts(cuts: u64) -> Self {
        Self { cuts, seed: None, rounds: 1, trace: None, durability: Durability::Full, only: None }
    }
}

/// What a gateway is asked to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// A power cut.
    Full,
    /// The death of its process.
    Relaxed,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Relaxed => "relaxed",
        })
    }
}

/// Records, cuts and checks; the answer is no if anything is lost, or if a disk that does not wait is not
/// found out.
pub fn run(power: &Power) -> anyhow::Result<Verdict> {
    let seed = power.seed.unwrap_or_else(|| clock::now().as_nanosecond() as u64);
    let program = gateway::build(Profile::Dev)?;
    let cutter = Cutter { program: &program, seed, cutter: build()? };
    if let Some(trace) = &power.trace {
        let cuts = Cuts { count: power.cuts, only: power.only, blind: None };
        return cutter.cut(trace, power.durability, cuts);
    }
    println!("seed {seed}");
    gateway::clean_up_on_signals()?;
    let start = clock::monotonic();
    let (full, relaxed) = std::thread::scope(|scope| {
        let record = |durability| {
            let place = gateway::target().join(format!("power/{durability}"));
            let plan =
                Plan { program: &program, place: &place, durability, seed, rounds: power.rounds };
            load::record(plan).with_context(|| format!("record a gateway ({durability})"))
        };
        let relaxed = scope.spawn(move || record(Durability::Relaxed));
        (record(Durability::Full), relaxed.join())
    });
    let (full, relaxed) = (full?, relaxed.map_err(|_| anyhow::anyhow!("a recording panicked"))??);
    println!("recorded two gateways in {:.1} s", start.elapsed().as_secs_f64());
    let cuts = Cuts { count: power.cuts, only: None, blind: None };
    for (trace, durability) in [(&full, Durability::Full), (&relaxed, Durability::Relaxed)] {
        if cutter.cut(trace, durability, cuts)? == Verdict::No {
            return Ok(Verdict::No);
        }
    }
    let blinds = [Blind::Log, Blind::Archives, Blind::Folders];
    let mut blinds: Vec<_> = blinds.map(|blind| (&full, Durability::Full, blind)).into();
    blinds.push((&relaxed, Durability::Relaxed, Blind::Archives));
    for (trace, durability, blind) in blinds {
        let cuts = Cuts { count: BLIND_CUTS, only: None, blind: Some(blind) };
        let blind = name(&blind);
        if cutter.cut(trace, durability, cuts)? == Verdict::Yes {
            let text = format!("nobody misses the waits for {blind} ({durability})");
            println!("{}", paint(Ink::Bad, &text));
            return Ok(Verdict::No);
        }
        println!("  a disk that does not wait for {blind} is found out ({durability})");
    }
    println!("{}", paint(Ink::Good, "whatever a disk shows after a power cut holds what it must"));
    Ok(Verdict::Yes)
}

/// Cuts of one trace.
#[derive(Debug, Clone, Copy)]
struct Cuts {
    count: u64,
    only: Option<u64>,
    blind: Option<Blind>,
}

struct Cutter<'a> {
    program: &'a Path,
    cutter: PathBuf,
    seed: u64,
}

impl Cutter<'_> {
    fn cut(&self, trace: &Path, durability: Durability, cuts: Cuts) -> anyhow::Result<Verdict> {
        let mut command = Command::new(&self.cutter);
        command.arg("--trace").arg(trace).arg("--durability").arg(durability.to_string());
        command.arg("--cuts").arg(cuts.count.to_string()).arg("--seed").arg(self.seed.to_string());
        command.arg("--program").arg(self.program);
        if let Some(only) = cuts.only {
            command.arg("--only").arg(only.to_string());
        }
        if let Some(blind) = cuts.blind {
            command.arg("--blind").arg(name(&blind));
        }
        let status = command.status().context("run cut-power")?;
        match status.code() {
            Some(0) => Ok(Verdict::Yes),
            Some(1) => Ok(Verdict::No),
            _ => anyhow::bail!("cut-power ended with {status}"),
        }
    }
}

fn build() -> anyhow::Result<PathBuf> {
    if let Some(program) = gateway::built_with_tests("cut-power") {
        return Ok(program);
    }
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", "xtask", "--features", "store"]);
    let status = command.args(["--bin", "cut-power"]).current_dir(gateway::root()).status();
    ensure!(status.context("run cargo")?.success(), "cut-power does not build");
    Ok(gateway::target().join("debug/cut-power"))
}

/// As it is written on a command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
