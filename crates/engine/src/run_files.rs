//! The files of a run: a folder that its agent is told of, there from before its start until its end
//! is committed.
//!
//! A folder is stale if and only if its run is not active: what a dead epoch left of an active one is
//! read by the reconciler before it ends the run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::OFlag;
use sexton_domain::id::RunId;
use sexton_domain::report::{MAX_REPORT_BYTES, Report};
use sexton_domain::run::State;
use sexton_store::Store;
use tokio::task::spawn_blocking;

use crate::process::survivors::joined;

/// Where the files of runs lie. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RunFiles(Place);

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    Memory(Arc<Mutex<BTreeMap<RunId, Vec<u8>>>>),
}

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl RunFiles {
    /// In `runs` in the data folder.
    pub fn within(data_dir: &Path) -> Self {
        Self(Place::Folder(data_dir.join("runs")))
    }

    /// In memory, for runs that are only played: see [`RunFiles::append`].
    pub fn in_memory() -> Self {
        Self(Place::Memory(Arc::default()))
    }

    /// Appends to the report of a run that is only played, as its agent would. Without its folder, and
    /// for runs that are not played, nothing happens.
    pub fn append(&self, run: RunId, bytes: &[u8]) {
        if let Place::Memory(reports) = &self.0
            && let Some(report) = lock(reports).get_mut(&run)
        {
            report.extend_from_slice(bytes);
        }
    }

    /// Makes the folder of a run with an empty report; none for runs that are only played.
    pub(crate) async fn make(&self, run: RunId) -> io::Result<Option<Folder>> {
        let folder = match &self.0 {
            Place::Folder(root) => Folder::of(root, run),
            Place::Memory(reports) => {
                lock(reports).insert(run, Vec::new());
                return Ok(None);
            }
        };
        joined(spawn_blocking(move || {
            let mut private = fs::DirBuilder::new();
            private.recursive(true).mode(0o700).create(&folder.0)?;
            let mut fresh = fs::OpenOptions::new();
            fresh.write(true).create_new(true).mode(0o600).open(folder.report())?;
            Ok(Some(folder))
        }))
        .await
    }

    /// What a run has reported so far; nothing if it has no folder.
    pub(crate) async fn report(&self, run: RunId) -> Report {
        let read = match &self.0 {
            Place::Folder(root) => {
                let report = Folder::of(root, run).report();
                joined(spawn_blocking(move || read_bounded(&report))).await
            }
            Place::Memory(reports) => Ok(lock(reports).get(&run).cloned().unwrap_or_default()),
        };
        match read {
            Ok(bytes) => Report::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Report::default(),
            Err(error) => {
                tracing::warn!(run.id = %run, %error, "a report could not be read");
                Report::unread(error.to_string())
            }
        }
    }

    /// Removes the folder of a run that is over.
    pub(crate) async fn remove(&self, run: RunId) {
        let folder = match &self.0 {
            Place::Folder(root) => Folder::of(root, run),
            Place::Memory(reports) => {
                lock(reports).remove(&run);
                return;
            }
        };
        let removed = joined(spawn_blocking(move || fs::remove_dir_all(&folder.0))).await;
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(run.id = %run, %error, "the files of a run could not be removed; the next start tries again");
        }
    }

    /// Removes the folders of runs that are over, unknown, or not started. For a node that has not started
    /// any yet.
    pub(crate) async fn clear(&self, store: &Store) {
        for run in self.found().await {
            match store.run(run).await {
                Ok(Some(run)) if matches!(run.state, State::Running { .. }) => {}
                Ok(_) => self.remove(run).await,
                Err(error) => {
                    tracing::warn!(run.id = %run, %error, "the files of a run stay: whether it is over is not known");
                }
            }
        }
    }

    /// The runs that have a folder.
    async fn found(&self) -> Vec<RunId> {
        let root = match &self.0 {
            Place::Folder(root) => root.clone(),
            Place::Memory(reports) => return lock(reports).keys().copied().collect(),
        };
        joined(spawn_blocking(move || {
            let names = fs::read_dir(root).into_iter().flatten().flatten();
            names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        }))
        .await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Folder {
    fn of(root: &Path, run: RunId) -> Self {
        Self(root.join(run.to_string()))
    }

    /// `SEXTON_REPORT`.
    pub(crate) fn report(&self) -> PathBuf {
        self.0.join("report.jsonl")
    }

    /// `SEXTON_HISTORY`, for a turn of a conversation.
    pub(crate) fn history(&self) -> PathBuf {
        self.0.join("history.jsonl")
    }
}

/// Reads a little more than counts of a file that somebody else may have replaced by anything.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer, and following a link would read what is not ours.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_REPORT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use std::sync::Arc;
    use std::time::Duration;

    use sexton_domain::change::Change;
    use sexton_domain::id::Ids;
    use sexton_domain::node::{Epoch, Owner};
    use sexton_domain::run::{Cause, Run};
    use sexton_store_sqlite::{Disk, Options, SqliteDriver};

    use super::*;

    fn place() -> (tempfile::TempDir, RunFiles, RunId) {
        let dir = tempfile::tempdir().unwrap();
        let files = RunFiles::within(dir.path());
        (dir, files, Ids::new(jiff::Timestamp::UNIX_EPOCH, 1).mint())
    }

    #[tokio::test]
    async fn a_run_has_a_private_folder_with_an_empty_report_until_it_is_removed() {
        let (dir, files, run) = place();
        let folder = files.make(run).await.unwrap().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("runs")), 0o700);
        assert_eq!((mode(&folder.0), mode(&folder.report())), (0o700, 0o600));
        assert_eq!(files.report(run).await, Report::default());
        fs::write(folder.report(), r#"{"outcome": "ok"}"#).unwrap();
        assert!(files.report(run).await.declared.is_some());
        assert_eq!(files.found().await, [run]);
        files.remove(run).await;
        assert!(files.found().await.is_empty() && !folder.0.exists());
        files.remove(run).await;
        assert_eq!(files.report(run).await, Report::default());
    }

    /// A power cut took the claim of a run (`durability = "relaxed"`) and left its folder. The run was queued
    /// again, as it had to be, and when it was claimed the next time its folder was in the way.
    #[tokio::test]
    async fn a_run_whose_claim_is_lost_leaves_no_folder_in_the_way_of_the_next_one() {
        let (_dir, files, run) = place();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut ids = Ids::new(now, 2);
        let options = Options::new("unused", ids.mint(), now);
        let driver = SqliteDriver::in_memory(&Disk::new().unwrap(), options).unwrap();
        let store = Store::new(Arc::new(driver), Arc::new(|| Duration::ZERO));
        let key = "agent:shell:main".parse().unwrap();
        let queued = Run::queued(run, "shell".parse().unwrap(), key, Cause::Manual, now);
        let owner = Owner { node: ids.mint(), epoch: Epoch::new(1, 1) };
        let state = State::Running { owner, deadline: now };
        let key = "agent:shell:other".parse().unwrap();
        let running = Run { id: ids.mint(), session_key: key, state, ..queued.clone() };
        for run in [&queued, &running] {
            files.make(run.id).await.unwrap();
            store.commit(vec![Change::from(run.clone())]).await.unwrap();
        }
        files.clear(&store).await;
        assert_eq!(files.found().await, [running.id], "its report is still to be read");
        assert!(files.make(run).await.is_ok());
    }

    /// P10: what an agent puts in the place of its report harms nobody.
    #[tokio::test]
    async fn a_report_that_is_no_regular_file_or_is_enormous_is_not_followed() {
        let (dir, files, run) = place();
        let report = files.make(run).await.unwrap().unwrap().report();
        fs::File::options().write(true).open(&report).unwrap().set_len(1 << 30).unwrap();
        assert!(files.report(run).await.cut);
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, r#"{"outcome": "ok"}"#).unwrap();
        let odd: [&dyn Fn(); 3] = [
            &|| symlink(&elsewhere, &report).unwrap(),
            &|| nix::unistd::mkfifo(&report, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            &|| fs::create_dir(&report).unwrap(),
        ];
        for put in odd {
            fs::remove_file(&report).unwrap();
            put();
            let read = files.report(run).await;
            assert_eq!(read.declared, None);
            assert!(read.remark().is_some_and(|remark| remark.contains("could not be read")));
        }
        fs::remove_dir(&report).unwrap();
        symlink(dir.path(), report.parent().unwrap().join("loop")).unwrap();
        files.remove(run).await;
        assert!(elsewhere.exists() && files.found().await.is_empty());
    }

    #[tokio::test]
    async fn runs_that_are_only_played_report_in_memory() {
        let run = place().2;
        let files = RunFiles::in_memory();
        files.append(run, b"lost: it has no folder yet");
        assert!(files.make(run).await.unwrap().is_none());
        files.append(run, br#"{"usage": {"output_tokens": 1}}"#);
        assert_eq!(files.clone().report(run).await.spent.len(), 1);
        assert_eq!(files.found().await, [run]);
        files.remove(run).await;
        assert_eq!((files.report(run).await, files.found().await), (Report::default(), Vec::new()));
    }
}
