//! A folder of both eras with something for every step, and the plan for it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};
use sexton_openclaw::finding::{Code, Stamp, Step, Subject};
use sexton_openclaw::heal::plan::{Plan, PlanItem, VERSION};
use sexton_openclaw::heal::undo::{Undone, Which, undo};
use sexton_openclaw::heal::{Error, Outcome, apply};
use sexton_openclaw::model::Status;
use sha2::{Digest as _, Sha256};

use crate::unpack::unpack;

/// The agent's database.
pub const AGENT: &str = "agents/main/agent/openclaw-agent.sqlite";
/// The shared database.
pub const STATE: &str = "state/openclaw.sqlite";
/// Where sessions lie.
pub const SESSIONS: &str = "agents/main/sessions";
/// The key of the node that is stuck.
pub const STUCK: &str = "agent:main:cron:j1:run:stuck";
/// The key of the node that is archived.
pub const OVERDUE: &str = "agent:main:cron:j2:run:overdue";
/// The name of the first backup.
pub const FIRST: &str = "20261126T120000Z";

/// What a file is: its mode, when it was last written, and its contents.
pub type Listing = BTreeMap<PathBuf, (u32, (i64, i64), Vec<u8>)>;

/// A folder.
pub struct Scene {
    /// Where it is.
    pub root: PathBuf,
    dir: tempfile::TempDir,
}

