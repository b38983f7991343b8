//! The embedded store: one SQLite file behind the storage seam.
//!
//! Write-ahead log, one connection that writes, a few that read. Batches that wait are committed
//! together ([`SqliteDriver`]), so that one wait for the disk acknowledges them all. A record is JSON
//! in a `body`; the columns beside it are what reads and uniqueness rules need (`v1.sql`).

mod batch;
mod codec;
mod connect;
mod counters;
mod disk;
mod driver;
mod fail;
mod fault;
mod inline;
mod lock;
mod mutex;
mod open;
mod open_error;
mod options;
mod place;
mod queue;
mod read;
mod readers;
mod record;
mod reserve;
mod schema;
mod table;
mod writer;

pub use disk::Disk;
pub use driver::SqliteDriver;
pub use fault::{Faults, Gate, Point};
pub use open_error::OpenError;
/// A reserve that lets a busy gateway end what it has begun: room for the log and for what it moves into the
/// database.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

pub use options::{Access, Durability, Mode, Options};
pub use place::make_folder;
