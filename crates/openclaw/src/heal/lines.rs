//! Leaves lines out of a file of lines.

use std::io::{self, BufRead, Write};

use memchr::memchr;

/// Copies all lines but those of these numbers, from 1 and ascending.
///
/// # Errors
///
/// If reading or writing fails.
pub fn drop(input: &mut dyn BufRead, lines: &[u64], out: &mut dyn Write) -> io::Result<()> {
    let mut left_out = lines.iter().copied().peekable();
    let mut line = 1;
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = memchr(b'\n', bytes).map(|at| at + 1);
        let count = end.unwrap_or(bytes.len());
        if left_out.peek() != Some(&line) {
            out.write_all(&bytes[..count])?;
        }
        input.consume(count);
        if end.is_some() {
            if left_out.peek() == Some(&line) {
                left_out.next();
            }
            line += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_go_and_the_others_stay_as_they_are() {
        let of = |text: &str, lines: &[u64]| {
            let mut out = Vec::new();
            for capacity in [1, 3, 64] {
                out.clear();
                drop(&mut BufReader::with_capacity(capacity, text.as_bytes()), lines, &mut out)
                    .unwrap();
            }
            String::from_utf8(out).unwrap()
        };
        assert_eq!(of("a\nb\r\n\nd", &[]), "a\nb\r\n\nd");
        assert_eq!(of("a\nb\r\n\nd", &[1, 3]), "b\r\nd");
        assert_eq!(of("a\nb\nc", &[2, 3, 9]), "a\n");
        assert_eq!(of("aaaaaaaaaa\nb\n", &[1, 2]), "");
    }
}
