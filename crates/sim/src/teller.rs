//! Tellers: which gateway does something, where two of them may be at work on one store.

use std::sync::{Arc, OnceLock};

use sexton_domain::change::{Record, RecordId};
use sexton_domain::node::{EndReason, Epoch};
use sexton_store::Driver as _;
use sexton_store_sqlite::SqliteDriver;

use crate::ledger::inline;

/// One gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Teller {
    auditor: Arc<SqliteDriver>,
    epoch: Arc<OnceLock<Epoch>>,
}

impl Teller {
    pub(crate) fn new(auditor: Arc<SqliteDriver>) -> Self {
        Self { auditor, epoch: Arc::default() }
    }

    /// It has taken this epoch.
    pub(crate) fn takes(&self, epoch: Epoch) {
        let _ = self.epoch.set(epoch);
    }

    /// Its epoch, once it has one.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.epoch.get().copied()
    }

    /// Whether another gateway has ended its epoch.
    pub(crate) fn is_over(&self) -> bool {
        let Some(epoch) = self.epoch() else { return false };
        let node = match inline(self.auditor.get(RecordId::Node(epoch))) {
            Some(Record::Node(node)) => node,
            _ => return true,
        };
        let reason = node.end.map(|end| end.reason);
        matches!(reason, Some(EndReason::Crash | EndReason::Lost))
    }
}
