//! A copy of a healthy folder, and ways to make it sick.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sexton_domain::schedule::Zone;
use sexton_openclaw::finding::{Code, Cure};
use sexton_openclaw::folder::HEAL_FOLDER;
use sexton_openclaw::heal;
use sexton_openclaw::heal::plan::Plan;
use sexton_openclaw::heal::undo::Which;
use sexton_openclaw::inspect::{Options, Report, inspect};

use crate::unpack::unpack;

/// The healthy ones.
pub const HEALTHY: &[&str] = &["2026.5.6-plain", "2026.5.6-reset", "2026.9.6-plain"];
/// Where sessions lie.
pub const SESSIONS: &str = "agents/main/sessions";
/// Shortly after the JSON folders were written.
pub const NOW: &str = "2026-11-20T19:10:00Z";

/// Every file with its mode, its time and its bytes.
pub type Listing = BTreeMap<PathBuf, (u32, SystemTime, Vec<u8>)>;

/// Codes and how many cases of each.
pub type Found = Vec<(Code, usize)>;

/// A folder that is made sick.
pub struct Sick {
    dir: tempfile::TempDir,
}

/// The database of an agent.
pub const AGENT: &str = "agents/main/agent/openclaw-agent.sqlite";
/// The database that all agents share.
pub const STATE: &str = "state/openclaw.sqlite";

/// A folder of the JSON era.
pub fn plain() -> Sick {
    Sick::copy("2026.5.6-plain")
}

/// One of the JSON era whose conversations were reset.
pub fn reset() -> Sick {
    Sick::copy("2026.5.6-reset")
}

/// One of the SQLite era.
pub fn sqlite() -> Sick {
    Sick::copy("2026.9.6-plain")
}

impl Sick {
    /// A copy of a healthy one, with its databases unpacked.
    pub fn copy(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        unpack(&from, &dir.path().join("state"));
        Self { dir }
    }

    /// Its path.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A file among the sessions of `main`.
    pub fn session_file(&self, name: &str) -> PathBuf {
        self.path(SESSIONS).join(name)
    }

    /// What inspect says at a time.
    pub fn report_at(&self, now: &str) -> Report {
        self.report(now, None)
    }

    /// The same while something answers where its gateway would listen.
    pub fn report_served(&self, now: &str) -> Report {
        self.report(now, Some("something answers".to_owned()))
    }

    fn report(&self, now: &str, served: Option<String>) -> Report {
        let options = Options {
            now: now.parse().unwrap(),
            zone: Zone::UTC,
            scratch: self.dir.path().to_owned(),
            served,
            progress: &mut |_, _| {},
        };
        inspect(&self.root(), options).unwrap()
    }

    /// Codes and how many cases of each.
    pub fn found_at(&self, now: &str) -> Found {
        let report = self.report_at(now);
        let found = report.findings.iter().map(|finding| (finding.code, finding.items.len()));
        found.collect()
    }

    /// This is found and nothing else; healing leaves what needs a person; and undoing it leaves every
    /// byte, mode and time as it was.
    pub fn is(&self, expected: &[(Code, usize)]) {
        self.is_at(NOW, expected);
    }

    /// The same at another time.
    pub fn is_at(&self, now: &str, expected: &[(Code, usize)]) {
        assert_eq!(self.found_at(now), expected);
        let before = self.listing();
        let (left_out, left) = self.healed(now);
        assert_eq!(left_out, 0);
        assert_eq!(left.0, left.1, "after healing");
        same(&before, &self.listing());
    }

    /// Heals what can be, and undoes it.
    pub fn heal_and_undo(&self) {
        self.healed(NOW);
    }

    /// Heals and undoes: how many items were left out, what was found in between, and what was for a person.
    fn healed(&self, now: &str) -> (usize, (Found, Found)) {
        let report = self.report_at(now);
        let plan = Plan::of(&report.findings, &report.folder, now.parse().unwrap(), &[]);
        let outcome = heal::apply(&plan, &self.root(), "20261120T191000000Z", &mut |_| {}).unwrap();
        let left = (self.found_at(now), for_a_person(&report));
        if outcome.backup.is_some() {
            heal::undo::undo(&self.root(), Which::Latest, &mut |_| {}).unwrap();
        }
        let _ = fs::remove_dir_all(self.root().join(HEAL_FOLDER));
        (outcome.left_out.len(), left)
    }

