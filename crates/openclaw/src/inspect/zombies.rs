//! A row is a zombie if and only if it is `running` and something other than time proves that its work
//! is over: a record of the end, a dead owner, or a folder that no process owns and that went on without it.
//!
//! Elapsed time alone is never proof: under a living gateway a row without other evidence stays.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sexton_domain::duration::Duration;

use super::survey::{AgentSeen, End, INTERRUPTED, Row, Survey, ended_as};
use crate::address::{Address, cron_id};
use crate::finding::{Code, Cure, Item, Step, Subject};
use crate::heal::owner::Liveness;
use crate::model::{Lock, Process, Receipt, Status, Task, TaskStatus, is_of_this_run};

/// Every zombie of every agent, and tasks that contradict the history.
pub fn find(survey: &Survey) -> Vec<(Code, Item)> {
    let mut found = Vec::new();
    for agent in &survey.agents {
        found.extend(in_store(survey, agent));
        found.extend(in_database(survey, agent));
    }
    found.extend(survey.tasks.iter().filter_map(|(path, task)| contradicted(survey, path, task)));
    found
}

fn in_store(survey: &Survey, agent: &AgentSeen) -> Vec<(Code, Item)> {
    let Some(store) = &agent.store else { return Vec::new() };
    let zombie = |row: &Row| {
        let proof = proof(survey, agent, row)?;
        let subject = Subject::Row { store: store.path.clone(), key: row.key.to_string() };
        let step = Step::EditRow {
            store: store.path.clone(),
            key: row.key.to_string(),
            was: String::new(),
            set: proof.fields(row),
            unset: Vec::new(),
        };
        Some((Code::Zombie, proof.item(subject, step)))
    };
    store.rows.iter().filter_map(zombie).collect()
}

/// A node runs if it or its window says so.
fn in_database(survey: &Survey, agent: &AgentSeen) -> Vec<(Code, Item)> {
    let Some(database) = &agent.database else { return Vec::new() };
    let zombie = |(row, stamp): &(Row, Box<str>)| {
        let window = database.windows.get(&row.session_id).and_then(|(_, status)| *status);
        let runs = [row.status, window].contains(&Some(Status::Running));
        let over = [row.status, window].into_iter().flatten().find(|half| *half != Status::Running);
        let row = Row { status: runs.then_some(Status::Running), ..row.clone() };
        let mut proof = proof(survey, agent, &row)?;
        if let Some(status) = over {
            // Node and window are two halves of one record: the one that has ended is right.
            proof.status = status;
            proof.evidence = format!(
                "one half of it says {}, the other running; {}",
                status.as_str(),
                proof.evidence
            );
        }
        let subject = Subject::DbRow {
            database: database.path.clone(),
            table: "session_nodes".to_owned(),
            id: row.key.to_string(),
        };
        let step = Step::EndNode {
            database: database.path.clone(),
            key: row.key.to_string(),
            session_id: row.session_id.to_string(),
            was: stamp.to_string(),
            status: proof.status,
            ended_at: proof.at,
        };
        Some((Code::Zombie, proof.item(subject, step)))
    };
    database.nodes.iter().filter_map(zombie).collect()
}

/// Gives proven zombies the status that they are going to have.
pub fn settle(survey: &mut Survey, found: &[(Code, Item)]) {
    let keys: HashSet<(&Path, &str)> = found
        .iter()
        .filter(|(code, _)| *code == Code::Zombie)
        .filter_map(|(_, item)| match &item.subject {
            Subject::Row { store: path, key } | Subject::DbRow { database: path, id: key, .. } => {
                Some((path.as_path(), key.as_str()))
            }
            _ => None,
        })
        .collect();
    for agent in &mut survey.agents {
        if let Some(store) = &mut agent.store {
            let rows = store.rows.iter_mut();
            let zombies = rows.filter(|row| keys.contains(&(store.path.as_path(), &*row.key)));
            zombies.for_each(|row| row.status = Some(Status::Failed));
        }
        if let Some(database) = &mut agent.database {
            let path = database.path.as_path();
            for (row, _) in
                database.nodes.iter_mut().filter(|(row, _)| keys.contains(&(path, &*row.key)))
            {
                row.status = Some(Status::Failed);
                if let Some((_, status)) = database.windows.get_mut(&row.session_id) {
                    *status = Some(Status::Failed);
                }
            }
        }
    }
}

