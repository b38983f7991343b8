//! Rows whose transcript was put aside.

use std::fs;

use rusqlite::Connection;
use serde_json::json;
use sexton_openclaw::finding::Code;

use crate::folder::{AGENT, SESSIONS, Sick, plain, reset, sqlite};

/// Puts the transcript of the first row aside under these names, and lets the row rest for two hours.
fn put_aside(sick: &Sick, endings: &[&str]) -> String {
    let key = sick.first_key();
    let session = sick.session_of(&key);
    let transcript = sick.session_file(&format!("{session}.jsonl"));
    for ending in endings {
        fs::copy(&transcript, sick.session_file(&format!("{session}.jsonl.{ending}"))).unwrap();
    }
    fs::remove_file(transcript).unwrap();
    sick.edit_rows(|rows| {
        let at = rows[&key]["updatedAt"].as_i64().unwrap();
        rows[&key]["updatedAt"] = json!(at - 2 * 3_600_000);
    });
    session
}

/// It was told that there was nothing, beside all of it.
#[test]
fn the_newest_archive_of_a_rows_transcript_is_named_and_stays_when_the_row_goes() {
    let sick = plain();
    let old = "deleted.2026-11-20T18-30-00.000Z";
    let new = "reset.2026-11-20T18-40-00.000Z";
    let bak = "bak.2026-11-20T18-50-00.000Z";
    let session = put_aside(&sick, &[old, new, bak]);
    sick.is(&[(Code::TranscriptMissing, 1)]);
    let evidence = sick.evidence(Code::TranscriptMissing);
    assert!(evidence.contains(&format!("was put aside: {session}.jsonl.{new};")), "{evidence}");
}

#[test]
fn a_copy_before_a_repair_is_no_transcript_that_was_put_aside() {
    let sick = plain();
    put_aside(&sick, &["bak.2026-11-20T18-50-00.000Z"]);
    sick.is(&[(Code::TranscriptMissing, 1)]);
    assert!(sick.evidence(Code::TranscriptMissing).contains("has no transcript"));
}

#[test]
fn of_a_conversation_it_is_said_how_the_transcript_comes_back() {
    for (ending, says) in [
        ("deleted.2026-11-20T18-30-00.000Z", "give "),
        ("deleted.2026-11-20T18-30-00.000Z.zst", "unpack "),
    ] {
        let sick = reset();
        let session = put_aside(&sick, &[ending]);
        sick.is(&[(Code::TranscriptMissing, 1)]);
        let help = sick.help(Code::TranscriptMissing);
        assert!(help.contains(&format!("{says}{session}.jsonl.{ending}")), "{help}");
    }
}

#[test]
fn of_a_node_too_the_archive_is_named() {
    let sick = sqlite();
    let database = Connection::open(sick.path(AGENT)).unwrap();
    let session: String = database
        .query_row(
            "SELECT current_session_id FROM session_nodes ORDER BY session_key LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let sql = "DELETE FROM transcript_events WHERE session_id = ?1";
    database.execute(sql, [&session]).unwrap();
    let sql =
        "UPDATE session_nodes SET updated_at = updated_at - 7200000 WHERE current_session_id = ?1";
    database.execute(sql, [&session]).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(database);
    let archive = format!(
        "{session}.jsonl.deleted.2026-11-20T18-30-00.000Z.8a52bf3cdb2448ceb50e2669d6b2e77b.zst"
    );
    fs::write(sick.path(SESSIONS).join(&archive), zstd::bulk::compress(b"{}\n", 3).unwrap())
        .unwrap();
    sick.is(&[(Code::TranscriptMissing, 1)]);
    assert!(sick.evidence(Code::TranscriptMissing).contains(&archive));
}
