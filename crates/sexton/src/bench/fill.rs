//! Stores of samples: filled and counted.

use std::collections::VecDeque;
use std::path::Path;

use sexton_domain::change::{Append, Change, Version};
use sexton_domain::entry::{Entry, Role};
use sexton_domain::retention::Policies;
use sexton_domain::session::Session;
use sexton_store::Store;
use sexton_store_sqlite::{Access, Mode};

use super::sample;

/// The bytes of an entry: a short answer.
pub const ENTRY_BYTES: usize = 400;
/// Sessions in one batch.
const BATCH: u64 = 500;
/// Batches on their way at once.
const IN_FLIGHT: usize = 4;

/// An append of one entry with this number.
pub fn append(session: &Session, seq: u64) -> Change {
    let content = "x".repeat(ENTRY_BYTES);
    let entry = Entry { seq, at: session.opened_at, role: Role::Assistant, content };
    Change::Append(Append { session: session.id, epoch: sample::epoch(), entries: vec![entry] })
}

/// The life of a session: it opens, gets so many entries, and ends like this.
pub fn lived(session: Session, entries: u64, ended: Session) -> Vec<Change> {
    let mut changes = vec![session.clone().into()];
    changes.extend((1..=entries).map(|seq| append(&session, seq)));
    let version = Version::NEW.next();
    changes.push(Session { version, entry_count: entries, ..ended }.into());
    changes
}

/// How many sessions a store has that was filled here. Nothing is changed, and any other store is
/// refused.
pub async fn count(file: &Path) -> anyhow::Result<u64> {
    let store = sample::open_for(file, Mode::Pool, Access::ReadOnly)?;
    let (meta, tally) = (store.read().meta().await?, store.read().tally().await?);
    store.read().close().await;
    let is_ours = meta.store_id == sample::store_id().uuid();
    anyhow::ensure!(is_ours, "measure {}: it was not filled for this", file.display());
    Ok(tally.sessions.values().sum())
}

/// Fills a store with so many ended sessions, each with an entry of its transcript.
pub async fn fill(store: &Store, sessions: u64) -> anyhow::Result<()> {
    let mut tickets = VecDeque::new();
    let mut next = 0;
    while next < sessions {
        let mut changes = Vec::new();
        for number in next..(next + BATCH).min(sessions) {
            let session = sample::session(number)?;
            let ended = sample::ended(&session);
            changes.extend(lived(session, 1, ended));
        }
        next += BATCH;
        tickets.push_back(store.commit(changes));
        if tickets.len() >= IN_FLIGHT
            && let Some(ticket) = tickets.pop_front()
        {
            ticket.await?;
        }
    }
    for ticket in tickets {
        ticket.await?;
    }
    sample::index(store, Policies::default()).await
}
