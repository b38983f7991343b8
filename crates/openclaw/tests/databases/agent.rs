//! An agent's database: nodes, windows, archives and events, healthy and sick.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use sexton_openclaw::model::{Encoding, Status};
use sexton_openclaw::read::agent_db::{AgentDb, Cold, Event, stamp};
use sha2::{Digest as _, Sha256};

use crate::cold::move_out;
use crate::make::{Db, JOB, SESSION, add_event, places, run_id};

fn events(db: &Db) -> (Vec<Event>, Vec<String>) {
    let mut all = Vec::new();
    let tally = db.read_agent().events(&mut |event| all.push(event));
    assert_eq!(tally.read, all.len() as u64);
    (all, places(&tally.dropped).into_iter().map(str::to_owned).collect())
}

#[test]
fn the_healthy_one_says_what_it_is() {
    let db = Db::agent().read_agent();
    let info = db.info();
    assert_eq!((info.user_version, info.page_size, info.page_count), (23, 4096, 447));
    assert_eq!((info.freelist_count, info.free_bytes()), (257, 257 * 4096));
    assert_eq!((info.wal_bytes, info.app_version.as_deref()), (0, Some("2026.9.6")));
    assert_eq!(db.integrity(10), [""; 0]);
}

#[test]
fn the_node_of_the_healthy_one_is_read_with_its_stamp() {
    let source = Db::agent();
    let mut nodes = Vec::new();
    let tally = source.read_agent().nodes(&mut |node| nodes.push(node));
    assert_eq!((tally.read, tally.dropped.len()), (1, 0));
    let node = &nodes[0];
    assert_eq!(&*node.row.key, format!("agent:main:cron:{JOB}"));
    assert_eq!(node.session_id, SESSION);
    assert_eq!(node.row.session_id.as_deref(), Some(SESSION));
    assert_eq!(node.row.updated_at.unwrap().as_millisecond(), 1_795_197_793_345);
    assert_eq!(node.row.label.as_deref(), Some("Automation: t1"));
    assert_eq!(node.row.largest.as_ref().unwrap().0.as_ref(), "skillsSnapshot");
    let entry: String = source
        .connect()
        .query_row("SELECT entry_json FROM session_nodes", [], |row| row.get(0))
        .unwrap();
    assert_eq!(node.row.bytes, entry.len() as u64);
    let hash = Sha256::digest(format!("{entry}\n1795197793345"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(node.stamp, hex);
    assert_eq!(node.stamp, stamp(&entry, 1_795_197_793_345));
}

#[test]
fn the_columns_of_a_node_count_more_than_its_entry() {
    let db = Db::agent();
    db.sql(
        "UPDATE session_nodes SET entry_json = '{\"sessionId\":\"other\",\"updatedAt\":5,\"status\":\"done\"}'",
    );
    let read = |db: &Db| {
        let mut nodes = Vec::new();
        db.read_agent().nodes(&mut |node| nodes.push(node));
        nodes.remove(0)
    };
    assert_eq!(read(&db).row.status, Some(Status::Done));
    db.sql("UPDATE session_nodes SET status = 'running', pinned_at = 1000, archived_at = 2000");
    let node = read(&db);
    assert_eq!(node.row.status, Some(Status::Running));
    assert_eq!(node.row.pinned_at.unwrap().as_millisecond(), 1000);
    assert_eq!(node.row.archived_at.unwrap().as_millisecond(), 2000);
    assert_eq!(node.row.session_id.as_deref(), Some(SESSION));
    assert_eq!(node.row.updated_at.unwrap().as_millisecond(), 1_795_197_793_345);
}

#[test]
fn the_window_of_the_healthy_one_is_read() {
    let mut windows = Vec::new();
    let tally = Db::agent().read_agent().windows(&mut |window| windows.push(window));
    assert_eq!((tally.read, tally.dropped.len()), (1, 0));
    let window = &windows[0];
    assert_eq!((&*window.session_id, window.status), (SESSION, Some(Status::Done)));
    assert_eq!(window.started_at.unwrap().as_millisecond(), 1_795_197_796_253);
    assert_eq!(window.ended_at.unwrap().as_millisecond(), 1_795_197_796_735);
    assert_eq!((window.previous.as_deref(), window.reason.as_deref()), (None, None));
}

#[test]
fn the_archives_of_the_healthy_one_are_read_and_their_hashes_are_right() {
    let db = Db::agent().read_agent();
    let mut archives = Vec::new();
    let tally = db.archives(&mut |archive, bytes| archives.push((archive, bytes)));
    assert_eq!((tally.read, tally.dropped.len()), (10, 0));
    assert!(tally.bytes < 10_000, "without their bytes: {}", tally.bytes);
    for (archive, bytes) in &archives {
        assert_eq!((&*archive.reason, archive.encoding), ("deleted", Encoding::Zstd));
        assert!(archive.created_at.unwrap() <= archive.published_at.unwrap());
        let stored = db.archive_bytes(&archive.session_id, &archive.generation).unwrap().unwrap();
        assert_eq!(stored.len() as u64, *bytes);
        let hex: String = Sha256::digest(&stored).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, *archive.sha256);
        let text = zstd::decode_all(&stored[..]).unwrap();
        assert!(text.starts_with(b"{\"type\":\"session\""));
    }
    assert_eq!(db.archive_bytes("nobody", "nothing").unwrap(), None);
}

#[test]
fn the_events_of_the_healthy_one_are_read() {
    let db = Db::agent();
    let (all, dropped) = events(&db);
    assert_eq!((all.len(), dropped.len()), (6, 0));
    let seqs: Vec<i64> = all.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [0, 1, 2, 3, 4, 5]);
    let bytes: usize = all.iter().map(|event| event.json.as_ref().unwrap().len()).sum();
    assert_eq!(bytes, 164 + 159 + 187 + 284 + 1390 + 602);
    let mut one = Vec::new();
    db.read_agent().events_of(SESSION, &mut |event| one.push(event.seq));
    assert_eq!(one, seqs);
    assert_eq!(db.read_agent().events_of("nobody", &mut |_| panic!()).read, 0);
    assert_eq!(cold(&db.read_agent()), []);
}

