//! Opens the store: for the daemon, and for commands that read without one.

use std::path::Path;
use std::sync::Arc;

use sexton_engine::clock::{Clock, SystemClock};
use sexton_engine::entropy::Entropy;
use sexton_store::{Monotonic, Store};
use sexton_store_sqlite::{Access, Durability, OpenError, Options, RESERVE_BYTES, SqliteDriver};

use crate::config::file;
use crate::failure::{Exit, Failure};

/// What opening needs from the machine.
#[derive(Debug)]
pub struct Machine {
    /// Time.
    pub clock: Arc<SystemClock>,
    /// Randomness.
    pub entropy: Arc<Entropy>,
}

impl Machine {
    /// This one.
    pub fn new() -> Result<Self, Failure> {
        let entropy = Entropy::from_os().map_err(|error| {
            Failure::new(Exit::Unavailable, format!("failed to get randomness: {error}"))
        })?;
        Ok(Self { clock: SystemClock::new(), entropy: Arc::new(entropy) })
    }

    fn monotonic(&self) -> Monotonic {
        let clock = Arc::clone(&self.clock);
        Arc::new(move || clock.monotonic())
    }
}

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The database file.
    pub path: &'a Path,
    /// What an acknowledged write survives.
    pub durability: file::Durability,
    /// To write, or only to read.
    pub access: Access,
}

/// Opens a store.
pub fn open(opening: Opening<'_>, machine: &Machine) -> Result<Store, Failure> {
    let now = machine.clock.now();
    let store_id = machine.entropy.ids(now).mint();
    let options = Options {
        durability: match opening.durability {
            file::Durability::Full => Durability::Full,
            file::Durability::Relaxed => Durability::Relaxed,
        },
        access: opening.access,
        reserve_bytes: RESERVE_BYTES,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        monotonic: machine.monotonic(),
        ..Options::new(opening.path, store_id, now)
    };
    let driver = SqliteDriver::open(options).map_err(|error| refused(&error))?;
    Ok(Store::new(Arc::new(driver), machine.monotonic()))
}

fn refused(error: &OpenError) -> Failure {
    let (exit, hint) = match error {
        OpenError::Held { .. } | OpenError::HeldByUnknown { .. } => {
            (Exit::Refused, "stop that one first (`sexton stop`), or use another --data-dir")
        }
        OpenError::Newer { .. } => {
            (Exit::Refused, "use a newer version of Sexton; nothing was touched")
        }
        OpenError::Older { .. } => (Exit::Refused, "start the daemon once: sexton serve"),
        OpenError::NotADatabase { .. } | OpenError::Foreign { .. } => {
            (Exit::Refused, "move the file away, or name another one in `[store] url`")
        }
        OpenError::Network { .. } => {
            (Exit::Usage, "put the data folder on a local disk, with --data-dir")
        }
        OpenError::ReadOnlyPlace { .. } | OpenError::ReadOnlyLog { .. } | OpenError::Io { .. } => {
            (Exit::Usage, "see to the permissions, or use another --data-dir")
        }
        OpenError::Missing { .. } => (Exit::Unreachable, "start the daemon: sexton serve"),
        OpenError::Migration { .. } | OpenError::Database { .. } => {
            (Exit::Unavailable, "nothing was changed; try again, and look at disk and memory")
        }
        OpenError::NoRuntime => (Exit::Bug, "please report this"),
    };
    Failure::chain(exit, error).hint(hint)
}