impl Scene {
    /// A folder with something for every step; its agent's database has a log.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("state");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        unpack(&fixtures.join("2026.9.6-plain"), &root);
        for database in [AGENT, STATE] {
            Connection::open(root.join(database)).unwrap().execute_batch("VACUUM").unwrap();
        }
        unpack(&fixtures.join("2026.5.6-plain").join(SESSIONS), &root.join(SESSIONS));
        let scene = Self { root, dir };
        scene.make_files();
        scene.make_agent();
        scene.make_state();
        scene
    }

    /// The same folder at another place, with modes and times.
    pub fn again(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("state");
        run(Command::new("cp").arg("-a").arg(&self.root).arg(&root));
        Self { root, dir }
    }

    /// A file beside the folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A file among the sessions.
    pub fn session_file(&self, name: &str) -> PathBuf {
        self.path(SESSIONS).join(name)
    }

    fn make_files(&self) {
        fs::write(self.session_file("left.jsonl"), "{\"n\":1}\nbroken\n{\"n\":3}\n").unwrap();
        fs::write(self.session_file("gone.jsonl"), "{\"n\":1}\n").unwrap();
        fs::write(self.session_file("linked.jsonl"), "{\"n\":1}\n").unwrap();
        fs::hard_link(self.session_file("linked.jsonl"), self.path("elsewhere.jsonl")).unwrap();
        fs::write(self.session_file("sessions.json.7.tmp"), "{").unwrap();
        // No process has an id as large as this.
        fs::write(self.session_file("linked.jsonl.lock"), "{\"pid\":4194305}").unwrap();
        run(Command::new("chmod").arg("640").arg(self.session_file("left.jsonl")));
        run(Command::new("touch").args(["-d", "2026-11-20T19:00:00.123456789Z"]).args([
            self.session_file("left.jsonl"),
            self.session_file("sessions.json"),
            self.session_file("gone.jsonl"),
            self.session_file("linked.jsonl"),
        ]));
    }

    /// Adds nodes, and leaves them in the log.
    fn make_agent(&self) {
        let aside = self.beside("aside.sqlite");
        fs::copy(self.path(AGENT), &aside).unwrap();
        let db = Connection::open(&aside).unwrap();
        db.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = ON").unwrap();
        add_node(&db, STUCK, &["s-stuck"]);
        add_node(&db, OVERDUE, &["s-old", "s-new"]);
        fs::copy(&aside, self.path(AGENT)).unwrap();
        let log = self.beside("aside.sqlite-wal");
        fs::copy(log, self.path(format!("{AGENT}-wal"))).unwrap();
        drop(db);
        for name in ["aside.sqlite", "aside.sqlite-wal", "aside.sqlite-shm"] {
            let _ = fs::remove_file(self.beside(name));
        }
    }

    fn make_state(&self) {
        let db = Connection::open(self.path(STATE)).unwrap();
        db.execute_batch(
            "INSERT INTO task_runs (task_id, runtime, owner_key, scope_kind, task, status, \
             delivery_status, notify_policy, created_at) VALUES \
             ('t-1', 'cron', '', 'system', 't', 'running', 'not_applicable', 'silent', 1000)",
        )
        .unwrap();
        db.execute_batch("CREATE TABLE ballast (x BLOB)").unwrap();
        db.execute("INSERT INTO ballast VALUES (zeroblob(400000))", []).unwrap();
        db.execute_batch("DROP TABLE ballast").unwrap();
    }

    /// A file as it stands.
    pub fn stamp(&self, path: impl AsRef<Path>) -> Stamp {
        let bytes = fs::read(self.path(path)).unwrap();
        Stamp { bytes: bytes.len() as u64, sha256: sha256(&bytes) }
    }

    /// The index.
    pub fn index(&self) -> Map<String, Value> {
        serde_json::from_slice(&fs::read(self.session_file("sessions.json")).unwrap()).unwrap()
    }

    /// A key of the index.
    pub fn key(&self, place: usize) -> String {
        self.index().keys().nth(place).unwrap().clone()
    }

    /// Where the value of a row is, as it is written with two spaces of indentation.
    pub fn row_span(&self, key: &str) -> Range<usize> {
        let text = fs::read_to_string(self.session_file("sessions.json")).unwrap();
        let start = text.find(&format!("\n  {}: ", json!(key))).unwrap();
        let value = start + text[start..].find('{').unwrap();
        value..value + text[value..].find("\n  }").unwrap() + 4
    }

    /// The hash of the value of a row.
    pub fn row_hash(&self, key: &str) -> String {
        sha256(&fs::read(self.session_file("sessions.json")).unwrap()[self.row_span(key)])
    }

    /// The hash that a node is told by.
    pub fn node_hash(&self, key: &str) -> String {
        let sql =
            "SELECT entry_json || char(10) || updated_at FROM session_nodes WHERE session_key = ?1";
        let db = self.look(AGENT);
        let text: String = db.query_row(sql, [key], |row| row.get(0)).unwrap();
        sha256(text.as_bytes())
    }

    /// A copy of a database with its log, open.
    pub fn look(&self, database: &str) -> Connection {
        let copy = self.beside("look.sqlite");
        for ending in ["", "-wal", "-shm"] {
            let to = self.beside(&format!("look.sqlite{ending}"));
            let _ = fs::remove_file(&to);
            let _ = fs::copy(self.path(format!("{database}{ending}")), &to);
        }
        let _ = fs::remove_file(self.beside("look.sqlite-shm"));
        Connection::open(copy).unwrap()
    }

    /// Ends the session of a row.
    pub fn edit_row(&self, key: &str) -> Step {
        Step::EditRow {
            store: index_path(),
            key: key.to_owned(),
            was: self.row_hash(key),
            set: Map::from_iter([
                ("status".to_owned(), json!("failed")),
                ("endedAt".to_owned(), json!(1_795_197_793_345_u64)),
            ]),
            unset: vec!["skillsSnapshot".to_owned()],
        }
    }

    /// Takes a row out.
    pub fn remove_row(&self, key: &str) -> Step {
        Step::RemoveRow { store: index_path(), key: key.to_owned(), was: self.row_hash(key) }
    }

    /// Leaves lines out of a file of the sessions.
    pub fn drop_lines(&self, name: &str, lines: &[u64]) -> Step {
        let path = Path::new(SESSIONS).join(name);
        Step::DropLines { was: self.stamp(&path), path, lines: lines.to_vec() }
    }

    /// Archives a file of the sessions.
    pub fn rename(&self, name: &str) -> Step {
        let from = Path::new(SESSIONS).join(name);
        let to = Path::new(SESSIONS).join(format!("{name}.deleted.2026-11-26T12-00-00.000Z"));
        Step::Rename { was: self.stamp(&from), from, to }
    }

    /// Takes a file of the sessions out.
    pub fn set_aside(&self, name: &str) -> Step {
        let path = Path::new(SESSIONS).join(name);
        Step::SetAside { was: self.stamp(&path), path }
    }

    /// Ends the stuck node.
    pub fn end_node(&self) -> Step {
        Step::EndNode {
            database: AGENT.into(),
            key: STUCK.to_owned(),
            session_id: "s-stuck".to_owned(),
            was: self.node_hash(STUCK),
            status: Status::Killed,
            ended_at: "2026-11-20T18:00:00Z".parse().unwrap(),
        }
    }

    /// Archives the overdue node.
    pub fn archive_node(&self) -> Step {
        Step::ArchiveNode {
            database: AGENT.into(),
            key: OVERDUE.to_owned(),
            session_id: "s-new".to_owned(),
            was: self.node_hash(OVERDUE),
            at: "2026-11-26T12:00:00Z".parse().unwrap(),
        }
    }

    /// Ends the task.
    pub fn end_task(&self) -> Step {
        Step::EndTask {
            database: STATE.into(),
            id: "t-1".to_owned(),
            was: "running".to_owned(),
            status: "failed".to_owned(),
            ended_at: "2026-11-20T18:00:00Z".parse().unwrap(),
            error: Some("its process died".to_owned()),
        }
    }

    /// Gives free pages of the shared database back.
    pub fn compact(&self) -> Step {
        Step::Compact { database: STATE.into(), was: self.stamp(STATE) }
    }

    /// Something of everything.
    pub fn everything(&self) -> Plan {
        self.plan(vec![
            vec![self.edit_row(&self.key(0))],
            vec![self.remove_row(&self.key(1)), self.rename("gone.jsonl")],
            vec![self.drop_lines("left.jsonl", &[2])],
            vec![self.drop_lines("linked.jsonl", &[])],
            vec![self.set_aside("sessions.json.7.tmp")],
            vec![self.end_node()],
            vec![self.archive_node()],
            vec![self.end_task()],
            vec![self.compact()],
        ])
    }

    /// A plan of these items.
    pub fn plan(&self, items: Vec<Vec<Step>>) -> Plan {
        Self::new_plan(&self.root, items)
    }

    /// A plan of these items for a folder.
    pub fn new_plan(root: &Path, items: Vec<Vec<Step>>) -> Plan {
        let item = |(place, steps)| PlanItem {
            n: place + 1,
            code: Code::Zombie,
            subject: Subject::File(PathBuf::from("x")),
            evidence: String::new(),
            bytes: None,
            steps,
        };
        Plan {
            version: VERSION,
            made_at: "2026-11-26T12:00:00Z".parse().unwrap(),
            folder: root.to_owned(),
            items: items.into_iter().enumerate().map(item).collect(),
            person: Vec::new(),
        }
    }

    /// Applies a plan, as the first one.
    pub fn apply(&self, plan: &Plan) -> Result<Outcome, Error> {
        apply(plan, &self.root, FIRST, &mut |_| ())
    }

    /// Undoes the latest.
    pub fn undo(&self) -> Result<Undone, Error> {
        undo(&self.root, Which::Latest, &mut |_| ())
    }

    /// Every file and folder but those of the healing, with mode, time and contents.
    pub fn listing(&self) -> Listing {
        let mut listing = Listing::new();
        list(&self.root, &self.root, &mut listing);
        listing
    }

    /// Every file with its contents.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.listing().into_iter().map(|(path, (_, _, bytes))| (path, bytes)).collect()
    }
}

