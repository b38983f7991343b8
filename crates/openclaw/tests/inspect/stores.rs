//! Stores that are gone or cannot be read, and the copies of them that lie beside.

use std::fs;

use rusqlite::Connection;
use serde_json::json;
use sexton_openclaw::finding::Code;

use crate::folder::{AGENT, NOW, SESSIONS, STATE, Sick, plain, sqlite};

/// A store that was gone altogether counted as nothing wrong.
#[test]
fn a_store_that_others_speak_of_and_that_is_gone_is_found() {
    let index = format!("{SESSIONS}/sessions.json");
    let cases = [
        (sqlite(), STATE, "agent main has a database"),
        (sqlite(), AGENT, "tells of runs of main"),
        (plain(), &index, "11 transcripts beside"),
        (plain(), "cron/jobs.json", "cron/jobs-state.json is there"),
    ];
    for (sick, store, says) in cases {
        fs::rename(sick.path(store), sick.path(&format!("{store}.old"))).unwrap();
        let found = sick.found();
        assert!(found.contains(&(Code::StoreMissing, 1)), "{store}: {found:?}");
        let evidence = sick.evidence(Code::StoreMissing);
        assert!(evidence.contains(says), "{store}: {evidence}");
        let _ = fs::remove_file(sick.path("cron/jobs.json.bak"));
        assert!(sick.help(Code::StoreMissing).ends_with(&format!("{store}.old")), "{store}");
        fs::remove_file(sick.path(&format!("{store}.old"))).unwrap();
        assert!(sick.help(Code::StoreMissing).ends_with("from a backup"), "{store}");
    }
}

/// Tasks are cleaned up after a week; receipts outlive them.
#[test]
fn receipts_alone_tell_of_an_agent_whose_database_is_gone() {
    let sick = sqlite();
    fs::remove_file(sick.path(AGENT)).unwrap();
    let state = Connection::open(sick.path(STATE)).unwrap();
    state.execute_batch("DELETE FROM task_runs; DELETE FROM cron_run_receipts").unwrap();
    assert_eq!(sick.found(), []);
    state
        .execute_batch(
            "INSERT INTO cron_run_receipts (receipt_id, store_key, job_id, config_revision, agent_id, status,
               owner_pid, started_at_ms, finished_at_ms)
             SELECT 'r1', 's', job_id, 'c', 'main', 'ok', 4000000, 1795198290000, 1795198290001
             FROM cron_jobs LIMIT 1",
        )
        .unwrap();
    assert_eq!(sick.found(), [(Code::StoreMissing, 1)]);
}

/// The run logs alone knew that there had been sessions, and nothing was wrong.
#[test]
fn run_logs_tell_of_an_agent_whose_sessions_are_gone() {
    let sick = plain();
    fs::remove_dir_all(sick.path("agents")).unwrap();
    sick.is(&[(Code::StoreMissing, 1)]);
    assert!(sick.evidence(Code::StoreMissing).contains("tells of runs of main"));
}

/// An older build began with an empty store beside the real one: nothing was wrong.
#[test]
fn jobs_that_only_a_copy_or_the_file_of_the_other_era_has_are_found() {
    let sick = sqlite();
    let copy = format!("{STATE}.corrupt.20261120");
    fs::copy(sick.path(STATE), sick.path(&copy)).unwrap();
    sick.is(&[]);
    Connection::open(sick.path(STATE)).unwrap().execute_batch("DELETE FROM cron_jobs").unwrap();
    assert!(sick.found().contains(&(Code::JobsNotMigrated, 1)), "{:?}", sick.found());

    let sick = sqlite();
    let jobs = fs::read(plain().path("cron/jobs.json")).unwrap();
    fs::create_dir_all(sick.path("cron")).unwrap();
    fs::write(sick.path("cron/jobs.json"), jobs).unwrap();
    assert!(sick.found().contains(&(Code::JobsNotMigrated, 1)), "{:?}", sick.found());
}

/// The same of an agent's database was no finding.
#[test]
fn an_agents_database_without_a_trace_of_sessions_beside_a_copy_that_has_some_is_found() {
    let sick = sqlite();
    let copy = format!("{AGENT}.bak");
    fs::copy(sick.path(AGENT), sick.path(&copy)).unwrap();
    sick.is(&[]);
    let database = Connection::open(sick.path(AGENT)).unwrap();
    database.execute_batch("DELETE FROM session_nodes").unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    // What was taken out one by one has left its archives.
    assert!(sick.found().iter().all(|(code, _)| *code != Code::StoreEmptied), "{:?}", sick.found());
    for table in ["session_windows", "transcript_events", "session_transcript_archives"] {
        database.execute_batch(&format!("DELETE FROM {table}")).unwrap();
    }
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(database);
    sick.is(&[(Code::StoreEmptied, 1)]);
    let evidence = sick.evidence(Code::StoreEmptied);
    assert!(evidence.ends_with(&format!("{copy} has 1")), "{evidence}");
    fs::copy(sick.path(AGENT), sick.path(&copy)).unwrap();
    sick.is(&[]);
}

