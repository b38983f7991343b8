//! How fast `sessions.json` is read, beside what the JSON parser alone does on the same file.
//!
//! Writes a file of about a gigabyte into a temporary folder, with rows like that of a real one, reads it
//! in three ways in one process, and prints for each the megabytes for each second of processor time,
//! and the most memory that was held.
//!
//! ```text
//! cargo run --release -p sexton-openclaw --example index_speed [ROWS]
//! ```

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;
use sexton_openclaw::read::sessions::{Ending, rows};

const SAMPLE: &[u8] =
    include_bytes!("../tests/fixtures/2026.5.6-plain/agents/main/sessions/sessions.json");

fn main() -> io::Result<()> {
    let count = match std::env::args().nth(1) {
        Some(count) => count.parse().map_err(io::Error::other)?,
        None => 100_000,
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sessions.json");
    let bytes = write(&path, count)?;
    println!("{count} rows, {} MB", bytes / 1_000_000);

    measure("plain reading", bytes, || io::copy(&mut File::open(&path)?, &mut io::sink()))?;
    let read = measure("rows, each with its fields", bytes, || all_rows(&path))?;
    assert_eq!(read, count, "every row is read");
    measure("serde_json: from_reader, everything ignored", bytes, || {
        let input = BufReader::with_capacity(256 * 1024, File::open(&path)?);
        serde_json::from_reader::<_, IgnoredAny>(input)?;
        Ok(1)
    })?;
    let read =
        measure("serde_json: from_slice a row, everything ignored", bytes, || ignored_rows(&path))?;
    assert_eq!(read, count, "every row is read");
    Ok(())
}

fn measure(what: &str, bytes: u64, work: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    let before = processor_seconds();
    let result = work()?;
    let seconds = processor_seconds() - before;
    let rate = bytes as f64 / 1e6 / seconds;
    println!("{what}: {seconds:.2} s, {rate:.0} MB/s; peak memory so far {} MB", peak_mb()?);
    Ok(result)
}

fn all_rows(path: &Path) -> io::Result<u64> {
    let mut with_id = 0;
    let index = rows(File::open(path)?, &mut |row| {
        with_id += u64::from(row.row.session_id.is_some() && !row.again);
    })?;
    assert_eq!((index.ending, index.tally.dropped.len()), (Ending::Whole, 0), "a healthy file");
    assert!(index.is_json, "a healthy file");
    Ok(with_id)
}

/// The parser alone, a row at a time: where the rows are is known from the writing of lines.
fn ignored_rows(path: &Path) -> io::Result<u64> {
    let mut input = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut lengths = [0; 8];
    let mut sizes = File::open(path.with_extension("sizes"))?;
    let mut row = Vec::new();
    let mut count = 0;
    while sizes.read_exact(&mut lengths).is_ok() {
        let length = u64::from_le_bytes(lengths);
        row.clear();
        (&mut input).take(length).read_to_end(&mut row)?;
        let start = row.windows(3).position(|three| three == b": {").map_or(0, |at| at + 2);
        let value = row[start..].trim_ascii_end();
        let value = value.strip_suffix(b"}\n}").map_or(value, |_| &value[..value.len() - 2]);
        let value = value.strip_suffix(b",").unwrap_or(value);
        serde_json::from_slice::<IgnoredAny>(value)?;
        count += 1;
    }
    Ok(count)
}

/// Writes the file, and beside it the length of each row with what stands before it.
fn write(path: &Path, count: u64) -> io::Result<u64> {
    let sample: serde_json::Value = serde_json::from_slice(SAMPLE)?;
    let row = sample.as_object().and_then(|rows| rows.values().next()).cloned().unwrap_or_default();
    let text = serde_json::to_string_pretty(&row)?.replace('\n', "\n  ");
    let id = row["sessionId"].as_str().unwrap_or_default();
    let mut out = BufWriter::new(File::create(path)?);
    let mut sizes = BufWriter::new(File::create(path.with_extension("sizes"))?);
    let mut total = 0;
    for number in 0..count {
        let this = format!("00000000-0000-4000-8000-{number:012}");
        let row = text.replacen(id, &this, 1);
        let before = if number == 0 { "{" } else { "," };
        let after = if number + 1 == count { "\n}" } else { "" };
        let row = format!("{before}\n  \"agent:main:cron:job:run:{this}\": {row}{after}");
        out.write_all(row.as_bytes())?;
        sizes.write_all(&(row.len() as u64).to_le_bytes())?;
        total += row.len() as u64;
    }
    out.flush()?;
    sizes.flush()?;
    Ok(total)
}

fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_mb() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib =
        line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
    Ok(kib.unwrap_or(0_u64) / 1000)
}