fn index_path() -> PathBuf {
    Path::new(SESSIONS).join("sessions.json")
}

fn list(root: &Path, folder: &Path, listing: &mut Listing) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if name == Path::new(".sexton-heal") {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
        listing.insert(name, (meta.mode(), (meta.mtime(), meta.mtime_nsec()), bytes));
        if meta.is_dir() {
            list(root, &path, listing);
        }
    }
}

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// The text of an event.
pub fn event(session: &str, seq: u64) -> String {
    json!({"type": "message", "id": format!("{session}-{seq}"), "text": "ä".repeat(40)}).to_string()
}

/// A running node with a window for each session; every second event is compressed.
fn add_node(db: &Connection, key: &str, sessions: &[&str]) {
    let current = sessions.last().unwrap();
    let entry = format!(
        "{{\"sessionId\":\"{current}\",\"updatedAt\":1795197793345,\"status\":\"running\",\
         \"startedAt\":1795197793000,\"x\":1.50}}"
    );
    db.execute(
        "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, status) \
         VALUES (?1, ?2, ?3, 1795197793345, 'running')",
        params![key, current, entry],
    )
    .unwrap();
    for (place, session) in sessions.iter().enumerate() {
        db.execute(
            "INSERT INTO session_windows (session_id, session_key, created_at, updated_at, status) \
             VALUES (?1, ?2, ?3, 1795197793345, 'running')",
            params![session, key, place.cast_signed()],
        )
        .unwrap();
        for seq in 0..4_u64 {
            add_event(db, session, seq);
        }
    }
}

fn add_event(db: &Connection, session: &str, seq: u64) {
    let text = event(session, seq);
    let navigation = json!({
        "version": 1, "report": {"kind": "ignored"}, "navigation": {}, "reset": {}, "model": {},
        "modelBytes": 0, "modelWithoutCheckpointBytes": 0, "withoutCustomDataBytes": 0,
    });
    let packed = (seq % 2 == 1).then(|| zstd::bulk::compress(text.as_bytes(), 3).unwrap());
    let plain = packed.is_none().then_some(&text);
    let navigation = packed.is_some().then(|| navigation.to_string());
    db.execute(
        "INSERT INTO transcript_events (session_id, seq, event_json, created_at, event_zstd, \
         event_utf8_bytes, navigation_json) VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6)",
        params![session, seq.cast_signed(), plain, packed, text.len().cast_signed(), navigation],
    )
    .unwrap();
    db.execute(
        "INSERT INTO transcript_event_identities (session_id, event_id, seq, created_at) \
         VALUES (?1, ?2, ?3, 1)",
        params![session, format!("{session}-{seq}"), seq.cast_signed()],
    )
    .unwrap();
    db.execute(
        "INSERT INTO session_transcript_fts_rows (session_id, message_id) VALUES (?1, ?2)",
        params![session, format!("{session}-{seq}")],
    )
    .unwrap();
    db.execute(
        "INSERT INTO session_transcript_fts (rowid, text, session_id) VALUES (?1, 'needle', ?2)",
        params![db.last_insert_rowid(), session],
    )
    .unwrap();
}
