//! Finds and kills what outlived its shim: processes that carry a run in their environment, and
//! everything below them.
//!
//! This is the second line of defence, for shims that were killed themselves. A process that
//! replaced its environment is found only while a parent of it that did not is alive, or, by the
//! node that started its shim, while it stays in the shim's session. Systems without `/proc`
//! show nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;
use tokio::task::{JoinError, spawn_blocking};
use uuid::Uuid;

use super::RUN_ID;
use super::table::{self, Table};
use crate::executor::{BuryError, ProcessId, Survivor};

/// How long a burial may wait for deaths before it is given up and reported.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two rounds, at first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(500)];

/// How many rounds in a row must find nobody: in the middle of an exec a process shows no
/// environment, so once could be chance.
const CLEAN_ROUNDS: u32 = 2;

/// After so many rounds in which nothing but shims is left, these are killed, too.
const SHIM_ROUNDS: u32 = 20;

/// All living processes that work for a run, without this process and those it descends from.
pub fn scan() -> io::Result<Vec<Survivor>> {
    Ok(find(None)?.into_iter().map(|found| found.survivor).collect())
}

/// Kills the survivors of the runs that are ours and dead, until none is found any more.
pub async fn bury(
    is_ours_dead: &(dyn Fn(Uuid) -> bool + Send + Sync),
) -> Result<Vec<Survivor>, BuryError> {
    let mut burial = Burial::default();
    while !burial.is_over() {
        let mut found = find_in_background(None).await.map_err(BuryError::List)?;
        found.retain(|found| is_ours_dead(found.survivor.run));
        burial.round(&found);
        if burial.waited >= PATIENCE && !burial.alive.is_empty() {
            return Err(BuryError::Alive(burial.alive));
        }
        burial.pause().await;
    }
    Ok(burial.buried.into_iter().collect())
}

/// A shim that died before its tree.
#[derive(Debug)]
pub struct DeadShim {
    /// The run it was for.
    pub run: Uuid,
    /// Its process, and its session.
    pub process: ProcessId,
    /// The agent, if it was started: the leader of a group.
    pub agent: Option<ProcessId>,
    /// To reap it.
    pub child: Option<Child>,
}

/// Kills the tree of one shim, however long it takes, then reaps the shim; until then nobody else
/// can have its pid. Returns how many processes were killed.
pub async fn bury_tree(shim: DeadShim) -> u32 {
    let DeadShim { run, process, agent, child } = shim;
    let mut burial = Burial::default();
    #[cfg(not(target_os = "linux"))]
    kill_group(agent);
    #[cfg(target_os = "linux")]
    let _ = agent;
    let mut is_told = false;
    while !burial.is_over() {
        match find_in_background(Some((process.pid, run))).await {
            Ok(mut found) => {
                found.retain(|found| found.survivor.run == run);
                burial.round(&found);
            }
            Err(error) if !is_told => {
                tracing::error!(%run, %error, "cannot list processes to prove a run dead");
                is_told = true;
            }
            Err(_) => {}
        }
        burial.pause().await;
    }
    if let Some(mut child) = child {
        // It fails only if somebody else reaped it, and then it is reaped.
        let _ = child.wait().await;
    }
    u32::try_from(burial.buried.len()).unwrap_or(u32::MAX)
}

/// A survivor with what matters for the order of killing.
#[derive(Debug, Clone, Copy)]
struct Found {
    survivor: Survivor,
    is_shim: bool,
}

/// The state of killing until nobody is found.
#[derive(Debug, Default)]
struct Burial {
    buried: BTreeSet<Survivor>,
    alive: Vec<Survivor>,
    rounds: u32,
    clean_rounds: u32,
    shim_rounds: u32,
    waited: Duration,
}

