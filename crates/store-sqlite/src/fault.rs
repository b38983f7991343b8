//! Faults: what a test or a simulation lets go wrong, where it really goes wrong.

use std::fmt;
use std::sync::Arc;

/// A place at which a group of batches can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before a batch is applied: a statement fails in the way that makes SQLite roll the whole
    /// transaction back, as a full disk or an I/O error does.
    Apply,
    /// Instead of the COMMIT: nothing of the group is stored, and it is told so.
    BeforeCommit,
    /// After the COMMIT: the group is stored, and its answers are lost.
    AfterCommit,
}

/// Decides, each time a point is reached, whether it fails.
#[derive(Clone)]
pub struct Faults(Arc<dyn Fn(Point) -> bool + Send + Sync>);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Nothing goes wrong on purpose.
    pub fn none() -> Self {
        Self::when(|_| false)
    }

    /// A point fails when this says so. It is called on the thread that writes.
    pub fn when(strikes: impl Fn(Point) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(strikes))
    }

    pub(crate) fn strike(&self, point: Point) -> bool {
        (self.0)(point)
    }
}
