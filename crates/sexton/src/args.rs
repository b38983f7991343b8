//! What can be typed: commands and flags. What they mean is with the commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sexton_domain::name::AgentName;

pub mod bench;
pub mod job;
pub mod list;
pub mod openclaw;

/// Keeper of AI agents' sessions: rings them on time, sees that every one of them ends.
#[derive(Debug, Parser)]
#[command(name = "sexton", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 ok, 1 the answer is no, 2 usage or config, 3 not found, \
    4 refused, 5 daemon not reached, 6 try again, 70 a bug.")]
pub struct Cli {
    /// What goes for every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What goes for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The config file [default: ./sexton.toml, then $XDG_CONFIG_HOME/sexton/sexton.toml]
    #[arg(long, global = true, env = "SEXTON_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder of store, token and archives [default: $XDG_DATA_HOME/sexton]
    #[arg(long, global = true, env = "SEXTON_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the daemon is [default: what it wrote into the data folder]
    #[arg(long, global = true, env = "SEXTON_URL", value_name = "URL")]
    pub url: Option<String>,
    /// The access token [default: the local admin token in the data folder]
    #[arg(long, global = true, env = "SEXTON_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print one JSON document with the field names of the HTTP API
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but errors and what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

/// When to use colors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway in the foreground
    Serve(Serve),
    /// Write a commented sexton.toml
    Init {
        /// The folder to write it to [default: where the search for a config looks last]
        dir: Option<PathBuf>,
    },
    /// Stop the daemon: running runs get the time that `[drain] runs` says
    Stop(Stop),
    /// Stop it so that its supervisor starts it again: sessions end with reason restart
    Restart(Stop),
    /// Refuse new work, let running runs finish or reach their deadlines, then stop
    Drain(Drain),
    /// Show on one screen how things are
    Status,
    /// Add, change, list and run jobs
    #[command(subcommand)]
    Job(job::Command),
    /// Look at runs and cancel them
    #[command(subcommand)]
    Run(Run),
    /// Say something to the session behind a key, and print the answer
    Send(Send),
    /// Look at sessions and their transcripts, end, reset, keep and delete them
    #[command(subcommand)]
    Session(Session),
    /// Archive and delete what is over, now
    Sweep(Sweep),
    /// Look at archives, check them, and bring sessions back
    #[command(subcommand)]
    Archive(Archive),
    /// Sum up what model calls took
    Usage(Usage),
    /// Look at hooks, try them out, switch them, and send dead letters again
    #[command(subcommand)]
    Hook(Hook),
    /// Show what needs a look
    Alerts(Alerts),
    /// Look at the lives of nodes
    #[command(subcommand)]
    Node(Node),
    /// Check and show the config
    #[command(subcommand)]
    Config(Config),
    /// Look at, heal and bring over what OpenClaw keeps
    #[command(subcommand)]
    Openclaw(openclaw::Command),
    /// Measure what this machine can do, in a scratch folder
    Bench(bench::Bench),
}

/// `serve`
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Let a config without jobs remove all jobs that it declared before, at start and on SIGHUP
    #[arg(long)]
    pub allow_empty: bool,
}

/// `send`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A message of @FILE is read from a file, of - from stdin; @@ begins a text \
    with @. Exit code 1 unless the turn ends ok."
)]
pub struct Send {
    /// The session key, for example agent:main:main
    pub key: String,
    /// What to say
    #[arg(value_name = "MESSAGE|@FILE|-")]
    pub message: String,
    /// Who answers [default: who has the conversation, else the agent that the key names]
    #[arg(long)]
    pub agent: Option<AgentName>,
    /// End the conversation behind the key and begin a fresh one
    #[arg(long)]
    pub new: bool,
    /// Do not wait for the answer
    #[arg(long)]
    pub no_wait: bool,
}

/// `stop` and `restart`
#[derive(Debug, Clone, Copy, Args)]
pub struct Stop {
    /// Cut off running runs at once
    #[arg(long)]
    pub now: bool,
    /// Return as soon as the daemon knows, not when it has stopped
    #[arg(long)]
    pub no_wait: bool,
}

