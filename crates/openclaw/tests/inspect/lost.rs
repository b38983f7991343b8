//! Rows that were lost, that name the session of another, or that alone know an earlier one.

use std::fs;

use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};
use sexton_openclaw::finding::{Code, Cure};

use crate::folder::{AGENT, NOW, SESSIONS, Sick, plain, reset, sqlite};

const JOB: &str = "1e0faea8-493d-4ba7-96eb-5c51b3d0e63f";

fn with_index(rows: &Value) -> Sick {
    let sick = plain();
    fs::write(sick.path(&format!("{SESSIONS}/sessions.json")), rows.to_string()).unwrap();
    sick
}

fn has_emptied(sick: &Sick, now: &str) -> bool {
    sick.found_at(now).iter().any(|(code, _)| *code == Code::StoreEmptied)
}

/// An index of 925 MB was read as empty and replaced by one of 174 bytes: that one is whole, and was healthy.
#[test]
fn an_index_that_names_none_of_its_young_runs_was_emptied() {
    let newer = json!({"agent:main:main": {"sessionId": "s", "updatedAt": 1_795_197_946_000_i64}});
    for rows in [json!({}), newer] {
        let sick = with_index(&rows);
        let index = format!("{SESSIONS}/sessions.json");
        assert_eq!(sick.found()[0], (Code::StoreEmptied, 1), "{:?}", sick.found());
        let evidence = sick.evidence(Code::StoreEmptied);
        assert!(evidence.contains("none of 11 transcripts"), "{evidence}");
        assert!(evidence.contains("1 of a job that is there"), "{evidence}");
        assert!(sick.help(Code::StoreEmptied).contains("sexton openclaw import"));
        fs::copy(plain().path(&index), sick.path(&format!("{index}.bak"))).unwrap();
        assert!(sick.help(Code::StoreEmptied).contains("sessions.json.bak"));
    }
    with_index(&json!({})).is(&[(Code::StoreEmptied, 1)]);
}

/// Without run logs the prompts tell whose transcripts they are.
#[test]
fn prompts_alone_tell_that_rows_were_lost() {
    let sick = with_index(&json!({}));
    fs::remove_dir_all(sick.path("cron/runs")).unwrap();
    assert!(has_emptied(&sick, NOW));
}

/// Nothing says that the rows should be there: they were swept, their jobs are gone, or some are there.
#[test]
fn an_index_whose_runs_are_old_or_of_no_job_was_not_emptied() {
    let later = json!({"agent:main:main": {"sessionId": "s", "updatedAt": 1_795_290_000_000_i64}});
    assert!(!has_emptied(&with_index(&later), "2026-11-21T20:00:00Z"));

    let sick = with_index(&json!({}));
    sick.edit("cron/jobs.json", |file| file["jobs"] = json!([]));
    assert!(!has_emptied(&sick, NOW));

    let sick = plain();
    sick.edit_rows(|rows| rows.retain(|key, _| key.ends_with(JOB)));
    sick.is(&[]);

    let sick = with_index(&json!({}));
    sick.edit("cron/jobs.json", |file| file["jobs"][0]["sessionTarget"] = json!("session:x"));
    assert!(!has_emptied(&sick, NOW));
}

#[test]
fn a_row_that_names_the_transcript_of_another_row_is_found_and_pointed_to_its_own() {
    let named_by = |sick: &Sick, key: &str| {
        let mut file = Value::Null;
        sick.edit_rows(|rows| file = rows[key]["sessionFile"].clone());
        file
    };
    // Whichever of the two comes first.
    for (of, to) in [(3, 4), (4, 3)] {
        let sick = plain();
        let mut keys: Vec<String> = Vec::new();
        sick.edit_rows(|rows| keys = rows.keys().cloned().collect());
        let other = named_by(&sick, &keys[to]);
        sick.edit_rows(|rows| rows[&keys[of]]["sessionFile"] = other);
        sick.is(&[(Code::PointerWrong, 1)]);
        let own = format!("{}.jsonl", sick.session_of(&keys[of]));
        let report = sick.report_at(NOW);
        let item = &report.findings[0].items[0];
        assert!(item.evidence.contains(&keys[to]), "{}", item.evidence);
        assert!(matches!(&item.cure, Cure::Steps(steps) if format!("{steps:?}").contains(&own)));
        fs::remove_file(sick.session_file(&own)).unwrap();
        sick.is(&[(Code::PointerWrong, 1)]);
        assert!(sick.help(Code::PointerWrong).contains("reset"));
    }
}

