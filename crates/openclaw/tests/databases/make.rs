//! Copies of the real databases, and ways to make them sick.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use sexton_openclaw::model::{Dropped, Place};
use sexton_openclaw::read::agent_db::AgentDb;
use sexton_openclaw::read::snapshot::Snapshot;
use sexton_openclaw::read::state_db::StateDb;
use tempfile::TempDir;

/// The one job of the fixture that people made.
pub const JOB: &str = "06556bc8-5dc4-4d2c-b101-9ea521072eb9";
/// The one session that has events.
pub const SESSION: &str = "cfc1d97d-1aa1-442d-b3cf-12b3debe7b77";
/// The size of a page of both.
pub const PAGE: usize = 4096;

/// A database in a folder of its own.
pub struct Db {
    dir: TempDir,
}

impl Db {
    /// The agent's database of 2026.9.6.
    pub fn agent() -> Self {
        Self::unpack("agents/main/agent/openclaw-agent.sqlite.zst")
    }

    /// The state database of 2026.9.6.
    pub fn state() -> Self {
        Self::unpack("state/openclaw.sqlite.zst")
    }

    /// A file with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("copies")).unwrap();
        fs::write(dir.path().join("db.sqlite"), bytes).unwrap();
        Self { dir }
    }

    fn unpack(name: &str) -> Self {
        let fixture = "tests/fixtures/2026.9.6-plain";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture).join(name);
        Self::of(&zstd::decode_all(File::open(path).unwrap()).unwrap())
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("db.sqlite")
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    /// A connection that may write.
    pub fn connect(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// Changes it, and leaves no log behind.
    pub fn sql(&self, statements: &str) {
        let connection = self.connect();
        connection.execute_batch(statements).unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }

    /// Changes its schema in ways that SQLite forbids.
    pub fn rewrite_schema(&self, statements: &str) {
        self.sql(&format!("PRAGMA writable_schema = ON; {statements}"));
    }

    /// One number from it.
    pub fn number(&self, query: &str) -> i64 {
        self.connect().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// A copy.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.path(), &self.dir.path().join("copies")).unwrap()
    }

    /// A copy, read as an agent's database.
    pub fn read_agent(&self) -> AgentDb {
        AgentDb::open(&self.snapshot()).unwrap()
    }

    /// A copy, read as the state database.
    pub fn read_state(&self) -> StateDb {
        StateDb::open(&self.snapshot()).unwrap()
    }

    /// Adds so many runs of the job: a node, a window, and three events each.
    pub fn add_runs(&self, count: usize) {
        let mut connection = self.connect();
        let transaction = connection.transaction().unwrap();
        for number in 0..count {
            add_run(&transaction, number);
        }
        transaction.commit().unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }

    /// Fills the page with zeros that `choose` picks of those of a table or an index that have rows.
    pub fn zero_leaf(&self, of: &str, choose: impl FnOnce(&[usize]) -> usize) {
        let root = self.number(&format!("SELECT rootpage FROM sqlite_schema WHERE name = '{of}'"));
        let mut bytes = self.bytes();
        let mut leaves = Vec::new();
        leaves_below(&bytes, usize::try_from(root).unwrap(), &mut leaves);
        let page = choose(&leaves);
        bytes[(page - 1) * PAGE..page * PAGE].fill(0);
        fs::write(self.path(), bytes).unwrap();
    }
}

/// The id of an added run.
pub fn run_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn add_run(connection: &Connection, number: usize) {
    let id = run_id(number);
    let key = format!("agent:main:cron:{JOB}:run:{id}");
    let at = 1_795_198_290_000 + i64::try_from(number).unwrap();
    let entry = serde_json::json!({"sessionId": id, "updatedAt": at, "label": "x".repeat(200)});
    connection
        .execute(
            "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, status, created_via)
             VALUES (?1, ?2, ?3, ?4, 'running', 'cron')",
            params![key, id, entry.to_string(), at],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO session_windows (session_id, session_key, reason, created_at, updated_at, started_at, status)
             VALUES (?1, ?2, 'initial', ?3, ?3, ?3, 'running')",
            params![id, key, at],
        )
        .unwrap();
    for seq in 0..3 {
        let event = serde_json::json!({"type": "message", "id": seq, "text": "y".repeat(300)});
        add_event(connection, &id, seq, &event.to_string());
    }
}

/// Adds an event.
pub fn add_event(connection: &Connection, session: &str, seq: i64, json: &str) {
    connection
        .execute(
            "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?1, ?2, ?3, ?4)",
            params![session, seq, json, 1_795_198_290_000 + seq],
        )
        .unwrap();
}

/// The leaves below a page of a table or an index, in order.
fn leaves_below(bytes: &[u8], page: usize, leaves: &mut Vec<usize>) {
    let start = (page - 1) * PAGE;
    let header = start + if page == 1 { 100 } else { 0 };
    let number = |at: usize| usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1]);
    let child = |at: usize| (number(at) << 16) | number(at + 2);
    if bytes[header] != 2 && bytes[header] != 5 {
        leaves.push(page);
        return;
    }
    for cell in 0..number(header + 3) {
        leaves_below(bytes, child(start + number(header + 12 + 2 * cell)), leaves);
    }
    leaves_below(bytes, child(header + 8), leaves);
}

/// The places of dropped records.
pub fn places(dropped: &[Dropped]) -> Vec<&str> {
    dropped
        .iter()
        .map(|dropped| match &dropped.place {
            Place::Row(row) => row.as_str(),
            other => panic!("{other:?}"),
        })
        .collect()
}
