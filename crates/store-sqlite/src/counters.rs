//! Counters: what the writer has done since the store was opened.

use std::sync::Mutex;
use std::time::Duration;

use sexton_store::Stats;

use crate::mutex::lock;

/// Shared between the writer and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Stats>);

impl Counters {
    /// A transaction was committed: with so many batches, in this time, waiting for the disk or not.
    pub(crate) fn committed(&self, batches: u64, took: Duration, syncs: u64) {
        let mut stats = lock(&self.0);
        stats.commits += batches;
        stats.transactions += 1;
        stats.commit_time += took;
        stats.syncs += syncs;
    }

    /// A checkpoint waited for the disk so many times.
    pub(crate) fn checkpointed(&self, syncs: u64) {
        lock(&self.0).syncs += syncs;
    }

    /// As of now, without sizes.
    pub(crate) fn read(&self) -> Stats {
        *lock(&self.0)
    }
}
