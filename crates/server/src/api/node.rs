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
        }
    }
}