impl Burial {
    /// Kills what was found. Shims come last: a shim that lives sees its tree die, and its own
    /// end is a better proof than our search.
    fn round(&mut self, found: &[Found]) {
        self.rounds += 1;
        self.clean_rounds = if found.is_empty() { self.clean_rounds + 1 } else { 0 };
        let only_shims = found.iter().all(|found| found.is_shim);
        self.shim_rounds = if only_shims { self.shim_rounds + 1 } else { 0 };
        for found in found {
            if !found.is_shim || self.shim_rounds > SHIM_ROUNDS {
                // Who refuses is found again, and named when the time is over.
                let _ = table::send(found.survivor.process, Signal::KILL);
            }
        }
        self.alive = found.iter().map(|found| found.survivor).collect();
        self.buried.extend(&self.alive);
    }

    fn is_over(&self) -> bool {
        self.clean_rounds >= CLEAN_ROUNDS
    }

    async fn pause(&mut self) {
        if !self.is_over() {
            let pause = (PAUSE[0] * 2_u32.saturating_pow(self.rounds / 8)).min(PAUSE[1]);
            tokio::time::sleep(pause).await;
            self.waited += pause;
        }
    }
}

/// Everybody who works for a run. A process is of the run that its environment names, or else of
/// the run of its nearest ancestor that has one; the session of a dead shim, if given, counts
/// like an environment.
fn find(session: Option<(u32, Uuid)>) -> io::Result<Vec<Found>> {
    let table = table::read()?;
    let spared = lineage(&table, std::process::id());
    let mut named: BTreeMap<u32, Uuid> = BTreeMap::new();
    for entry in table.values() {
        let by_session = session.filter(|(session, _)| *session == entry.session);
        if let Some(run) = by_session.map(|(_, run)| run).or_else(|| run_of(entry.id.pid)) {
            named.insert(entry.id.pid, run);
        }
    }
    let found = table.values().filter_map(|entry| {
        let run = inherited(&table, &named, &spared, entry.id.pid)?;
        let survivor = Survivor { process: entry.id, run };
        Some(Found { survivor, is_shim: entry.is_shim })
    });
    Ok(found.collect())
}

/// `pid` and all its ancestors. A gateway may have been started by an agent: it must not bury
/// itself.
fn lineage(table: &Table, pid: u32) -> BTreeSet<u32> {
    let mut lineage = BTreeSet::from([pid]);
    let mut at = pid;
    while let Some(entry) = table.get(&at)
        && lineage.insert(entry.parent)
    {
        at = entry.parent;
    }
    lineage
}

/// The run of `pid` by its own name or that of its nearest ancestor.
fn inherited(
    table: &Table,
    named: &BTreeMap<u32, Uuid>,
    spared: &BTreeSet<u32>,
    pid: u32,
) -> Option<Uuid> {
    let mut seen = BTreeSet::new();
    let mut at = pid;
    // The table is no snapshot, so its parents may even form a circle.
    while !spared.contains(&at) && seen.insert(at) {
        if let Some(run) = named.get(&at) {
            return Some(*run);
        }
        at = table.get(&at)?.parent;
    }
    None
}

/// The run named by the environment of `pid`, if we may read it.
fn run_of(pid: u32) -> Option<Uuid> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let run = variable.strip_prefix(RUN_ID.as_bytes())?.strip_prefix(b"=")?;
        Uuid::try_parse_ascii(run).ok()
    })
}

/// All that can be done without a table. The group may be another's by now, but only if all of the
/// agent's died in the moment since the shim did.
#[cfg(not(target_os = "linux"))]
fn kill_group(agent: Option<ProcessId>) {
    let pid = agent.and_then(|agent| i32::try_from(agent.pid).ok());
    if let Some(group) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

/// Reading the process table takes milliseconds, too long for a thread of the runtime.
async fn find_in_background(session: Option<(u32, Uuid)>) -> io::Result<Vec<Found>> {
    joined(spawn_blocking(move || find(session))).await
}

/// What `task` returns. Its panic is ours; a task that was cancelled, as happens only when the
/// runtime stops, never returns.
pub async fn joined<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_cancelled)) => pending().await,
    }
}
