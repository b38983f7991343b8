//! A copy of a real folder, to be changed and read for an import.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Map, Value, json};
use sexton_domain::schedule::Zone;
use sexton_openclaw::import::account::Source;
use sexton_openclaw::import::brought::Brought;
use sexton_openclaw::import::gather::{Gathered, Options, gather};

use crate::unpack::unpack;

/// Where sessions lie.
pub const SESSIONS: &str = "agents/main/sessions";
/// The state database.
pub const STATE: &str = "state/openclaw.sqlite";
/// The agent's database.
pub const AGENT: &str = "agents/main/agent/openclaw-agent.sqlite";

/// A copy, with its databases unpacked.
pub struct Copy {
    dir: tempfile::TempDir,
}

impl Copy {
    /// Of a folder among the fixtures.
    pub fn of(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        unpack(&from, &dir.path().join("state"));
        Self { dir }
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Changes the rows of the index.
    pub fn index(&self, change: &dyn Fn(&mut Map<String, Value>)) {
        let path = format!("{SESSIONS}/sessions.json");
        let mut rows: Value = serde_json::from_slice(&fs::read(self.path(&path)).unwrap()).unwrap();
        change(rows.as_object_mut().unwrap());
        self.write(&path, &rows.to_string());
    }

    /// Has this process hold the lock of a session: it is taken for a gateway.
    pub fn hold(&self, session: &str) {
        let holder = json!({ "pid": std::process::id(), "starttime": own_start() });
        self.write(&format!("{SESSIONS}/{session}.jsonl.lock"), &holder.to_string());
    }

    /// Changes a database, and leaves no log behind.
    pub fn sql(&self, database: &str, statements: &str) {
        let connection = Connection::open(self.path(database)).unwrap();
        connection.execute_batch(statements).unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }

    /// Reads it.
    pub fn gather(&self) -> Gathered {
        self.gather_while(&mut |_| {})
    }

    /// Reads it, while something happens before each file is read.
    pub fn gather_while(&self, happens: &mut dyn FnMut(&Path)) -> Gathered {
        self.read(&|_| {}, happens)
    }

    /// Reads it otherwise.
    pub fn gather_with(&self, change: &dyn Fn(&mut Options<'_>)) -> Gathered {
        self.read(change, &mut |_| {})
    }

    fn read(&self, change: &dyn Fn(&mut Options<'_>), happens: &mut dyn FnMut(&Path)) -> Gathered {
        let mut options = Options {
            now: "2026-11-20T20:00:00Z".parse().unwrap(),
            scratch: self.dir.path().to_owned(),
            agents: BTreeMap::new(),
            jobs: BTreeMap::new(),
            sessions: Brought::default(),
            enable: true,
            zone: Zone::UTC,
            served: None,
            progress: &mut |path, _| happens(path),
        };
        change(&mut options);
        gather(&self.path(""), options).unwrap()
    }
}

/// When this process began, in the ticks of the process table.
pub fn own_start() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// The source of this path.
pub fn source<'a>(found: &'a Gathered, path: &str) -> &'a Source {
    let named = found.sources.iter().find(|source| source.path == path);
    named.unwrap_or_else(|| panic!("{path} is no source: {:?}", found.sources))
}
