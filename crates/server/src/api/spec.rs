//! The spec of a job as people write it: over HTTP, in the config and on the command line.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

mod read;
mod write;

pub use read::{Context, Past};

/// The options of `job add`, in snake case. [`JobSpec::into_spec`] is the one place that judges them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobSpec {
    /// The job's key, `[A-Za-z0-9._-]+`. Needed to add a job over HTTP; in a config file it is the
    /// name of the table, and not written here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key the job had before. Config files only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who works: an agent of the config. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Once: RFC 3339, a civil time in `tz`, or `+20m`. One of `at`, `every` and `cron` is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// On a grid of this width that begins when the job is made: `15m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Setting>,
    /// By the clock on a wall, in `tz`: 5, 6 or 7 fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA time zone such as `Europe/Berlin`; UTC by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// Delays each slot by a fixed part of this, different from job to job; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Setting>,
    /// Delays each slot by this, beside the jitter; shorter than a day, none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Setting>,
    /// What the agent is told, at most 1 MiB; empty by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// `isolated` (default): a session of its own for each run; `main`: the agent's main session; or the
    /// key of a session that the runs share with everybody who talks there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The deadline of a run; the agent's by default. There is always one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Setting>,
    /// The longest silence of a run; the agent's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Setting>,
    /// While an earlier run is active: `skip` (default), `queue`, `replace` or `allow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// Slots nobody could start: `latest` (default), `skip`, `all`, `within:2h` or
    /// `{ "within": "2h" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misfire: Option<Misfire>,
    /// How often a failure is retried. By default, failures that ask for it (exit code 75) are
    /// retried 3 times and others not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The waits between retries, the last one repeats: `30s,1m,5m,15m,1h` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// A slot whose run was interrupted: `fail` (default) or `retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_interrupt: Option<String>,
    /// How long its ended sessions are kept: a duration, `false` for ever, or `on_failure`; by
    /// default as the config says for the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain: Option<Setting>,
    /// The newest ones stay whatever their age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// The newest failed ones stay whatever their age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last_failures: Option<u32>,
    /// No more than this many ended ones stay, whatever their age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Whether it runs at all; true by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A value that people write as a text or as `false`. Numbers are read, so that the answer can say
/// what is wrong with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a text such as \"1h30m\", or false")]
pub enum Setting {
    /// A text.
    Text(String),
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
}

/// The policy for slots that passed while nobody could start them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "\"skip\", \"latest\", \"all\", \"within:2h\" or { within = \"2h\" }"
)]
pub enum Misfire {
    /// `skip`, `latest`, `all`, or `within:` and a duration.
    Text(String),
    /// The newest runs if it is no older than this.
    Within(Within),
}

/// The newest slot runs if it is no older than this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// A duration.
    pub within: String,
}

/// The waits between retries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a list such as [\"30s\", \"1m\"], or a text such as \"30s,1m\"")]
pub enum Backoff {
    /// With commas between.
    Text(String),
    /// One by one.
    List(Vec<String>),
}

/// Why a field of a spec cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use `{field}`: {why}")]
pub struct FieldError {
    /// The field.
    pub field: &'static str,
    /// What it was, cut to 80 characters; empty where something is missing.
    pub value: String,
    /// What is wrong with it, as a fragment.
    pub why: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.pad(text),
            Self::Switch(switch) => fmt::Display::fmt(switch, f),
            Self::Integer(number) => fmt::Display::fmt(number, f),
            Self::Float(number) => fmt::Display::fmt(number, f),
        }
    }
}

impl From<&str> for Setting {
    /// What was typed on a command line, where everything is text.
    fn from(text: &str) -> Self {
        match text {
            "false" => Self::Switch(false),
            "true" => Self::Switch(true),
            text => Self::Text(text.to_owned()),
        }
    }
}

impl JsonSchema for Setting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Setting".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"] })
    }
}
