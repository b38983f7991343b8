//! What Sexton asks of a database.
//!
//! [`Driver`] is the seam: apply batches of [`Change`](sexton_domain::change::Change), read typed
//! pages. A driver never decides. [`Store`] is the handle the engine holds: spans, metrics,
//! bounded retries and nudges are written once around the seam. [`mod@conformance`] proves a driver.

pub mod attempt;
mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod driver;
pub mod limits;
pub mod metrics;
pub mod nudge;
pub mod once;
pub mod page;
mod store;
mod ticket;

pub use attempt::Attempts;
pub use batch::Batch;
pub use driver::{CommitError, Committed, Conflict, Driver, Error, Monotonic, Stats};
pub use store::Store;
pub use ticket::{Promise, Ticket, answers};
