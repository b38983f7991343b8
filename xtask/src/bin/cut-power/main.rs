//! Cuts the power in a trace, again and again, and opens what is left, for `cargo xtask power`.
//!
//! An image is opened by the driver of the store with the options of `sexton serve`, in this process and
//! not in a gateway, because there are thousands: what decides whether a store opens, and what is in it
//! then, is all behind `SqliteDriver::open`. Archives are read by what answers `sexton archive verify`. Of
//! every fifty images one is booted by the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::Parser;
use xtask::clock;
use xtask::dice::Dice;
use xtask::gateway;
use xtask::power::Durability;
use xtask::power::claims::Claims;
use xtask::power::cut::{self, Cut};
use xtask::power::disk::{Blind, Disk};
use xtask::power::image::{Image, Kind};
use xtask::power::trace::Trace;

mod audit;
mod boot;
mod ledger;

use audit::Scene;

/// Of so many images one is booted.
const BOOT_EVERY: u64 = 50;
/// How much of a trace is shown on both sides of a cut.
const REACH: usize = 25;
/// How many images are looked at at once.
const WORKERS: usize = 2;

/// Cuts the power in a trace and checks what is left.
#[derive(Debug, Parser)]
struct Options {
    /// The trace
    #[arg(long)]
    trace: PathBuf,
    /// What the gateway was asked to survive
    #[arg(long)]
    durability: Durability,
    /// How often the power is cut
    #[arg(long)]
    cuts: u64,
    /// Decides where, and what is left
    #[arg(long)]
    seed: u64,
    /// The real program
    #[arg(long)]
    program: PathBuf,
    /// Only this cut, and keep its image
    #[arg(long)]
    only: Option<u64>,
    /// Take these waits for the disk away
    #[arg(long)]
    blind: Option<Blind>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// What all workers have done.
#[derive(Debug, Default)]
struct Sum {
    kinds: BTreeMap<Kind, u64>,
    acknowledged: u64,
    archives: u64,
    booted: u64,
    lost: u64,
}

/// An image in which something is not as it must be.
struct Failure {
    cut: Cut,
    found: Vec<String>,
}

fn run(options: &Options) -> anyhow::Result<bool> {
    gateway::clean_up_on_signals()?;
    let trace = Trace::read(&options.trace)?;
    let mut cuts =
        cut::cuts(&trace, options.cuts.max(options.only.map_or(0, |only| only + 1)), options.seed);
    cuts.retain(|cut| options.only.is_none_or(|only| cut.number == only));
    cuts.sort_by_key(|cut| cut.place);
    let start = clock::monotonic();
    let (sum, failures) = (Mutex::new(Sum::default()), Mutex::new(Vec::new()));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let cuts: Vec<Cut> = cuts.iter().skip(number).step_by(WORKERS).copied().collect();
                let (trace, sum, failures, is_over) = (&trace, &sum, &failures, &is_over);
                scope.spawn(move || {
                    let mut worker = Worker::new(options, trace, number)?;
                    worker.work(&cuts, sum, failures, is_over)
                })
            })
            .collect();
        let done = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(_) => Err(anyhow::anyhow!("a worker panicked")),
        });
        done.collect::<anyhow::Result<Vec<()>>>()
    })?;
    let (sum, failures) = (into(sum), into(failures));
    report(options, &trace, &failures);
    if options.blind.is_none() {
        print(options, &trace, &sum, start.elapsed().as_secs_f64());
    }
    Ok(failures.is_empty())
}

