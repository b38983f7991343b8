//! Developer commands: show the product, test it, break it, measure it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod books;
mod check;
mod clock;
mod crash;
mod demo;
mod gateway;
mod http;
mod paint;
mod process;

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
    /// Kill the gateway in the middle of forty runs, again and again, and audit what it left
    Crash(crash::Crash),
}

/// The answer of a command that checks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0.
    Yes,
    /// Exit code 1.
    No,
}

fn main() -> ExitCode {
    let verdict = match Cli::parse().command {
        Command::Demo(demo) => demo::run(&demo),
        Command::Test => check::run(),
        Command::Crash(crash) => crash::run(&crash),
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
