//! Whether a gateway runs on the folder. What it is at work on is left out: it has no end yet, and a later
//! import takes it with the one that it will have.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sexton_domain::id::RunId;
use sexton_domain::run::Outcome;

use super::Gather;
use crate::address::Address;
use crate::heal::owner::{self, Claims, Liveness};
use crate::import::runs::Past;
use crate::import::sessions::Home;
use crate::model::{Lock, Receipt, ReceiptStatus, SessionRow, Status};
use crate::read::lock::locks;
use crate::read::names::{self, FileKind};
use crate::read::state_db::StateDb;

/// What a living gateway is at work on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Why there is believed to be one, or taken to be: what answers where it would listen.
    pub gateway: String,
    /// Sessions that are left out, by their ids.
    pub sessions: BTreeSet<String>,
    /// Runs that are left out, by job and start, or task.
    pub runs: BTreeSet<String>,
}

/// A living gateway.
pub(super) struct Gateway {
    /// What is left out for it.
    left_out: UnderWay,
    /// Only something that answers at its port tells of it: its processes have other ids than those here, if
    /// it is one.
    is_unseen: bool,
    /// Records of runs that tell of no end: another record may.
    waiting: Vec<Waiting>,
    /// Sessions that are at work: for a run, or because somebody holds their lock.
    at_work: HashSet<String>,
    /// Sessions whose lock is of a dead process.
    let_go: HashSet<String>,
    /// Receipts that are running.
    running: Vec<Receipt>,
    /// When the first of the living processes that records name was started, where that is known.
    since: Option<Timestamp>,
}

/// A record of a run that tells of no end.
pub(super) struct Waiting {
    /// What it tells.
    pub(super) past: Past,
    /// Its source.
    pub(super) source: usize,
    /// It names a living process.
    pub(super) lives: bool,
}

impl Gateway {
    /// One that shows by something that answers at its port alone.
    fn unseen(served: String) -> Self {
        Self {
            left_out: UnderWay {
                gateway: served,
                sessions: BTreeSet::new(),
                runs: BTreeSet::new(),
            },
            is_unseen: true,
            waiting: Vec::new(),
            at_work: HashSet::new(),
            let_go: HashSet::new(),
            running: Vec::new(),
            since: None,
        }
    }

    /// Whether the ids of its processes say nothing here.
    pub(super) fn is_unseen(&self) -> bool {
        self.is_unseen
    }

    /// A record of a run that tells of no end.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    /// Whether something was begun before any of the living processes was there.
    fn came_after(&self, began_at: Option<Timestamp>) -> bool {
        began_at.zip(self.since).is_some_and(|(began_at, since)| began_at < since)
    }

    /// Whether who was at work on a session is gone, by the evidence that zombies are found by.
    fn is_left_behind(&self, id: &str, row: Option<&SessionRow>) -> bool {
        let receipt = row.and_then(|row| Address::of(&row.key).receipt(&self.running));
        self.let_go.contains(id)
            || receipt.is_some_and(|receipt| owner::is_alive(receipt.owner).over().is_some())
            || self.came_after(row.and_then(|row| row.started_at.or(row.updated_at)))
    }
}

/// The sessions whose transcripts these locks are of.
fn locked<'a>(locks: impl Iterator<Item = &'a Lock>) -> HashSet<String> {
    let session = |lock: &Lock| match names::kind(&lock.of) {
        FileKind::Transcript { session_id, .. } => Some(session_id),
        _ => None,
    };
    locks.filter_map(session).collect()
}