/// OpenClaw goes by the name: it would begin the conversation anew, with the transcript beside it.
#[test]
fn a_row_that_names_a_file_that_is_gone_is_found_and_pointed_to_its_transcript() {
    let gone = "11111111-2222-4333-8444-555555555555";
    let sick = plain();
    let key = sick.first_key();
    let pointed_to = |rows: &mut Map<String, Value>, key: &str, name: &str| {
        let file = rows[key]["sessionFile"].as_str().unwrap();
        let (folder, _) = file.rsplit_once('/').unwrap();
        rows[key]["sessionFile"] = json!(format!("{folder}/{name}.jsonl"));
    };
    sick.edit_rows(|rows| pointed_to(rows, &key, gone));
    sick.is(&[(Code::PointerWrong, 1)]);
    let own = format!("sessions/{}.jsonl\"", sick.session_of(&key));
    let report = sick.report_at(NOW);
    let Cure::Steps(steps) = &report.findings[0].items[0].cure else { panic!("{report:?}") };
    assert!(format!("{steps:?}").contains(&own), "{steps:?}");

    // It may be about to be written.
    let now: jiff::Timestamp = NOW.parse().unwrap();
    sick.edit_rows(|rows| rows[&key]["updatedAt"] = json!(now.as_millisecond()));
    assert!(!sick.found().iter().any(|(code, _)| *code == Code::PointerWrong));

    // Which of two conversations the file holds is for a person to say.
    let sick = reset();
    sick.edit_rows(|rows| {
        let key = "agent:main:other";
        rows.insert(key.to_owned(), rows["agent:main:bench1"].clone());
        pointed_to(rows, key, gone);
    });
    sick.is(&[(Code::PointerWrong, 2)]);
    assert!(sick.help(Code::PointerWrong).contains("decide which of the two"));

    // Some versions named the files of runs after the run, whatever the rows said.
    let (sick, run) = (plain(), "21111111-2222-4333-8444-555555555555");
    let of_run = format!("agent:main:cron:{JOB}:run:{run}");
    let session = sick.session_of(&key);
    sick.edit_rows(|rows| {
        rows.insert(of_run.clone(), rows[&key].clone());
        rows[&of_run]["sessionId"] = json!(gone);
        pointed_to(rows, &of_run, gone);
    });
    let text = fs::read_to_string(sick.session_file(&format!("{session}.jsonl"))).unwrap();
    fs::write(sick.session_file(&format!("{run}.jsonl")), text.replace(&session, run)).unwrap();
    sick.is(&[]);
}

/// In the SQLite era nodes name sessions and no files.
#[test]
fn two_nodes_of_one_session_are_found_unless_they_are_of_one_job() {
    let add = |sick: &Sick, key: &str| {
        let database = Connection::open(sick.path(AGENT)).unwrap();
        let copy = "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, created_via)
                    SELECT ?1, current_session_id, entry_json, updated_at, created_via FROM session_nodes LIMIT 1";
        database.execute(copy, params![key]).unwrap();
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    };
    let sick = sqlite();
    let key: String = Connection::open(sick.path(AGENT))
        .unwrap()
        .query_row("SELECT session_key FROM session_nodes", [], |row| row.get(0))
        .unwrap();
    add(&sick, &format!("{key}:run:00000000-0000-4000-8000-000000000001"));
    sick.is(&[]);
    let sick = sqlite();
    add(&sick, "agent:main:telegram:direct:42");
    sick.is(&[(Code::PointerWrong, 2)]);
    assert!(sick.evidence(Code::PointerWrong).contains("also that of agent:main:telegram"));
}

/// A chat whose usage is counted on, and one that was compacted, were of nothing that is known.
#[test]
fn a_transcript_that_a_row_names_as_an_earlier_one_is_its_history() {
    let (of_usage, of_compaction) =
        ("11111111-2222-4333-8444-555555555555", "21111111-2222-4333-8444-555555555555");
    let sick = reset();
    let key = sick.first_key();
    let now = sick.session_of(&key);
    let text = fs::read_to_string(sick.session_file(&format!("{now}.jsonl"))).unwrap();
    for id in [of_usage, of_compaction] {
        let file = sick.session_file(&format!("{id}.jsonl"));
        fs::write(file, text.replace(&now, id)).unwrap();
    }
    sick.is(&[(Code::TranscriptOrphaned, 2)]);
    sick.edit_rows(|rows| {
        rows[&key]["usageFamilySessionIds"] = json!([of_usage, now]);
        rows[&key]["compactionCheckpoints"] = json!([
            7, {"preCompaction": {"sessionId": of_compaction}, "postCompaction": {"sessionId": now}},
        ]);
    });
    sick.is(&[]);
    let piles = sick.report_at(NOW).transcripts;
    assert_eq!((piles.history, piles.orphans), (2, 0), "{piles:?}");
}
