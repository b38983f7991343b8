//! `job …`: the flags are the fields of a job in the config, with dashes.

use clap::{Args, Subcommand};
use sexton_server::api::{Backoff, JobSpec, Misfire, Setting};

use super::list;
use crate::prompt;

/// `job …`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a job, or bring the one of this key to these options
    Add(Box<Add>),
    /// List jobs, newest first
    List(list::Jobs),
    /// Show a job
    Show {
        /// The job's id or key
        job: String,
    },
    /// Change some options of a job
    Edit(Box<Edit>),
    /// Let a job run again
    Enable {
        /// The job's id or key
        job: String,
    },
    /// Keep a job from running, whoever declared it; what runs, runs to its end
    Disable {
        /// The job's id or key
        job: String,
    },
    /// Run a job now
    Run {
        /// The job's id or key
        job: String,
        /// Wait for the end of the run; exit code 1 unless it ends ok
        #[arg(long)]
        wait: bool,
    },
    /// Remove a job; what runs, runs to its end
    Rm {
        /// The job's id or key
        job: String,
    },
    /// Show when a job is due next
    Next {
        /// The job's id or key
        job: String,
        /// How many slots
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
        /// Also show zone, offset, jitter and what changes of clock do
        #[arg(long)]
        explain: bool,
    },
}

/// `job add`
#[derive(Debug, Args)]
#[command(after_help = "Durations: 90s, 5m, 1h30m, 7d. A prompt of @FILE is read from a file, \
    of - from stdin; @@ begins a text with @.")]
pub struct Add {
    /// The job's key, [A-Za-z0-9._-]+; adding the same twice changes nothing
    #[arg(long)]
    pub key: String,
    /// Show what would happen, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// See [`Options`].
    #[command(flatten)]
    pub options: Options,
    /// Add it without letting it run
    #[arg(long)]
    pub disabled: bool,
}

/// `job edit`
#[derive(Debug, Args)]
pub struct Edit {
    /// The job's id or key
    pub job: String,
    /// Change it only if it is at this revision
    #[arg(long)]
    pub revision: Option<u32>,
    /// See [`Options`].
    #[command(flatten)]
    pub options: Options,
    /// Bring an option back to its default; may be given more than once
    #[arg(long, value_name = "OPTION")]
    pub unset: Vec<String>,
}

/// What a job consists of.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// A name for people
    #[arg(long)]
    pub name: Option<String>,
    /// The agent that works
    #[arg(long)]
    pub agent: Option<String>,
    /// Once: RFC 3339, a civil time with --tz, or +20m
    #[arg(long, value_name = "TIME", group = "schedule", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// Again and again after this time
    #[arg(long, value_name = "DURATION", group = "schedule")]
    pub every: Option<String>,
    /// By a cron expression of 5, 6 or 7 fields
    #[arg(long, value_name = "EXPR", group = "schedule")]
    pub cron: Option<String>,
    /// The IANA time zone of --cron and --at
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// Delay each slot by a fixed part of this, different from job to job
    #[arg(long, value_name = "DURATION")]
    pub jitter: Option<String>,
    /// Delay each slot by this
    #[arg(long, value_name = "DURATION")]
    pub offset: Option<String>,
    /// What the agent is told
    #[arg(long, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Where it works
    #[arg(long, value_name = "isolated|main|KEY")]
    pub session: Option<String>,
    /// The deadline of a run
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// The longest silence of a run
    #[arg(long, value_name = "DURATION")]
    pub idle_timeout: Option<String>,
    /// What becomes of a slot while an earlier run is active
    #[arg(long, value_name = "skip|queue|replace|allow")]
    pub overlap: Option<String>,
    /// What becomes of slots that nobody could start
    #[arg(long, value_name = "skip|latest|all|within:D")]
    pub misfire: Option<String>,
    /// How often a failure is retried
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// The waits between retries; the last one repeats
    #[arg(long, value_name = "D[,D...]")]
    pub backoff: Option<String>,
    /// What becomes of a slot whose run was interrupted
    #[arg(long, value_name = "retry|fail")]
    pub on_interrupt: Option<String>,
    /// How long its ended sessions are kept
    #[arg(long, value_name = "D|false|on_failure")]
    pub retain: Option<String>,
    /// The newest sessions stay whatever their age
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// The newest failed sessions stay whatever their age
    #[arg(long, value_name = "N")]
    pub keep_last_failures: Option<u32>,
    /// No more than this many ended sessions stay
    #[arg(long, value_name = "N")]
    pub max_sessions: Option<u32>,
}

impl Options {
    /// In the form that HTTP takes: only what was given, with the prompt read in.
    pub fn spec(self) -> anyhow::Result<JobSpec> {
        let setting = |text: Option<String>| text.map(|text| Setting::from(text.as_str()));
        Ok(JobSpec {
            name: self.name,
            agent: self.agent,
            at: self.at,
            every: setting(self.every),
            cron: self.cron,
            tz: self.tz,
            jitter: setting(self.jitter),
            offset: setting(self.offset),
            prompt: self.prompt.map(|prompt| prompt::of_argument(&prompt)).transpose()?,
            session: self.session,
            timeout: setting(self.timeout),
            idle_timeout: setting(self.idle_timeout),
            overlap: self.overlap,
            misfire: self.misfire.map(Misfire::Text),
            retries: self.retries,
            backoff: self.backoff.map(Backoff::Text),
            on_interrupt: self.on_interrupt,
            retain: setting(self.retain),
            keep_last: self.keep_last,
            keep_last_failures: self.keep_last_failures,
            max_sessions: self.max_sessions,
            ..JobSpec::default()
        })
    }
}
