//! The processes of this machine, as `/proc` shows them, and signals that reach the right one.
//!
//! Systems without `/proc` show an empty table: there only process groups can be killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::executor::ProcessId;

/// The name a shim gives itself; it tells shims from agents in this table and in `ps`.
pub const SHIM_NAME: &str = "sexton-shim";

/// One process that is not a zombie.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Which process.
    pub id: ProcessId,
    /// Its parent now, which is the subreaper once the first parent is gone.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Whether it calls itself a shim.
    pub is_shim: bool,
}

/// The living processes by pid.
pub type Table = BTreeMap<u32, Entry>;

/// Reads the table. It is a walk, not a snapshot: what forks meanwhile may be missing.
pub fn read() -> io::Result<Table> {
    let mut table = Table::new();
    if cfg!(not(target_os = "linux")) {
        return Ok(table);
    }
    for folder in std::fs::read_dir("/proc")? {
        let Ok(folder) = folder else { continue };
        let Some(pid) = folder.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(entry) = entry(pid) {
            table.insert(pid, entry);
        }
    }
    Ok(table)
}

/// The living process `pid`, if there is one.
fn entry(pid: u32) -> Option<Entry> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let entry = parse(&stat)?;
    (entry.id.pid == pid).then_some(entry)
}

/// When the process `pid` started, zombie or not; 0 where the system does not tell.
pub fn started(pid: u32) -> u64 {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    fields(&stat).and_then(|fields| fields.started()).unwrap_or(0)
}

/// Everything below `root`, without it.
pub fn descendants(table: &Table, root: u32) -> Vec<Entry> {
    let mut known = BTreeSet::from([root]);
    loop {
        let before = known.len();
        known.extend(
            table
                .values()
                .filter(|e| known.contains(&e.parent))
                .map(|e| e.id.pid)
                .collect::<Vec<_>>(),
        );
        if known.len() == before {
            break;
        }
    }
    known.remove(&root);
    known.iter().filter_map(|pid| table.get(pid)).copied().collect()
}

/// Sends `signal` to exactly this process, never to a later one with the same pid.
///
/// That it is gone already is a success.
pub fn send(process: ProcessId, signal: Signal) -> io::Result<()> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let sent = send_checked(process, pid, signal);
    match sent {
        Err(Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// The descriptor pins the process, so that the check of the start time holds for the signal too.
#[cfg(target_os = "linux")]
fn send_checked(process: ProcessId, pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

    let pinned = pidfd_open(pid, PidfdFlags::empty());
    if started(process.pid) != process.started {
        return Err(Errno::SRCH);
    }
    match pinned {
        Ok(pinned) => pidfd_send_signal(pinned, signal),
        // Before Linux 5.3, and under seccomp profiles older than that.
        Err(Errno::NOSYS | Errno::PERM) => kill_process(pid, signal),
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn send_checked(_process: ProcessId, pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    kill_process(pid, signal)
}

fn parse(stat: &[u8]) -> Option<Entry> {
    let fields = fields(stat)?;
    if matches!(fields.at(3)?, "Z" | "X") {
        return None;
    }
    Some(Entry {
        id: ProcessId { pid: fields.pid, started: fields.started()? },
        parent: fields.at(4)?.parse().ok()?,
        group: fields.at(5)?.parse().ok()?,
        session: fields.at(6)?.parse().ok()?,
        is_shim: fields.name == SHIM_NAME.as_bytes(),
    })
}

/// The fields of `/proc/<pid>/stat`, numbered as in proc(5).
struct Fields<'a> {
    pid: u32,
    name: &'a [u8],
    after_name: Vec<&'a str>,
}

impl Fields<'_> {
    fn at(&self, number: usize) -> Option<&str> {
        self.after_name.get(number - 3).copied()
    }

    fn started(&self) -> Option<u64> {
        self.at(22)?.parse().ok()
    }
}

/// The name may hold anything, parentheses, spaces and newlines included: it ends at the last `)`.
fn fields(stat: &[u8]) -> Option<Fields<'_>> {
    let open = stat.iter().position(|&b| b == b'(')?;
    let close = stat.iter().rposition(|&b| b == b')')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let after_name = std::str::from_utf8(&stat[close + 1..]).ok()?.split_ascii_whitespace();
    Some(Fields { pid, name: stat.get(open + 1..close)?, after_name: after_name.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 7 42 9 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 987654 0 0";

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let entry = parse(STAT.as_bytes()).unwrap();
        assert_eq!(entry.id, ProcessId { pid: 42, started: 987_654 });
        assert_eq!((entry.parent, entry.group, entry.session), (7, 42, 9));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        assert!(parse(STAT.replace(" S ", " Z ").as_bytes()).is_none());
    }

    #[test]
    fn broken_lines_are_no_process() {
        for broken in ["", "42", "42 (a", "42 a)", ") (", "x (a) S 1 1 1", "42 (a) S 1"] {
            assert!(parse(broken.as_bytes()).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_in_any_order() {
        let parents = [(10, 1), (5, 10), (30, 5), (4, 30), (50, 2)];
        let table: Table = parents
            .iter()
            .map(|&(pid, parent)| {
                let id = ProcessId { pid, started: 0 };
                (pid, Entry { id, parent, group: pid, session: pid, is_shim: false })
            })
            .collect();
        let below: Vec<u32> = descendants(&table, 10).iter().map(|e| e.id.pid).collect();
        assert_eq!(below, [4, 5, 30]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_in_the_table() {
        let me = std::process::id();
        let entry = read().unwrap()[&me];
        assert_eq!(entry.id, ProcessId { pid: me, started: started(me) });
    }
}
