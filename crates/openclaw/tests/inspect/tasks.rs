//! Tasks that contradict the history: their own bookkeeper lost sight of runs that others know the end of.

use std::fs;

use rusqlite::Connection;
use sexton_openclaw::finding::Code;
use sexton_openclaw::read::runs;

use crate::folder::{STATE, Sick, plain, sqlite};

const JOB: &str = "06556bc8-5dc4-4d2c-b101-9ea521072eb9";

fn sql(sick: &Sick, statements: &str) {
    let database = Connection::open(sick.path(STATE)).unwrap();
    database.execute_batch(statements).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// A crash leaves the task of a run as it was, without the detail that is written at the end.
#[test]
fn a_task_without_detail_ends_as_the_receipt_of_its_run_says() {
    for (status, receipt, says) in [
        ("running", "status = 'ok'", "the receipt says succeeded"),
        ("lost", "status = 'ok'", "the receipt says succeeded"),
        ("running", "status = 'error', error_text = 'boom'", "the receipt says failed"),
        ("running", "status = 'interrupted'", "the interrupted receipt says failed"),
    ] {
        let sick = sqlite();
        sql(&sick, &format!(
            "UPDATE task_runs SET status = '{status}', detail_json = NULL, terminal_summary = NULL, ended_at = NULL,
               error = 'backing session missing' WHERE source_id = '{JOB}';
             UPDATE cron_run_receipts SET {receipt} WHERE job_id = '{JOB}'"
        ));
        sick.is(&[(Code::TaskContradicted, 1)]);
        let evidence = sick.evidence(Code::TaskContradicted);
        assert!(evidence.contains(status) && evidence.contains(says), "{evidence}");
    }
}

/// The run's id names the receipt, whatever the task says of its start.
#[test]
fn a_task_whose_run_is_the_receipt_itself_ends_with_that() {
    for run in ["r1", &format!("cron:{JOB}:1795190000000:r1")] {
        let sick = sqlite();
        sql(&sick, &format!(
            "UPDATE task_runs SET status = 'running', detail_json = NULL, ended_at = NULL, run_id = '{run}',
               started_at = started_at - 5 WHERE source_id = '{JOB}';
             UPDATE cron_run_receipts SET receipt_id = 'r1' WHERE job_id = '{JOB}'"
        ));
        sick.is(&[(Code::TaskContradicted, 1)]);
    }
}

/// What nobody knows the end of stays: a lost task of an interrupted receipt, and one of another run.
#[test]
fn a_task_that_no_record_knows_the_end_of_is_left_alone() {
    let sick = sqlite();
    sql(&sick, &format!(
        "UPDATE task_runs SET status = 'lost', detail_json = NULL, ended_at = NULL WHERE source_id = '{JOB}';
         UPDATE cron_run_receipts SET status = 'interrupted' WHERE job_id = '{JOB}'"
    ));
    sick.is(&[]);
    let sick = sqlite();
    sql(&sick, &format!(
        "UPDATE task_runs SET status = 'running', detail_json = NULL, ended_at = NULL,
           run_id = 'cron:{JOB}:1795197791609', started_at = 1795197791609 WHERE source_id = '{JOB}'"
    ));
    sick.is(&[]);
}

/// In the JSON era the run log knows, by the start of the run.
#[test]
fn a_task_of_the_json_era_ends_as_the_run_log_says() {
    const JOB: &str = "1e0faea8-493d-4ba7-96eb-5c51b3d0e63f";
    for (status, key) in [("lost", format!("agent:main:cron:{JOB}")), ("running", String::new())] {
        let sick = plain();
        let log = fs::read(sick.path(&format!("cron/runs/{JOB}.jsonl"))).unwrap();
        let mut entries = Vec::new();
        runs::runs(&log[..], &mut |_, entry| entries.push(entry)).unwrap();
        let began = entries[0].run_at.unwrap().as_millisecond();
        fs::create_dir_all(sick.path("tasks")).unwrap();
        Connection::open(sick.path("tasks/runs.sqlite"))
            .unwrap()
            .execute_batch(&format!(
                "CREATE TABLE task_runs (task_id TEXT PRIMARY KEY, runtime TEXT, source_id TEXT, child_session_key TEXT,
                   run_id TEXT, status TEXT, created_at INTEGER, started_at INTEGER, ended_at INTEGER,
                   last_event_at INTEGER, cleanup_after INTEGER, error TEXT, terminal_summary TEXT);
                 INSERT INTO task_runs VALUES ('k1', 'cron', '{JOB}', nullif('{key}', ''), 'cron:{JOB}:{began}', '{status}',
                   {began} + 7, {began} + 7, NULL, {began} + 7, NULL, NULL, NULL)"
            ))
            .unwrap();
        sick.is(&[(Code::TaskContradicted, 1)]);
        assert!(sick.evidence(Code::TaskContradicted).contains("run log says succeeded"));
    }
}
