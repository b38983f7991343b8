//! Nodes on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::id::NodeId;
use sexton_domain::node::{self, EndReason};

use super::schema::Id;

/// One life of one Sexton process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// The process.
    #[schemars(with = "Id")]
    pub id: NodeId,
    /// This life: the generation of the store and the count of starts in it.
    pub epoch: String,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Sexton's version.
    pub version: String,
    /// When this life began.
    pub started_at: Timestamp,
    /// The last time the lease was renewed.
    pub heartbeat_at: Timestamp,
    /// The end of the lease.
    pub lease_until: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// `shutdown`, `restart`, `crash` or `lost`.
    #[schemars(with = "Option<String>")]
    pub reason: Option<EndReason>,
    /// What its stop came to; none after a crash.
    #[serde(default)]
    pub drained: Option<Drained>,
    /// What it left behind, which later lives ended; none where nothing of that was found.
    #[serde(default)]
    pub left_behind: Option<LeftBehind>,
}

/// What later lives had to end for one that did not end it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftBehind {
    /// Runs that were interrupted.
    pub runs: u64,
    /// Those of them that are tried again.
    pub retried: u64,
    /// Sessions that ended, those of the runs among them.
    pub sessions: u64,
}

/// What a stop came to, from the moment the node refused new work until its end was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drained {
    /// How long that took.
    pub took_ms: u64,
    /// What became of the runs that were running.
    pub runs: DrainedRuns,
    /// How many sessions ended.
    pub sessions_ended: u64,
    /// What became of the deliveries.
    pub deliveries: DrainedDeliveries,
}

/// What became of the runs that were running when a stop began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainedRuns {
    /// Ended by themselves.
    pub finished: u64,
    /// Were cut off.
    pub interrupted: u64,
    /// Were cut off and not proven dead: the next start ends them.
    pub unproven: u64,
}

/// What became of deliveries during a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainedDeliveries {
    /// Acknowledged.
    pub delivered: u64,
    /// Tried in vain and not acknowledged since; those that are not given up are pending, too.
    pub failed: u64,
    /// Left to the next start.
    pub pending: u64,
}

impl From<node::Drained> for Drained {
    fn from(drained: node::Drained) -> Self {
        let node::Drained { took_ms, runs, sessions_ended, deliveries } = drained;
        let node::DrainedRuns { finished, interrupted, unproven } = runs;
        let node::DrainedDeliveries { delivered, failed, pending } = deliveries;
        Self {
            took_ms,
            runs: DrainedRuns { finished, interrupted, unproven },
            sessions_ended,
            deliveries: DrainedDeliveries { delivered, failed, pending },
        }
    }
}

impl From<node::LeftBehind> for LeftBehind {
    fn from(left: node::LeftBehind) -> Self {
        let node::LeftBehind { runs, retried, sessions } = left;
        Self { runs, retried, sessions }
    }
}

impl From<&node::Node> for Node {
    fn from(node: &node::Node) -> Self {
        Self {
            id: node.id,
            epoch: node.epoch.to_string(),
            host: node.host.clone(),
            pid: node.process.pid,
            version: node.software.clone(),
            started_at: node.started_at,
            heartbeat_at: node.heartbeat_at,
            lease_until: node.lease_until,
            ended_at: node.end.map(|end| end.at),
            reason: node.end.map(|end| end.reason),
            drained: node.drained.map(Drained::from),
            left_behind: node.left_behind.map(LeftBehind::from),
        }
    }
}
