//! Faults: what a test or a simulation lets go wrong, where it really goes wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// While the gate is shut, whoever writes waits where it would wait for the disk.
    pub fn slow(gate: &Gate) -> Self {
        let gate = gate.0.clone();
        Self::when(move |point| {
            while point == Point::BeforeCommit && gate.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            false
        })
    }

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

/// A disk that can be held. Dropping it lets go, so that nobody waits for ever where a test fails.
#[derive(Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Holds whoever writes from now on.
    pub fn shut(&self) {
        self.closer()();
    }

    /// Shuts it when that is called.
    pub fn closer(&self) -> impl Fn() + Send + Sync + 'static {
        let shut = Arc::clone(&self.0);
        move || shut.store(true, Ordering::Release)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