/// Why a running row's work is over, and how and when it ended by the best evidence.
struct Proof {
    evidence: String,
    status: Status,
    at: Timestamp,
}

impl Proof {
    fn item(self, subject: Subject, step: Step) -> Item {
        let Self { evidence, .. } = self;
        Item { subject, evidence, bytes: None, cure: Cure::Steps(vec![step]) }
    }

    /// What their own code sets at the end of a run.
    fn fields(&self, row: &Row) -> Map<String, Value> {
        let mut set = Map::new();
        set.insert("status".to_owned(), json!(self.status.as_str()));
        set.insert("endedAt".to_owned(), json!(self.at.as_millisecond()));
        if let Some(started_at) = row.started_at {
            let took = self.at.as_millisecond().saturating_sub(started_at.as_millisecond());
            set.insert("runtimeMs".to_owned(), json!(took.max(0)));
        }
        if self.status == Status::Killed {
            set.insert("abortedLastRun".to_owned(), json!(true));
        }
        set
    }
}

fn proof(survey: &Survey, agent: &AgentSeen, row: &Row) -> Option<Proof> {
    if row.status != Some(Status::Running) {
        return None;
    }
    let last = last_activity(survey, agent, row);
    let at = last.or(row.updated_at);
    let dead = |evidence: String| Proof {
        evidence,
        status: if at.is_some() { Status::Failed } else { Status::Killed },
        at: at.unwrap_or(survey.as_of),
    };
    let is_of_this_run = |end: &&End| is_of_this_run(end.at, row.started_at);
    if let Some(end) = survey.ends.get(&row.session_id).filter(is_of_this_run) {
        let at = end.at.or(at).unwrap_or(survey.as_of);
        let evidence =
            format!("the {} says that it ended {} at {at}", end.says, end.status.as_str());
        return Some(Proof { evidence, status: end.status, at });
    }
    if let Some(receipt) = row.address().receipt(&survey.receipts)
        && let Some(death) = death(survey, receipt)
    {
        return Some(dead(death));
    }
    if let Some((process, holder)) = lock_of(survey, agent, row) {
        let over = holder.over()?;
        return Some(dead(format!(
            "its transcript is locked by process {}, which {over}",
            process.pid
        )));
    }
    if !survey.is_nobodys() {
        return None;
    }
    if let Some(boot) = later_boot(survey, row) {
        return Some(dead(boot));
    }
    let silent_since = at?;
    // By the clock: nobody owns the folder, so nothing in it is about to go on.
    let silence =
        Duration::from_secs(Duration::between(silent_since, survey.now).as_millis() / 1000);
    (silence > survey.longest_run).then(|| {
        dead(format!(
            "no process owns the folder, and it did nothing after {silent_since}: for {silence}, where {} is the longest that a run may take",
            survey.longest_run
        ))
    })
}

/// The newest time that the row's transcript names.
fn last_activity(survey: &Survey, agent: &AgentSeen, row: &Row) -> Option<Timestamp> {
    let in_database = agent.database.as_ref().and_then(|db| db.transcripts.get(&row.session_id));
    let in_file = survey.transcript(agent, &row.file_name());
    let last = |seen: Option<&super::survey::TranscriptSeen>| seen.and_then(|seen| seen.last_at);
    last(in_database).max(last(in_file))
}

fn death(survey: &Survey, receipt: &Receipt) -> Option<String> {
    let pid = receipt.owner.pid;
    let over = survey.living.get(&receipt.owner)?.over()?;
    Some(format!("its receipt {} belongs to process {pid}, which {over}", receipt.id))
}

/// Who holds the lock of the row's transcript.
fn lock_of(survey: &Survey, agent: &AgentSeen, row: &Row) -> Option<(Process, Liveness)> {
    let file = row.file_name();
    let folder = agent.sessions.as_deref()?;
    let own = |(lock, _): &&(Lock, _)| lock.path.parent() == Some(folder) && lock.of == file;
    let (lock, holder) = survey.locks.iter().find(own)?;
    lock.owner.zip(*holder)
}