/// Its sessions may have gone long before the database came.
#[test]
fn an_agent_that_only_migrated_run_logs_name_has_not_lost_a_store() {
    let sick = sqlite();
    for folder in ["agents/scout/sessions", "cron/runs"] {
        fs::create_dir_all(sick.path(folder)).unwrap();
    }
    let run = json!({
        "ts": 1_795_197_000_000_i64, "jobId": "j1", "action": "finished", "status": "ok",
        "sessionId": "s1", "sessionKey": "agent:scout:cron:j1:run:s1",
    });
    let log = sick.path("cron/runs/j1.jsonl");
    fs::write(&log, format!("{run}\n")).unwrap();
    assert_eq!(sick.found(), [(Code::StoreMissing, 1)]);
    fs::rename(&log, sick.path("cron/runs/j1.jsonl.migrated")).unwrap();
    sick.is(&[]);
}

/// Nobody speaks of these.
#[test]
fn a_folder_that_has_not_begun_to_store_is_not_said_to_have_lost_anything() {
    let sick = plain();
    for gone in ["agents", "cron"] {
        fs::remove_dir_all(sick.path(gone)).unwrap();
    }
    fs::create_dir_all(sick.path(SESSIONS)).unwrap();
    sick.is(&[]);
    let sick = sqlite();
    fs::create_dir_all(sick.path("agents/srv/agent")).unwrap();
    fs::create_dir_all(sick.path("agents/srv/sessions")).unwrap();
    sick.is(&[]);
}

/// It was a remark beside "nothing is wrong".
#[test]
fn a_config_or_a_value_of_it_that_cannot_be_read_is_found() {
    let sick = plain();
    fs::write(sick.path("openclaw.json"), "{ gateway: {").unwrap();
    sick.is(&[(Code::ConfigUnreadable, 1)]);
    assert!(sick.help(Code::ConfigUnreadable).ends_with("openclaw.json.last-good"));
    fs::remove_file(sick.path("openclaw.json.last-good")).unwrap();
    assert_eq!(sick.help(Code::ConfigUnreadable), "mend it by hand");
    let sick = plain();
    sick.edit("openclaw.json", |config| {
        config["cron"]["sessionRetention"] = json!("soon");
        config["gateway"]["port"] = json!(70_000);
    });
    sick.is(&[(Code::ConfigUnreadable, 2)]);
    let evidence = sick.evidence(Code::ConfigUnreadable);
    assert!(evidence.contains("cron.sessionRetention is no duration"), "{evidence}");
}

/// Only numbered backups of an index were named.
#[test]
fn a_copy_beside_a_store_that_cannot_be_read_is_named() {
    let index = format!("{SESSIONS}/sessions.json");
    let cases = [
        (plain(), "cron/jobs.json", "{", ".bak", Code::RecordUnreadable),
        (plain(), &index, "", ".bak", Code::IndexUnreadable),
        (sqlite(), STATE, "no database", ".corrupt-1764000000", Code::DatabaseUnreadable),
        (sqlite(), AGENT, "no database", "-old", Code::DatabaseUnreadable),
    ];
    for (sick, store, bytes, ending, code) in cases {
        let copy = format!("{store}{ending}");
        fs::rename(sick.path(store), sick.path(&copy)).unwrap();
        fs::write(sick.path(store), bytes).unwrap();
        let name = copy.rsplit('/').next().unwrap();
        assert!(sick.help(code).contains(name), "{store}: {}", sick.help(code));
    }
}

/// A newer version was advised for it.
#[test]
fn a_database_without_a_version_is_none_of_openclaw() {
    let sick = sqlite();
    for database in [STATE, AGENT] {
        fs::remove_file(sick.path(database)).unwrap();
        let other = Connection::open(sick.path(database)).unwrap();
        other.execute_batch("CREATE TABLE other (x)").unwrap();
    }
    assert!(sick.found().contains(&(Code::DatabaseUnreadable, 2)));
    assert!(sick.evidence(Code::DatabaseUnreadable).contains("no database of OpenClaw"));
    assert!(!sick.help(Code::DatabaseUnreadable).contains("newer version"));
}

/// A folder that never had a job was said to have none that could be read.
#[test]
fn no_jobs_are_told_from_jobs_that_could_not_be_read() {
    let total = |sick: &Sick| sick.report_at(NOW).jobs.map(|jobs| jobs.total);
    assert_eq!(total(&Sick::copy("2026.5.6-reset")), Some(0));
    let sick = plain();
    assert_eq!(total(&sick), Some(1));
    fs::write(sick.path("cron/jobs.json"), "{").unwrap();
    assert_eq!(total(&sick), None);
    fs::remove_file(sick.path("cron/jobs.json")).unwrap();
    assert_eq!(total(&sick), None);
    let sick = sqlite();
    fs::remove_file(sick.path(STATE)).unwrap();
    assert_eq!(total(&sick), None);
}