#[test]
fn nodes_and_windows_that_were_left_running_are_read_as_such() {
    let db = Db::agent();
    db.add_runs(8);
    let mut running = [0, 0];
    let read = db.read_agent();
    let nodes =
        read.nodes(&mut |node| running[0] += u64::from(node.row.status == Some(Status::Running)));
    let windows =
        read.windows(&mut |window| running[1] += u64::from(window.status == Some(Status::Running)));
    assert_eq!((running, nodes.read, windows.read), ([8, 8], 9, 9));
}

#[test]
fn events_without_a_window_and_windows_without_a_node_are_handed_on() {
    let db = Db::agent();
    db.add_runs(3);
    let keys = format!("agent:main:cron:{JOB}:run:{}", run_id(1));
    db.sql(&format!(
        "PRAGMA foreign_keys = OFF; DELETE FROM session_windows WHERE session_id = '{}';
         DELETE FROM session_nodes WHERE session_key = '{keys}'",
        run_id(0)
    ));
    let read = db.read_agent();
    let (mut nodes, mut windows, mut transcripts) = (Vec::new(), Vec::new(), BTreeSet::new());
    read.nodes(&mut |node| nodes.push(node.row.key));
    read.windows(&mut |window| windows.push((window.session_id, window.key)));
    read.events(&mut |event| {
        transcripts.insert(event.session_id);
    });
    assert!(!nodes.contains(&keys.as_str().into()));
    assert!(windows.contains(&(run_id(1).into(), keys.into())));
    assert!(!windows.iter().any(|(session, _)| **session == *run_id(0)));
    assert!(transcripts.contains(&run_id(0)));
    assert_eq!((nodes.len(), windows.len(), transcripts.len()), (3, 3, 4));
}

