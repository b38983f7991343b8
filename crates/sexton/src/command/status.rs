//! `status`: one screen, what needs a look first.

use sexton_domain::run::Outcome;
use sexton_server::api::{LeftBehind, Outbox, Phase, RunState, Status};

use crate::client::{Ask, Client};
use crate::command::stop;
use crate::failure::{Exit, Failure};
use crate::output::{Output, bytes, count, relative, rough, word};

/// Runs `status`.
pub async fn main(client: &mut Client, output: Output) -> Result<Exit, Failure> {
    let answer = client.ask(Ask::get("/v1/status")).await?;
    if output.json {
        output.document(&answer.0)?;
    } else {
        screen(&answer.read()?, output)?;
    }
    Ok(Exit::Ok)
}

fn screen(status: &Status, output: Output) -> Result<(), Failure> {
    for alert in alerts(status) {
        output.line(output.alarming(&format!("! {alert}")))?;
    }
    let mut fields = vec![("node", node(status))];
    if let Some(before) = before(status) {
        fields.push(("before", before));
    }
    fields.extend([
        ("jobs", status.jobs.to_string()),
        ("sessions", sessions(status)),
        ("runs", runs(status)),
        ("events", status.events.to_string()),
        ("outbox", outbox(status)),
        ("reaper", reaper(status)),
        ("store", store(status)),
    ]);
    output.fields(&fields)?;
    let now = status.now;
    if !status.running.is_empty() {
        output.line(format_args!("\n{}", output.bold("running, the oldest first")))?;
        let row = |run: &sexton_server::api::Run| {
            vec![
                run.job_key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                run.id.to_string(),
                relative(run.started_at.unwrap_or(run.queued_at), now),
                run.deadline.map_or_else(|| "-".to_owned(), |at| relative(at, now)),
            ]
        };
        let rows = status.running.iter().take(10).map(row).collect();
        output.table(&["job", "run", "since", "deadline"], rows, "")?;
    }
    if !status.next.is_empty() {
        output.line(format_args!("\n{}", output.bold("next")))?;
        let row = |next: &sexton_server::api::NextSlot| {
            vec![next.job_key.to_string(), relative(next.at, now), next.at.to_string()]
        };
        output.table(&["job", "starts", "at"], status.next.iter().map(row).collect(), "")?;
    }
    Ok(())
}

/// What needs a look: the alerts, and what only this moment tells.
fn alerts(status: &Status) -> Vec<String> {
    let mut alerts: Vec<String> = status.alerts.iter().map(|alert| alert.message.clone()).collect();
    if status.ownerless > 0 {
        let what = count(status.ownerless as u64, "running run or open session");
        let cure = match status.phase {
            Phase::Offline => "the next start ends them",
            _ => "the reconciler ends them",
        };
        alerts.push(format!("{what} without a live owner: {cure}"));
    }
    let overdue =
        status.running.iter().filter(|run| run.deadline.is_some_and(|at| at < status.now));
    for run in overdue {
        alerts.push(format!("run {} is past its deadline", run.id));
    }
    alerts
}

fn outbox(status: &Status) -> String {
    let Outbox { pending, oldest_at, dead } = status.outbox;
    let waits = oldest_at.map(|at| format!(", the oldest {}", relative(at, status.now)));
    format!("{pending} pending{}, {dead} dead", waits.unwrap_or_default())
}

fn reaper(status: &Status) -> String {
    let reaper = &status.reaper;
    let archives = format!(
        "{} overdue; {}, {}",
        reaper.overdue,
        count(reaper.archives, "archive"),
        bytes(reaper.archive_bytes)
    );
    match &reaper.last {
        None => format!("has not swept yet; {archives}"),
        Some(last) => {
            let when = relative(last.started_at, status.now);
            let (archived, reaped, held) = (last.archived, last.reaped, last.held);
            format!("swept {when}: {archived} archived, {reaped} deleted, {held} held; {archives}")
        }
    }
}

fn node(status: &Status) -> String {
    let phase = word(&status.phase);
    let Some(node) = &status.node else { return format!("{phase}, no node was ever here") };
    let since = match node.ended_at {
        Some(at) => format!("ended {}", relative(at, status.now)),
        None => format!("since {}", relative(node.started_at, status.now)),
    };
    let (host, pid, epoch, version) = (&node.host, node.pid, &node.epoch, &node.version);
    format!("{phase}, {host} pid {pid}, epoch {epoch}, version {version}, {since}")
}

/// How the life before this one ended, and what became of its work.
fn before(status: &Status) -> Option<String> {
    let before = status.before.as_ref()?;
    let (epoch, ended) = (&before.epoch, relative(before.ended_at?, status.now));
    let mut told = format!("epoch {epoch} ended {ended}, {}", word(&before.reason));
    let parts = [before.drained.as_ref().map(stop::told), before.left_behind.map(left_behind)];
    for part in parts.into_iter().flatten() {
        told.push_str(&format!("; {part}"));
    }
    Some(told)
}

/// What a life left behind, for people.
pub fn left_behind(left: LeftBehind) -> String {
    let LeftBehind { runs, retried, sessions } = left;
    let (runs, sessions) = (count(runs, "run"), count(sessions, "session"));
    format!("left behind {runs} ({retried} tried again) and {sessions}, ended since")
}

fn sessions(status: &Status) -> String {
    let open: u64 = status.sessions.iter().map(|kind| kind.open).sum();
    let ended: u64 = status.sessions.iter().map(|kind| kind.ended).sum();
    let kinds: Vec<String> = status
        .sessions
        .iter()
        .map(|kind| format!("{} {}", kind.open + kind.ended, word(&kind.kind)))
        .collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{open} open, {ended} ended{kinds}")
}

fn runs(status: &Status) -> String {
    let of = |state: RunState| -> u64 {
        status.runs.iter().filter(|count| count.state == state).map(|count| count.count).sum()
    };
    let mut parts: Vec<String> = [RunState::Running, RunState::Queued, RunState::Waiting]
        .into_iter()
        .map(|state| (of(state), state))
        .filter(|(count, state)| *count > 0 || *state == RunState::Running)
        .map(|(count, state)| format!("{count} {}", word(&state)))
        .collect();
    for outcome in Outcome::ALL {
        let count = status.runs.iter().filter(|count| count.outcome == Some(outcome));
        let count: u64 = count.map(|count| count.count).sum();
        if count > 0 {
            parts.push(format!("{count} {}", word(&outcome)));
        }
    }
    parts.join(", ")
}

fn store(status: &Status) -> String {
    let store = &status.store;
    let mut text = bytes(store.store_bytes);
    text.push_str(&format!(", log {}", bytes(store.wal_bytes)));
    if let Some(free) = store.free_bytes {
        text.push_str(&format!(", {} free", bytes(free)));
    }
    if let Some(millis) = store.commit_ms.is_normal().then_some(store.commit_ms) {
        let each = millis / store.transactions.max(1) as f64;
        let each = sexton_domain::duration::Duration::from_millis(each.ceil() as u64);
        let (commits, transactions) = (store.commits, store.transactions);
        text.push_str(&format!(
            ", {commits} commits in {transactions} transactions of {} each",
            rough(each)
        ));
    }
    text
}
