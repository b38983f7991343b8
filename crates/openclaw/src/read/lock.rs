//! Lock files: who holds them, and since when.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::names::{self, FileKind};
use crate::folder;
use crate::model::{Lock, Process};
use crate::read::field::{count, millis};

/// Reads `{pid, createdAt, starttime}`: the process, if it says one, and when the lock was made.
/// Everything may be missing; a lock without contents was just made, or its writer died.
pub fn lock(bytes: &[u8]) -> (Option<Process>, Option<Timestamp>) {
    let Ok(raw) = serde_json::from_slice::<Value>(bytes) else { return (None, None) };
    let pid = count(raw.get("pid")).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let started_ticks = count(raw.get("starttime")).or_else(|| count(raw.get("startTime")));
    (pid.map(|pid| Process { pid, started_ticks }), created_at(raw.get("createdAt")))
}

/// A text of RFC 3339, or milliseconds.
fn created_at(value: Option<&Value>) -> Option<Timestamp> {
    match value? {
        Value::String(text) => text.trim().parse().ok(),
        other => millis(Some(other)),
    }
}

/// The lock files in a folder of sessions, which is relative to the root.
pub fn locks(root: &Path, sessions: &Path) -> Vec<Lock> {
    let entries = fs::read_dir(root.join(sessions)).into_iter().flatten().flatten();
    let lock = |entry: fs::DirEntry| at(root, sessions.join(entry.file_name()));
    let mut locks: Vec<Lock> = entries.filter_map(lock).collect();
    locks.sort_by(|a, b| a.path.cmp(&b.path));
    locks
}

/// The lock file at a path, which is relative to the root; none if nothing, or no file, is there.
pub fn at(root: &Path, path: PathBuf) -> Option<Lock> {
    let FileKind::Lock { of } = names::kind(&path.file_name()?.to_string_lossy()) else {
        return None;
    };
    let meta = fs::symlink_metadata(root.join(&path)).ok().filter(fs::Metadata::is_file)?;
    let (owner, created_at) = lock(&fs::read(root.join(&path)).unwrap_or_default());
    let created_at = created_at.unwrap_or_else(|| folder::modified(&meta));
    Some(Lock { path, of, owner, created_at })
}

/// The locks of gateways, each with the folder that it names. They lie in `openclaw-<user>` of the folder for
/// temporary files, whose name tells the user and nothing else.
pub fn gateway_locks(temporary: &Path) -> Vec<(PathBuf, Lock)> {
    let files_of = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let is_theirs =
        |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"openclaw-");
    let folders = files_of(temporary).filter(is_theirs);
    let files = folders.flat_map(|folder| files_of(&folder.path()));
    let lock = |entry: fs::DirEntry| {
        let path = entry.path();
        let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        path.extension().filter(|end| *end == "lock")?;
        let bytes = fs::read(&path).ok()?;
        let of = fs::canonicalize(folder_of(&bytes)?).ok()?;
        let (owner, created_at) = lock(&bytes);
        let created_at = created_at.unwrap_or_else(|| folder::modified(&meta));
        Some((of, Lock { path, of: String::new(), owner, created_at }))
    };
    files.filter_map(lock).collect()
}

/// The folder that the lock of a gateway is for: `stateDir`, else that of `configPath`.
fn folder_of(bytes: &[u8]) -> Option<PathBuf> {
    let raw = serde_json::from_slice::<Value>(bytes).ok()?;
    let path = |name: &str| Some(Path::new(raw.get(name)?.as_str()?));
    let folder = path("stateDir").or_else(|| path("configPath")?.parent())?;
    Some(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_process() {
        let (owner, at) =
            lock(br#"{"pid":42,"createdAt":"2026-11-20T18:05:44.888Z","starttime":777}"#);
        assert_eq!(owner, Some(Process { pid: 42, started_ticks: Some(777) }));
        assert_eq!(at, Some("2026-11-20T18:05:44.888Z".parse().unwrap()));
    }

    #[test]
    fn what_a_lock_does_not_say_is_absent() {
        let instant = Timestamp::from_second(1).unwrap();
        let only = Process { pid: 7, started_ticks: None };
        let cases: [(&[u8], Option<Process>, Option<Timestamp>); 7] = [
            (b"", None, None),
            (b"42", None, None),
            (b"{\"pid\":0}", None, None),
            (b"{\"pid\":-1,\"createdAt\":1000}", None, Some(instant)),
            (b"{\"pid\":99999999999}", None, None),
            (b"{\"pid\":7,\"starttime\":null,\"createdAt\":\"soon\"}", Some(only), None),
            (b"{\"pid\":", None, None),
        ];
        for (bytes, owner, at) in cases {
            assert_eq!(lock(bytes), (owner, at), "{bytes:?}");
        }
    }

    #[test]
    fn the_lock_of_a_gateway_is_found_by_the_folder_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = dir.path().join("tmp");
        let root = dir.path().join("state");
        for folder in [&root, &dir.path().join("other"), &temporary.join("openclaw-1000")] {
            fs::create_dir_all(folder).unwrap();
        }
        let write = |name: &str, field: &str, path: PathBuf| {
            let text = serde_json::json!({ "pid": 42, "startTime": 777, field: path }).to_string();
            fs::write(temporary.join("openclaw-1000").join(name), text).unwrap();
        };
        write("gateway.0a.lock", "configPath", root.join("openclaw.json"));
        write("state.0b.lock", "stateDir", root.clone());
        write("gateway.0c.lock", "configPath", dir.path().join("other/openclaw.json"));
        write("gateway.0d.json", "configPath", root.join("openclaw.json"));
        let of = |folder: &Path| fs::canonicalize(folder).unwrap();
        let mut found = gateway_locks(&temporary);
        found.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        let name =
            |(of, lock): &(PathBuf, Lock)| (lock.path.file_name().unwrap().to_owned(), of.clone());
        let expected = [
            ("gateway.0a.lock".into(), of(&root)),
            ("gateway.0c.lock".into(), of(&dir.path().join("other"))),
            ("state.0b.lock".into(), of(&root)),
        ];
        assert_eq!(found.iter().map(name).collect::<Vec<_>>(), expected);
        assert_eq!(found[0].1.owner, Some(Process { pid: 42, started_ticks: Some(777) }));
        fs::rename(temporary.join("openclaw-1000"), temporary.join("elsewhere")).unwrap();
        assert_eq!(gateway_locks(&temporary), []);
    }
}
