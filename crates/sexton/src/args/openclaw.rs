//! `openclaw`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sexton_openclaw::finding::Code;

/// The commands for people who come from OpenClaw.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Say what is wrong with a state folder; never writes
    Inspect(Inspect),
    /// Heal what can be healed, with a backup; nothing is lost
    Heal(Heal),
    /// Take a healing back, byte by byte
    Undo(Undo),
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
    /// The gateway of these folders does not run: what answers at its port is another one
    #[arg(long)]
    pub stopped: bool,
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
    /// The gateway of this folder does not run: what answers at its port is another one
    #[arg(long)]
    pub stopped: bool,
    /// Where the receipt goes [default: imports/TIME.json in the data folder]
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
}

/// `openclaw heal`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The backup and the plan lie in PATH/.sexton-heal; `sexton openclaw undo PATH` takes \
    the healing back, as long as the backup is there. Refused while the gateway runs. Exit code 1 if something is left to heal."
)]
pub struct Heal {
    /// The state folder, for example ~/.openclaw
    pub path: PathBuf,
    /// Write the plan and stop; with --json to stdout, else to a file
    #[arg(long)]
    pub plan_only: bool,
    /// Apply this plan; what has changed since is left out
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan_only", "only"])]
    pub plan: Option<PathBuf>,
    /// Heal findings of this code only; can be repeated
    #[arg(long, value_name = "CODE", value_parser = code)]
    pub only: Vec<Code>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// The gateway of this folder does not run: what answers at its port is another one
    #[arg(long)]
    pub stopped: bool,
}

/// `openclaw undo`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Refused while the gateway runs, and as a whole if a file has changed since the healing."
)]
pub struct Undo {
    /// The state folder
    pub path: PathBuf,
    /// Which healing; the latest if it is left out
    pub stamp: Option<String>,
    /// List the healings
    #[arg(long, conflicts_with = "stamp")]
    pub list: bool,
    /// The gateway of this folder does not run: what answers at its port is another one
    #[arg(long)]
    pub stopped: bool,
}

/// A code of findings by its word.
fn code(word: &str) -> Result<Code, String> {
    let known = Code::ALL.iter().copied().find(|code| code.as_str() == word);
    known.ok_or_else(|| {
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        format!("no finding has this code; there are: {}", all.join(", "))
    })
}
