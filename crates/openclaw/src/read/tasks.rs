//! The table of tasks, in the state database and, until 2026.7, in `tasks/runs.sqlite` with fewer columns.

use super::database::Database;
use super::runs;
use super::table::{Columns, Table};
use crate::model::{Process, Tally, Task, TaskStatus};

const TASK_RUNS: Table = Table {
    name: "task_runs",
    key: &["task_id"],
    columns: &[
        "runtime",
        "source_id",
        "child_session_key",
        "run_id",
        "status",
        "created_at",
        "started_at",
        "ended_at",
        "last_event_at",
        "error",
        "terminal_summary",
        "execution_owner_pid",
        "execution_owner_start_identity",
        "detail_json",
    ],
    sizes: &[],
};

/// Hands on the tasks.
pub(super) fn tasks(database: &Database, each: &mut dyn FnMut(Task)) -> Tally {
    database.rows(TASK_RUNS, &mut |row| {
        each(task(row)?);
        Ok(())
    })
}

fn task(row: &Columns<'_, '_>) -> Result<Task, String> {
    let source_id = row.own("source_id");
    let run = match row.json("detail_json")? {
        Some(detail) if detail["kind"] == "cron-run" => {
            Some(runs::entry(&detail, source_id.as_deref())?)
        }
        _ => None,
    };
    Ok(Task {
        id: row.needed("task_id")?.to_owned(),
        runtime: row.needed("runtime")?.to_owned(),
        session_key: row.own("child_session_key").filter(|key| !key.is_empty()),
        run_id: row.own("run_id"),
        status: row.text("status").and_then(status),
        started_at: row.time("started_at").or_else(|| row.time("created_at")),
        ended_at: row.time("ended_at"),
        last_event_at: row.time("last_event_at"),
        error: row.own("error"),
        summary: row.own("terminal_summary"),
        owner: process(row, "execution_owner_pid", Some("execution_owner_start_identity")),
        source_id,
        run,
    })
}

/// A process from the columns of its id and of its start.
pub(super) fn process(row: &Columns<'_, '_>, pid: &str, started: Option<&str>) -> Option<Process> {
    let pid = row.number(pid).and_then(|pid| u32::try_from(pid).ok())?;
    Some(Process { pid, started_ticks: started.and_then(|name| row.count(name)) })
}

fn status(word: &str) -> Option<TaskStatus> {
    Some(match word {
        "queued" => TaskStatus::Queued,
        "running" => TaskStatus::Running,
        "succeeded" => TaskStatus::Succeeded,
        "failed" => TaskStatus::Failed,
        "timed_out" => TaskStatus::TimedOut,
        "cancelled" => TaskStatus::Cancelled,
        "lost" => TaskStatus::Lost,
        _ => return None,
    })
}
