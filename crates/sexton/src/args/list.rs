//! Filters and pages of lists.

use clap::{Args, ValueEnum};
use sexton_domain::name::{AgentName, HookName};

/// Which page of a list.
#[derive(Debug, Clone, Args)]
pub struct Page {
    /// How many at most, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Where the page before ended: its `next`
    #[arg(long)]
    pub cursor: Option<String>,
}

/// `job list`
#[derive(Debug, Clone, Args)]
pub struct Jobs {
    /// Only of this agent
    #[arg(long)]
    pub agent: Option<AgentName>,
    /// Only of this source: `api`, or the name of a config source
    #[arg(long)]
    pub source: Option<String>,
    /// Also those that were removed
    #[arg(long)]
    pub removed: bool,
    /// See [`Page`].
    #[command(flatten)]
    pub page: Page,
}

/// `run list`
#[derive(Debug, Clone, Args)]
pub struct Runs {
    /// Only of this job, by id or key
    #[arg(long)]
    pub job: Option<String>,
    /// Only of this agent
    #[arg(long)]
    pub agent: Option<AgentName>,
    /// Only in this state
    #[arg(long)]
    pub state: Option<State>,
    /// Only with this outcome
    #[arg(long)]
    pub outcome: Option<Outcome>,
    /// Only made at or after: a time, or a duration ago like 24h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only made before: a time, or a duration ago like 24h
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// See [`Page`].
    #[command(flatten)]
    pub page: Page,
}

/// `session list`
#[derive(Debug, Clone, Args)]
pub struct Sessions {
    /// Only behind this key
    #[arg(long)]
    pub key: Option<String>,
    /// Only of this kind; `all` shows those of isolated runs, too
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Only of this agent
    #[arg(long)]
    pub agent: Option<AgentName>,
    /// Only of this job, by id or key
    #[arg(long)]
    pub job: Option<String>,
    /// Only open ones
    #[arg(long, conflicts_with = "ended")]
    pub open: bool,
    /// Only ended ones
    #[arg(long)]
    pub ended: bool,
    /// Only ended for this reason
    #[arg(long)]
    pub reason: Option<String>,
    /// Only opened at or after: a time, or a duration ago like 24h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// See [`Page`].
    #[command(flatten)]
    pub page: Page,
}

/// `hook deliveries`
#[derive(Debug, Clone, Args)]
pub struct Deliveries {
    /// Only to this hook
    #[arg(long)]
    pub hook: Option<HookName>,
    /// Only in this state
    #[arg(long)]
    pub state: Option<DeliveryState>,
    /// Only about this session
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// See [`Page`].
    #[command(flatten)]
    pub page: Page,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        #[value(rename_all = "snake_case")]
        pub enum $name { $($variant,)* }

        impl $name {
            /// The word of the HTTP API.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    )*};
}

words! {
    /// The states of a run.
    State { Queued = "queued", Waiting = "waiting", Running = "running", Ended = "ended", }
    /// The states of a delivery.
    DeliveryState { Pending = "pending", Delivered = "delivered", Dead = "dead", }
    /// The outcomes of a run.
    Outcome {
        Ok = "ok",
        Failed = "failed",
        TimedOut = "timed_out",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
        Skipped = "skipped",
        Missed = "missed",
        Coalesced = "coalesced",
    }
    /// What usage is summed up by.
    By { Job = "job", Agent = "agent", Model = "model", Day = "day", }
    /// The kinds of sessions.
    Kind {
        All = "all",
        Main = "main",
        Chat = "chat",
        Run = "run",
        Job = "job",
        Subagent = "subagent",
        Boot = "boot",
        Temporary = "temporary",
        Other = "other",
    }
}
