//! Brings an archived session back into the store: ended as it was, with its transcript, and pinned.
//! Its archive stays where it is.

use std::sync::Arc;

use sexton_domain::archive::Archive;
use sexton_domain::change::{Change, Restore};
use sexton_domain::entry::Entry;
use sexton_domain::plan::archives;
use sexton_domain::session::Session;
use sexton_store::{CommitError, Conflict, Error as StoreError, Store};

use super::files::Files;
use super::reader::{Damage, Transcript};

/// So many bytes of entries, or a little more, are stored at once.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_ENTRIES: usize = 500;

/// Why a session did not come back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRestored {
    /// It is in the store.
    #[error("restore session: it is in the store")]
    Exists,
    /// Its archive is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Restores a session. A restore that was cut off goes on where it was.
pub(crate) async fn restore(
    files: Arc<dyn Files>,
    store: &Store,
    archive: Archive,
) -> Result<(), NotRestored> {
    let stored = store.session(archive.session).await?;
    let have = stored.as_ref().map(|session| session.entry_count);
    if have.is_some_and(|have| have >= archive.entries) {
        return Err(NotRestored::Exists);
    }
    // The whole of it is checked before any of it is believed.
    Transcript::check(&files, &archive).await?;
    let mut transcript = Transcript::open(files, archive).await?;
    let mut new = stored.is_none().then(|| archives::restored(transcript.session()));
    let session = transcript.session().id;
    let mut batch = Batch::default();
    loop {
        let entry = transcript.next().await?;
        let end = entry.is_none();
        batch.take(entry.filter(|entry| entry.seq > have.unwrap_or(0)));
        if (end || batch.is_full()) && !(new.is_none() && batch.entries.is_empty()) {
            let changes = batch.changes(session, new.take());
            store.commit(changes).await.map_err(not_stored)?;
        }
        if end {
            return Ok(());
        }
    }
}

fn not_stored(error: CommitError) -> NotRestored {
    match error {
        CommitError::Conflict(Conflict::Version(_) | Conflict::Append { .. }) => {
            NotRestored::Exists
        }
        CommitError::Failed(error) => NotRestored::Store(error),
        error => {
            let (doing, why) = ("restore a session", error.to_string());
            NotRestored::Store(StoreError::Unavailable { doing, why })
        }
    }
}

#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Batch {
    fn take(&mut self, entry: Option<Entry>) {
        self.bytes += entry.as_ref().map_or(0, |entry| entry.content.len());
        self.entries.extend(entry);
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES
    }

    fn changes(
        &mut self,
        session: sexton_domain::id::SessionId,
        new: Option<Session>,
    ) -> Vec<Change> {
        let Self { entries, .. } = std::mem::take(self);
        let mut changes: Vec<Change> = new.map(Change::from).into_iter().collect();
        if !entries.is_empty() {
            changes.push(Change::Restore(Restore { session, entries }));
        }
        changes
    }
}
