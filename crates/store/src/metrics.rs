//! The store's metrics: names, units and labels in one place.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What the handle measures.
#[derive(Debug)]
pub struct Metrics {
    /// From the call to the acknowledgement, in seconds.
    pub commit_seconds: Histogram,
    /// Batches that ran into a conflict.
    pub conflicts: Counter,
    /// Batches that failed or whose answer was lost.
    pub failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
            conflicts: Counter::default(),
            failures: Counter::default(),
        }
    }
}

impl Metrics {
    /// Makes them visible under `sexton_store_…`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "sexton_store_commit_seconds",
            "Time from a commit to its acknowledgement",
            self.commit_seconds.clone(),
        );
        registry.register(
            "sexton_store_conflicts",
            "Commits that were decided again",
            self.conflicts.clone(),
        );
        registry.register(
            "sexton_store_failures",
            "Commits that failed or whose answer was lost",
            self.failures.clone(),
        );
    }
}
