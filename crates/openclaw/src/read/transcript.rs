//! Transcripts: lines of `.jsonl`, as they are or compressed.

use std::io::{self, BufRead, BufReader, Read};

use crate::model::{Dropped, Encoding, Place, Tally};
use crate::read::lines::{self, lines};

mod line;
mod survey;

#[cfg(test)]
mod tests;

pub use line::{Line, line};
pub use survey::{Header, LISTED, Listed, Summary, Survey};

/// Hands on every line that is not blank, with its number, or why it cannot be read.
///
/// # Errors
///
/// If reading from `input` fails.
pub fn read(
    input: impl BufRead,
    each: &mut dyn FnMut(u64, Result<Line<'_>, String>),
) -> io::Result<Tally> {
    let mut tally = Tally::default();
    tally.bytes = lines(input, &mut |number, bytes| {
        let read = match bytes {
            lines::Line::Bytes { bytes, .. } if is_blank(bytes) => return,
            lines::Line::Bytes { bytes, .. } => line(bytes),
            lines::Line::TooLong(bytes) => Err(too_long(bytes)),
        };
        match &read {
            Ok(_) => tally.read += 1,
            Err(reason) => {
                let place = Place::Line(number);
                tally.dropped.push(Dropped { place, reason: reason.clone() });
            }
        }
        each(number, read);
    })?;
    Ok(tally)
}

/// What a transcript holds, all in all.
///
/// # Errors
///
/// If reading from `input` fails. Compressed bytes that are damaged are no such failure: what was read
/// before them counts, and the summary says so.
pub fn summary(input: impl Read, encoding: Encoding) -> io::Result<Summary> {
    let mut survey = Survey::new();
    match encoding {
        Encoding::Plain => push_all(&mut survey, input)?,
        Encoding::Zstd => {
            let pushed = zstd::stream::read::Decoder::new(input)
                .and_then(|decoder| push_all(&mut survey, decoder));
            match pushed {
                Err(error) if error.raw_os_error().is_some() => return Err(error),
                Err(error) => survey.cut(error.to_string()),
                Ok(()) => {}
            }
        }
    }
    Ok(survey.finish())
}

fn push_all(survey: &mut Survey, input: impl Read) -> io::Result<()> {
    lines(BufReader::with_capacity(128 * 1024, input), &mut |number, line| match line {
        lines::Line::Bytes { bytes, ended: true } => survey.push(number, bytes),
        lines::Line::Bytes { bytes, ended: false } => survey.push_last(number, bytes),
        lines::Line::TooLong(bytes) => survey.push_too_long(number, bytes),
    })?;
    Ok(())
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

fn too_long(bytes: u64) -> String {
    format!("a line of {bytes} bytes, more than {}", lines::LINE_MOST)
}