    /// The same shortly after the folder was written.
    pub fn found(&self) -> Found {
        self.found_at(NOW)
    }

    /// The evidence of the first case of a code.
    pub fn evidence(&self, code: Code) -> String {
        let report = self.report_at(NOW);
        let finding = report.findings.iter().find(|finding| finding.code == code);
        finding.unwrap_or_else(|| panic!("no {}", code.as_str())).items[0].evidence.clone()
    }

    /// What the first case of a code advises.
    pub fn help(&self, code: Code) -> String {
        let report = self.report_at(NOW);
        let finding = report.findings.iter().find(|finding| finding.code == code);
        let items = &finding.unwrap_or_else(|| panic!("no {}", code.as_str())).items;
        match &items[0].cure {
            Cure::Person(help) => help.clone(),
            steps => panic!("no person is needed: {steps:?}"),
        }
    }

    /// Changes a JSON file.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let path = self.path(name);
        let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    }

    /// Changes the session rows.
    pub fn edit_rows(&self, change: impl FnOnce(&mut Map<String, Value>)) {
        let index = format!("{SESSIONS}/sessions.json");
        self.edit(&index, |value| change(value.as_object_mut().unwrap()));
    }

    /// The first key among the session rows.
    pub fn first_key(&self) -> String {
        let mut key = String::new();
        self.edit_rows(|rows| key = rows.keys().next().unwrap().clone());
        key
    }

    /// The session id of a key.
    pub fn session_of(&self, key: &str) -> String {
        let mut id = String::new();
        self.edit_rows(|rows| id = rows[key]["sessionId"].as_str().unwrap().to_owned());
        id
    }

    /// Sets a field of the first row, whose key this returns.
    pub fn set_first(&self, field: &str, value: Value) -> String {
        let key = self.first_key();
        self.edit_rows(|rows| {
            rows[&key][field] = value;
        });
        key
    }

    /// Adds rows of runs of the one job, as old as it says before the folder's last sign of life.
    pub fn add_runs(&self, count: usize, age_hours: i64) {
        let newest = self.newest();
        self.edit_rows(|rows| {
            for n in 0..count {
                let id = format!("00000000-0000-4000-8000-{n:012}");
                let key = format!("agent:main:cron:1e0faea8-493d-4ba7-96eb-5c51b3d0e63f:run:{id}");
                let at = newest.as_millisecond() - age_hours * 3_600_000;
                rows.insert(key, json!({"sessionId": id, "updatedAt": at, "status": "done"}));
            }
        });
    }

    /// The newest time of any row.
    pub fn newest(&self) -> Timestamp {
        let mut newest = 0;
        self.edit_rows(|rows| {
            newest = rows.values().map(|row| row["updatedAt"].as_i64().unwrap_or(0)).max().unwrap();
        });
        Timestamp::from_millisecond(newest).unwrap()
    }

    /// Makes a file look as if it was written long ago.
    pub fn age(&self, path: &Path) {
        let now: Timestamp = NOW.parse().unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_second() as u64 - 7200);
        File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }

    /// Every file with its bytes, its mode and its time.
    pub fn listing(&self) -> Listing {
        let mut listing = BTreeMap::new();
        list(&self.root(), &mut listing);
        listing
    }
}

/// What healing cannot take care of.
fn for_a_person(report: &Report) -> Found {
    let person = |finding: &sexton_openclaw::finding::Finding| {
        finding.items.iter().filter(|item| matches!(item.cure, Cure::Person(_))).count()
    };
    let counts = report.findings.iter().map(|finding| (finding.code, person(finding)));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// Names what differs, and does not print the bytes.
fn same(before: &Listing, after: &Listing) {
    let names = |listing: &Listing| listing.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after));
    for (path, (mode, modified, bytes)) in before {
        let (mode_after, modified_after, bytes_after) = &after[path];
        assert_eq!((mode, modified), (mode_after, modified_after), "{}", path.display());
        assert!(bytes == bytes_after, "{} has other bytes", path.display());
    }
}

fn list(folder: &Path, listing: &mut Listing) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let mode = meta.permissions().mode();
        listing.insert(path.clone(), (mode, meta.modified().unwrap(), bytes));
        if meta.is_dir() {
            list(&path, listing);
        }
    }
}
