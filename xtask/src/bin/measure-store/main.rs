//! Fills stores and measures their commits, for `cargo xtask bench`. Prints one JSON document.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod ends;
mod fill;
mod look;
mod outbox;
mod receive;
mod sample;
mod sweep;
mod writes;

/// Fills and measures stores.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fill a store with ended sessions of a run each
    Fill {
        /// The database file
        file: PathBuf,
        /// How many
        sessions: u64,
    },
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
    /// Measure commits of a small and of a large store that were filled
    Writes {
        /// The small one
        small: PathBuf,
        /// How many sessions it has
        small_sessions: u64,
        /// The large one
        large: PathBuf,
        /// How many sessions it has
        large_sessions: u64,
    },
    /// Measure the end of so many open sessions in one commit
    Ends {
        /// The database file
        file: PathBuf,
        /// How many
        sessions: u64,
    },
    /// Measure what a sweep of so many expired sessions costs whoever writes meanwhile
    Sweep {
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
        Command::Fill { file, sessions } => runtime.block_on(fill::fill(&file, sessions)),
        Command::Outbox { file, sessions, hook } => {
            runtime.block_on(outbox::fill(&file, sessions, &hook))
        }
        Command::Receive { tellings } => receive::receive(tellings),
        Command::Writes { small, small_sessions, large, large_sessions } => {
            let small = writes::Filled { file: small, sessions: small_sessions };
            let large = writes::Filled { file: large, sessions: large_sessions };
            let figures = runtime.block_on(writes::measure(&small, &large))?;
            print(&figures)
        }
        Command::Ends { file, sessions } => {
            print(&runtime.block_on(ends::measure(&file, sessions))?)
        }
        Command::Sweep { file, sessions } => {
            print(&runtime.block_on(sweep::measure(&file, sessions))?)
        }
        Command::Look { file } => print(&runtime.block_on(look::measure(&file))?),
    }
}

fn print(figures: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
