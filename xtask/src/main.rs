//! `cargo xtask`: developer commands that show the product, test it, break it and measure it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{Verdict, bench, check, crash, demo, fuzz, peers, power, sim};

/// Developer commands of Sexton.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what Sexton promises, with a real gateway and real processes
    Demo(demo::Demo),
    /// Run everything that CI runs, up to the first failure
    Test,
    /// Install the programs of others that tests talk to, below target/
    Peers,
    /// Run the engine on a virtual clock with faults from a seed
    Sim(sim::Sim),
    /// Try the properties of the tests with more inputs, as long as one likes
    Fuzz(fuzz::Fuzz),
    /// Kill the gateway in the middle of forty runs, again and again, and audit what it left
    Crash(crash::Crash),
    /// Cut the power at any point of a recorded life, in thousands of ways, and see what is left
    Power(power::Power),
    /// Measure what this machine and this build can do, and write it into docs/performance.md
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let verdict = match Cli::parse().command {
        Command::Demo(demo) => demo::run(&demo),
        Command::Test => check::run(),
        Command::Peers => peers::run(),
        Command::Sim(sim) => sim::run(&sim),
        Command::Fuzz(fuzz) => fuzz::run(&fuzz),
        Command::Crash(crash) => crash::run(&crash),
        Command::Power(power) => power::run(&power),
        Command::Bench(bench) => bench::run(&bench),
    };
    match verdict {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}
