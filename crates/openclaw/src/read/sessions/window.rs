//! The part of a file that is held in memory: it grows at its end and is forgotten from its front.

use std::io::{self, Read};

/// How much is read at a time, outside of tests.
pub const CHUNK: usize = 256 * 1024;

/// A window on what `input` gives. Positions are relative to its front.
pub struct Window<R> {
    input: R,
    /// How much is read at a time.
    pub chunk: usize,
    /// What is held.
    pub bytes: Vec<u8>,
    /// Where in the file the front is.
    pub start: u64,
    /// Whether the file has no more behind what is held.
    pub ended: bool,
}

impl<R: Read> Window<R> {
    pub fn new(input: R, chunk: usize) -> Self {
        Self { input, chunk, bytes: Vec::with_capacity(2 * chunk), start: 0, ended: false }
    }

    /// Holds one more chunk; `false` if there is none.
    pub fn grow(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let count = self.input.by_ref().take(self.chunk as u64).read_to_end(&mut self.bytes)?;
        self.ended = count < self.chunk;
        Ok(count > 0)
    }

    /// Holds at least `count` bytes from `at` on, or all there are.
    pub fn reach(&mut self, at: usize, count: usize) -> io::Result<()> {
        while self.bytes.len() < at + count && self.grow()? {}
        Ok(())
    }

    /// The byte at `at`, if the file goes as far.
    pub fn byte(&mut self, at: usize) -> io::Result<Option<u8>> {
        if at >= self.bytes.len() {
            self.reach(at, 1)?;
        }
        Ok(self.bytes.get(at).copied())
    }

    /// Forgets what is before `at`; then `at` is position 0.
    pub fn forget(&mut self, at: usize) {
        self.bytes.drain(..at);
        self.start += at as u64;
        if self.bytes.capacity() > 8 * CHUNK && self.bytes.len() <= CHUNK {
            self.bytes.shrink_to(2 * CHUNK);
        }
    }

    /// The place in the file of a position.
    pub const fn place(&self, at: usize) -> u64 {
        self.start + at as u64
    }
}
