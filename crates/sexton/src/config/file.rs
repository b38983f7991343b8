//! The sections of a config file as they are written, with their defaults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use sexton_domain::agent::{DEFAULT_GRACE, DEFAULT_TIMEOUT};
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::event::EventType;
use sexton_domain::hook::Subscription;
use sexton_domain::key::SessionKind;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::plan::alerts::STORE_ALARM_BYTES;
use sexton_domain::reset;
use sexton_domain::retention::{Periods, Policies};
use sexton_domain::retry::Backoff;
use sexton_domain::schedule::Zone;

use super::value::{Bytes, Switch};

/// The port where nobody says otherwise.
pub const DEFAULT_PORT: u16 = 4747;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Other names by which clients may call it, without port: a proxy's, say.
    pub hosts: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        Self { listen, hosts: Vec::new() }
    }
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:PATH`, relative to the data folder.
    pub url: String,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// A larger store raises an alert.
    pub alarm: Bytes,
}

impl Default for Store {
    fn default() -> Self {
        let alarm = Bytes(STORE_ALARM_BYTES);
        Self { url: "sqlite:sexton.db".to_owned(), durability: Durability::Full, alarm }
    }
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A power cut.
    Full,
    /// The death of the process, not a power cut.
    Relaxed,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Runs at once, all agents.
    pub runs: NonZeroUsize,
    /// Runs at once of one agent.
    pub runs_per_agent: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self { runs: number(8), runs_per_agent: number(4) }
    }
}

/// `[retention]`: how long records are kept after their end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    pub run: Keep,
    pub job: Keep,
    pub main: Keep,
    pub chat: Keep,
    pub subagent: Keep,
    pub boot: Keep,
    pub temporary: Keep,
    pub other: Keep,
    pub archive: Keep,
    pub events: Keep,
    pub runs: Keep,
    pub dead: Keep,
    pub job_done: Keep,
    /// How often the reaper looks.
    pub sweep_every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let Periods { sessions, archive, events, runs, dead, job_done } = Periods::default();
        let Policies { run, job, main, chat, subagent, boot, temporary, other } = sessions;
        Self {
            run,
            job,
            main,
            chat,
            subagent,
            boot,
            temporary,
            other,
            archive,
            events,
            runs,
            dead,
            job_done,
            sweep_every: Duration::from_secs(300),
        }
    }
}

impl Retention {
    /// What the engine takes from it.
    pub fn periods(&self) -> Periods {
        let Self { run, job, main, chat, subagent, boot, temporary, other, .. } = *self;
        Periods {
            sessions: Policies { run, job, main, chat, subagent, boot, temporary, other },
            archive: self.archive,
            events: self.events,
            runs: self.runs,
            dead: self.dead,
            job_done: self.job_done,
        }
    }
}

/// `[reset]`: when the next turn on a key opens a fresh session. Run sessions have no next turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reset {
    pub main: ResetRule,
    pub chat: ResetRule,
    pub job: ResetRule,
    pub subagent: ResetRule,
    pub boot: ResetRule,
    pub temporary: ResetRule,
    pub other: ResetRule,
}

impl Reset {
    /// What the engine takes from it.
    pub fn rules(&self) -> reset::Rules {
        let Self { main, chat, job, subagent, boot, temporary, other } = self;
        reset::Rules {
            main: main.rule(),
            chat: chat.rule(),
            job: job.rule(),
            subagent: subagent.rule(),
            boot: boot.rule(),
            temporary: temporary.rule(),
            other: other.rule(),
        }
    }
}

/// When sessions of one kind are over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResetRule {
    /// After this much silence; `false` is never.
    pub idle: Switch<Duration>,
    /// At this time of the day; `false` is never.
    pub daily: Switch<Time>,
    /// The zone of `daily`; UTC where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tz: Option<Zone>,
}

impl ResetRule {
    fn rule(&self) -> reset::Rule {
        let zone = || self.tz.clone().unwrap_or(Zone::UTC);
        reset::Rule {
            idle: self.idle.on(),
            daily: self.daily.on().map(|at| reset::Daily { at, zone: zone() }),
        }
    }
}

/// `[lease]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lease {
    /// How long a node may go without a heartbeat.
    pub length: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { length: Duration::from_secs(20) }
    }
}

/// `[drain]`: how long a stop waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// For running runs.
    pub runs: Duration,
    /// For deliveries.
    pub hooks: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { runs: Duration::from_secs(30), hooks: Duration::from_secs(2) }
    }
}

/// `[agents.NAME]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// What does the work.
    pub executor: Executor,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The deadline of its runs.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// The longest silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Between TERM and KILL.
    #[serde(default = "default_grace")]
    pub grace: Duration,
    /// How much output a run keeps.
    #[serde(default)]
    pub output_limit: Bytes,
    /// Where it starts, relative to the data folder.
    #[serde(default = "here")]
    pub cwd: String,
    /// Its own variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Variables it takes over from the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_pass: Vec<String>,
}

fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

fn default_grace() -> Duration {
    DEFAULT_GRACE
}

fn here() -> String {
    ".".to_owned()
}

/// The ways to do work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// A child process.
    Process,
}

/// `[hooks.NAME]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// What it is told.
    pub on: Vec<EventType>,
    /// A command that gets the event on its stdin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Or where the event is posted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Signs what is posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Or the file that holds the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// For one try.
    #[serde(default = "default_hook_timeout")]
    pub timeout: Duration,
    /// Tries until a delivery is dead.
    #[serde(default = "default_attempts")]
    pub max_attempts: std::num::NonZeroU32,
    /// Age at which a delivery is dead.
    #[serde(default = "default_max_age")]
    pub max_age: Duration,
    /// The waits between tries; the last one repeats.
    #[serde(default = "Subscription::default_backoff")]
    pub backoff: Backoff,
    /// Deliveries at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: std::num::NonZeroU32,
    /// Only of these agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentName>,
    /// Only of these jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobKey>,
    /// Only of sessions of these kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<SessionKind>,
}

fn default_hook_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_attempts() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::MIN.saturating_add(19)
}

fn default_max_age() -> Duration {
    Duration::from_secs(7 * 86_400)
}

fn default_concurrency() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::MIN.saturating_add(3)
}
