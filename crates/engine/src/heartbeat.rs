//! The heartbeat renews this epoch's lease if and only if the epoch has not been ended by another
//! node. It also watches the wall clock against the monotonic one.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::duration;
use sexton_domain::node::{EndReason, Node, Owner};
use sexton_domain::plan::reconcile::STABLE_AFTER;
use sexton_store::{CommitError, Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::handle::Phase;
use crate::runners::Runners;
use crate::suspicion::Suspicion;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, Pass};

/// Heartbeats in one lease.
const BEATS: u32 = 3;

/// The heartbeat.
#[derive(Debug)]
pub struct Heartbeat {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) owner: Owner,
    pub(crate) lease: duration::Duration,
    pub(crate) runners: Runners,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) suspicion: Suspicion,
    /// This epoch's record as the last beat stored it: an idle node does not read it each time. None
    /// when it has to be read.
    pub(crate) stored: Option<Node>,
}

#[async_trait]
impl Loop for Heartbeat {
    fn kind(&self) -> TaskKind {
        TaskKind::Heartbeat
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        let node = match self.stored.take() {
            Some(node) => node,
            None => match self.store.node(self.owner.epoch).await? {
                Some(node) => node,
                None => return Ok(self.fenced()),
            },
        };
        match node.end.map(|end| end.reason) {
            None => {}
            // By this node itself: its stop has got as far as that.
            Some(EndReason::Shutdown | EndReason::Restart) => {
                return Ok(Pass::after(0, self.lease.to_std()));
            }
            Some(EndReason::Crash | EndReason::Lost) => return Ok(self.fenced()),
        }
        self.suspicion.look(&self.store, &self.env).await?;
        let beat = self.beat(node, now);
        match self.store.commit(vec![beat.clone().into()]).await {
            Ok(_) => self.stored = Some(Node { version: beat.version.next(), ..beat }),
            // Somebody else has written it: it is read again at once.
            Err(CommitError::Conflict(_) | CommitError::Failed(Error::Closed)) => {
                return Ok(Pass::after(0, Duration::ZERO));
            }
            Err(CommitError::AnswerLost) => {}
            Err(CommitError::Failed(error)) => return Err(error),
        }
        Ok(Pass::after(1, self.lease.to_std() / BEATS))
    }
}

impl Heartbeat {
    fn beat(&self, node: Node, now: Timestamp) -> Node {
        let stable = STABLE_AFTER.after(node.started_at) <= now;
        Node {
            heartbeat_at: now,
            lease_until: self.lease.after(now),
            stable_at: node.stable_at.or(stable.then_some(now)),
            ..node
        }
    }

    /// This epoch is over by another's decision: nothing of it may act any more.
    fn fenced(&self) -> Pass {
        tracing::error!(epoch = %self.owner.epoch, "this epoch was ended by another node; stopping");
        self.runners.abandon();
        self.phase.send_replace(Phase::Stopped);
        Pass::after(0, self.lease.to_std())
    }
}
