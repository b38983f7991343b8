//! The transcript of a running session: entries are queued without waiting for the disk, in order,
//! and none is lost when the store fails for a while.
//!
//! While the disk is full, entries wait in memory until there is room or the run is stopped: what room
//! there is, is for ends. An agent that says more than [`MAX_BYTES`] in that time waits too.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use sexton_domain::change::{Append, Change};
use sexton_domain::entry::{Entry, Role};
use sexton_domain::id::SessionId;
use sexton_domain::node::Owner;
use sexton_domain::plan::admission::Headroom;
use sexton_domain::session::Session;
use sexton_store::{Error, Store, Ticket};

use crate::env::Env;

/// Entries are kept together for this long before they are queued as one batch.
pub(crate) const GATHER: Duration = Duration::from_millis(20);
/// A batch is queued at once when it has this many bytes.
const BATCH_BYTES: usize = 128 * 1024;
/// Batches that may be on their way to the disk; the agent's output waits when there are more.
const MAX_QUEUED: usize = 8;
/// So many bytes may be kept back; the agent's output waits when there are more.
const MAX_BYTES: usize = MAX_QUEUED * BATCH_BYTES;
/// The pause before entries are queued again after the store failed.
const RETRY: Duration = Duration::from_secs(1);

/// The session does not take entries from this epoch any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("append to a session that this epoch does not own")]
pub(crate) struct NotOurs;

/// A remark at the end of an open session's transcript, for a commit that also stores the session; it
/// counts the entry.
pub(crate) fn remark(session: &mut Session, content: String, at: Timestamp) -> Option<Change> {
    if !session.is_open() {
        return None;
    }
    session.entry_count += 1;
    session.bytes += content.len() as u64;
    let entries = vec![Entry { seq: session.entry_count, at, role: Role::System, content }];
    Some(Change::Append(Append { session: session.id, epoch: session.owner.epoch, entries }))
}

/// The writing end of a transcript.
#[derive(Debug)]
pub(crate) struct Transcript {
    env: Env,
    store: Store,
    session: SessionId,
    owner: Owner,
    next: u64,
    gathered: Vec<Entry>,
    gathered_bytes: usize,
    queued: VecDeque<Batch>,
    /// The bytes of the last batch, if it is kept back.
    held_bytes: usize,
    /// What is queued belongs to the end of the run.
    ends: bool,
}

#[derive(Debug)]
struct Batch {
    entries: Vec<Entry>,
    /// None when the store refused it, or has no room for it, and it has to be queued again.
    ticket: Option<Ticket>,
}

impl Transcript {
    pub(crate) fn new(env: Env, store: Store, owner: Owner, session: &Session) -> Self {
        Self {
            env,
            store,
            session: session.id,
            owner,
            next: session.entry_count + 1,
            gathered: Vec::new(),
            gathered_bytes: 0,
            queued: VecDeque::new(),
            held_bytes: 0,
            ends: false,
        }
    }

    /// Adds an entry. True when it is the first since the last batch was queued.
    pub(crate) fn push(&mut self, role: Role, content: String) -> bool {
        let first = self.gathered.is_empty();
        self.gathered_bytes += content.len();
        let at = self.env.clock.now();
        self.gathered.push(Entry { seq: self.next, at, role, content });
        self.next += 1;
        if self.gathered_bytes >= BATCH_BYTES {
            self.queue();
        }
        first
    }

    /// Queues what was gathered, without waiting for the disk.
    pub(crate) fn queue(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let entries = std::mem::take(&mut self.gathered);
        let bytes = std::mem::take(&mut self.gathered_bytes);
        if let Some(held) = self.queued.back_mut().filter(|last| last.ticket.is_none()) {
            held.entries.extend(entries);
            self.held_bytes += bytes;
            return;
        }
        let change = || self.append(entries.clone());
        let ticket = self.has_room().then(|| self.store.commit(vec![change()]));
        self.held_bytes = if ticket.is_none() { bytes } else { 0 };
        self.queued.push_back(Batch { entries, ticket });
    }

    /// The run is about to end: from now on entries may use the room for ends.
    pub(crate) fn finish(&mut self) {
        self.ends = true;
    }

    fn has_room(&self) -> bool {
        self.ends || self.store.headroom() == Headroom::Kept
    }

    /// Whether so much is on its way that no more should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.queued.len() >= MAX_QUEUED || self.held_bytes >= MAX_BYTES
    }

    /// Whether something is on its way.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Waits until the oldest queued batch is on disk. Cancel-safe.
    pub(crate) async fn settle(&mut self) -> Result<(), NotOurs> {
        let Some(oldest) = self.queued.front_mut() else { return Ok(()) };
        if let Some(ticket) = &mut oldest.ticket {
            let answer = ticket.await;
            if answer.is_ok() {
                self.queued.pop_front();
                return Ok(());
            }
            oldest.ticket = None;
        }
        self.queue_again().await
    }

    /// Waits until everything that was queued is on disk. For the end of a run.
    pub(crate) async fn settle_all(&mut self) -> Result<(), NotOurs> {
        self.finish();
        while self.is_waiting() {
            self.settle().await?;
        }
        Ok(())
    }

    /// What was gathered and not queued, as a change for the commit that ends the run.
    pub(crate) fn rest(&self) -> Option<Change> {
        (!self.gathered.is_empty()).then(|| self.append(self.gathered.clone()))
    }

    /// How many entries and bytes [`Transcript::rest`] adds.
    pub(crate) fn rest_size(&self) -> (u64, u64) {
        (self.gathered.len() as u64, self.gathered_bytes as u64)
    }

    fn append(&self, entries: Vec<Entry>) -> Change {
        Change::Append(Append { session: self.session, epoch: self.owner.epoch, entries })
    }

    /// After a failure: finds out what is stored and queues the rest again, as one batch.
    async fn queue_again(&mut self) -> Result<(), NotOurs> {
        // Batches behind a failed one can only conflict; their answers are of no interest, but
        // while one is on its way the number of stored entries may still change.
        for batch in &mut self.queued {
            if let Some(ticket) = &mut batch.ticket {
                let _ = ticket.await;
                batch.ticket = None;
            }
        }
        let session = match self.store.session(self.session).await {
            Ok(session) => session,
            Err(Error::Closed) => return Err(NotOurs),
            Err(error) => {
                tracing::warn!(session.id = %self.session, %error, "the store fails; trying again");
                self.env.clock.sleep(RETRY).await;
                return Ok(());
            }
        };
        let ours = session.filter(|session| session.is_open() && session.owner == self.owner);
        let Some(session) = ours else { return Err(NotOurs) };
        let missing = |entry: &Entry| entry.seq > session.entry_count;
        if !self.queued.iter().any(|batch| batch.entries.iter().any(missing)) {
            self.queued.clear();
            self.held_bytes = 0;
            return Ok(());
        }
        self.env.clock.sleep(RETRY).await;
        if !self.has_room() {
            return Ok(());
        }
        let entries: Vec<Entry> =
            self.queued.drain(..).flat_map(|batch| batch.entries).filter(missing).collect();
        let ticket = self.store.commit(vec![self.append(entries.clone())]);
        self.queued.push_back(Batch { entries, ticket: Some(ticket) });
        self.held_bytes = 0;
        Ok(())
    }
}