/// `drain`
#[derive(Debug, Clone, Copy, Args)]
pub struct Drain {
    /// Return as soon as the daemon knows, not when it has stopped
    #[arg(long)]
    pub no_wait: bool,
}

/// `alerts`
#[derive(Debug, Clone, Copy, Args)]
pub struct Alerts {
    /// Also those that were cleared, for 30 days
    #[arg(long)]
    pub all: bool,
    /// How many at most, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
}

/// `node …`
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List the newest lives of all nodes, newest first: their leases, and how they ended
    List {
        /// How many at most, 1 to 500
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
}

/// `run …`
#[derive(Debug, Subcommand)]
pub enum Run {
    /// List runs, newest first
    List(list::Runs),
    /// Show a run with its timeline
    Show {
        /// The run's id
        id: String,
    },
    /// Cancel a run
    Cancel {
        /// The run's id
        id: String,
    },
}

/// `session …`
#[derive(Debug, Subcommand)]
pub enum Session {
    /// List sessions, newest first; those of isolated runs only with --kind run or all
    List(list::Sessions),
    /// Show a session
    Show {
        /// The session's id
        id: String,
    },
    /// Print a session's transcript; JSON lines with --json
    Transcript {
        /// The session's id
        id: String,
        /// Go on until the session ends
        #[arg(long, short)]
        follow: bool,
        /// Begin after this entry
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
    },
    /// End a session; a turn in flight is cancelled first
    End {
        /// The session's id, or its key for the open one
        id: String,
    },
    /// End a session so that the next turn on its key begins a fresh one
    Reset {
        /// The session's id, or its key for the open one
        id: String,
    },
    /// Keep a session whatever its age
    Pin {
        /// The session's id, or its key for the open one
        id: String,
    },
    /// Let a session go again when its time is over
    Unpin {
        /// The session's id, or its key for the open one
        id: String,
    },
    /// Delete a session as soon as its end is told; its archive stays
    Delete {
        /// The session's id, or its key for the open one
        id: String,
        /// Leave no archive either
        #[arg(long)]
        purge: bool,
    },
}

/// `sweep`
#[derive(Debug, Clone, Args)]
#[command(after_help = "With --explain it says for every ended session why it goes or stays.")]
pub struct Sweep {
    /// Delete nothing; say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Say for every ended session why it goes or stays, and until when
    #[arg(long)]
    pub explain: bool,
}

/// `archive …`
#[derive(Debug, Subcommand)]
pub enum Archive {
    /// List archives, newest session first
    List(list::Page),
    /// Print the transcript of an archived session; JSON lines with --json
    Show {
        /// The session's id
        id: String,
        /// Begin after this entry
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
    },
    /// Read every archive and name what is damaged or missing
    #[command(after_help = "Exit code 1 when something is damaged or missing.")]
    Verify,
    /// Bring an archived session back, ended and pinned
    Restore {
        /// The session's id
        id: String,
    },
}

/// `usage`
#[derive(Debug, Clone, Args)]
pub struct Usage {
    /// What to sum up by
    #[arg(long, value_enum, default_value_t = list::By::Job)]
    pub by: list::By,
    /// Only from this on: a day, a time, or a duration ago like 7d; whole UTC days count
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// `hook …`
#[derive(Debug, Subcommand)]
pub enum Hook {
    /// List hooks, what they are told, and what waits for them
    List,
    /// Send a hook a made-up event now, and show what it answers
    Test {
        /// The hook's name
        name: String,
    },
    /// Switch a hook on; what it missed goes out
    Enable {
        /// The hook's name
        name: String,
    },
    /// Switch a hook off; what it misses waits, at most for its max_age
    Disable {
        /// The hook's name
        name: String,
    },
    /// List deliveries, newest first; dead letters with --state dead
    Deliveries(list::Deliveries),
    /// Send a delivery again that was acknowledged or given up
    Redeliver {
        /// The delivery's id
        id: String,
    },
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check the config file and say everything that is wrong with it
    Check,
    /// Print the config in force with its defaults; secrets are hidden
    Show,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

#[cfg(test)]
mod hints;
