//! Settings: what the engine takes from the config. Replaced as a whole on a reload.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sexton_domain::agent::Agent;
use sexton_domain::duration::Duration;
use sexton_domain::hook::Subscription;
use sexton_domain::name::{AgentName, HookName};
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::alerts::STORE_ALARM_BYTES;
use sexton_domain::plan::drain::Budget;
use sexton_domain::reset::Rules;
use sexton_domain::retention::Periods;

use crate::courier::Webhook;

/// What the engine takes from the config.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How many runs at once.
    pub limits: Limits,
    /// How long a node's right to act lasts without a heartbeat.
    pub lease: Duration,
    /// The agents this node has.
    pub agents: BTreeMap<AgentName, AgentSettings>,
    /// Where relative working directories of agents begin, and archives and the files of runs lie.
    pub data_dir: PathBuf,
    /// How long records are kept.
    pub retention: Periods,
    /// How often the reaper looks.
    pub sweep_every: Duration,
    /// When sessions are over.
    pub reset: Rules,
    /// How large the store may become before an alert says so.
    pub store_alarm_bytes: u64,
    /// How long a stop waits.
    pub drain: Drain,
    /// The hooks.
    pub hooks: BTreeMap<HookName, HookSettings>,
}

/// How long a stop waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// For running runs to end by themselves.
    pub runs: Duration,
    /// For deliveries to go out.
    pub hooks: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { runs: Duration::from_secs(30), hooks: Duration::from_secs(2) }
    }
}

/// An agent with what stays out of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSettings {
    /// What goes into a run's record.
    pub agent: Agent,
    /// Its own environment variables. Values may be secrets: they are never stored or shown.
    pub env: BTreeMap<String, String>,
}

/// A hook with what stays out of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct HookSettings {
    /// What it is told, and for how long it is tried.
    pub subscription: Subscription,
    /// How it is told.
    pub way: Way,
    /// For one try.
    pub timeout: Duration,
    /// Tries at once.
    pub concurrency: u32,
}

/// How a hook is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Program and arguments; the event comes on stdin.
    Command(Vec<String>),
    /// The event is posted.
    Webhook(Webhook),
}

impl Settings {
    /// Settings without agents, everything else as it is where the config says nothing.
    pub fn new(limits: Limits, lease: Duration, data_dir: PathBuf) -> Self {
        Self {
            limits,
            lease,
            agents: BTreeMap::new(),
            data_dir,
            retention: Periods::default(),
            sweep_every: Duration::from_secs(300),
            reset: Rules::default(),
            store_alarm_bytes: STORE_ALARM_BYTES,
            drain: Drain::default(),
            hooks: BTreeMap::new(),
        }
    }

    /// How long a stop takes at most, as far as the settings say.
    pub fn budget(&self) -> Budget {
        let graces = self.agents.values().map(|settings| settings.agent.grace);
        let grace = graces.max().unwrap_or_default();
        Budget { runs: self.drain.runs, grace, hooks: self.drain.hooks }
    }

    /// The agent, if this node has it.
    pub fn agent(&self, name: &AgentName) -> Option<&Agent> {
        self.agents.get(name).map(|settings| &settings.agent)
    }
}
