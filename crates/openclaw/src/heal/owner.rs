//! Whether a process lives, and which living process owns a state folder.
//!
//! A process owns the folder iff a record of OpenClaw names it and it is alive (not another one of the same
//! id: its start tells), or it has a database, an index or a lock of the folder open right now. The records
//! are those of the folder, and the lock that a gateway keeps outside of it.

use std::env;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use sexton_domain::duration::Duration;

use crate::model::{Boot, Lease, Lock, Process, Receipt, ReceiptStatus};
use crate::read::lock::gateway_locks;

/// Whether a process that a record names is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// There is one of this id, and nothing speaks against its being the same.
    Alive,
    /// There is none.
    Dead,
    /// There is one that started at another time.
    Recycled,
    /// The process table cannot be read.
    Unknown,
}

impl Liveness {
    /// What a record of a process is worth that is over; none while it may live.
    pub const fn over(self) -> Option<&'static str> {
        match self {
            Self::Alive | Self::Unknown => None,
            Self::Dead => Some("is dead"),
            Self::Recycled => Some("is another process now"),
        }
    }
}

/// A living process that owns a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub pid: u32,
    /// Why it is believed.
    pub evidence: String,
}

/// Whether the process table can be read. Where it cannot, nobody is proven to be dead.
pub fn sees_processes() -> bool {
    Path::new("/proc/self/stat").exists()
}

/// Looks a process up.
pub fn is_alive(process: Process) -> Liveness {
    if !sees_processes() {
        return Liveness::Unknown;
    }
    verdict(process, fs::read_to_string(format!("/proc/{}/stat", process.pid)).ok().as_deref())
}

/// What a line of `/proc/<pid>/stat` makes of a process.
fn verdict(process: Process, stat: Option<&str>) -> Liveness {
    // The name in parentheses may hold anything, also spaces and parentheses.
    let Some((_, fields)) = stat.and_then(|stat| stat.rsplit_once(')')) else {
        return Liveness::Dead;
    };
    let state = fields.split_whitespace().next();
    let started = ticks(fields);
    match (state, process.started_ticks, started) {
        (Some("Z" | "X"), ..) => Liveness::Dead,
        (_, Some(recorded), Some(started)) if recorded != started => Liveness::Recycled,
        _ => Liveness::Alive,
    }
}

/// Looks the holder of a lock up; none if the lock names nobody. One that names no start is told from a
/// later process of its id by when it was made.
pub fn of_lock(lock: &Lock) -> Option<Liveness> {
    let process = lock.owner?;
    let liveness = is_alive(process);
    let later = || started_at(process.pid).is_some_and(|started| started > lock.created_at);
    Some(match liveness {
        Liveness::Alive if process.started_ticks.is_none() && later() => Liveness::Recycled,
        liveness => liveness,
    })
}

/// A lock that names nobody is given this long.
const NAMELESS_LOCK_SECS: u64 = 30;

/// Why a lock is nobody's, by who holds it; none while somebody may hold it.
pub fn why_stale(lock: &Lock, holder: Option<Liveness>, now: Timestamp) -> Option<String> {
    match lock.owner.zip(holder) {
        Some((process, holder)) => Some(format!("process {} {}", process.pid, holder.over()?)),
        None => {
            let age = Duration::between(lock.created_at, now);
            let is_over = age > Duration::from_secs(NAMELESS_LOCK_SECS);
            is_over.then(|| format!("it names no process and is {age} old"))
        }
    }
}

/// This process.
pub fn own() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let started_ticks = stat.as_deref().and_then(|stat| ticks(stat.rsplit_once(')')?.1));
    Process { pid: std::process::id(), started_ticks }
}

/// When a process started, rounded down by up to two seconds: the clocks that it is counted by are coarse.
pub fn started_at(pid: u32) -> Option<Timestamp> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(stat.rsplit_once(')')?.1)?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot: i64 = boot.trim().parse().ok()?;
    let since_boot = ticks / rustix::param::clock_ticks_per_second();
    Timestamp::from_second(boot + i64::try_from(since_boot).ok()? - 1).ok()
}

/// The start in the fields behind the name: field 22 of all, 18 fields behind the state, which is field 3.
fn ticks(fields: &str) -> Option<u64> {
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// What a folder says of processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims<'a> {
    /// Lock files.
    pub locks: &'a [Lock],
    /// Runs that were claimed.
    pub receipts: &'a [Receipt],
    /// Databases that were opened.
    pub leases: &'a [Lease],
    /// Lives of the gateway.
    pub boots: &'a [Boot],
}