fn cold(db: &AgentDb) -> Vec<Cold> {
    let mut all = Vec::new();
    let tally = db.cold(Path::new("/nowhere"), Path::new("none"), &mut |cold| all.push(cold));
    assert_eq!((tally.read, tally.dropped.len()), (all.len() as u64, 0));
    all
}

/// All of them, or all but the newest.
#[test]
fn events_that_were_moved_out_come_before_those_of_the_table() {
    let texts = |all: &[Event]| {
        all.iter().map(|event| (event.seq, event.json.clone().unwrap())).collect::<Vec<_>>()
    };
    let (whole, _) = events(&Db::agent());
    for up_to in [5, 3] {
        let db = Db::agent();
        db.add_runs(1);
        move_out(&db.path(), SESSION, up_to, false);
        assert_eq!(db.number("SELECT count(*) FROM transcript_events"), 3 + 5 - up_to);
        let mut read = db.read_agent();
        let archives = cold(&read);
        assert_eq!(archives.len(), 1);
        read.open_cold(&archives[0]).unwrap();
        let mut all = Vec::new();
        assert_eq!(read.events(&mut |event| all.push(event)).read, 6 + 3);
        all.retain(|event| event.session_id == SESSION);
        assert_eq!(texts(&all), texts(&whole));
        let mut one = Vec::new();
        assert_eq!(read.events_of(SESSION, &mut |event| one.push(event)).read, 6);
        assert_eq!(texts(&one), texts(&whole));
        assert_eq!(one[0].created_at, whole[0].created_at);
    }
}

#[test]
fn an_archive_that_is_not_what_the_database_says_is_not_opened() {
    let lines = |lines: &[String]| {
        let header =
            json!({"kind": "header", "version": 1, "sessionId": SESSION, "generation": "g"});
        zstd::encode_all(format!("{header}\n{}\n", lines.join("\n")).as_bytes(), 3).unwrap()
    };
    let event = |seq: i64| {
        json!({"kind": "event", "row": {"seq": seq, "event_json": "{}", "created_at": 1}})
            .to_string()
    };
    let events: Vec<String> = (0..6).map(event).collect();
    let bomb = lines(
        &[&events[..], &vec![format!("{{\"kind\":\"fts\"{}}}", " ".repeat(1024 * 1024)); 65]]
            .concat(),
    );
    let many: Vec<(&str, Vec<u8>, &str)> = vec![
        ("", b"(".to_vec(), "unpack it"),
        ("", lines(&[event(0), event(1)]), "it has 2 events, the database says 6"),
        ("event_count = 2", lines(&[event(1), event(1)]), "out of order"),
        ("event_count = 1", lines(&[event(0), "[".to_owned()]), "line 3"),
        ("", bomb, "it unpacks to more than"),
        ("", vec![0; 66 * 1024 * 1024], "more than they can be"),
        ("session_id = 'another', event_count = 1", lines(&[event(0)]), "names another session"),
    ];
    for (change, bytes, said) in many {
        let db = Db::agent();
        move_out(&db.path(), SESSION, 5, false);
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let set = if change.is_empty() { String::new() } else { format!(", {change}") };
        let update = format!(
            "UPDATE session_transcript_cold_archives SET archive_blob = ?1, archive_sha256 = ?2{set}"
        );
        let connection = db.connect();
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        connection.execute(&update, rusqlite::params![bytes, hash]).unwrap();
        refused(&db, said);
    }
    for (change, said) in [
        ("archive_blob = x'28'", "it is damaged"),
        ("storage = 'file', archive_blob = NULL", "it is not there"),
    ] {
        let db = Db::agent();
        move_out(&db.path(), SESSION, 5, false);
        db.sql(&format!("UPDATE session_transcript_cold_archives SET {change}"));
        refused(&db, said);
    }
    let db = Db::agent();
    move_out(&db.path(), SESSION, 5, false);
    add_event(&db.connect(), SESSION, 5, "{}");
    let mut read = db.read_agent();
    let reason = read.open_cold(&cold(&read)[0]).unwrap_err();
    assert!(reason.contains("the table has events that it has, too"), "{reason}");
}

