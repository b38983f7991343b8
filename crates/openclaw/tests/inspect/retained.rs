//! Files that were imported and have to stay as they were until a plugin has taken its part of them.

use std::fs;

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sexton_openclaw::finding::Code;
use sha2::{Digest as _, Sha256};

use crate::folder::{NOW, SESSIONS, STATE, Sick, sqlite};

const FILE: &str = "sessions.json";
const HELD: &str = r#"{"agent:main:main": {"updatedAt": 1}}"#;

/// A folder with such a file, of which the database says so.
fn with(kind: &str, report: &Value) -> Sick {
    let sick = sqlite();
    fs::write(sick.session_file(FILE), HELD).unwrap();
    let database = Connection::open(sick.path(STATE)).unwrap();
    let run = "INSERT INTO migration_runs VALUES ('r', 1, 2, 'completed', '{}')";
    database.execute(run, []).unwrap();
    let source = "INSERT INTO migration_sources VALUES
        ('k', ?1, '/there', 'session_nodes', 'x', 5, 1, 'r', 'completed', 1795100001000, 0, ?2)";
    database.execute(source, params![kind, report.to_string()]).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    sick
}

fn retained() -> Sick {
    let hash: String = Sha256::digest(HELD).iter().map(|byte| format!("{byte:02x}")).collect();
    let identity = json!({
        "dev": "1", "ino": "2", "mtimeNs": "3",
        "size": HELD.len(), "sha256": hash,
    });
    let path = format!("/srv/.openclaw/{SESSIONS}/{FILE}");
    let sources = json!([{"path": path, "identity": identity}]);
    let report = json!({"databaseIdentity": "1:2", "pluginIds": ["codex"], "sources": sources});
    with("deferred-plugin-session-import", &report)
}

#[test]
fn a_file_that_stays_and_is_not_as_it_was_is_found() {
    let sick = retained();
    sick.is(&[]);
    let other = HELD.replace('1', "2");
    for (now, said) in [(other.as_str(), "other text"), ("{}", "has 2 bytes")] {
        fs::write(sick.session_file(FILE), now).unwrap();
        sick.is(&[(Code::HalfMigrated, 1)]);
        let evidence = sick.evidence(Code::HalfMigrated);
        assert!(evidence.contains(said) && evidence.contains("2026-11-19T"), "{evidence}");
    }
    assert!(sick.help(Code::HalfMigrated).contains("put back a copy"));
}

/// The migration says where it moved a file; without that their recovery does not find it.
#[test]
fn a_file_that_stays_and_is_gone_is_found_unless_it_was_put_aside() {
    let sick = retained();
    let archive = "agents/main/session-sqlite-import-archive/sessions.json.imported-1";
    fs::create_dir_all(sick.path(archive).parent().unwrap()).unwrap();
    fs::rename(sick.session_file(FILE), sick.path(archive)).unwrap();
    // It lay where the folder lies now, or the gap could not be told from a store that is elsewhere.
    let own = sick.path(&format!("{SESSIONS}/{FILE}"));
    let database = Connection::open(sick.path(STATE)).unwrap();
    let moved = "UPDATE migration_sources SET report_json = replace(report_json, ?1, ?2)";
    let there = format!("/srv/.openclaw/{SESSIONS}/{FILE}");
    database.execute(moved, params![there, own.to_str()]).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    sick.is(&[(Code::HalfMigrated, 1)]);
    assert!(sick.evidence(Code::HalfMigrated).contains("is gone"));

    let manifest = json!({"targets": [{"agentId": "main", "plannedMoves": [
        {"kind": "legacy-store", "sourcePath": own, "archivePath": sick.path(archive)},
    ]}]});
    fs::create_dir_all(sick.path("session-sqlite-migration-runs")).unwrap();
    let run = sick.path("session-sqlite-migration-runs/session-sqlite-1-a.json");
    fs::write(run, manifest.to_string()).unwrap();
    sick.is(&[]);
    fs::write(sick.path(archive), "{}").unwrap();
    sick.is(&[(Code::HalfMigrated, 1)]);
}

/// Paths in a database lead anywhere, and so may a link in the place of what the runs wrote down.
#[test]
fn nothing_outside_of_the_folder_is_looked_at() {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("secret"), HELD).unwrap();
    let hash: String = Sha256::digest(HELD).iter().map(|byte| format!("{byte:02x}")).collect();
    let gone = |sick: &Sick, to: &std::path::Path| {
        let own = sick.session_file("gone.jsonl");
        let identity = json!({"size": HELD.len(), "sha256": hash});
        let sources: Vec<Value> =
            [own.to_str().unwrap(), "/srv/.openclaw/../../etc/passwd", "/etc/passwd"]
                .iter()
                .map(|path| json!({"path": path, "identity": identity}))
                .collect();
        let update = "UPDATE migration_sources SET report_json = ?1";
        let database = Connection::open(sick.path(STATE)).unwrap();
        database.execute(update, [json!({"sources": sources}).to_string()]).unwrap();
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        json!({"targets": [{"plannedMoves": [{"sourcePath": own, "archivePath": to}]}]}).to_string()
    };
    let runs = "session-sqlite-migration-runs";
    let sick = retained();
    let manifest = gone(&sick, &out.path().join("secret"));
    fs::create_dir_all(sick.path(runs)).unwrap();
    fs::write(sick.path(runs).join("a.json"), &manifest).unwrap();
    sick.is(&[(Code::HalfMigrated, 1)]);

    let sick = retained();
    fs::write(sick.path("archived"), HELD).unwrap();
    let manifest = gone(&sick, &sick.path("archived"));
    fs::create_dir_all(sick.path(runs)).unwrap();
    fs::write(sick.path(runs).join("a.json"), &manifest).unwrap();
    sick.is(&[]);
    fs::rename(sick.path(runs), out.path().join("runs")).unwrap();
    std::os::unix::fs::symlink(out.path().join("runs"), sick.path(runs)).unwrap();
    sick.is(&[(Code::HalfMigrated, 1)]);
}

/// Of other kinds the hash may be that of a record, and one that cannot be read is no row without sources.
#[test]
fn other_migrations_say_nothing_of_files_and_a_damaged_one_is_named() {
    let changed = json!({"sources": [{"path": "/srv/.openclaw/openclaw.json",
        "identity": {"size": 1, "sha256": "0"}}]});
    with("acp-session-metadata", &changed).is(&[]);
    let damaged = with("deferred-plugin-session-import", &json!({"sources": [{"path": 7}]}));
    let found = damaged.found_at(NOW);
    assert_eq!(found, [(Code::RecordUnreadable, 1)]);
}
