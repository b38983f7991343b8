//! Turns on a session key: one after the other in the order in which they were queued, a bounded
//! number of them.
//!
//! A turn is a run that shares the session behind its key. Its place in the queue is one behind the
//! last that was queued on the key, and it is not offered before all of those have been started or
//! ended, also where its agent has room and theirs has none. A retry that rests is not in the queue:
//! it takes up its old place when it has rested.

use crate::change::{Change, Guard};
use crate::key::SessionKey;
use crate::run::{Run, State};

/// How many turns may be queued on one key.
pub const MAX_QUEUED: usize = 32;

/// As many turns wait on a session key as may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue a turn on {key}: {MAX_QUEUED} are waiting already, which is as many as may")]
pub struct QueueFull {
    /// The key.
    pub key: SessionKey,
}

/// Finds room for one more turn on a key, of which `on_key` are the runs that have not ended. The
/// answer is what the commit that queues it has to require.
pub(super) fn room(key: &SessionKey, on_key: &[Run]) -> Result<Change, QueueFull> {
    if is_full(on_key) {
        return Err(QueueFull { key: key.clone() });
    }
    Ok(Change::Require(Guard::QueueRoom(key.clone(), MAX_QUEUED)))
}

/// Whether no further turn may be queued behind these runs.
pub(super) fn is_full(on_key: &[Run]) -> bool {
    queued(on_key).count() >= MAX_QUEUED
}

/// The lowest turn that is behind all of these runs; see [`super::admission`].
pub(super) fn behind(on_key: &[Run]) -> u64 {
    on_key.iter().map(|run| run.turn + 1).max().unwrap_or(0)
}

/// Whether a queued run is the next on its key.
pub fn is_next(run: &Run, on_key: &[Run]) -> bool {
    run.is_isolated() || queued(on_key).all(|other| place(run) <= place(other))
}

/// How many runs of those that have not ended on its key come before this one.
pub fn ahead(run: &Run, on_key: &[Run]) -> usize {
    let before =
        |other: &&Run| other.id != run.id && (other.owner().is_some() || place(other) < place(run));
    let started = run.state != State::Queued;
    if started { 0 } else { on_key.iter().filter(|run| !is_resting(run)).filter(before).count() }
}

fn is_resting(run: &Run) -> bool {
    matches!(run.state, State::Waiting { .. })
}

fn queued(on_key: &[Run]) -> impl Iterator<Item = &Run> {
    on_key.iter().filter(|run| run.state == State::Queued)
}

fn place(run: &Run) -> (u64, crate::id::RunId) {
    (run.turn, run.id)
}
