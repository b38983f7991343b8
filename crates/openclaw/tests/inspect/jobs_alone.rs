//! Folders of 2026.6.1 to 2026.7.1: jobs in the shared database, sessions in files.

use std::fs;

use rusqlite::Connection;
use serde_json::json;
use sexton_openclaw::finding::Code;
use sexton_openclaw::folder::Era;

use crate::folder::{NOW, SESSIONS, STATE, Sick, plain, sqlite};
use crate::mixed::migrate_jobs;
use crate::sqlite_era::sql;

const OLDER: &str = "agents/main/agent/openclaw-agent.sqlite";

fn mixed() -> Sick {
    let sick = plain();
    migrate_jobs(&sick.path(""));
    sick
}

#[test]
fn a_folder_whose_jobs_alone_were_migrated_is_healthy_and_what_is_sick_in_it_is_found() {
    let sick = mixed();
    sick.is(&[]);
    fs::remove_dir_all(sick.path("cron/runs")).unwrap();
    let report = sick.report_at(NOW);
    assert_eq!(report.era, Era::Mixed);
    assert_eq!(report.version.as_deref(), Some("2026.7.1"));
    assert_eq!(report.jobs.map(|jobs| jobs.total), Some(1));
    sick.set_first("status", json!("running"));
    sick.is(&[(Code::Zombie, 1)]);
    assert!(sick.evidence(Code::Zombie).starts_with("the run log says"));
}

/// What a job's row is good for is not known while its job may be in an old file.
#[test]
fn the_rows_of_jobs_that_were_left_behind_are_of_no_deleted_job() {
    let old = |sick: &Sick| {
        sick.edit_rows(|rows| {
            for row in rows.values_mut() {
                let at = row["updatedAt"].as_i64().unwrap() - 3 * 86_400_000;
                row["updatedAt"] = json!(at);
            }
        });
    };
    let orphaned = |sick: &Sick| sick.found().iter().any(|(code, _)| *code == Code::JobRowOrphaned);
    let sick = mixed();
    sql(&sick, STATE, "DELETE FROM cron_jobs");
    old(&sick);
    assert!(!orphaned(&sick), "{:?}", sick.found());
    fs::write(sick.path("cron/jobs.json.migrated"), r#"{"jobs": [{"id""#).unwrap();
    assert!(!orphaned(&sick), "{:?}", sick.found());
    fs::remove_file(sick.path("cron/jobs.json.migrated")).unwrap();
    assert!(orphaned(&sick));
    fs::write(sick.path("cron/jobs-quarantine.json"), r#"{"jobs": [{"job": {"id": "x"}}]}"#)
        .unwrap();
    assert!(!orphaned(&sick));
}

#[test]
fn a_store_that_is_gone_is_named_by_what_the_era_keeps_it_in() {
    let sick = mixed();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(sick.path(&format!("{STATE}{end}")));
    }
    for name in ["jobs.json.migrated", "jobs-state.json.migrated", "jobs.json.bak"] {
        fs::remove_file(sick.path("cron").join(name)).unwrap();
    }
    assert!(sick.found().contains(&(Code::StoreMissing, 1)), "{:?}", sick.found());

    let sick = mixed();
    let task = "CREATE TABLE task_runs (task_id TEXT PRIMARY KEY, runtime TEXT, status TEXT, child_session_key TEXT);
                INSERT INTO task_runs VALUES ('t', 'cron', 'succeeded', 'agent:main:cron:x')";
    sql(&sick, STATE, task);
    fs::remove_dir_all(sick.path(SESSIONS)).unwrap();
    sick.is(&[(Code::StoreMissing, 1)]);
    let report = sick.report_at(NOW);
    let subject = format!("{:?}", report.findings[0].items[0].subject);
    assert!(subject.contains("sessions.json"), "{subject}");
}

/// Of one agent the sessions were migrated, of another not.
#[test]
fn a_database_of_before_sessions_were_kept_in_it_is_no_migration() {
    let sick = sqlite();
    let from = mixed();
    fs::create_dir_all(sick.path("agents/second")).unwrap();
    crate::unpack::unpack(&from.path("agents/main"), &sick.path("agents/second"));
    let older = Connection::open(sick.path("agents/second/agent/openclaw-agent.sqlite")).unwrap();
    older.execute_batch("PRAGMA user_version = 3").unwrap();
    drop(older);
    assert_eq!(sick.report_at(NOW).era, Era::Both);
    let found = sick.found();
    assert!(found.contains(&(Code::HalfMigrated, 1)), "{found:?}");
    assert!(sick.evidence(Code::HalfMigrated).contains("no database of sessions"));
    assert!(from.path(OLDER).exists());
}
