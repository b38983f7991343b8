//! The lines of a file, each held by itself and none without bound.

use std::io::{self, BufRead};

use memchr::memchr;

/// The longest line that is held, in bytes.
pub const LINE_MOST: usize = 64 * 1024 * 1024;

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes without the line feed.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether a line feed ends it.
        ended: bool,
    },
    /// It has so many bytes, more than [`LINE_MOST`].
    TooLong(u64),
}

/// Hands on each line with its number, from 1; returns how many bytes there were.
///
/// # Errors
///
/// If reading from `input` fails.
pub fn lines(input: impl BufRead, each: &mut dyn FnMut(u64, Line<'_>)) -> io::Result<u64> {
    lines_of(input, LINE_MOST, each)
}

fn lines_of(
    mut input: impl BufRead,
    most: usize,
    each: &mut dyn FnMut(u64, Line<'_>),
) -> io::Result<u64> {
    let mut held = Vec::new();
    let mut length = 0_u64;
    let mut total = 0;
    let mut number = 0;
    loop {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        let found = memchr(b'\n', bytes);
        let ended = found.is_some();
        let part = &bytes[..found.unwrap_or(bytes.len())];
        let over = bytes.is_empty();
        length += part.len() as u64;
        let keeps = length <= most as u64;
        if !keeps {
            held = Vec::new();
        } else if !ended || !held.is_empty() {
            held.extend_from_slice(part);
        }
        if ended || over && length > 0 {
            number += 1;
            let bytes = if held.is_empty() { part } else { &held };
            let line = if keeps { Line::Bytes { bytes, ended } } else { Line::TooLong(length) };
            each(number, line);
            held.clear();
            length = 0;
        }
        if over {
            return Ok(total);
        }
        let used = part.len() + usize::from(ended);
        total += used as u64;
        input.consume(used);
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(text: &str, buffer: usize, most: usize) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        let input = BufReader::with_capacity(buffer, text.as_bytes());
        let total = lines_of(input, most, &mut |number, line| {
            all.push((
                number,
                match line {
                    Line::Bytes { bytes, ended } => {
                        format!(
                            "{}{}",
                            String::from_utf8_lossy(bytes),
                            if ended { "$" } else { "" }
                        )
                    }
                    Line::TooLong(length) => format!("{length}!"),
                },
            ));
        })
        .unwrap();
        assert_eq!(total, text.len() as u64);
        all
    }

    #[test]
    fn lines_are_the_same_whatever_the_buffer() {
        for buffer in 1..12 {
            let all = read("ab\n\ncde\r\nf", buffer, 100);
            let expected = [(1, "ab$"), (2, "$"), (3, "cde\r$"), (4, "f")];
            assert_eq!(all, expected.map(|(number, line)| (number, line.to_owned())), "{buffer}");
            assert_eq!(read("", buffer, 100), []);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_the_next_is_read() {
        for buffer in 1..12 {
            let all = read("ab\nabcdef\nxy\nabcd", buffer, 3);
            let expected = [(1, "ab$"), (2, "6!"), (3, "xy$"), (4, "4!")];
            assert_eq!(all, expected.map(|(number, line)| (number, line.to_owned())), "{buffer}");
        }
    }
}
