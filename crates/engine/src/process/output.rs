//! Lines out of a pipe: one bounded buffer, taken only while something is in it.

use std::future::pending;
use std::io::{self, BufRead};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use tokio::net::unix::pipe::Receiver;

/// How much one read may bring, and what a pipe holds by default.
const READ_BYTES: usize = 64 * 1024;

/// The lines of one stream.
#[derive(Debug)]
pub struct Lines {
    source: Source,
    /// Bytes read; those before `taken` were handed out, those before `searched` hold no newline.
    buffer: Vec<u8>,
    taken: usize,
    searched: usize,
    limit_bytes: usize,
}

#[derive(Debug)]
enum Source {
    Open(Receiver),
    /// All writers are dead: at most this many bytes can still be in the pipe, and what comes
    /// beyond them is from somebody else who holds it open.
    Rest(OwnedFd, usize),
    Closed,
}

impl Lines {
    /// Reads from `pipe` and splits lines longer than `limit_bytes`.
    pub fn new(pipe: Receiver, limit_bytes: usize) -> Lines {
        // Below this a UTF-8 character would not fit into a piece.
        let limit_bytes = limit_bytes.max(4);
        Lines { source: Source::Open(pipe), buffer: Vec::new(), taken: 0, searched: 0, limit_bytes }
    }

    /// Waits for bytes and reads them, once, or notes the end of the stream. Never resolves once
    /// it is closed. Cancel-safe.
    pub async fn fill(&mut self) {
        let Source::Open(pipe) = &self.source else { return pending().await };
        let ready = pipe.readable().await;
        self.buffer.reserve(READ_BYTES);
        match ready.and_then(|()| pipe.try_read_buf(&mut self.buffer)) {
            // In a flood this pipe is always ready; the others become so only when the runtime
            // gets to ask. (Of the current thread it asks once in 61 rounds of 128 reads.)
            Ok(READ_BYTES..) => tokio::task::yield_now().await,
            Ok(1..) => {}
            Err(error) if is_passing(&error) => {}
            Ok(0) | Err(_) => self.source = Source::Closed,
        }
    }

    /// To be called when all writers are proven dead: from here on [`Lines::drain`] reads.
    pub fn writers_are_dead(&mut self) {
        if let Source::Open(pipe) = std::mem::replace(&mut self.source, Source::Closed)
            && let Ok(pipe) = pipe.into_nonblocking_fd()
        {
            let left = pipe_bytes(&pipe);
            self.source = Source::Rest(pipe, left);
        }
    }

    /// Reads a part of what dead writers left in the pipe, without waiting; false at its end.
    pub fn drain(&mut self) -> bool {
        let Source::Rest(pipe, left) = &mut self.source else { return false };
        self.buffer.reserve(READ_BYTES);
        match rustix::io::read(pipe, spare_capacity(&mut self.buffer)) {
            Ok(read @ 1..) if read < *left => *left -= read,
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => self.source = Source::Closed,
        }
        true
    }

    /// The next line of what was read, without its newline: a whole one, or a piece of one that is
    /// too long, or the last one of a closed stream.
    pub fn pop(&mut self) -> Option<String> {
        let newline = newline(&self.buffer[self.searched..]).map(|at| self.searched + at);
        let end = newline.unwrap_or(self.buffer.len());
        let has_last = matches!(self.source, Source::Closed) && end > self.taken;
        let (line_end, next) = if end - self.taken > self.limit_bytes {
            let cut = self.taken + whole_characters(&self.buffer[self.taken..], self.limit_bytes);
            (cut, cut)
        } else if newline.is_some() {
            (end, end + 1)
        } else if has_last {
            (end, end)
        } else {
            self.searched = end;
            self.compact();
            return None;
        };
        let line = String::from_utf8_lossy(&self.buffer[self.taken..line_end]).into_owned();
        self.taken = next;
        self.searched = next;
        Some(line)
    }

    /// Gives the buffer back when it is empty, so that a silent run costs none, and otherwise
    /// moves the unfinished line to its front.
    fn compact(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..self.taken);
        }
        self.searched -= self.taken;
        self.taken = 0;
    }
}

/// Where the first newline is; at the speed of `memchr`, unlike `Iterator::position`.
fn newline(mut bytes: &[u8]) -> Option<usize> {
    let all = bytes;
    let through = bytes.skip_until(b'\n').unwrap_or(0);
    through.checked_sub(1).filter(|&last| all[last] == b'\n')
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The longest prefix of at most `limit` bytes that does not end inside of a character. Bytes
/// that are no UTF-8 are cut anywhere. `bytes` is longer than `limit`.
fn whole_characters(bytes: &[u8], limit: usize) -> usize {
    let is_continuation = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
    (limit - 3..=limit).rev().find(|&at| !is_continuation(at)).unwrap_or(limit)
}

/// How much the pipe can hold.
#[cfg(target_os = "linux")]
fn pipe_bytes(pipe: &OwnedFd) -> usize {
    rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(READ_BYTES)
}

/// How much a pipe can hold.
#[cfg(not(target_os = "linux"))]
fn pipe_bytes(_pipe: &OwnedFd) -> usize {
    READ_BYTES
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn lines(bytes: &[u8], limit_bytes: usize) -> Vec<String> {
        let mut lines = Lines {
            source: Source::Closed,
            buffer: bytes.to_vec(),
            taken: 0,
            searched: 0,
            limit_bytes,
        };
        std::iter::from_fn(|| lines.pop()).collect()
    }

    #[test]
    fn lines_lose_their_newline_and_nothing_else() {
        assert_eq!(lines(b"a\n\n b \r\nlast", 100), ["a", "", " b \r", "last"]);
        assert_eq!(lines(b"a\n", 100), ["a"]);
        assert_eq!(lines(b"", 100), [""; 0]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_one_line() {
        assert_eq!(lines(b"12345\n12345\n", 5), ["12345", "12345"]);
        assert_eq!(lines(b"123456\n12345", 5), ["12345", "6", "12345"]);
    }

    #[test]
    fn a_piece_never_splits_a_character() {
        let long = "aé漢🦀".repeat(50);
        for limit in 4..40 {
            let pieces = lines(long.as_bytes(), limit);
            assert_eq!(pieces.concat(), long);
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= limit));
        }
    }

    #[test]
    fn invalid_utf8_is_replaced_and_never_stalls() {
        assert_eq!(lines(b"a\xffb\n", 100), ["a\u{fffd}b"]);
        assert_eq!(lines(&[0x80; 10], 4).len(), 3);
    }
}