fn refused(db: &Db, said: &str) {
    let mut read = db.read_agent();
    let reason = read.open_cold(&cold(&read)[0]).unwrap_err();
    assert!(reason.contains(said), "{said}: {reason}");
    assert_eq!(read.events(&mut |_| panic!()).read, 0);
}

#[test]
fn the_name_of_an_archive_leads_nowhere_else() {
    let db = Db::agent();
    move_out(&db.path(), SESSION, 5, false);
    db.sql(
        "PRAGMA ignore_check_constraints = ON;
         UPDATE session_transcript_cold_archives
         SET storage = 'file', archive_blob = NULL, archive_name = '../../etc/passwd'",
    );
    refused(&db, "not one of theirs");
    // The session of an archive that is not understood is known all the same.
    db.sql("PRAGMA ignore_check_constraints = ON; UPDATE session_transcript_cold_archives SET storage = 'tape'");
    refused(&db, "storage tape is not known");
}

/// Adds an event that is compressed, with a size that may be wrong.
fn add_compressed(db: &Db, seq: i64, bytes: &[u8], size: usize) {
    let connection = db.connect();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    connection
        .execute(
            "INSERT INTO transcript_events (session_id, seq, created_at, event_zstd, event_utf8_bytes)
             VALUES (?1, ?2, 1, ?3, ?4)",
            rusqlite::params![SESSION, seq, bytes, i64::try_from(size).unwrap()],
        )
        .unwrap();
}

#[test]
fn compressed_events_are_read_and_wrong_ones_are_handed_on_with_the_reason() {
    let db = Db::agent();
    let json = format!("{{\"text\":\"{}\"}}", "z".repeat(50_000));
    let packed = zstd::encode_all(json.as_bytes(), 3).unwrap();
    let bomb = zstd::encode_all(&vec![b' '; 8 << 20][..], 3).unwrap();
    add_compressed(&db, 6, &packed, json.len());
    add_compressed(&db, 7, &packed, json.len() + 1);
    add_compressed(&db, 8, &packed, json.len() - 1);
    add_compressed(&db, 9, &packed[..packed.len() / 2], json.len());
    add_compressed(&db, 10, &bomb, 8 << 20);
    add_compressed(&db, 11, &bomb, 100);
    add_compressed(&db, 12, &zstd::encode_all(&[0xff, 0xfe][..], 3).unwrap(), 2);
    let (all, dropped) = events(&db);
    assert_eq!((all.len(), dropped.len()), (13, 0));
    assert_eq!(all[6].json.as_ref().unwrap(), &json);
    for wrong in &all[7..] {
        wrong.json.as_ref().unwrap_err();
    }
    assert!(all[7].json.as_ref().unwrap_err().contains("event_utf8_bytes is 50012"));
    assert!(all[10].json.as_ref().unwrap_err().contains("more than 4194304"));
}

#[test]
fn a_node_that_cannot_be_read_is_dropped_with_its_key_and_the_others_are_read() {
    let db = Db::agent();
    db.add_runs(3);
    let key = |number| format!("agent:main:cron:{JOB}:run:{}", run_id(number));
    db.sql(&format!(
        "UPDATE session_nodes SET entry_json = '{{\"sessionId\":' WHERE session_key = '{}';
         UPDATE session_nodes SET entry_json = CAST(x'7bff7d' AS TEXT) WHERE session_key = '{}'",
        key(0),
        key(2)
    ));
    let mut read = Vec::new();
    let tally = db.read_agent().nodes(&mut |node| read.push(node.row.key));
    assert_eq!((tally.read, read.len()), (2, 2));
    let named = [0, 2].map(|number| format!("session_nodes {}", key(number)));
    assert_eq!(places(&tally.dropped), named);
    assert!(tally.dropped[1].reason.contains("entry_json is no UTF-8"));
}

#[test]
fn an_event_whose_text_is_no_json_is_handed_on_as_it_is() {
    let db = Db::agent();
    add_event(&db.connect(), SESSION, 6, "{\"type\":");
    let (all, _) = events(&db);
    assert_eq!(all[6].json.as_deref(), Ok("{\"type\":"));
}
