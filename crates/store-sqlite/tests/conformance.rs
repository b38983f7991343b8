//! The conformance suite, on a file with the blocking pool, on a file inline, and in memory.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sexton_store::Driver;
use sexton_store::conformance::{Fault, Harness};
use sexton_store_sqlite::{Disk, Faults, Mode, OpenError, Options, Point, SqliteDriver};
use tempfile::TempDir;
use uuid::Uuid;

/// A fault that waits for its moment.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<Option<Fault>>>);

impl Pending {
    fn set(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn faults(&self) -> Faults {
        let pending = self.clone();
        Faults::when(move |point| {
            let mut fault = pending.0.lock().unwrap_or_else(PoisonError::into_inner);
            let strikes = match (*fault, point) {
                (Some(Fault::RollBack { after: 0 }), Point::Apply)
                | (Some(Fault::Refuse), Point::BeforeCommit)
                | (Some(Fault::LoseAnswer), Point::AfterCommit) => true,
                (Some(Fault::RollBack { after }), Point::Apply) => {
                    *fault = Some(Fault::RollBack { after: after - 1 });
                    false
                }
                _ => false,
            };
            if strikes {
                *fault = None;
            }
            strikes
        })
    }
}

fn options(path: PathBuf, mode: Mode, pending: &Pending) -> Options {
    let now = "2027-01-15T08:00:00Z".parse().expect("it is a time");
    Options { mode, faults: pending.faults(), ..Options::new(path, Uuid::from_u128(1), now) }
}

struct OnFile {
    folder: TempDir,
    mode: Mode,
    pending: Pending,
}

#[async_trait]
impl Harness for OnFile {
    async fn open(&mut self) -> Arc<dyn Driver> {
        let path = self.folder.path().join("sexton.db");
        loop {
            match SqliteDriver::open(options(path.clone(), self.mode, &self.pending)) {
                Ok(driver) => return Arc::new(driver),
                // A driver that was dropped holds the store until its last group is done.
                Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn break_next(&self, fault: Fault) {
        self.pending.set(fault);
    }
}

struct InMemory {
    disk: Disk,
    pending: Pending,
}

#[async_trait]
impl Harness for InMemory {
    async fn open(&mut self) -> Arc<dyn Driver> {
        let options = options(PathBuf::new(), Mode::Inline, &self.pending);
        Arc::new(SqliteDriver::in_memory(&self.disk, options).expect("it opens"))
    }

    fn break_next(&self, fault: Fault) {
        self.pending.set(fault);
    }
}

fn on_file(mode: Mode) -> OnFile {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    OnFile { folder, mode, pending: Pending::default() }
}

async fn pool() -> OnFile {
    on_file(Mode::Pool)
}

async fn inline() -> OnFile {
    on_file(Mode::Inline)
}

async fn memory() -> InMemory {
    InMemory { disk: Disk::new().expect("there is memory"), pending: Pending::default() }
}

mod file_pool {
    sexton_store::conformance!(crate::pool);
}

mod file_inline {
    sexton_store::conformance!(crate::inline);
}

mod in_memory {
    sexton_store::conformance!(crate::memory);
}
