//! The machine that figures were measured on, and what else it had to do.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::clock;

/// What stands under the figures of a part: the machine, its disk, and the load before it and now.
pub fn conditions(folder: &Path, load_before: &str) -> anyhow::Result<Vec<String>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    // What comes after the version is a name that somebody gave to a build.
    let kernel = kernel.split('-').next().unwrap_or_default();
    let memory = read("/proc/meminfo");
    let memory = memory.lines().next().and_then(|line| line.split_whitespace().nth(1));
    let memory: u64 = memory.and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let (p50, p99) = fsync_ms(folder)?;
    Ok(vec![
        format!(
            "release build on {count} CPUs ({model}), {} GiB of memory, Linux {}",
            memory >> 20,
            kernel.trim()
        ),
        format!("a raw write of 4 KiB with fdatasync takes {p50:.3} ms (p50), {p99:.2} ms (p99)"),
        format!("load averages {load_before} before, {} after", load()),
    ])
}

/// Load averages over 1, 5 and 15 minutes.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// p50 and p99 of a raw write that waits for the disk.
pub fn fsync_ms(folder: &Path) -> anyhow::Result<(f64, f64)> {
    let path = folder.join("fsync");
    let file = File::create(&path)?;
    let page = [7_u8; 4096];
    let mut times = Vec::new();
    for _ in 0..500 {
        let start = clock::monotonic();
        file.write_all_at(&page, 0)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}
