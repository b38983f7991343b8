//! Whether a process lives, and which living process owns a state folder.
//!
//! A process owns the folder iff a record of OpenClaw names it and it is alive (not another one of the same
//! id: its start tells), or it has a database, an index or a lock of the folder open right now.

use std::fs;
use std::path::Path;

use crate::model::{Boot, Process, Receipt, ReceiptStatus};

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

/// A living process that owns a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub pid: u32,
    /// Why it is believed.
    pub evidence: String,
}

/// Looks a process up.
pub fn is_alive(process: Process) -> Liveness {
    let table = Path::new("/proc/self/stat");
    if !table.exists() {
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
    let mut fields = fields.split_whitespace();
    let state = fields.next();
    // Field 22 of all; 18 fields lie between it and the state, which is field 3.
    let started = fields.nth(18).and_then(|ticks| ticks.parse::<u64>().ok());
    match (state, process.started_ticks, started) {
        (Some("Z" | "X"), ..) => Liveness::Dead,
        (_, Some(recorded), Some(started)) if recorded != started => Liveness::Recycled,
        _ => Liveness::Alive,
    }
}

/// The living gateway of a folder, by the records of it: runs that were claimed, locks with the places where
/// they lie, and lives that have not ended.
pub fn live_gateway(
    folder: &Path,
    receipts: &[Receipt],
    locks: impl IntoIterator<Item = (Process, String)>,
    boots: &[Boot],
) -> Option<Owner> {
    let boots = boots.iter().filter(|boot| boot.completed_at.is_none()).map(|boot| {
        let process = Process { pid: boot.pid, started_ticks: None };
        (process, "gateway_boot_lifecycle".to_owned())
    });
    let receipts = receipts
        .iter()
        .filter(|receipt| receipt.status == Some(ReceiptStatus::Running))
        .map(|receipt| (receipt.owner, format!("cron_run_receipts {}", receipt.id)));
    let candidates: Vec<(Process, String)> = receipts.chain(locks).chain(boots).collect();
    live_owner(folder, &candidates)
}

/// The living owner of a folder: one of those that its records name, else one that has its files open.
pub fn live_owner(folder: &Path, candidates: &[(Process, String)]) -> Option<Owner> {
    let named = candidates.iter().find(|(process, source)| {
        // Nobody but the kernel knows whether a process without a start is the same: what it has open tells.
        let certain = process.started_ticks.is_some() || source.ends_with(".lock");
        is_alive(*process) == Liveness::Alive && (certain || opened(process.pid, folder).is_some())
    });
    match named {
        Some((process, source)) => Some(Owner {
            pid: process.pid,
            evidence: format!("{source} names process {}, which is alive", process.pid),
        }),
        None => anybody_inside(folder),
    }
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
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(19).unwrap().parse().unwrap()
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
        assert_eq!(live_owner(&folder, &[]), None);
        let path = folder.join("openclaw.sqlite");
        fs::write(&path, "").unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(fs::File::open(&path).unwrap())
            .spawn()
            .unwrap();
        let owner = live_owner(&folder, &[]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(owner.map(|owner| owner.pid), Some(child.id()));
    }
}
