//! What a file holds, told by its length and hash.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::finding::Stamp;
use crate::hex::hex;

/// A file as it stands: its contents, its mode and when it was last written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its contents.
    pub stamp: Stamp,
    /// Its permissions, as in `st_mode`.
    pub mode: u32,
    /// When it was last written: seconds and nanoseconds.
    pub modified: (i64, i64),
}

/// The contents of a file; `None` if there is none.
///
/// # Errors
///
/// If it cannot be read.
pub fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match File::open(path) {
        Ok(mut file) => {
            let mut sink = Hashing::new(io::sink());
            io::copy(&mut file, &mut sink)?;
            Ok(Some(sink.finish().1))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file as it stands; `None` if there is none.
///
/// # Errors
///
/// If it cannot be read.
pub fn standing(path: &Path) -> io::Result<Option<Standing>> {
    let Some(stamp) = stamp(path)? else { return Ok(None) };
    let meta = fs::metadata(path)?;
    Ok(Some(Standing { stamp, mode: meta.mode() & 0o7777, modified: modified(&meta) }))
}

/// When a file was last written: seconds and nanoseconds.
pub fn modified(meta: &Metadata) -> (i64, i64) {
    (meta.mtime(), meta.mtime_nsec())
}

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hashes and counts what goes through.
pub struct Hashing<I> {
    inner: I,
    hash: Sha256,
    bytes: u64,
}

impl<I> Hashing<I> {
    /// In front of a reader or a writer.
    pub fn new(inner: I) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// What was behind it, and what went through.
    pub fn finish(self) -> (I, Stamp) {
        (self.inner, Stamp { bytes: self.bytes, sha256: hex(&self.hash.finalize()) })
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.note(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.note(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
