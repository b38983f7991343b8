//! What a thing costs without Sexton: a write that waits for the disk, a process that is spawned.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use sexton_engine::clock::{Clock as _, SystemClock};

use super::times::Times;

/// A raw file is written from its beginning again after so many bytes, as a write-ahead log is.
const WRAP_BYTES: u64 = 4 << 20;

/// Writes so many bytes and waits for the disk (fdatasync), again and again: for so long, and at least
/// ten times.
pub fn syncs(folder: &Path, bytes: usize, for_so_long: Duration) -> anyhow::Result<Times> {
    let path = folder.join("raw");
    let file = File::create(&path).context("make a file for raw writes")?;
    let page = vec![7_u8; bytes];
    // Laid out before, so that what is measured changes no length.
    file.write_all_at(&vec![0; (WRAP_BYTES as usize).max(bytes)], 0)?;
    file.sync_all()?;
    let clock = SystemClock::new();
    let (mut times, mut at, mut count) = (Times::default(), 0, 0);
    while count < 10 || clock.monotonic() < for_so_long {
        let before = clock.monotonic();
        file.write_all_at(&page, at)?;
        file.sync_data()?;
        times.push(clock.monotonic() - before);
        at = if at + 2 * bytes as u64 > WRAP_BYTES { 0 } else { at + bytes as u64 };
        count += 1;
    }
    fs::remove_file(path)?;
    Ok(times)
}

/// CPU time in milliseconds of spawning a program and waiting for it, this process included.
pub fn spawn_ms(program: &str, spawns: u32) -> anyhow::Result<f64> {
    let before = cpu_ms()?;
    for _ in 0..spawns {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().with_context(|| format!("spawn {program}"))?;
        ensure!(status.success(), "{program} says no");
    }
    Ok((cpu_ms()? - before) / f64::from(spawns))
}

/// CPU time in milliseconds that this process and all children it waited for have used.
pub fn cpu_ms() -> anyhow::Result<f64> {
    let mut sum = 0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let used = getrusage(who).context("ask what was used")?;
        sum += used.user_time().num_microseconds() + used.system_time().num_microseconds();
    }
    Ok(sum as f64 / 1e3)
}

/// Bytes that this process has written, into the cache or not; none where the system does not say.
pub fn written_bytes() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar: "))?.trim().parse().ok()
}
