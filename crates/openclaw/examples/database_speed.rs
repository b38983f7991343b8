//! Measures the readers of an agent's database with many sessions: time of the processor, rows and bytes
//! in a second, and the peak of memory.
//!
//! `cargo run --release -p sexton-openclaw --example database_speed -- 100000` makes such a database from
//! the real one of 2026.9.6 in a temporary folder: nodes with its entry, windows, three events each.

use std::fs::{self, File};
use std::path::Path;

use rusqlite::{Connection, params};
use rustix::time::{ClockId, clock_gettime};
use sexton_openclaw::model::Tally;
use sexton_openclaw::read::agent_db::AgentDb;
use sexton_openclaw::read::snapshot::Snapshot;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const REAL: &str = "tests/fixtures/2026.9.6-plain/agents/main/agent/openclaw-agent.sqlite.zst";

fn main() -> Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("openclaw-agent.sqlite");
    generate(&path, count)?;
    let bytes = fs::metadata(&path)?.len();
    println!("{count} sessions, {} MB; peak memory so far {} MB", bytes / 1_000_000, peak_mb()?);
    let before = processor_seconds();
    let snapshot = Snapshot::take(&path, folder.path())?;
    let seconds = processor_seconds() - before;
    println!("snapshot: {seconds:.2} s, {:.0} MB/s", bytes as f64 / 1e6 / seconds);
    let before = processor_seconds();
    let db = AgentDb::open(&snapshot)?;
    println!("open: {:.3} s", processor_seconds() - before);
    let mut running = 0;
    let rows = count + 1;
    measure("nodes", rows, || {
        db.nodes(&mut |node| running += u64::from(node.row.status.is_some()))
    })?;
    assert_eq!(running, count, "every added node has a status");
    measure("windows", rows, || db.windows(&mut |window| drop(window)))?;
    let mut text = 0;
    measure("events", 3 * count + 6, || {
        db.events(&mut |event| text += event.json.map_or(0, |json| json.len()))
    })?;
    println!("events: {} MB of JSON", text / 1_000_000);
    let before = processor_seconds();
    assert!(db.integrity(10).is_empty(), "what was generated is whole");
    let seconds = processor_seconds() - before;
    println!("quick_check: {seconds:.2} s; peak memory {} MB", peak_mb()?);
    Ok(())
}

fn measure(what: &str, rows: u64, read: impl FnOnce() -> Tally) -> Result<()> {
    let before = processor_seconds();
    let tally = read();
    let seconds = processor_seconds() - before;
    assert_eq!((tally.read, tally.dropped.len()), (rows, 0), "{what}: every row is read");
    let (rate, speed) = (rows as f64 / seconds, tally.bytes as f64 / 1e6 / seconds);
    let peak = peak_mb()?;
    println!(
        "{what}: {seconds:.2} s, {rate:.0} rows/s, {speed:.0} MB/s; peak memory so far {peak} MB"
    );
    Ok(())
}

/// The real database with many more sessions.
fn generate(path: &Path, count: u64) -> Result<()> {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join(REAL);
    zstd::stream::copy_decode(File::open(real)?, File::create(path)?)?;
    let mut connection = Connection::open(path)?;
    let pragmas = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF";
    connection.execute_batch(pragmas)?;
    drop_triggers(&connection)?;
    let text = |query| connection.query_row(query, [], |row| row.get::<_, String>(0));
    let entry = text("SELECT entry_json FROM session_nodes")?;
    let events = text("SELECT json_group_array(event_json) FROM transcript_events WHERE seq > 2")?;
    let events: Vec<String> = serde_json::from_str(&events)?;
    let transaction = connection.transaction()?;
    {
        let mut node = transaction.prepare(
            "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, status, created_via)
             VALUES (?1, ?2, ?3, ?4, 'done', 'cron')",
        )?;
        let mut window = transaction.prepare(
            "INSERT INTO session_windows (session_id, session_key, created_at, updated_at, status)
             VALUES (?1, ?2, ?3, ?3, 'done')",
        )?;
        let mut event = transaction.prepare(
            "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for number in 0..count {
            let id = format!("00000000-0000-4000-8000-{number:012}");
            let key = format!("agent:main:cron:job:run:{id}");
            let at = 1_795_197_793_345 + i64::try_from(number)?;
            node.execute(params![key, id, entry, at])?;
            window.execute(params![id, key, at])?;
            for (seq, json) in (0_i64..).zip(&events) {
                event.execute(params![id, seq, json, at])?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Their triggers note every new row as to be checked, which is slow and nothing that is read.
fn drop_triggers(connection: &Connection) -> Result<()> {
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")?;
    let names = names.query_map([], |row| row.get::<_, String>(0))?;
    for name in names.collect::<std::result::Result<Vec<_>, _>>()? {
        connection.execute_batch(&format!("DROP TRIGGER {name}"))?;
    }
    Ok(())
}

fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_mb() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?;
    Ok(kib.parse::<u64>()? / 1000)
}
