//! The lock: one process at a time writes to a store, and it leaves its name.
//!
//! The operating system holds the lock for the open file, so it is gone when the process is, however
//! it went. The file stays: removing it would let two processes lock two files of one name.

use std::fs::{self, File, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::open_error::OpenError;
use crate::place;

/// Who holds a store.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
    since: Timestamp,
}

/// The lock of a store, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(store: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let path = place::beside(store, ".lock");
        let mut file = place::private_file(store, &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&path)),
            Err(TryLockError::Error(source)) => return Err(OpenError::io("lock", &path)(source)),
        }
        sign(&mut file, now).map_err(OpenError::io("write to", &path))?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File, now: Timestamp) -> std::io::Result<()> {
    let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    let holder = Holder { host, pid: std::process::id(), since: now };
    let text = serde_json::to_string(&holder)?;
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{text}")
}

/// The lock of another process, which may be about to write its name.
fn held(path: &Path) -> OpenError {
    let text = fs::read_to_string(path).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(Holder { host, pid, since }) => OpenError::Held { host, pid, since },
        Err(_) => OpenError::HeldByUnknown { lock: path.to_owned() },
    }
}
