//! Fills a store with ended sessions, each with an entry of its transcript.

use std::path::Path;

use sexton_domain::change::{Change, Version};
use sexton_store::Driver as _;
use sexton_store_sqlite::Mode;

use crate::sample;

/// Sessions in one batch.
const BATCH: u64 = 500;
/// Batches on their way at once.
const IN_FLIGHT: usize = 4;

/// Fills the store in `file`.
pub async fn fill(file: &Path, sessions: u64) -> anyhow::Result<()> {
    let store = sample::open(file, Mode::Pool)?;
    let mut tickets = std::collections::VecDeque::new();
    let mut next = 0;
    while next < sessions {
        let mut changes = Vec::new();
        for number in next..(next + BATCH).min(sessions) {
            add(number, &mut changes)?;
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
    store.close().await;
    Ok(())
}

fn add(number: u64, changes: &mut Vec<Change>) -> anyhow::Result<()> {
    let session = sample::session(number)?;
    changes.push(session.clone().into());
    changes.push(sample::append(&session, 1));
    let mut ended = sample::ended(&session);
    ended.version = Version::NEW.next();
    ended.entry_count = 1;
    changes.push(ended.into());
    Ok(())
}
