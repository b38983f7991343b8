//! Nodes: Sexton processes, their epochs and the leases by which they own runs and sessions.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::id::NodeId;

/// One life of a node, ordered over the whole store.
///
/// The upper half is the store's generation (raised by a restore), the lower half counts starts,
/// so that an epoch from before a restore can never fence out one from after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// The `count`-th start in `generation`.
    pub const fn new(generation: u32, count: u32) -> Self {
        Self(((generation as u64) << 32) | count as u64)
    }

    /// The epoch after this one, in a store of `generation`.
    pub const fn next(self, generation: u32) -> Self {
        if (self.0 >> 32) as u32 == generation {
            Self(self.0 + 1)
        } else {
            Self::new(generation, 1)
        }
    }

    /// The number that is stored.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// An epoch read back from storage.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 as u32)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who owns a running run or an open session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The process.
    pub node: NodeId,
    /// Its life.
    pub epoch: Epoch,
}

/// An operating-system process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Its start time in clock ticks since boot (field 22 of `/proc/<pid>/stat`); 0 where the system
    /// does not tell.
    pub started: u64,
}

/// Why a node's epoch is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// It was asked to stop.
    Shutdown,
    /// It was asked to restart.
    Restart,
    /// It vanished; a later boot found it.
    Crash,
    /// Its lease ran out while other nodes lived.
    Lost,
}

/// When and why an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEnd {
    /// When it was recorded.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
}

/// What a drain came to: from the moment the node refused new work until its end was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// How long that took, in milliseconds.
    pub took_ms: u64,
    /// What became of the runs that were running.
    pub runs: DrainedRuns,
    /// How many sessions ended.
    pub sessions_ended: u64,
    /// What became of the deliveries.
    pub deliveries: DrainedDeliveries,
}

/// What became of the runs that were running when a drain began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainedRuns {
    /// Ended by themselves, well or badly.
    pub finished: u64,
    /// Were cut off.
    pub interrupted: u64,
    /// Were cut off and have not been proven dead: the next start does that and ends them.
    pub unproven: u64,
}

/// What became of deliveries during a drain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainedDeliveries {
    /// Acknowledged.
    pub delivered: u64,
    /// Tried in vain and not acknowledged since; those that are not given up are pending, too.
    pub failed: u64,
    /// Still to be delivered: the next start goes on with them.
    pub pending: u64,
}

/// What later lives had to end for one that did not end it itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// Runs that were interrupted.
    pub runs: u64,
    /// Those of them that are tried again.
    pub retried: u64,
    /// Sessions that ended, those of the runs among them.
    pub sessions: u64,
}

/// One life of one Sexton process. Kept for 30 days after its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The process.
    pub id: NodeId,
    /// This life; the record's identity.
    pub epoch: Epoch,
    /// Host name.
    pub host: String,
    /// The gateway's own process.
    pub process: ProcessId,
    /// Sexton's version.
    pub software: String,
    /// When this epoch began.
    pub started_at: Timestamp,
    /// The last time the lease was renewed.
    pub heartbeat_at: Timestamp,
    /// The end of the lease.
    pub lease_until: Timestamp,
    /// When the gateway had been up for a minute; a boot loop has none.
    pub stable_at: Option<Timestamp>,
    /// Present once the epoch is over.
    pub end: Option<NodeEnd>,
    /// What became of its work, where it came to rest by itself.
    #[serde(default)]
    pub drained: Option<Drained>,
    /// What it left behind; none while nothing of that was found.
    #[serde(default)]
    pub left_behind: Option<LeftBehind>,
    /// For compare-and-swap.
    pub version: Version,
}

impl Node {
    /// This life as an owner.
    pub fn owner(&self) -> Owner {
        Owner { node: self.id, epoch: self.epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_after_a_restore_is_later_than_every_epoch_before_it() {
        let old = Epoch::new(1, 4_000_000_000);
        assert!(old.next(1) > old);
        assert_eq!(old.next(2), Epoch::new(2, 1));
        assert!(old.next(2) > old.next(1));
        assert_eq!(Epoch::new(2, 1).to_string(), "2.1");
    }
}
