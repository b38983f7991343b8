//! What `inspect` takes of memory and time on a folder far above the usual size.
//!
//! `cargo run --release -p sexton-openclaw --example inspect_size json|sqlite [SESSIONS]` makes the folder in
//! a process of its own, in the temporary folder, and prints the peak of the resident memory (`VmHWM`), the
//! bytes read, and the time.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use rusqlite::{Connection, params};
use rustix::time::{ClockId, clock_gettime};
use sexton_domain::schedule::Zone;
use sexton_openclaw::inspect::{Options, inspect};

/// A row of 2026.5.6 has 9.2 KB, of which the skills and the prompt report are 93 %.
const BLOB: usize = 8500;
const NOW_MS: i64 = 1_795_198_700_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", kind, sessions, folder] => {
            make(kind, sessions.parse().expect("a number"), Path::new(folder));
        }
        [kind, rest @ ..] => {
            let sessions = rest.first().map_or("100000", |sessions| sessions);
            measure(kind, sessions);
        }
        [] => println!("say json or sqlite"),
    }
}

fn measure(kind: &str, sessions: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = std::env::current_exe().expect("the path of this program");
    let folder = dir.path().join("state");
    let made = Command::new(own).args(["make", kind, sessions]).arg(&folder).status();
    assert!(made.expect("a child").success(), "the folder is made");
    let options = Options {
        now: jiff::Timestamp::from_millisecond(NOW_MS).expect("in range"),
        zone: Zone::UTC,
        scratch: dir.path().to_owned(),
        served: None,
        progress: &mut |_, _| {},
    };
    let began = seconds();
    let report = inspect(&folder, options).expect("a state folder");
    let took = seconds() - began;
    let mb = report.bytes_read as f64 / 1e6;
    println!(
        "{kind}: {sessions} sessions, {mb:.0} MB in {took:.1} s ({:.0} MB/s), peak {} MB",
        mb / took,
        peak_kb() / 1000
    );
    for finding in &report.findings {
        println!("    {}: {}", finding.code.as_str(), finding.items.len());
    }
}

fn seconds() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn make(kind: &str, sessions: u32, folder: &Path) {
    match kind {
        "json" => json(sessions, folder),
        _ => sqlite(sessions, folder),
    }
}

fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn key(n: u32) -> String {
    format!("agent:main:cron:1e0faea8-493d-4ba7-96eb-5c51b3d0e63f:run:{}", id(n))
}

fn entry(n: u32, blob: &str) -> serde_json::Value {
    serde_json::json!({
        "sessionId": id(n), "updatedAt": NOW_MS - i64::from(n), "sessionStartedAt": NOW_MS - 60_000,
        "status": "done", "systemSent": true, "label": "Cron: t1", "modelProvider": "fake", "model": "fake-1",
        "inputTokens": 100, "outputTokens": 8, "totalTokens": 100,
        "skillsSnapshot": {"prompt": blob},
    })
}

fn json(sessions: u32, folder: &Path) {
    let place = folder.join("agents/main/sessions");
    fs::create_dir_all(&place).expect("a folder");
    let file = File::create(place.join("sessions.json")).expect("a file");
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let blob = "x".repeat(BLOB);
    write!(file, "{{").expect("written");
    for n in 0..sessions {
        let comma = if n == 0 { "" } else { "," };
        let row = serde_json::to_string_pretty(&entry(n, &blob)).expect("JSON");
        let row = row.replace('\n', "\n  ");
        write!(file, "{comma}\n  \"{}\": {row}", key(n)).expect("written");
    }
    writeln!(file, "\n}}").expect("written");
    file.flush().expect("written");
}

/// The real schema, with the rows that a run of 2026.9.6 has.
fn sqlite(sessions: u32, folder: &Path) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/2026.9.6-plain/agents/main/agent/openclaw-agent.sqlite.zst");
    let place = folder.join("agents/main/agent");
    fs::create_dir_all(&place).expect("a folder");
    let bytes = zstd::decode_all(File::open(fixture).expect("the fixture")).expect("zstd");
    fs::write(place.join("openclaw-agent.sqlite"), bytes).expect("written");
    let mut connection = Connection::open(place.join("openclaw-agent.sqlite")).expect("a database");
    // Their triggers note every new row as to be checked, which is slow and nothing that is read.
    let drops = "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema WHERE type = 'trigger'";
    let drops: String = connection.query_row(drops, [], |row| row.get(0)).expect("triggers");
    let pragmas = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF";
    connection.execute_batch(&format!("{pragmas}; {drops}")).expect("a plain database");
    let blob = "x".repeat(1000);
    let transaction = connection.transaction().expect("a transaction");
    for n in 0..sessions {
        let at = NOW_MS - i64::from(n);
        let node = "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, status)
            VALUES (?1, ?2, ?3, ?4, 'done')";
        transaction
            .execute(node, params![key(n), id(n), entry(n, &blob).to_string(), at])
            .expect("a node");
        let window =
            "INSERT INTO session_windows (session_id, session_key, created_at, updated_at, status)
            VALUES (?1, ?2, ?3, ?3, 'done')";
        transaction.execute(window, params![id(n), key(n), at]).expect("a window");
        for seq in 0..3 {
            let event = match seq {
                0 => {
                    serde_json::json!({"type": "session", "version": 4, "id": id(n), "timestamp": "2026-11-20T18:05:45.000Z"})
                }
                _ => {
                    serde_json::json!({"type": "message", "id": format!("{n}-{seq}"), "timestamp": "2026-11-20T18:05:45.000Z",
                    "message": {"role": "user", "content": "[cron:x y] hello"}})
                }
            };
            let insert = "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?1, ?2, ?3, ?4)";
            transaction
                .execute(insert, params![id(n), seq, event.to_string(), at])
                .expect("an event");
        }
    }
    transaction.commit().expect("committed");
}