fn into<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One of those who look at images.
struct Worker<'a> {
    options: &'a Options,
    trace: &'a Trace,
    number: usize,
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Worker<'a> {
    fn new(options: &'a Options, trace: &'a Trace, number: usize) -> anyhow::Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("sexton-cut-{}-{number}", std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { options, trace, number, folder, runtime })
    }

    fn work(
        &mut self,
        cuts: &[Cut],
        sum: &Mutex<Sum>,
        failures: &Mutex<Vec<Failure>>,
        is_over: &AtomicBool,
    ) -> anyhow::Result<()> {
        let mut disk = Disk::new(self.options.blind);
        let mut place = 0;
        for cut in cuts {
            for call in &self.trace.calls[place..cut.place] {
                disk.apply(call)?;
            }
            place = cut.place;
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let mut done = Sum::default();
            let found =
                self.look(&disk, *cut, &mut done).with_context(|| format!("cut {}", cut.number))?;
            if !found.is_empty() {
                done.lost = 1;
                // One is enough to find a blind disk out, and a dozen to mend something.
                let mut failures =
                    failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failures.push(Failure { cut: *cut, found });
                if self.options.blind.is_some() || failures.len() >= 12 {
                    is_over.store(true, Ordering::SeqCst);
                }
            }
            sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(done);
        }
        Ok(())
    }

    /// Makes an image and looks at it.
    fn look(&self, disk: &Disk<'_>, cut: Cut, done: &mut Sum) -> anyhow::Result<Vec<String>> {
        let image = Image::draw(disk, cut.kind, &mut Dice(cut.seed));
        let claims = Claims::at(self.trace, cut.place);
        *done.kinds.entry(cut.kind).or_default() += 1;
        done.acknowledged += claims.acknowledged();
        let folder = Placed(self.folder.clone());
        image.write(folder.path())?;
        let (durability, log_since) = (self.options.durability, disk.log_since);
        let scene = Scene { folder: folder.path(), durability, claims: &claims, log_since };
        let (mut found, archives) = self.runtime.block_on(audit::audit(&scene));
        done.archives += archives;
        if self.options.blind.is_none()
            && (cut.number.is_multiple_of(BOOT_EVERY) || self.options.only.is_some())
        {
            let boot =
                boot::Boot { program: &self.options.program, durability, number: self.number };
            found.extend(boot.boot(&image, &claims)?);
            done.booted += 1;
        }
        if self.options.only.is_some() {
            let kept = self.options.trace.with_file_name("image");
            drop(Placed(kept.clone()));
            image.write(&kept)?;
            println!("  the image of cut {} is in {}", cut.number, kept.display());
        }
        Ok(found)
    }
}

impl Sum {
    fn add(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.acknowledged += other.acknowledged;
        self.archives += other.archives;
        self.booted += other.booted;
        self.lost += other.lost;
    }
}

fn report(options: &Options, trace: &Trace, failures: &[Failure]) {
    let Options { trace: path, durability, cuts, seed, blind, .. } = options;
    if let Some(blind) = blind {
        let first = failures.first().map(|failure| failure.found[0].clone());
        println!("  blind to {blind:?}: {}", first.unwrap_or_else(|| "nothing".to_owned()));
        return;
    }
    for Failure { cut, found } in failures {
        println!(
            "cut {} after call {}, {} of what was not waited for:",
            cut.number, cut.place, cut.kind
        );
        found.iter().take(12).for_each(|found| println!("  {found}"));
    }
    if let Some(Failure { cut, .. }) = failures.first() {
        println!("what was done around cut {}:{}", cut.number, trace.around(cut.place, REACH));
        println!(
            "again: cargo xtask power --trace {} --durability {durability} --cuts {cuts} --seed {seed} --only {}",
            path.display(),
            cut.number
        );
    }
}

fn print(options: &Options, trace: &Trace, sum: &Sum, seconds: f64) {
    let cuts: u64 = sum.kinds.values().sum();
    println!(
        "{}: {} calls recorded, {} waits for the disk; the power was cut {cuts} times in {seconds:.1} s: {} \
         acknowledged writes looked for, {} archives read, {} images booted, {} with a difference",
        options.durability,
        trace.calls.len(),
        trace.syncs(),
        sum.acknowledged,
        sum.archives,
        sum.booted,
        sum.lost,
    );
    let kinds: Vec<String> =
        sum.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("  images, by what they have of what was not waited for: {}", kinds.join(", "));
}

/// A folder that is removed when it is no longer looked at.
struct Placed(PathBuf);

impl Placed {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
