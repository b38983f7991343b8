//! `state/openclaw.sqlite`, and the older `tasks/runs.sqlite`: jobs, receipts, tasks, lives of the gateway.

use std::ops::RangeInclusive;

use super::database::{Columns, Database, DatabaseError, Info, Table};
use super::snapshot::Snapshot;
use super::{jobs, runs};
use crate::model::{
    Boot, JobRecord, Place, Process, Receipt, ReceiptStatus, Tally, Task, TaskStatus,
};

/// Versions that were seen or are described: 17 and 18.
const KNOWN: RangeInclusive<i64> = 1..=18;
/// The task database of the JSON era counts anew.
const TASKS_KNOWN: RangeInclusive<i64> = 0..=18;

/// The state database.
#[derive(Debug)]
pub struct StateDb(Database);

impl StateDb {
    /// Opens a copy.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn open(snapshot: &Snapshot) -> Result<Self, DatabaseError> {
        Database::open(snapshot, KNOWN).map(Self)
    }

    /// Opens a copy of `tasks/runs.sqlite`, which has tasks only.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn open_tasks(snapshot: &Snapshot) -> Result<Self, DatabaseError> {
        Database::open(snapshot, TASKS_KNOWN).map(Self)
    }

    /// What it says about itself.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// See [`Database::damage`].
    pub fn damage(&self) -> Vec<String> {
        self.0.damage()
    }

    /// Hands on the jobs, in their order.
    pub fn jobs(&self, each: &mut dyn FnMut(JobRecord)) -> Tally {
        let query = "SELECT * FROM cron_jobs ORDER BY sort_order, job_id";
        self.0.rows(table("cron_jobs", &["store_key", "job_id"], query), &mut |row| {
            let raw = row.json("job_json").ok_or("job_json is no text")??;
            let state = row.json("state_json").transpose()?;
            let place = Place::Row(format!("cron_jobs {}", row.needed("job_id")?));
            let mut job = jobs::job(raw, state.as_ref(), place)?;
            job.updated_at = job.updated_at.or_else(|| row.time("updated_at"));
            each(job);
            Ok(())
        })
    }

    /// Hands on the receipts.
    pub fn receipts(&self, each: &mut dyn FnMut(Receipt)) -> Tally {
        let query = "SELECT * FROM cron_run_receipts ORDER BY started_at_ms";
        self.0.rows(table("cron_run_receipts", &["receipt_id"], query), &mut |row| {
            each(Receipt {
                id: row.needed("receipt_id")?,
                job_id: row.needed("job_id")?,
                status: row.text("status").and_then(|word| receipt_status(&word)),
                owner: process(row, "owner_pid", "owner_start_time")
                    .ok_or("owner_pid is no process id")?,
                started_at: row.time("started_at_ms"),
                finished_at: row.time("finished_at_ms"),
                error: row.text("error_text"),
            });
            Ok(())
        })
    }

    /// Hands on the tasks.
    pub fn tasks(&self, each: &mut dyn FnMut(Task)) -> Tally {
        let query = "SELECT * FROM task_runs";
        self.0.rows(table("task_runs", &["task_id"], query), &mut |row| {
            each(task(row)?);
            Ok(())
        })
    }

    /// Hands on the lives of the gateway.
    pub fn boots(&self, each: &mut dyn FnMut(Boot)) -> Tally {
        let query = "SELECT * FROM gateway_boot_lifecycle ORDER BY started_at_ms";
        self.0.rows(table("gateway_boot_lifecycle", &["boot_id"], query), &mut |row| {
            each(Boot {
                id: row.needed("boot_id")?,
                pid: process(row, "pid", "").ok_or("pid is no process id")?.pid,
                started_at: row.time("started_at_ms"),
                completed_at: row.time("completed_at_ms"),
                outcome: row.text("outcome"),
            });
            Ok(())
        })
    }
}

fn table<'a>(name: &'a str, key: &'a [&'a str], query: &'a str) -> Table<'a> {
    Table { name, key, query, parameters: &[] }
}

fn task(row: &Columns<'_, '_>) -> Result<Task, String> {
    let source_id = row.text("source_id");
    let run = match row.json("detail_json").transpose()? {
        Some(detail) if detail["kind"] == "cron-run" => {
            Some(runs::entry(&detail, source_id.as_deref())?)
        }
        _ => None,
    };
    Ok(Task {
        id: row.needed("task_id")?,
        runtime: row.needed("runtime")?,
        session_key: row.text("child_session_key").filter(|key| !key.is_empty()),
        run_id: row.text("run_id"),
        status: row.text("status").and_then(|word| task_status(&word)),
        started_at: row.time("started_at").or_else(|| row.time("created_at")),
        ended_at: row.time("ended_at"),
        last_event_at: row.time("last_event_at"),
        error: row.text("error"),
        summary: row.text("terminal_summary"),
        owner: process(row, "execution_owner_pid", "execution_owner_start_identity"),
        source_id,
        run,
    })
}

fn process(row: &Columns<'_, '_>, pid: &str, started: &str) -> Option<Process> {
    let pid = row.number(pid).and_then(|pid| u32::try_from(pid).ok())?;
    let started_ticks = row.number(started).and_then(|ticks| u64::try_from(ticks).ok());
    Some(Process { pid, started_ticks })
}

fn receipt_status(word: &str) -> Option<ReceiptStatus> {
    Some(match word {
        "running" => ReceiptStatus::Running,
        "ok" => ReceiptStatus::Ok,
        "error" => ReceiptStatus::Error,
        "skipped" => ReceiptStatus::Skipped,
        "interrupted" => ReceiptStatus::Interrupted,
        "superseded" => ReceiptStatus::Superseded,
        _ => return None,
    })
}

fn task_status(word: &str) -> Option<TaskStatus> {
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
