//! Whether a gateway runs on the folder. What it is at work on is left out: it has no end yet, and a later
//! import takes it with the one that it will have.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sexton_domain::id::RunId;

use super::{Address, Gather};
use crate::heal::owner::{self, Liveness};
use crate::import::runs::Past;
use crate::model::{Lock, Status};
use crate::read::lock::locks;
use crate::read::names::{self, FileKind};
use crate::read::state_db::StateDb;

/// What a living gateway is at work on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnderWay {
    /// Why there is believed to be one.
    pub gateway: String,
    /// Sessions that are left out.
    pub sessions: u64,
    /// Runs that are left out.
    pub runs: u64,
}

/// A living gateway.
pub(super) struct Gateway {
    evidence: String,
    /// Runs that have not ended.
    runs: HashSet<RunId>,
    /// Sessions that are at work: for a run, or because somebody holds their lock.
    at_work: HashMap<String, Option<RunId>>,
    left_out: HashSet<String>,
}

impl Gather<'_, '_> {
    /// Looks for a living gateway.
    pub(super) fn look_for_gateway(&mut self, state: Option<&StateDb>) {
        let (mut receipts, mut boots) = (Vec::new(), Vec::new());
        if let Some(state) = state {
            state.receipts(&mut |receipt| receipts.push(receipt));
            state.boots(&mut |boot| boots.push(boot));
        }
        let sessions = self.folder.agents.iter().filter_map(|agent| agent.sessions.as_deref());
        let locks: Vec<Lock> =
            sessions.flat_map(|sessions| locks(&self.folder.root, sessions)).collect();
        let owner = owner::live_gateway(&self.folder.root, &locks, &receipts, &boots);
        let held = locks.iter().filter(|lock| owner::of_lock(lock) == Some(Liveness::Alive));
        let at_work = held.filter_map(|lock| match names::kind(&lock.of) {
            FileKind::Transcript { session_id, .. } => Some((session_id, None)),
            _ => None,
        });
        self.gateway = owner.map(|owner| Gateway {
            evidence: owner.evidence,
            runs: HashSet::new(),
            at_work: at_work.collect(),
            left_out: HashSet::new(),
        });
    }

    /// Whether a run that has not ended is left out.
    pub(super) fn is_run_under_way(&mut self, past: &Past) -> bool {
        let Some(gateway) = &mut self.gateway else { return false };
        gateway.runs.insert(past.run_id());
        if let Some(session) = &past.session {
            gateway.at_work.entry(session.clone()).or_insert(Some(past.run_id()));
        }
        true
    }

    /// Whether a session is left out: it is at work by its row, its run or its lock.
    pub(super) fn is_under_way(&mut self, id: &str, row: Option<Status>, of: &Address) -> bool {
        let pasts = &self.pasts;
        let Some(gateway) = &mut self.gateway else { return false };
        let running = Some(Status::Running);
        let at_work = match gateway.at_work.get(id) {
            Some(Some(run)) => !pasts.contains_key(run),
            Some(None) => true,
            None => gateway.left_out.contains(id),
        };
        let is_left_out = at_work || (row == running && of.status(row) == running);
        if is_left_out {
            gateway.left_out.insert(id.to_owned());
        }
        is_left_out
    }

    /// Says what was left out.
    pub(super) fn say_what_is_under_way(&mut self) {
        let Some(gateway) = self.gateway.take() else { return };
        let pasts = &self.pasts;
        let runs = gateway.runs.iter().filter(|run| !pasts.contains_key(run)).count();
        let sessions = gateway.left_out.len();
        self.found.remarks.push(format!(
            "a gateway runs on the folder ({}): what is under way is left out (sessions: \
             {sessions}, runs: {runs}); import again when it has ended",
            gateway.evidence
        ));
        let [sessions, runs] = [sessions, runs].map(|count| count as u64);
        self.found.under_way = Some(UnderWay { gateway: gateway.evidence, sessions, runs });
    }
}
