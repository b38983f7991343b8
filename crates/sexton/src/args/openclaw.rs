//! `openclaw`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands for people who come from OpenClaw.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Say what is wrong with a state folder; never writes
    Inspect(Inspect),
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
