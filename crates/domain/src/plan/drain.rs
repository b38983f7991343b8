//! The drain, the bounded way from running to stopped: how long each step may take, whose sessions end on
//! the way, and how the end of the epoch tells what became of it all.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::{Change, Decision, Guard};
use crate::duration::Duration;
use crate::event::EventType;
use crate::hook::{self, Subscription};
use crate::id::SessionId;
use crate::node::{self, Drained, Node, NodeEnd};
use crate::plan::{Moment, ending};
use crate::session::{self, Session};

/// How long a killed process tree may take to be proven dead, and its end to be on disk.
pub const PROOF: Duration = Duration::from_secs(15);
/// How long the store may take for one step: a commit that waits behind another one on a slow disk.
pub const STORE: Duration = Duration::from_secs(8);
/// How long tries that are under way when the time for deliveries is over may take to be cut off.
pub const CUT_OFF: Duration = Duration::from_secs(3);
/// How long answers over HTTP may take to finish.
pub const ANSWERS: Duration = Duration::from_secs(4);
/// How long threads that wait for the disk may then keep the process.
pub const EXIT: Duration = Duration::from_secs(1);
/// After this long systemd kills what it has asked to stop, where nobody says otherwise.
pub const SUPERVISOR: Duration = Duration::from_secs(90);

/// The steps, in their order. No step begins before the one before it is done or its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Running runs may end by themselves.
    Runs,
    /// The rest is told to stop, killed after its grace, and proven dead.
    Cancel,
    /// This node's open sessions end.
    Sessions,
    /// Deliveries go out.
    Deliveries,
    /// The end of the epoch is recorded, with the report.
    Record,
    /// The store is closed.
    Store,
    /// Answers over HTTP finish, the process goes.
    Answers,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 7] = [
        Self::Runs,
        Self::Cancel,
        Self::Sessions,
        Self::Deliveries,
        Self::Record,
        Self::Store,
        Self::Answers,
    ];

    /// What the node does in it, as it is told to people.
    pub fn doing(self) -> &'static str {
        match self {
            Self::Runs => "waiting for running runs",
            Self::Cancel => "stopping what still runs",
            Self::Sessions => "ending open sessions",
            Self::Deliveries => "delivering",
            Self::Record => "recording the end",
            Self::Store => "closing the store",
            Self::Answers => "finishing answers",
        }
    }
}

/// How much time running runs get. The less patient of two wishes counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// None.
    Cancel,
    /// What `[drain] runs` says.
    #[default]
    Budget,
    /// Until the last of them has reached its deadline.
    Deadlines,
}

/// What the length of a drain follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How long running runs may go on.
    pub runs: Duration,
    /// The longest grace between TERM and KILL of any agent that may be running.
    pub grace: Duration,
    /// How long deliveries may take.
    pub hooks: Duration,
}

impl Budget {
    /// The longest that a step may take.
    pub fn bound(&self, step: Step) -> Duration {
        match step {
            Step::Runs => self.runs,
            Step::Cancel => self.grace.saturating_add(PROOF),
            Step::Sessions | Step::Record | Step::Store => STORE,
            Step::Deliveries => self.hooks.saturating_add(CUT_OFF),
            Step::Answers => ANSWERS.saturating_add(EXIT),
        }
    }

    /// The longest that this step and all later ones may take together.
    pub fn rest(&self, from: Step) -> Duration {
        let steps = Step::ALL.into_iter().filter(|step| *step >= from);
        steps.fold(Duration::ZERO, |sum, step| sum.saturating_add(self.bound(step)))
    }

    /// The longest that a stop may take.
    pub fn total(&self) -> Duration {
        self.rest(Step::Runs)
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = self.rest(Step::Sessions).saturating_sub(self.bound(Step::Deliveries));
        write!(
            f,
            "{}: {} for running runs, {} to stop the rest, {} for hooks, {} for store and answers",
            self.total(),
            self.bound(Step::Runs),
            self.bound(Step::Cancel),
            self.bound(Step::Deliveries),
            fixed,
        )
    }
}

/// Tells that this node refuses new work.
pub fn begin(
    node: &Node,
    reason: node::EndReason,
    budget: Budget,
    moment: &mut Moment,
) -> Decision {
    let mut decision = Decision::default();
    decision.change(moment.tell().draining(node, reason, budget.total()));
    decision
}

/// Ends the open sessions of a node that stops. Those in `busy` have a turn in flight whose processes
/// are not proven dead: they stay, and the next start ends them.
pub fn end_sessions(
    open: &[Session],
    busy: &BTreeSet<SessionId>,
    reason: node::EndReason,
    moment: &mut Moment,
) -> Decision {
    let reason = match reason {
        node::EndReason::Shutdown => session::EndReason::Shutdown,
        node::EndReason::Restart | node::EndReason::Crash | node::EndReason::Lost => {
            session::EndReason::Restart
        }
    };
    let mut decision = Decision::default();
    for session in open.iter().filter(|session| !busy.contains(&session.id)) {
        let reason = session.closing.unwrap_or(reason);
        decision.merge(ending::end_session(session, reason, moment));
    }
    decision
}

/// What the end of an epoch looks at.
#[derive(Debug, Clone, Copy)]
pub struct Leaving<'a> {
    /// Its record.
    pub node: &'a Node,
    /// The number of the newest event when its work was counted.
    pub as_of: u64,
    /// Why it ends.
    pub reason: node::EndReason,
    /// What became of its work.
    pub drained: Drained,
    /// Who is told of things.
    pub hooks: &'a [Subscription],
}

/// Records the end of an epoch with what became of its work, and returns the record too; the decision is
/// empty when that is stored already. What was counted holds when it is stored: whatever happens meanwhile is
/// a conflict. Nobody is told of this end before the next start, so its own deliveries are pending.
pub fn leave(leaving: Leaving<'_>, moment: &mut Moment) -> (Decision, Node) {
    let Leaving { node, as_of, reason, mut drained, hooks } = leaving;
    let mut decision = Decision::default();
    if node.end.is_some() {
        return (decision, node.clone());
    }
    decision.change(Change::Require(Guard::NothingSince(as_of)));
    let end = Some(NodeEnd { at: moment.now, reason });
    let mut ended = Node { end, ..node.clone() };
    // Who is told does not depend on the report.
    let told = moment.tell().node(EventType::NodeStopped, &ended);
    drained.deliveries.pending += hook::outbox(&told, hooks).count() as u64;
    ended.drained = Some(drained);
    decision.change(moment.tell().node(EventType::NodeStopped, &ended));
    decision.change(ended.clone());
    (decision, ended)
}

#[cfg(test)]
mod tests;
