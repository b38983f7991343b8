//! Runs worlds of the simulation, for `cargo xtask sim`: those that once broke a promise, then seed after
//! seed, until as many or as much time as asked for.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sexton_sim::{Budget, Report, seeds};
use xtask::{Verdict, clock};

/// Runs worlds of the simulation.
#[derive(Debug, Parser)]
struct Options {
    /// How many seeds at most [default: 100, or as many as there is time for with --minutes]
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// How long, in minutes of this machine
    #[arg(long)]
    minutes: Option<u64>,
    /// Instead: plant each fault in the worlds of the fixed seeds
    #[arg(long)]
    planted: bool,
    /// Instead: leave a gateway alone for so many days after the first retention periods
    #[arg(long)]
    days: Option<u32>,
    /// Instead: leave a gateway alone for about so many runs
    #[arg(long)]
    runs: Option<u64>,
}

#[path = "simulate/planted.rs"]
mod planted;
#[path = "simulate/steadily.rs"]
mod steadily;

fn answered(verdict: anyhow::Result<Verdict>) -> ExitCode {
    match verdict {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(days) = options.days {
        return answered(steadily::days(days));
    }
    if let Some(runs) = options.runs {
        return answered(steadily::runs(runs));
    }
    if options.planted {
        return answered(Ok(planted::catch()));
    }
    let first = options.seed.unwrap_or_else(|| clock::now().as_second().unsigned_abs());
    let count = options.seeds.unwrap_or(if options.minutes.is_some() { u64::MAX } else { 100 });
    let known = seeds::REGRESSIONS.iter().map(|(seed, _)| *seed);
    let known: Vec<u64> = if options.seed.is_some() { Vec::new() } else { known.collect() };
    let start = clock::monotonic();
    let is_time = |minutes| start.elapsed() < Duration::from_secs(60 * minutes);
    let (mut sum, mut done) = (Report::default(), 0);
    for seed in known.into_iter().chain(first..first.saturating_add(count)) {
        if !options.minutes.is_none_or(is_time) {
            break;
        }
        match sexton_sim::run(seed, Budget::default()) {
            Ok(report) => sum.merge(&report),
            Err(failure) => {
                println!("{failure}");
                return ExitCode::from(1);
            }
        }
        done += 1;
    }
    let missing = sexton_sim::missing(&sum);
    println!("{sum}\nnot reached: {missing:?}");
    println!("{done} worlds from seed {first} on, no promise broken");
    ExitCode::SUCCESS
}
