//! Folders and files that links lead to, within the folder: inspect, heal and undo see the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;
use sexton_openclaw::finding::{Code, Subject};

use crate::folder::{AGENT, NOW, SESSIONS, STATE, Sick, plain, sqlite};

/// A transcript of the folder of the JSON era.
const TRANSCRIPT: &str = "5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl";
/// Where what is linked lies.
const ELSEWHERE: &str = "elsewhere";

/// Puts a file or folder elsewhere in the folder, and a link in its place.
fn link(sick: &Sick, name: &str) {
    let real = sick.path(ELSEWHERE).join(Path::new(name).file_name().unwrap());
    fs::create_dir_all(sick.path(ELSEWHERE)).unwrap();
    fs::rename(sick.path(name), &real).unwrap();
    symlink(&real, sick.path(name)).unwrap();
}

fn add_damaged_line(sick: &Sick) {
    let mut text = fs::read(sick.session_file(TRANSCRIPT)).unwrap();
    text.extend_from_slice(b"undefined\n");
    fs::write(sick.session_file(TRANSCRIPT), text).unwrap();
}

/// Heal left everything out that inspect had promised: "is reached by a link".
#[test]
fn a_linked_folder_of_sessions_is_healed_where_it_lies() {
    let sick = plain();
    link(&sick, SESSIONS);
    assert_eq!(sick.found(), []);
    sick.set_first("status", json!("running"));
    sick.add_runs(2, 25);
    let run = "00000000-0000-4000-8000-000000000000";
    let header = json!({"type": "session", "version": 3, "id": run, "timestamp": "2026-11-19T17:00:00.000Z"});
    fs::write(sick.session_file(&format!("{run}.jsonl")), format!("{header}\n")).unwrap();
    add_damaged_line(&sick);
    fs::write(sick.session_file("sessions.json.lock"), "{\"pid\":4194305}").unwrap();
    let temp = sick.session_file("sessions.json.7.5b0f7ad2-4a2c-4f0e-9a53-0a3f5cf2f001.tmp");
    fs::write(&temp, "{").unwrap();
    sick.age(&temp);
    sick.is(&[
        (Code::Zombie, 1),
        (Code::RunOverdue, 2),
        (Code::LinesDamaged, 1),
        (Code::StaleTemp, 1),
        (Code::StaleLock, 1),
    ]);
}

#[test]
fn a_linked_index_and_a_linked_transcript_are_healed_where_they_lie_and_stay_linked() {
    let sick = plain();
    link(&sick, &format!("{SESSIONS}/sessions.json"));
    link(&sick, &format!("{SESSIONS}/{TRANSCRIPT}"));
    sick.set_first("status", json!("running"));
    add_damaged_line(&sick);
    sick.is(&[(Code::Zombie, 1), (Code::LinesDamaged, 1), (Code::FileLinked, 2)]);
}

/// A link cannot be archived in the place of what it leads to: inspect promised it, and heal left it out.
#[test]
fn a_linked_transcript_that_would_be_archived_is_for_a_person() {
    let sick = plain();
    sick.add_runs(1, 25);
    let run = format!("{SESSIONS}/00000000-0000-4000-8000-000000000000.jsonl");
    fs::write(sick.path(&run), "{}\n").unwrap();
    link(&sick, &run);
    let found = sick.found();
    assert!(found.contains(&(Code::RunOverdue, 1)), "{found:?}");
    assert!(sick.help(Code::RunOverdue).contains("is no plain file"));
    sick.is(&found);
}

/// An index that the config puts outside of the folder is read, and not written to.
#[test]
fn a_store_outside_of_the_folder_is_for_a_person() {
    let sick = plain();
    let out = sick.root().parent().unwrap().join("out");
    fs::rename(sick.path(SESSIONS), &out).unwrap();
    sick.edit("openclaw.json", |config| {
        config["session"] = json!({"store": out.join("sessions.json")});
    });
    let index = out.join("sessions.json");
    let mut rows: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let first = rows.as_object().unwrap().keys().next().unwrap().clone();
    rows[&first]["status"] = json!("running");
    fs::write(&index, rows.to_string()).unwrap();
    sick.is(&[(Code::Zombie, 1)]);
    assert!(sick.help(Code::Zombie).contains("not within the folder"));
}

