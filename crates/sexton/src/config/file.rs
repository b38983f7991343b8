//! The sections of a config file as they are written, with their defaults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use jiff::civil::Time;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use sexton_domain::agent::{DEFAULT_GRACE, DEFAULT_OUTPUT_LIMIT_BYTES, DEFAULT_TIMEOUT};
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::event::EventType;
use sexton_domain::key::SessionKind;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::retention::Policies;
use sexton_domain::schedule::Zone;

/// The port where nobody says otherwise.
pub const DEFAULT_PORT: u16 = 4747;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where HTTP is served.
    pub listen: SocketAddr,
}

impl Default for Server {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)) }
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
}

impl Default for Store {
    fn default() -> Self {
        Self { url: "sqlite:sexton.db".to_owned(), durability: Durability::Full }
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
        let kinds = Policies::default();
        let days = |n: u64| Keep::For(Duration::from_secs(n * 86_400));
        Self {
            run: kinds.run,
            job: kinds.job,
            main: kinds.main,
            chat: kinds.chat,
            subagent: kinds.subagent,
            boot: kinds.boot,
            temporary: kinds.temporary,
            other: kinds.other,
            archive: days(30),
            events: days(30),
            runs: days(90),
            dead: days(30),
            job_done: days(7),
            sweep_every: Duration::from_secs(300),
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

/// A value, or `false` where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Switch<T> {
    /// `false`
    #[default]
    Off,
    /// The value.
    On(T),
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Switch<Duration> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor {
            expected: "a duration like \"12h\", or false",
            parse: |text| {
                let duration: Duration = text.parse().map_err(|error| format!("{error}"))?;
                if duration.is_zero() {
                    return Err("zero is no duration to wait for: write false for never".into());
                }
                Ok(duration)
            },
        })
    }
}

impl<'de> Deserialize<'de> for Switch<Time> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor {
            expected: "a time of the day like \"04:00\", or false",
            parse: |text| {
                text.parse().map_err(|_| format!("cannot read {text:?} as a time of the day"))
            },
        })
    }
}

struct SwitchVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for SwitchVisitor<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Switch<T>, E> {
        if on { Err(E::invalid_type(de::Unexpected::Bool(true), &self)) } else { Ok(Switch::Off) }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Switch<T>, E> {
        (self.parse)(text).map(Switch::On).map_err(E::custom)
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

/// An amount of bytes: a bare number, or `"64KiB"`, `"16MiB"`, `"1GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Default for Bytes {
    fn default() -> Self {
        Self(DEFAULT_OUTPUT_LIMIT_BYTES)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match BYTE_UNITS.iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => serializer.collect_str(&format_args!("{}{unit}", self.0 / size)),
            None => serializer.serialize_u64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number of bytes like 65536, \"64KiB\" or \"16MiB\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bytes, E> {
        match u64::try_from(number) {
            Ok(number) => Ok(Bytes(number)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Bytes, E> {
        Ok(Bytes(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        BYTE_UNITS
            .iter()
            .find_map(|(unit, size)| {
                let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
                number.checked_mul(*size)
            })
            .map(Bytes)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
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
