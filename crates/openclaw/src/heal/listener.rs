//! Whose gateway it is that listens where the gateway of a folder would: a copy of a folder has the port of its
//! original.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use super::owner::{Liveness, of_lock};
use crate::read::lock::gateway_locks;

/// Whether everything that listens at a port is of gateways whose locks name other folders than this one.
/// What cannot be looked up is not.
pub fn is_of_another_folder(port: u16, root: &Path) -> bool {
    let mut sockets = listening(port);
    if sockets.is_empty() {
        return false;
    }
    for (of, lock) in gateway_locks(&env::temp_dir()) {
        if of != root
            && of_lock(&lock) == Some(Liveness::Alive)
            && let Some(process) = lock.owner
        {
            let held = held(process.pid);
            sockets.retain(|socket| !held.contains(socket));
        }
    }
    sockets.is_empty()
}

/// The sockets that listen at a port, by their inodes.
fn listening(port: u16) -> BTreeSet<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    tables
        .flat_map(|table| table.lines().filter_map(|line| listens(line, port)).collect::<Vec<_>>())
        .collect()
}

/// The inode of a line of `/proc/net/tcp`, if it is of a socket that listens at the port.
fn listens(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let (_, at) = fields.nth(1)?.rsplit_once(':')?;
    let is_there = u16::from_str_radix(at, 16).is_ok_and(|at| at == port);
    let is_listening = fields.nth(1)? == LISTEN;
    let inode = fields.nth(5)?;
    (is_there && is_listening).then(|| inode.to_owned())
}

/// The sockets that a process has open, by their inodes.
fn held(pid: u32) -> BTreeSet<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |target: std::path::PathBuf| {
        let name = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(name.to_owned())
    };
    targets.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::heal::owner::own;

    /// A copy of a folder has the port of the original, whose gateway runs.
    #[test]
    fn what_listens_is_of_another_folder_iff_the_lock_of_its_process_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let root = |name: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::canonicalize(dir.path().join(name)).unwrap()
        };
        let (original, copy) = (root("original"), root("copy"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_of_another_folder(port, &copy), "no lock names the process");
        let of_user = tempfile::Builder::new().prefix("openclaw-").tempdir().unwrap();
        let lock = |pid: u32| {
            let lock =
                serde_json::json!({ "pid": pid, "configPath": original.join("openclaw.json") });
            fs::write(of_user.path().join("gateway.0b.lock"), lock.to_string()).unwrap();
        };
        lock(own().pid);
        assert!(is_of_another_folder(port, &copy));
        assert!(!is_of_another_folder(port, &original), "it is of this one");
        lock(std::os::unix::process::parent_id());
        assert!(!is_of_another_folder(port, &copy), "it does not listen there");
        lock(own().pid);
        drop(listener);
        assert!(!is_of_another_folder(port, &copy), "nothing listens");
    }
}
