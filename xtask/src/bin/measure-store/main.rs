//! Measures of stores what only developers need, for `cargo xtask bench`: everything else is measured by
//! `sexton bench`. Prints one JSON document.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod ends;
mod look;
mod outbox;
mod receive;
#[path = "../../../../crates/sexton/src/bench/sample.rs"]
mod sample;

/// Fills and measures stores.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fill a store with ended sessions whose starts and ends a hook is still to be told
    Outbox {
        /// The database file
        file: PathBuf,
        /// How many sessions
        sessions: u64,
        /// The hook's name
        hook: String,
    },
    /// Be a webhook until it was told so much
    Receive {
        /// How often
        tellings: usize,
    },
    /// Measure the end of so many open sessions in one commit
    Ends {
        /// The database file
        file: PathBuf,
        /// How many
        sessions: u64,
    },
    /// Measure a look of the reaper at a store in which nothing is due
    Look {
        /// The database file
        file: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Cli::parse().command {
        Command::Outbox { file, sessions, hook } => {
            runtime.block_on(outbox::fill(&file, sessions, &hook))
        }
        Command::Receive { tellings } => receive::receive(tellings),
        Command::Ends { file, sessions } => {
            print(&runtime.block_on(ends::measure(&file, sessions))?)
        }
        Command::Look { file } => print(&runtime.block_on(look::measure(&file))?),
    }
}

fn print(figures: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
