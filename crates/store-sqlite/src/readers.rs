//! Readers: a few connections that are opened when they are first needed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use sexton_store::Error;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::connect;
use crate::fail::Fail;
use crate::mutex::lock;
use crate::read::{Unreadable, View};

/// How many reads run at the same time.
const READERS: u32 = 2;

/// Connections for reads on the blocking pool.
pub(crate) struct Readers {
    path: PathBuf,
    runtime: Handle,
    permits: Arc<Semaphore>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    idle: Mutex<Vec<Connection>>,
    unreadable: Unreadable,
}

impl Readers {
    /// Readers of the database at a path.
    pub(crate) fn new(path: PathBuf, runtime: Handle) -> Self {
        let permits = Arc::new(Semaphore::new(READERS as usize));
        Self { path, runtime, permits, shared: Arc::default() }
    }

    /// Reads in a snapshot: everything that was acknowledged before, nothing that comes while it reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&View<'_>) -> Result<T, Fail> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (shared, path) = (Arc::clone(&self.shared), self.path.clone());
        let reading = self.runtime.spawn_blocking(move || {
            let idle = lock(&shared.idle).pop();
            let db = match idle {
                Some(db) => db,
                None => connect::reader(&path)?,
            };
            let answer = snapshot(&db, &shared.unreadable, read);
            lock(&shared.idle).push(db);
            drop(permit);
            answer
        });
        match reading.await {
            Ok(answer) => answer.map_err(|fail: Fail| fail.into_error(doing)),
            Err(error) => Err(Error::Unavailable { doing, why: error.to_string() }),
        }
    }

    /// Waits for the reads that run, and lets go of the connections.
    pub(crate) async fn close(&self) {
        let all = self.permits.acquire_many(READERS).await;
        self.permits.close();
        drop(all);
        lock(&self.shared.idle).clear();
    }
}

/// Runs a read between BEGIN and COMMIT, so that all its statements see the same store.
pub(crate) fn snapshot<T>(
    db: &Connection,
    unreadable: &Unreadable,
    read: impl FnOnce(&View<'_>) -> Result<T, Fail>,
) -> Result<T, Fail> {
    let transaction = db.unchecked_transaction()?;
    let answer = read(&View { db, unreadable });
    transaction.commit()?;
    answer
}
