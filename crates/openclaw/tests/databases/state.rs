//! The state database and that of tasks, healthy and sick.

use rusqlite::Connection;
use sexton_openclaw::model::{JobRecord, Process, ReceiptStatus, RunStatus, Task, TaskStatus};
use sexton_openclaw::read::state_db::StateDb;

use crate::make::{Db, JOB, SESSION, places};

fn jobs(db: &Db) -> (Vec<JobRecord>, Vec<String>) {
    let mut jobs = Vec::new();
    let tally = db.read_state().jobs(&mut |job| jobs.push(job));
    assert_eq!(tally.read, jobs.len() as u64);
    (jobs, places(&tally.dropped).into_iter().map(str::to_owned).collect())
}

fn tasks(db: &StateDb) -> (Vec<Task>, Vec<String>) {
    let mut tasks = Vec::new();
    let tally = db.tasks(&mut |task| tasks.push(task));
    assert_eq!(tally.read, tasks.len() as u64);
    (tasks, places(&tally.dropped).into_iter().map(str::to_owned).collect())
}

#[test]
fn the_healthy_one_says_what_it_is() {
    let db = Db::state().read_state();
    let info = db.info();
    assert_eq!((info.user_version, info.page_count, info.freelist_count), (18, 403, 5));
    assert_eq!(info.app_version.as_deref(), Some("2026.9.6"));
    assert_eq!(db.integrity(10), [""; 0]);
}

#[test]
fn the_jobs_of_the_healthy_one_are_read_with_their_state() {
    let (jobs, dropped) = jobs(&Db::state());
    assert_eq!((jobs.len(), dropped.len()), (4, 0));
    let job = jobs.iter().find(|job| job.id == JOB).unwrap();
    assert_eq!((job.name.as_deref(), job.enabled), (Some("t1"), true));
    assert_eq!(job.state.last_run_at.unwrap().as_millisecond(), 1_795_197_791_608);
    assert_eq!(job.state.last_duration_ms, Some(5250));
    assert!(job.updated_at.is_some());
    assert_eq!(jobs.iter().filter(|job| job.declaration_key.is_some()).count(), 3);
    assert_eq!(jobs.iter().filter(|job| job.enabled).count(), 3);
    assert!(jobs.iter().all(|job| job.schedule.is_ok()));
}

#[test]
fn the_tasks_of_the_healthy_one_are_read_with_their_runs() {
    let (tasks, dropped) = tasks(&Db::state().read_state());
    assert_eq!((tasks.len(), dropped.len()), (11, 0));
    let first = tasks.iter().find(|task| task.source_id.as_deref() == Some(JOB)).unwrap();
    assert_eq!((first.runtime.as_str(), first.status), ("cron", Some(TaskStatus::Succeeded)));
    assert_eq!(
        first.session_key.as_deref(),
        Some(&*format!("agent:main:cron:{JOB}:run:{SESSION}"))
    );
    let run = first.run.as_ref().unwrap();
    assert_eq!((run.job_id.as_str(), run.status), (JOB, Some(RunStatus::Ok)));
    assert_eq!((run.session_id.as_deref(), run.duration_ms), (Some(SESSION), Some(5250)));
    assert_eq!(run.usage.unwrap().input, 100);
    assert!(tasks.iter().all(|task| task.run.is_some() && task.ended_at.is_some()));
}

#[test]
fn receipts_boots_and_databases_of_the_healthy_one_are_read() {
    let db = Db::state().read_state();
    let mut receipts = Vec::new();
    let tally = db.receipts(&mut |receipt| receipts.push(receipt));
    assert_eq!((tally.read, tally.dropped.len()), (11, 0));
    assert!(receipts.iter().all(|receipt| receipt.status == Some(ReceiptStatus::Ok)));
    assert_eq!(receipts[0].owner, Process { pid: 14424, started_ticks: Some(50474) });
    assert_eq!(receipts[0].finished_at.unwrap().as_millisecond(), 1_795_197_796_858);
    let mut boots = Vec::new();
    let tally = db.boots(&mut |boot| boots.push(boot));
    assert_eq!((tally.read, tally.dropped.len()), (11, 0));
    assert_eq!((boots[0].pid, boots[0].outcome.as_deref()), (14424, Some("clean_stop")));
    assert!(boots.iter().all(|boot| boot.started_at < boot.completed_at));
}