/// The living gateway of a folder, by the records of it; else whoever has its files open.
pub fn live_gateway(folder: &Path, claims: Claims<'_>) -> Option<Owner> {
    let Claims { locks, receipts, leases, boots } = claims;
    let named = |source: String, process: Process| Owner {
        pid: process.pid,
        evidence: format!("{source} names process {}, which is alive", process.pid),
    };
    let of_gateways = gateway_locks(&env::temp_dir());
    let of_this = of_gateways.iter().filter(|(of, _)| of == folder).map(|(_, lock)| lock);
    let mut all = locks.iter().chain(of_this);
    let lock = all.find(|lock| of_lock(lock) == Some(Liveness::Alive));
    if let Some((lock, process)) = lock.and_then(|lock| Some((lock, lock.owner?))) {
        return Some(named(lock.path.display().to_string(), process));
    }
    // Nobody but the kernel knows whether a process without a start is the same: what it has open tells.
    let lives = |process: Process| {
        is_alive(process) == Liveness::Alive
            && (process.started_ticks.is_some() || opened(process.pid, folder).is_some())
    };
    let mut claimed = receipts.iter().filter(|it| it.status == Some(ReceiptStatus::Running));
    if let Some(receipt) = claimed.find(|receipt| lives(receipt.owner)) {
        return Some(named(format!("cron_run_receipts {}", receipt.id), receipt.owner));
    }
    if let Some(lease) = leases.iter().find(|lease| lives(lease.owner)) {
        return Some(named(format!("agent_database_leases {}", lease.id), lease.owner));
    }
    let open = boots.iter().filter(|boot| boot.completed_at.is_none());
    let mut open = open.map(|boot| Process { pid: boot.pid, started_ticks: None });
    let booted = open.find(|process| lives(*process));
    booted
        .map(|process| named("gateway_boot_lifecycle".to_owned(), process))
        .or_else(|| anybody_inside(folder))
}

fn anybody_inside(folder: &Path) -> Option<Owner> {
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    pids.filter(|pid| *pid != own).find_map(|pid| {
        let file = opened(pid, folder)?;
        Some(Owner { pid, evidence: format!("process {pid} has {file} open") })
    })
}

/// A file of the folder that a process has open and that only a gateway opens.
fn opened(pid: u32, folder: &Path) -> Option<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).find_map(|target| {
        let inside = target.strip_prefix(folder).ok()?.to_string_lossy().into_owned();
        let theirs = inside.ends_with(".sqlite")
            || inside.ends_with(".sqlite-wal")
            || inside.ends_with(".lock")
            || inside.ends_with("sessions.json");
        theirs.then_some(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_start() -> u64 {
        own().started_ticks.unwrap()
    }

    /// A gateway of another user shows by its lock alone: what it has open cannot be seen.
    #[test]
    fn a_living_process_whose_gateway_lock_names_the_folder_owns_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(dir.path()).unwrap();
        let of_user = tempfile::Builder::new().prefix("openclaw-").tempdir().unwrap();
        let path = of_user.path().join("gateway.0a1b2c3d.lock");
        let owner = |start: u64| {
            let lock = serde_json::json!({
                "pid": std::process::id(), "startTime": start,
                "configPath": folder.join("openclaw.json"),
            });
            fs::write(&path, lock.to_string()).unwrap();
            live_gateway(&folder, Claims::default())
        };
        let named = owner(own_start()).unwrap();
        assert_eq!(named.pid, std::process::id());
        assert!(named.evidence.contains("gateway.0a1b2c3d.lock"), "{named:?}");
        assert_eq!(owner(own_start() + 1), None);
    }

    /// After a restart of the machine some process had the id that a stale lock named, and owned the folder.
    #[test]
    fn a_lock_without_a_start_that_is_older_than_the_process_is_not_of_it() {
        let pid = std::process::id();
        let started = started_at(pid).unwrap();
        let made = |seconds: i64| Lock {
            path: "s/a.jsonl.lock".into(),
            of: "a.jsonl".to_owned(),
            owner: Some(Process { pid, started_ticks: None }),
            created_at: started + jiff::SignedDuration::from_secs(seconds),
        };
        assert_eq!(of_lock(&made(5)), Some(Liveness::Alive));
        assert_eq!(of_lock(&made(-5)), Some(Liveness::Recycled));
        assert_eq!(of_lock(&Lock { owner: None, ..made(5) }), None);
    }

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_id_by_its_start() {
        let pid = std::process::id();
        let of = |started_ticks| is_alive(Process { pid, started_ticks });
        assert_eq!(of(None), Liveness::Alive);
        assert_eq!(of(Some(own_start())), Liveness::Alive);
        assert_eq!(of(Some(own_start() + 1)), Liveness::Recycled);
        let nobody = Process { pid: 4_194_305, started_ticks: None };
        assert_eq!(is_alive(nobody), Liveness::Dead);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "17 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let of = |ticks| verdict(Process { pid: 17, started_ticks: Some(ticks) }, Some(stat));
        assert_eq!(of(4711), Liveness::Alive);
        assert_eq!(of(18), Liveness::Recycled);
        let zombie = stat.replace(") S", ") Z");
        let process = Process { pid: 17, started_ticks: None };
        assert_eq!(verdict(process, Some(&zombie)), Liveness::Dead);
    }

    #[test]
    fn a_process_that_has_a_database_of_the_folder_open_owns_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(dir.path()).unwrap();
        assert_eq!(live_gateway(&folder, Claims::default()), None);
        let path = folder.join("openclaw.sqlite");
        fs::write(&path, "").unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(fs::File::open(&path).unwrap())
            .spawn()
            .unwrap();
        let owner = live_gateway(&folder, Claims::default());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(owner.map(|owner| owner.pid), Some(child.id()));
    }
}