/// A gateway that was started after the row's run had begun: the run did not outlive the one before.
fn later_boot(survey: &Survey, row: &Row) -> Option<String> {
    let since = row.started_at.or(row.updated_at)?;
    let boot = survey.boots.iter().find(|boot| boot.started_at.is_some_and(|at| at > since))?;
    Some(format!(
        "its gateway is gone: it was started anew at {}, and no process owns the folder now",
        boot.started_at?
    ))
}

/// A task that is under way or lost although a better record says how it ended.
fn contradicted(survey: &Survey, path: &Path, task: &Task) -> Option<(Code, Item)> {
    let status = task.status.filter(|status| ended_as(*status).is_none())?;
    let in_key = || match Address::of(task.session_key.as_deref()?) {
        Address::Run { run, .. } => Some(run),
        _ => None,
    };
    let session = task.run.as_ref().and_then(|run| run.session_id.clone());
    let of_run = end_of_run(survey, task);
    let end = session
        .or_else(in_key)
        .and_then(|session| survey.ends.get(session.as_str()))
        .filter(|end| end.says != "task")
        .or(of_run.filter(|end| end.says != INTERRUPTED))
        .cloned()
        .or_else(|| end_in_itself(task))
        // That its process died is no more than a lost task says.
        .or_else(|| of_run.filter(|_| status != TaskStatus::Lost).cloned())
        .or_else(|| end_by_death(survey, task))?;
    let at = end.at.or(task.last_event_at).or(task.started_at).unwrap_or(survey.as_of);
    let (was, becomes) = (status.as_str(), end_word(end.status));
    let evidence = format!("it is {was}, and the {} says {becomes} at {at}", end.says);
    let step = Step::EndTask {
        database: path.to_owned(),
        id: task.id.clone(),
        was: was.to_owned(),
        status: becomes.to_owned(),
        ended_at: at,
        error: (end.status != Status::Done)
            .then(|| "ended by the evidence of other records".to_owned()),
    };
    let subject = Subject::DbRow {
        database: path.to_owned(),
        table: "task_runs".to_owned(),
        id: task.id.clone(),
    };
    let cure = Cure::Steps(vec![step]);
    Some((Code::TaskContradicted, Item { subject, evidence, bytes: None, cure }))
}

/// What run logs and receipts say of the run of a cron task: of its id, `cron:<job>:<start>`, since 2026.9
/// with the receipt behind it, else of its start. So OpenClaw recovers tasks itself.
fn end_of_run<'a>(survey: &'a Survey, task: &Task) -> Option<&'a End> {
    let run_id = task.run_id.as_deref().unwrap_or_default();
    let parts: Vec<&str> = run_id.split(':').collect();
    let start_of = |ms: &str| Timestamp::from_millisecond(ms.parse().ok()?).ok();
    let (named, receipt) = match parts[..] {
        ["cron", job, ms, ref rest @ ..] => {
            (start_of(ms).map(|at| cron_id(job, at)), rest.first().copied().unwrap_or(run_id))
        }
        _ => (None, run_id),
    };
    let started = || {
        let job = task.source_id.as_deref().filter(|_| task.runtime == "cron")?;
        Some(cron_id(job, task.started_at?))
    };
    let of_receipt = survey.runs.get(receipt);
    of_receipt.or_else(|| survey.runs.get(named.or_else(started)?.as_str()))
}

/// A cron task whose own detail has a finished run.
fn end_in_itself(task: &Task) -> Option<End> {
    let run = task.run.as_ref()?;
    let status = super::gather::status_of(run)?;
    let at = super::gather::end_of(run);
    Some(End { at, status, says: "task's own detail" })
}

/// A task whose owner is dead, in a folder that nobody owns.
fn end_by_death(survey: &Survey, task: &Task) -> Option<End> {
    if task.status == Some(TaskStatus::Lost) || !survey.is_nobodys() {
        return None;
    }
    let owner = task.owner?;
    let life = survey.living.get(&owner)?;
    life.over().is_some().then(|| End {
        at: task.last_event_at.or(task.started_at),
        status: Status::Failed,
        says: "process table (its owner is dead)",
    })
}

/// How an end reads in the words of tasks.
fn end_word(status: Status) -> &'static str {
    match status {
        Status::Done => "succeeded",
        Status::Failed | Status::Running => "failed",
        Status::Timeout => "timed_out",
        Status::Killed => "cancelled",
    }
}