#[test]
fn a_row_that_cannot_be_read_is_dropped_with_its_key_and_the_others_are_read() {
    let db = Db::state();
    db.sql(&format!(
        "UPDATE cron_jobs SET job_json = '{{\"id\":' WHERE job_id = '{JOB}';
         UPDATE cron_jobs SET state_json = '[' WHERE job_id LIKE '87a4%';
         UPDATE cron_run_receipts SET owner_pid = -5 WHERE job_id = '{JOB}';
         UPDATE task_runs SET detail_json = '{{\"kind\":\"cron-run\"' WHERE source_id = '{JOB}';
         UPDATE gateway_boot_lifecycle SET pid = 1 << 40 WHERE pid = 14424"
    ));
    let (jobs, dropped) = jobs(&db);
    assert_eq!(jobs.len(), 2);
    assert!(dropped.iter().all(|place| place.starts_with("cron_jobs ")), "{dropped:?}");
    assert!(dropped.iter().any(|place| place.ends_with(JOB)), "{dropped:?}");
    let db = db.read_state();
    let (read, dropped) = tasks(&db);
    assert_eq!((read.len(), dropped.len()), (10, 1));
    assert_eq!(dropped, ["task_runs e9e916ea-b020-41bb-9174-6f157345535a"]);
    let receipts = db.receipts(&mut |_| {});
    assert_eq!((receipts.read, receipts.dropped.len()), (10, 1));
    let boots = db.boots(&mut |_| {});
    assert_eq!((boots.read, boots.dropped.len()), (10, 1));
    assert_eq!(boots.dropped[0].reason, "pid is no process id");
}

#[test]
fn words_that_nobody_knows_are_no_status() {
    let db = Db::state();
    db.sql("UPDATE task_runs SET status = 'dreaming', source_id = NULL, detail_json = NULL");
    let (tasks, dropped) = tasks(&db.read_state());
    assert_eq!((tasks.len(), dropped.len()), (11, 0));
    assert!(tasks.iter().all(|task| task.status.is_none() && task.run.is_none()));
}

/// A process that was started again has the same id and another start.
#[test]
fn the_owner_of_a_running_task_and_of_a_running_receipt_is_read() {
    let db = Db::state();
    db.sql(&format!(
        "INSERT INTO cron_run_receipts (receipt_id, store_key, job_id, config_revision, agent_id, status, owner_pid, started_at_ms)
         VALUES ('r1', 's', '{JOB}', 'c', 'main', 'running', 77, 1795198290000);
         INSERT INTO task_runs (task_id, runtime, owner_key, scope_kind, task, status, delivery_status, notify_policy,
           created_at, execution_owner_pid, execution_owner_start_identity)
         VALUES ('t1', 'cli', '', 'system', 'x', 'running', 'n', 'silent', 1795198290000, 78, 12345)"
    ));
    let db = db.read_state();
    let mut running = Vec::new();
    db.receipts(&mut |receipt| {
        if receipt.status == Some(ReceiptStatus::Running) {
            running.push((receipt.id, receipt.owner, receipt.finished_at));
        }
    });
    assert_eq!(running, [("r1".to_owned(), Process { pid: 77, started_ticks: None }, None)]);
    let (tasks, _) = tasks(&db);
    let task = tasks.iter().find(|task| task.status == Some(TaskStatus::Running)).unwrap();
    assert_eq!(task.owner, Some(Process { pid: 78, started_ticks: Some(12345) }));
    assert_eq!(task.started_at.unwrap().as_millisecond(), 1_795_198_290_000);
}

#[test]
fn the_task_database_of_the_older_era_is_read_with_the_columns_that_it_has() {
    let db = Db::of(b"");
    let connection = Connection::open(db.path()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE task_runs (task_id TEXT PRIMARY KEY, runtime TEXT, source_id TEXT, status TEXT, created_at REAL, error);
             INSERT INTO task_runs VALUES ('a', 'cron', 'job', 'lost', 1795198290000.5, 'backing session missing');
             INSERT INTO task_runs VALUES ('b', 5, 'job', 'lost', 'yesterday', x'00');
             INSERT INTO task_runs VALUES ('c', x'0102', NULL, NULL, NULL, NULL);",
        )
        .unwrap();
    drop(connection);
    let database = StateDb::open_tasks(&db.snapshot()).unwrap();
    let (tasks, dropped) = tasks(&database);
    assert_eq!((tasks.len(), tasks[0].status), (2, Some(TaskStatus::Lost)));
    assert_eq!(tasks[0].started_at.unwrap().as_millisecond(), 1_795_198_290_000);
    assert_eq!(
        (tasks[0].error.as_deref(), tasks[0].ended_at),
        (Some("backing session missing"), None)
    );
    assert_eq!((tasks[1].started_at, tasks[1].error.as_deref()), (None, None));
    assert_eq!(dropped, ["task_runs c"]);
    assert_eq!(database.jobs(&mut |_| panic!()).read, 0);
}
