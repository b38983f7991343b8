//! The conditions of a measurement: the machine, its disk, and what else it has to do.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::raw;
use super::times::Spread;

/// For how long raw writes are measured.
const RAW: Duration = Duration::from_millis(400);
/// How many bytes each of them has.
const RAW_BYTES: usize = 4096;

/// What goes for every figure of a measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    /// The version of Sexton.
    pub version: &'static str,
    /// `release`, or `debug`, whose figures say little.
    pub build: &'static str,
    /// Threads that run at once.
    pub cpus: usize,
    /// Which processor.
    pub cpu: String,
    /// Memory of the machine, in bytes; none where the system does not say.
    pub memory_bytes: Option<u64>,
    /// The operating system and its version.
    pub system: String,
    /// The file system of the scratch folder.
    pub filesystem: String,
    /// A write of 4 KiB that waits for the disk, there, before everything else.
    pub raw_sync: Spread,
    /// Load averages over 1, 5 and 15 minutes when the measurement began.
    pub load_before: Vec<f64>,
    /// The same when it was over.
    pub load_after: Vec<f64>,
}

impl Conditions {
    /// Those of a measurement that begins now.
    pub fn begin(folder: &Path) -> anyhow::Result<Self> {
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let (load_before, load_after) = (load(), Vec::new());
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            cpus,
            cpu: cpu(),
            memory_bytes: memory_bytes(),
            system: system(),
            filesystem: filesystem(folder),
            raw_sync: raw::syncs(folder, RAW_BYTES, RAW)?.spread(),
            load_before,
            load_after,
        })
    }

    /// It is over.
    pub fn end(&mut self) {
        self.load_after = load();
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let loads = |load: &[f64]| {
            let words: Vec<String> = load.iter().map(|load| format!("{load:.2}")).collect();
            if words.is_empty() { "unknown".to_owned() } else { words.join(" ") }
        };
        let (before, after) = (loads(&self.load_before), loads(&self.load_after));
        let mut lines = self.machine();
        lines.push(format!("load averages: {before} at the start, {after} at the end"));
        lines
    }

    /// What is measured, on which machine and disk, for people.
    pub fn machine(&self) -> Vec<String> {
        let memory = self.memory_bytes.map_or_else(String::new, |bytes| {
            format!(", {} of memory", crate::output::bytes(bytes))
        });
        let mut lines = vec![
            format!("sexton {}, {} build", self.version, self.build),
            format!("{} CPUs ({}){memory}, {}", self.cpus, self.cpu, self.system),
            format!(
                "disk: a write of 4 KiB with fdatasync takes {} ({})",
                self.raw_sync.shown(),
                self.filesystem
            ),
        ];
        if self.build == "debug" {
            lines.push("a debug build: a release build is several times faster".to_owned());
        }
        if self.filesystem == "tmpfs" {
            lines.push("the scratch folder is in memory: name one on a disk with --dir".to_owned());
        }
        lines
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn cpu() -> String {
    let text = read("/proc/cpuinfo");
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']));
    model.unwrap_or(std::env::consts::ARCH).to_owned()
}

fn memory_bytes() -> Option<u64> {
    let text = read("/proc/meminfo");
    let kib: u64 = text.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn system() -> String {
    let release = read("/proc/sys/kernel/osrelease");
    // What comes after the version is a name that somebody gave to a build.
    let release = release.trim().split('-').next().unwrap_or_default();
    match release {
        "" => std::env::consts::OS.to_owned(),
        release => format!("Linux {release}"),
    }
}

fn load() -> Vec<f64> {
    read("/proc/loadavg").split(' ').take(3).filter_map(|word| word.parse().ok()).collect()
}

/// The type of the mount that a folder lies on: of those that hold it, the one with the longest path.
fn filesystem(folder: &Path) -> String {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mounts = read("/proc/self/mounts");
    let mut found = ("", "unknown");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        if let (Some(place), Some(kind)) = (words.next(), words.next())
            && folder.starts_with(place)
            && place.len() >= found.0.len()
        {
            found = (place, kind);
        }
    }
    found.1.to_owned()
}
