//! Steps in databases.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use sexton_openclaw::finding::Step;
use sexton_openclaw::heal::{Progress, apply};

use crate::scene::{AGENT, FIRST, OVERDUE, SESSIONS, STATE, STUCK, Scene, event, sha256};

fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn there_and_back(scene: &Scene, items: Vec<Vec<Step>>, look: impl FnOnce(&Scene)) {
    let before = scene.listing();
    let plan = scene.plan(items);
    let outcome = scene.apply(&plan).unwrap();
    assert_eq!(outcome.left_out, []);
    for database in [AGENT, STATE].into_iter().filter(|name| plan.text().contains(name)) {
        assert!(!scene.path(format!("{database}-wal")).exists());
        let db = scene.look(database);
        let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        assert_eq!(number(&db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    }
    look(scene);
    scene.undo().unwrap();
    assert!(scene.listing() == before, "the folder is not as it was");
}

#[test]
fn an_ended_node_ends_in_its_row_its_entry_and_its_window() {
    let scene = Scene::new();
    there_and_back(&scene, vec![vec![scene.end_node()]], |scene| {
        let db = scene.look(AGENT);
        let (entry, status, updated): (String, String, i64) = db
            .query_row(
                "SELECT entry_json, status, updated_at FROM session_nodes WHERE session_key = ?1",
                [STUCK],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        let ended = 1_795_197_600_000_i64;
        assert_eq!((status.as_str(), updated), ("killed", 1_795_197_793_345));
        assert!(entry.contains("\"x\":1.50"), "{entry}");
        let entry: Value = serde_json::from_str(&entry).unwrap();
        assert_eq!(entry["status"], json!("killed"));
        assert_eq!(entry["endedAt"], json!(ended));
        assert_eq!(entry["runtimeMs"], json!(0), "it cannot end before it starts");
        assert_eq!(entry["abortedLastRun"], json!(true));
        assert_eq!(entry["updatedAt"], json!(updated), "retention does not slide");
        let sql = "SELECT count(*) FROM session_windows WHERE session_id = 's-stuck' \
                   AND status = 'killed' AND ended_at = 1795197600000";
        assert_eq!(number(&db, sql), 1);
        let running = "SELECT count(*) FROM session_nodes WHERE status = 'running'";
        assert_eq!(number(&db, running), 1, "the other one is left alone");
        let pending = "SELECT count(*) FROM session_canonical_validation_pending";
        assert!(number(&db, pending) >= 1, "their triggers saw the change");
    });
}

#[test]
fn an_archived_node_is_published_and_leaves_nothing_behind() {
    let scene = Scene::new();
    there_and_back(&scene, vec![vec![scene.archive_node()]], |scene| {
        let db = scene.look(AGENT);
        let gone = "SELECT count(*) FROM session_nodes WHERE session_key LIKE '%overdue'";
        assert_eq!(number(&db, gone), 0);
        for table in [
            "session_windows",
            "transcript_events",
            "transcript_event_identities",
            "session_transcript_fts_rows",
        ] {
            let of = |ids: &str| {
                number(&db, &format!("SELECT count(*) FROM {table} WHERE session_id IN ({ids})"))
            };
            assert_eq!(of("'s-old', 's-new'"), 0, "{table}");
            assert!(of("'s-stuck'") > 0, "{table}: another session lost something");
        }
        let needles = "SELECT count(*) FROM session_transcript_fts WHERE session_transcript_fts MATCH 'needle'";
        assert_eq!(number(&db, needles), 4, "the index of words forgot them");
        for session in ["s-old", "s-new"] {
            archive_is_whole(scene, &db, session);
        }
    });
}

fn archive_is_whole(scene: &Scene, db: &Connection, session: &str) {
    let (generation, name, hash, blob): (String, String, String, Vec<u8>) = db
        .query_row(
            "SELECT generation, archive_name, archive_sha256, archive_blob \
             FROM session_transcript_archives WHERE session_id = ?1 AND session_key = ?2 \
             AND reason = 'deleted' AND encoding = 'zstd' AND published_at IS NOT NULL",
            [session, OVERDUE],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    let expected = format!("{session}.jsonl.deleted.2026-11-26T12-00-00.000Z.{generation}.zst");
    assert_eq!(name, expected);
    assert_eq!(generation.len(), 32);
    let published = fs::read(scene.path(SESSIONS).join(&name)).unwrap();
    assert_eq!(published, blob);
    assert_eq!(sha256(&blob), hash);
    let text = String::from_utf8(zstd::decode_all(blob.as_slice()).unwrap()).unwrap();
    let lines: Vec<String> = (0..4).map(|seq| event(session, seq) + "\n").collect();
    assert_eq!(text, lines.concat());
}

/// Theirs is made anew from its contents: the same level, the same frame.
#[test]
fn an_archive_is_compressed_as_theirs_are() {
    let scene = Scene::new();
    let db = scene.look(AGENT);
    let mut archives = db.prepare("SELECT archive_blob FROM session_transcript_archives").unwrap();
    let blobs = archives.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let blobs: Vec<Vec<u8>> = blobs.map(Result::unwrap).collect();
    assert_eq!(blobs.len(), 10);
    drop(archives);
    let theirs = &blobs[0];
    let text = String::from_utf8(zstd::decode_all(theirs.as_slice()).unwrap()).unwrap();
    add_archive_source(&scene, &text);
    scene.apply(&scene.plan(vec![vec![scene.archive_node()]])).unwrap();
    let sql = "SELECT archive_blob FROM session_transcript_archives WHERE session_id = 's-new'";
    let ours: Vec<u8> = scene.look(AGENT).query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(&ours, theirs);
}

/// Gives the node that is archived another transcript.
fn add_archive_source(scene: &Scene, text: &str) {
    let db = Connection::open(scene.path(AGENT)).unwrap();
    db.execute("DELETE FROM transcript_events WHERE session_id = 's-new'", []).unwrap();
    for (seq, line) in text.lines().enumerate() {
        db.execute(
            "INSERT INTO transcript_events (session_id, seq, event_json, created_at) \
             VALUES ('s-new', ?1, ?2, 1)",
            rusqlite::params![seq.cast_signed(), line],
        )
        .unwrap();
    }
}

#[test]
fn an_ended_task_is_cleaned_up_when_theirs_are() {
    let scene = Scene::new();
    there_and_back(&scene, vec![vec![scene.end_task()]], |scene| {
        let sql = "SELECT count(*) FROM task_runs WHERE task_id = 't-1' AND status = 'failed' \
                   AND ended_at = 1795197600000 AND cleanup_after = 1795197600000 + 604800000 \
                   AND error = 'its process died'";
        assert_eq!(number(&scene.look(STATE), sql), 1);
    });
}

/// A task that was taken for lost said so for ever.
#[test]
fn a_task_that_succeeded_after_all_has_no_error_and_another_keeps_its_own() {
    for (ended, kept) in [("succeeded", "error IS NULL"), ("failed", "error = 'it was lost'")] {
        let scene = Scene::new();
        let db = Connection::open(scene.path(STATE)).unwrap();
        db.execute_batch("UPDATE task_runs SET status = 'lost', error = 'it was lost'").unwrap();
        drop(db);
        let Step::EndTask { database, id, ended_at, error, .. } = scene.end_task() else {
            panic!()
        };
        let (was, status) = ("lost".to_owned(), ended.to_owned());
        let step = Step::EndTask { database, id, was, status, ended_at, error };
        there_and_back(&scene, vec![vec![step]], |scene| {
            let sql = format!("SELECT count(*) FROM task_runs WHERE status = '{ended}' AND {kept}");
            assert_eq!(number(&scene.look(STATE), &sql), 1, "{ended}");
        });
    }
}

#[test]
fn a_compacted_database_gives_its_free_pages_back() {
    let scene = Scene::new();
    let before = fs::metadata(scene.path(STATE)).unwrap().len();
    assert!(number(&scene.look(STATE), "PRAGMA freelist_count") > 90);
    there_and_back(&scene, vec![vec![scene.compact()]], |scene| {
        assert_eq!(number(&scene.look(STATE), "PRAGMA freelist_count"), 0);
        assert!(fs::metadata(scene.path(STATE)).unwrap().len() + 350_000 < before);
    });
}

#[test]
fn a_node_is_ended_and_archived_in_one_healing() {
    let scene = Scene::new();
    let Step::ArchiveNode { database, key, session_id, was, at } = scene.archive_node() else {
        panic!("no archive")
    };
    let end = Step::EndNode {
        database,
        key,
        session_id,
        was,
        status: sexton_openclaw::model::Status::Failed,
        ended_at: at,
    };
    there_and_back(&scene, vec![vec![scene.archive_node()], vec![end]], |scene| {
        assert_eq!(number(&scene.look(AGENT), "SELECT count(*) FROM session_nodes"), 2);
    });
}

#[test]
fn a_database_that_fails_its_integrity_check_is_left_alone() {
    let scene = Scene::new();
    let (end, task) = (scene.end_node(), scene.end_task());
    let db = Connection::open(scene.path(STATE)).unwrap();
    // Its pages are of nothing then; statements work as ever.
    db.execute_batch(
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'idx_task_runs_status'",
    )
    .unwrap();
    drop(db);
    let before = scene.contents();
    let outcome = scene.apply(&scene.plan(vec![vec![task], vec![end]])).unwrap();
    assert_eq!(outcome.done, [2]);
    assert_eq!(outcome.left_out[0].reason, "the database fails its integrity check");
    assert!(scene.contents()[Path::new(STATE)] == before[Path::new(STATE)]);
}

/// Its other items would fail one by one, and all be staged anew each time.
#[test]
fn a_database_that_cannot_be_finished_is_left_out_with_all_its_items_at_once() {
    let scene = Scene::new();
    let db = Connection::open(scene.path(STATE)).unwrap();
    db.execute_batch(
        "CREATE TABLE child (x REFERENCES task_runs (task_id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER orphan AFTER UPDATE ON task_runs
         BEGIN INSERT INTO child VALUES ('nobody'); END",
    )
    .unwrap();
    drop(db);
    let plan =
        scene.plan(vec![vec![scene.end_task()], vec![scene.compact()], vec![scene.end_node()]]);
    let before = scene.contents();
    let mut read = 0;
    let outcome = apply(&plan, &scene.root, FIRST, &mut |progress| {
        read +=
            usize::from(matches!(progress, Progress::Reading(path) if path == Path::new(STATE)));
    })
    .unwrap();
    assert_eq!((outcome.done, read), (vec![3], 1));
    let left: Vec<usize> = outcome.left_out.iter().map(|item| item.n).collect();
    assert_eq!(left, [1, 2], "{:?}", outcome.left_out);
    assert!(scene.contents()[Path::new(STATE)] == before[Path::new(STATE)]);
}