impl Gather<'_, '_> {
    /// Looks for a living gateway.
    pub(super) fn look_for_gateway(&mut self, state: Option<&StateDb>) {
        let (mut receipts, mut leases, mut boots) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(state) = state {
            state.receipts(&mut |receipt| receipts.push(receipt));
            state.leases(&mut |lease| leases.push(lease));
            state.boots(&mut |boot| boots.push(boot));
        }
        let sessions = self.folder.agents.iter().filter_map(|agent| agent.sessions.as_deref());
        let locks: Vec<Lock> =
            sessions.flat_map(|sessions| locks(&self.folder.root, sessions)).collect();
        let claims = Claims { locks: &locks, receipts: &receipts, leases: &leases, boots: &boots };
        let owner = owner::live_gateway(&self.folder.root, claims);
        receipts.retain(|receipt| receipt.status == Some(ReceiptStatus::Running));
        let (held, free): (Vec<_>, Vec<_>) = locks
            .iter()
            .filter_map(|lock| Some((lock, owner::of_lock(lock)?)))
            .partition(|(_, holder)| *holder == Liveness::Alive);
        let let_go = free.iter().filter(|(_, holder)| holder.over().is_some());
        let holders = held.iter().filter_map(|(lock, _)| lock.owner);
        let claims = receipts.iter().map(|receipt| receipt.owner);
        let claims = claims.filter(|process| owner::is_alive(*process) == Liveness::Alive);
        let living = holders.chain(claims).map(|process| process.pid);
        let living: Vec<u32> = living.chain(owner.as_ref().map(|owner| owner.pid)).collect();
        let seen = owner.map(|owner| Gateway {
            since: living.into_iter().map(owner::started_at).min().flatten(),
            at_work: locked(held.iter().map(|(lock, _)| *lock)),
            let_go: locked(let_go.map(|(lock, _)| *lock)),
            running: receipts,
            is_unseen: false,
            ..Gateway::unseen(owner.evidence)
        });
        self.gateway = seen.or_else(|| self.options.served.take().map(Gateway::unseen));
    }

    /// Runs whose end no record tells of are left out; every record of the others tells of them. That
    /// somebody lost sight of a run is no end of it while its owner lives.
    pub(super) fn settle_runs(&mut self) {
        let Some(gateway) = &mut self.gateway else { return };
        let waiting = std::mem::take(&mut gateway.waiting);
        let goes_on = |record: &&Waiting| match self.pasts.get(&record.past.run_id()) {
            None => record.lives || !gateway.came_after(Some(record.past.began_at)),
            Some((known, _)) => record.lives && known.outcome == Outcome::Interrupted,
        };
        let going_on: HashSet<RunId> =
            waiting.iter().filter(goes_on).map(|record| record.past.run_id()).collect();
        for (past, sources) in going_on.iter().filter_map(|run| self.pasts.remove(run)) {
            sources.into_iter().for_each(|source| self.found.sources[source].done.leave(1));
            gateway.at_work.extend(past.session);
        }
        let (under_way, ended): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|record| going_on.contains(&record.past.run_id()));
        for Waiting { past, source, .. } in under_way {
            self.found.sources[source].done.leave(1);
            gateway.at_work.extend(past.session);
            gateway.left_out.runs.insert(past.id);
        }
        for Waiting { past, source, .. } in ended {
            self.tell(past, source);
        }
    }

    /// Whether a session is left out: it is at work by its run or its lock, or by its row while the
    /// history knows no end of it and nothing says that who was at work on it is gone.
    pub(super) fn is_under_way(
        &mut self,
        id: &str,
        status: Option<Status>,
        row: Option<&SessionRow>,
        of: &Home,
    ) -> bool {
        let Some(gateway) = &mut self.gateway else { return false };
        let is_left_out = gateway.at_work.contains(id)
            || gateway.left_out.sessions.contains(id)
            || (status == Some(Status::Running)
                && of.outcome.is_none()
                && !gateway.is_left_behind(id, row));
        if is_left_out {
            gateway.left_out.sessions.insert(id.to_owned());
        }
        is_left_out
    }

    /// Whether a transcript is left out that no row names: it began after the rows were read.
    pub(super) fn is_newer_than_rows(&mut self, id: &str, began_at: Option<Timestamp>) -> bool {
        let is_newer = began_at.is_some_and(|began_at| began_at >= self.options.now);
        let Some(gateway) = self.gateway.as_mut().filter(|_| is_newer) else { return false };
        gateway.left_out.sessions.insert(id.to_owned());
        true
    }

    /// Says what was left out.
    pub(super) fn say_what_is_under_way(&mut self) {
        let Some(Gateway { left_out, is_unseen, .. }) = self.gateway.take() else { return };
        let UnderWay { gateway, sessions, runs } = &left_out;
        let (runs_there, or) = match is_unseen {
            false => (format!("a gateway runs on the folder ({gateway})"), ""),
            true => (
                format!("{gateway}, and no process shows: a gateway may run on the folder"),
                "; --stopped says that it is another one",
            ),
        };
        self.found.remarks.push(format!(
            "{runs_there}; what is under way is left out (sessions: {}, runs: {}): import again when it \
             has ended{or}",
            sessions.len(),
            runs.len()
        ));
        self.found.under_way = Some(left_out);
    }
}
