//! Brings an archived session back into the store: ended as it was, with its transcript, and pinned.
//! Its archive stays where it is.

use std::sync::Arc;

use sexton_domain::archive::Archive;
use sexton_domain::plan::archives;
use sexton_store::{Batch, CommitError, Conflict, Error as StoreError, Store};

use super::files::Files;
use super::reader::{Damage, Transcript};

/// So many entries are stored at once.
const BATCH: usize = 500;

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
    let session = transcript.session().id;
    let mut batch = Batch::of(BATCH);
    if stored.is_none() {
        batch.push(archives::restored(transcript.session()), 0);
    }
    loop {
        let entry = transcript.next().await?;
        let end = entry.is_none();
        batch.fill(entry.filter(|entry| entry.seq > have.unwrap_or(0)));
        if end || batch.is_full() {
            batch.close(session);
            if let Some(changes) = batch.take() {
                store.commit(changes).await.map_err(not_stored)?;
            }
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
