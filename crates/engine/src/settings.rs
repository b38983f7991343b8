//! Settings: what the engine takes from the config. Replaced as a whole on a reload.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sexton_domain::agent::Agent;
use sexton_domain::duration::Duration;
use sexton_domain::name::AgentName;
use sexton_domain::plan::admission::Limits;

/// What the engine takes from the config.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How many runs at once.
    pub limits: Limits,
    /// How long a node's right to act lasts without a heartbeat.
    pub lease: Duration,
    /// The agents this node has.
    pub agents: BTreeMap<AgentName, AgentSettings>,
    /// Where relative working directories of agents begin.
    pub data_dir: PathBuf,
}

/// An agent with what stays out of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSettings {
    /// What goes into a run's record.
    pub agent: Agent,
    /// Its own environment variables. Values may be secrets: they are never stored or shown.
    pub env: BTreeMap<String, String>,
}

impl Settings {
    /// The agent, if this node has it.
    pub fn agent(&self, name: &AgentName) -> Option<&Agent> {
        self.agents.get(name).map(|settings| &settings.agent)
    }
}
