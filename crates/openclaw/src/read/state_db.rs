//! `state/openclaw.sqlite`: jobs, receipts, tasks, lives of the gateway, and who has databases of agents open.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::database::{Database, DatabaseError, Info};
use super::snapshot::Snapshot;
use super::table::Table;
use super::{jobs, runs, tasks};
use crate::finding::Stamp;
use crate::model::{
    Boot, JobRecord, Lease, Place, Receipt, ReceiptStatus, Retained, RunEntry, Tally, Task,
};

/// From 2026.6.1 on. 18 was seen; what is read of jobs and runs stands in 1, 12, 13 and 17 as it does there.
const KNOWN: RangeInclusive<i64> = 1..=18;
/// The versions of the task database of the JSON era are not described.
const TASKS_KNOWN: RangeInclusive<i64> = 0..=i64::MAX;

const JOBS: Table = Table {
    name: "cron_jobs",
    key: &["store_key", "job_id"],
    columns: &["job_json", "state_json", "updated_at"],
    sizes: &[],
};
/// Until 2026.8, beside tasks that do not tell of their run.
const RUN_LOG: Table = Table {
    name: "cron_run_logs",
    key: &["store_key", "job_id", "seq"],
    columns: &["entry_json"],
    sizes: &[],
};
const RECEIPTS: Table = Table {
    name: "cron_run_receipts",
    key: &["receipt_id"],
    columns: &[
        "job_id",
        "status",
        "owner_pid",
        "owner_start_time",
        "started_at_ms",
        "finished_at_ms",
        "error_text",
    ],
    sizes: &[],
};
const BOOTS: Table = Table {
    name: "gateway_boot_lifecycle",
    key: &["boot_id"],
    columns: &["pid", "started_at_ms", "completed_at_ms", "outcome"],
    sizes: &[],
};

const LEASES: Table = Table {
    name: "agent_database_leases",
    key: &["lease_id"],
    columns: &["owner_pid", "owner_start_time"],
    sizes: &[],
};

const MIGRATIONS: Table = Table {
    name: "migration_sources",
    key: &["source_key"],
    columns: &["migration_kind", "removed_source", "imported_at", "report_json"],
    sizes: &[],
};
/// The kind of those that stay until a plugin has taken its part. Of others the hash may be that of a record.
const RETAINED: &str = "deferred-plugin-session-import";

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

    /// See [`Database::integrity`].
    pub fn integrity(&self, limit: u32) -> Vec<String> {
        self.0.integrity(limit)
    }

    /// Hands on the jobs.
    pub fn jobs(&self, each: &mut dyn FnMut(JobRecord)) -> Tally {
        self.0.rows(JOBS, &mut |row| {
            let raw = row.json("job_json")?.ok_or("job_json is not there")?;
            let state = row.json("state_json")?;
            let place = Place::Row(format!("cron_jobs {}", row.needed("job_id")?));
            let mut job = jobs::job(raw, state.as_ref(), place)?;
            job.updated_at = job.updated_at.or_else(|| row.time("updated_at"));
            each(job);
            Ok(())
        })
    }

    /// Hands on the finished runs of the log, each with the name of its row.
    pub fn run_log(&self, each: &mut dyn FnMut(String, RunEntry)) -> Tally {
        self.0.rows(RUN_LOG, &mut |row| {
            let (job, seq) = (row.needed("job_id")?, row.number("seq"));
            let raw = row.json("entry_json")?.ok_or("entry_json is not there")?;
            let entry = runs::entry(&raw, Some(job))?;
            each(format!("{job}, {}", seq.ok_or("seq is no number")?), entry);
            Ok(())
        })
    }

    /// Hands on the receipts.
    pub fn receipts(&self, each: &mut dyn FnMut(Receipt)) -> Tally {
        self.0.rows(RECEIPTS, &mut |row| {
            each(Receipt {
                id: row.needed("receipt_id")?.to_owned(),
                job_id: row.needed("job_id")?.to_owned(),
                status: row.text("status").and_then(receipt_status),
                owner: tasks::process(row, "owner_pid", Some("owner_start_time"))
                    .ok_or("owner_pid is no process id")?,
                started_at: row.time("started_at_ms"),
                finished_at: row.time("finished_at_ms"),
                error: row.own("error_text"),
            });
            Ok(())
        })
    }

    /// Hands on the tasks.
    pub fn tasks(&self, each: &mut dyn FnMut(Task)) -> Tally {
        tasks::tasks(&self.0, each)
    }

    /// Hands on the lives of the gateway.
    pub fn boots(&self, each: &mut dyn FnMut(Boot)) -> Tally {
        self.0.rows(BOOTS, &mut |row| {
            each(Boot {
                id: row.needed("boot_id")?.to_owned(),
                pid: tasks::process(row, "pid", None).ok_or("pid is no process id")?.pid,
                started_at: row.time("started_at_ms"),
                completed_at: row.time("completed_at_ms"),
                outcome: row.own("outcome"),
            });
            Ok(())
        })
    }

    /// Hands on who has databases of agents open.
    pub fn leases(&self, each: &mut dyn FnMut(Lease)) -> Tally {
        self.0.rows(LEASES, &mut |row| {
            let owner = tasks::process(row, "owner_pid", Some("owner_start_time"));
            let owner = owner.ok_or("owner_pid is no process id")?;
            each(Lease { id: row.needed("lease_id")?.to_owned(), owner });
            Ok(())
        })
    }

    /// Hands on the files of sessions that were imported and have to stay as they were.
    pub fn retained(&self, each: &mut dyn FnMut(Retained)) -> Tally {
        self.0.rows(MIGRATIONS, &mut |row| {
            let is_kept = row.text("migration_kind") == Some(RETAINED)
                && row.number("removed_source").is_none_or(|removed| removed == 0);
            if is_kept {
                let report = row.json("report_json")?.ok_or("report_json is not there")?;
                let sources = report["sources"].as_array().ok_or("report_json has no sources")?;
                let sources = sources.iter().map(retained).collect::<Option<_>>();
                let sources = sources.ok_or("report_json has a source without path or identity")?;
                each(Retained { imported_at: row.time("imported_at"), sources });
            }
            Ok(())
        })
    }
}

fn retained(source: &Value) -> Option<(String, Stamp)> {
    let identity = &source["identity"];
    let (bytes, sha256) = (identity["size"].as_u64()?, identity["sha256"].as_str()?.to_owned());
    Some((source["path"].as_str()?.to_owned(), Stamp { bytes, sha256 }))
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
