//! `openclaw`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands for people who come from OpenClaw.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Say what is wrong with a state folder; never writes
    Inspect(Inspect),
    /// Bring a state folder over into the store; the daemon must not run
    Import(Import),
}

/// `openclaw inspect`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Reads folders of both eras (JSON files until 2026.7.1, SQLite since), also while \
    the gateway runs. Exit code 1 if something is wrong."
)]
pub struct Inspect {
    /// State folders, for example ~/.openclaw
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Show every case, not three of each
    #[arg(long)]
    pub all: bool,
}

/// `openclaw import`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Sessions, transcripts, usage and run history come with their times and their ids; \
    importing again stores only what is new. What cannot be taken is named, and nothing of the folder \
    is changed. Exit code 1 if something could not be taken."
)]
pub struct Import {
    /// The state folder, for example ~/.openclaw
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Call an agent of theirs otherwise here; may be given several times
    #[arg(long = "agent", value_name = "THEIRS=OURS")]
    pub agents: Vec<String>,
    /// Let jobs run that are enabled there; without it all of them arrive disabled
    #[arg(long)]
    pub enable: bool,
    /// Read everything and say what would be stored; store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where the receipt goes [default: imports/<time>.json in the data folder]
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
}