/// The node of a run that began a day before the folder's last sign of life.
fn add_overdue(sick: &Sick) {
    let id = "00000000-0000-4000-8000-000000000000";
    let key = format!("agent:main:cron:06556bc8-5dc4-4d2c-b101-9ea521072eb9:run:{id}");
    let at = 1_795_198_700_000_i64 - 25 * 3_600_000;
    let entry = json!({"sessionId": id, "updatedAt": at, "status": "done", "startedAt": at});
    let header =
        json!({"type": "session", "version": 4, "id": id, "timestamp": "2026-11-19T17:05:57.043Z"});
    let database = Connection::open(sick.path(AGENT)).unwrap();
    let insert = |sql: &str, text: &str| {
        database.execute(sql, (id, &key, at, text)).unwrap();
    };
    insert(
        "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, status, created_via)
         VALUES (?2, ?1, ?4, ?3, 'done', 'cron')",
        &entry.to_string(),
    );
    insert(
        "INSERT INTO session_windows (session_id, session_key, reason, created_at, updated_at, started_at, status)
         VALUES (?1, ?2, 'initial', ?3, ?3, ?3, ?4)",
        "done",
    );
    database
        .execute(
            "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?1, 0, ?2, ?3)",
            (id, header.to_string(), at),
        )
        .unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// Archives of a database are published among the sessions, wherever those lie.
#[test]
fn archives_of_a_database_go_to_the_linked_folder_of_sessions() {
    let sick = sqlite();
    link(&sick, SESSIONS);
    add_overdue(&sick);
    sick.is(&[(Code::RunOverdue, 1)]);
    let sick = sqlite();
    link(&sick, "agents/main/agent");
    add_overdue(&sick);
    sick.is(&[(Code::RunOverdue, 1)]);
    assert!(sick.help(Code::RunOverdue).contains("is reached by a link"));
}

#[test]
fn stores_with_a_second_name_are_found() {
    let (json, sqlite) = (plain(), sqlite());
    for (sick, store) in [
        (&json, "cron/jobs.json"),
        (&json, "cron/jobs-state.json"),
        (&json, "cron/runs/1e0faea8-493d-4ba7-96eb-5c51b3d0e63f.jsonl"),
        (&sqlite, STATE),
        (&sqlite, AGENT),
    ] {
        let other = sick.path("second-name");
        fs::hard_link(sick.path(store), &other).unwrap();
        sick.is(&[(Code::FileLinked, 1)]);
        fs::remove_file(other).unwrap();
        sick.is(&[]);
    }
}

/// What a folder of another user held was not there, and nothing was wrong. (A link that leads to itself cannot
/// be entered by anybody.)
#[test]
fn a_folder_that_cannot_be_looked_into_is_found_and_nothing_is_said_of_what_it_holds() {
    for (sick, folders) in [
        (plain(), &["cron", "cron/runs", "agents/main/sessions", "agents/main", "agents"][..]),
        (sqlite(), &["state", "agents/main/agent", "agents/main", "agents"]),
    ] {
        for folder in folders {
            let (path, aside) = (sick.path(folder), sick.path("aside"));
            fs::rename(&path, &aside).unwrap();
            symlink(&path, &path).unwrap();
            let report = sick.report_at(NOW);
            let subjects = report.findings.iter().flat_map(|finding| {
                finding.items.iter().map(|item| (finding.code, item.subject.clone()))
            });
            let barred = (Code::RecordUnreadable, Subject::File(folder.into()));
            assert_eq!(subjects.collect::<Vec<_>>(), [barred], "{folder}");
            fs::remove_file(&path).unwrap();
            fs::rename(&aside, &path).unwrap();
        }
    }
}
