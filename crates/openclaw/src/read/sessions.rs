//! `sessions.json`, a row at a time: whole files with little memory, damaged ones as far as they go.
//!
//! Where the structure is broken, reading goes on at the next place that looks like a row: in a file
//! whose rows begin lines, a line that begins like the first row's and has a key and an object; in any
//! file, a session key (`agent:…`) or a session id as the first field.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::ops::Range;

use memchr::memchr;
use serde::de::IgnoredAny;

use crate::model::{Dropped, Place, SessionRow, Tally};
use sexton_domain::words::counted;

mod row;
mod scan;
mod window;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub use row::{row, status};
use scan::{KEY_MOST, LOOK, Looks, Nest, Pause, is_white, looks, skip_white, string_end};
use window::{CHUNK, Window};

/// The largest row that is read, in bytes.
pub const ROW_MOST: usize = 64 * 1024 * 1024;

/// A row as it was read.
#[derive(Debug)]
pub struct Row<'a> {
    /// What it says.
    pub row: SessionRow,
    /// Its value as the bytes stand in the file.
    pub raw: &'a [u8],
    /// Where the quote of its key is.
    pub key_at: u64,
    /// Whether its key was there before. The last row of a key is the one that counts for OpenClaw.
    pub again: bool,
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With the end of its object.
    Whole,
    /// Before its beginning: there are no bytes, or only white space, or only zeros.
    Empty,
    /// It is no object; a list counts as empty for OpenClaw.
    NotAnObject,
    /// Inside of its object.
    CutOff,
    /// With more behind its object. If that is a second one, its rows are read too.
    Trailing,
}

impl Ending {
    /// What is wrong with it, in words.
    pub const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::Empty => Some("it is empty"),
            Self::NotAnObject => Some("it holds no object, which OpenClaw takes for an empty one"),
            Self::CutOff => Some("it ends in the middle"),
            Self::Trailing => Some("a second value follows the first"),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The rows that were handed on, and what was not.
    pub tally: Tally,
    /// The bytes of each dropped record, in the order of the tally.
    pub skipped: Vec<Range<u64>>,
    /// How the file ends.
    pub ending: Ending,
    /// Whether OpenClaw can read the file: it is one JSON value.
    pub is_json: bool,
}

/// Hands on each row of a file. A repeated key is handed on each time; the last one counts.
///
/// # Errors
///
/// If reading from `input` fails.
pub fn rows(input: impl Read, each: &mut dyn FnMut(Row<'_>)) -> io::Result<Index> {
    rows_by(CHUNK, input, each)
}

fn rows_by(chunk: usize, input: impl Read, each: &mut dyn FnMut(Row<'_>)) -> io::Result<Index> {
    let index = Index {
        tally: Tally::default(),
        skipped: Vec::new(),
        ending: Ending::Whole,
        is_json: true,
    };
    let mut reader = Reader {
        window: Window::new(input, chunk),
        at: 0,
        objects: 0,
        before_key: Vec::new(),
        seen: HashSet::default(),
        index,
        each,
    };
    let mut expected = Expected::Object;
    loop {
        match reader.step(expected)? {
            Step::On(next) => expected = next,
            Step::Ended(ending) => return Ok(reader.finish(ending)),
        }
    }
}

/// What the next byte that is no white space should be.
#[derive(Clone, Copy)]
enum Expected {
    Object,
    KeyOrEnd,
    Key,
    CommaOrEnd,
}

enum Step {
    On(Expected),
    Ended(Ending),
}

/// A row whose key is read, and whose value begins. Places are those in the file.
struct Begun {
    key: Result<String, String>,
    key_at: u64,
    value_at: u64,
}

/// How a value ended, at a position of the window.
enum End {
    Closed(usize),
    /// The next row begins.
    Broken(usize),
    CutOff,
    TooLarge(usize),
}

struct Reader<'c, R> {
    window: Window<R>,
    at: usize,
    objects: u64,
    /// From a line feed to the quote of a key; empty if rows do not begin lines.
    before_key: Vec<u8>,
    seen: HashSet<u64, BuildHasherDefault<DefaultHasher>>,
    index: Index,
    each: &'c mut dyn FnMut(Row<'_>),
}

impl<R: Read> Reader<'_, R> {
    fn step(&mut self, expected: Expected) -> io::Result<Step> {
        let byte = self.next_byte()?;
        match (expected, byte) {
            (Expected::Object, None) => Ok(Step::Ended(match self.objects {
                0 => Ending::Empty,
                1 => Ending::Whole,
                _ => Ending::Trailing,
            })),
            (_, None) => Ok(Step::Ended(Ending::CutOff)),
            (Expected::Object, Some(b'{')) => self.open(),
            (Expected::KeyOrEnd | Expected::Key, Some(b'"')) => self.member(),
            (Expected::KeyOrEnd | Expected::CommaOrEnd, Some(b'}')) => self.pass(Expected::Object),
            (Expected::CommaOrEnd, Some(b',')) => self.pass(Expected::Key),
            (Expected::Key, Some(b'}')) => {
                self.drop_until(
                    self.at,
                    Place::Byte(self.window.place(self.at)),
                    "a comma too many",
                );
                self.index.is_json = false;
                self.pass(Expected::Object)
            }
            (Expected::Object, Some(_)) => self.lost(match self.objects {
                0 => Ending::NotAnObject,
                _ => Ending::Trailing,
            }),
            (_, Some(_)) => self.lost(Ending::CutOff),
        }
    }

    /// The next byte that is no white space; `at` is there.
    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        while let Some(byte) = self.window.byte(self.at)? {
            if !is_white(byte) {
                return Ok(Some(byte));
            }
            self.at += 1;
            if self.at >= self.window.chunk {
                self.forget(self.at);
            }
        }
        Ok(None)
    }

    fn pass(&mut self, next: Expected) -> io::Result<Step> {
        self.at += 1;
        Ok(Step::On(next))
    }

    fn forget(&mut self, before: usize) {
        self.window.forget(before);
        self.at -= before;
    }

    fn open(&mut self) -> io::Result<Step> {
        self.objects += 1;
        if self.objects == 1 {
            self.window.reach(self.at, 2 * LOOK)?;
            let bytes = &self.window.bytes;
            if let Some(quote) = skip_white(bytes, self.at + 1).filter(|at| bytes[*at] == b'"') {
                self.learn(quote);
            }
        }
        self.pass(Expected::KeyOrEnd)
    }

    /// Learns from the key whose quote is at `quote` what stands before keys.
    fn learn(&mut self, quote: usize) {
        let bytes = &self.window.bytes[..=quote];
        let white = bytes[..quote].iter().rev().take(LOOK - 1).take_while(|byte| is_white(**byte));
        let line = white.enumerate().find(|(_, byte)| **byte == b'\n').map(|(back, _)| back + 1);
        self.before_key = line.map_or(Vec::new(), |back| bytes[quote - back..].to_vec());
    }

    /// A key and its value.
    fn member(&mut self) -> io::Result<Step> {
        if self.at >= self.window.chunk {
            self.forget(self.at);
        }
        self.window.reach(self.at, KEY_MOST + LOOK)?;
        let Some(begun) = self.begin() else { return self.lost(Ending::CutOff) };
        match self.value_end(&begun)? {
            End::Closed(end) => Ok(self.closed(begun, end)),
            End::Broken(next) => Ok(self.broken(begun, next, "its end is missing")),
            End::TooLarge(end) => {
                self.drop_row(begun, end, format!("larger than {ROW_MOST} bytes"));
                Ok(Step::On(Expected::CommaOrEnd))
            }
            End::CutOff => {
                self.index.is_json = false;
                let value = (begun.value_at.max(self.window.start) - self.window.start) as usize;
                let len = self.window.bytes.len();
                if let Some(next) = self.find(value + 1, len) {
                    return Ok(self.broken(begun, next, "its end is missing"));
                }
                self.drop_row(begun, len, "the file ends within it".to_owned());
                Ok(Step::Ended(Ending::CutOff))
            }
        }
    }

    fn begin(&self) -> Option<Begun> {
        let bytes = &self.window.bytes;
        let end = string_end(bytes, self.at)?;
        let colon = skip_white(bytes, end).filter(|colon| bytes[*colon] == b':')?;
        let value = skip_white(bytes, colon + 1)?;
        let quoted = &bytes[self.at..end];
        Some(Begun {
            key: row::key(quoted).map_err(|_| String::from_utf8_lossy(quoted).into_owned()),
            key_at: self.window.place(self.at),
            value_at: self.window.place(value),
        })
    }

    fn value_end(&mut self, begun: &Begun) -> io::Result<End> {
        let value = (begun.value_at - self.window.start) as usize;
        if !matches!(self.window.bytes[value], b'{' | b'[' | b'"') {
            return Ok(self.scalar_end(value));
        }
        let mut nest = Nest::new(value);
        let mut too_large = false;
        loop {
            let window = &mut self.window;
            match nest.scan(&window.bytes, &self.before_key, window.ended) {
                Pause::End(end) if too_large => return Ok(End::TooLarge(end)),
                Pause::End(end) => return Ok(End::Closed(end)),
                Pause::Suspect { quote, least } => {
                    window.reach(quote, KEY_MOST + LOOK)?;
                    if looks(&window.bytes, quote) >= least {
                        return Ok(End::Broken(quote));
                    }
                }
                Pause::More if window.ended => return Ok(End::CutOff),
                Pause::More if too_large => {
                    let before = nest.at.saturating_sub(LOOK).min(window.bytes.len());
                    nest.at -= before;
                    window.forget(before);
                    self.at = 0;
                    window.grow()?;
                }
                Pause::More if window.bytes.len() - value > ROW_MOST => {
                    let held = window.bytes.len();
                    match self.find(value + 1, held) {
                        Some(next) => return Ok(End::Broken(next)),
                        None => too_large = true,
                    }
                }
                Pause::More => {
                    window.grow()?;
                }
            }
        }
    }

    /// The end of a number, a literal, or of what stands in their place.
    fn scalar_end(&mut self, value: usize) -> End {
        let bytes = &self.window.bytes[value..];
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b'"') || is_white(*byte);
        match bytes.iter().position(ends) {
            Some(count) => End::Closed(value + count),
            None if self.window.ended => End::CutOff,
            None => End::Closed(self.window.bytes.len()),
        }
    }

    /// A row whose value ends before `end`.
    fn closed(&mut self, begun: Begun, end: usize) -> Step {
        let value = (begun.value_at - self.window.start) as usize;
        let raw = &self.window.bytes[value..end];
        let read = match &begun.key {
            Ok(key) => row(key, raw),
            Err(_) => Err("its key is no text".to_owned()),
        };
        let reason = match read {
            Ok(mut row) => {
                row.range = begun.value_at..begun.value_at + raw.len() as u64;
                let again = !self.seen.insert(hash(&row.key));
                self.index.tally.read += 1;
                (self.each)(Row { row, raw, key_at: begun.key_at, again });
                self.at = end;
                return Step::On(Expected::CommaOrEnd);
            }
            Err(reason) => reason,
        };
        let is_json = begun.key.is_ok() && serde_json::from_slice::<IgnoredAny>(raw).is_ok();
        if !is_json {
            self.index.is_json = false;
            if let Some(next) = self.find(value + 1, end) {
                return self.broken(begun, next, &reason);
            }
        }
        self.drop_row(begun, end, reason);
        Step::On(Expected::CommaOrEnd)
    }

    /// A row that does not end before the next one begins.
    fn broken(&mut self, begun: Begun, next: usize, reason: &str) -> Step {
        self.index.is_json = false;
        self.drop_row(begun, next, reason.to_owned());
        Step::On(Expected::Key)
    }

    fn drop_row(&mut self, begun: Begun, until: usize, reason: String) {
        let key = begun.key.unwrap_or_else(|quoted| quoted);
        let skipped = begun.key_at..self.window.place(until);
        let count = skipped.end - skipped.start;
        let reason = format!("{reason} ({})", counted(count, "byte"));
        self.index.tally.dropped.push(Dropped { place: Place::Key(key), reason });
        self.index.skipped.push(skipped);
        self.at = until;
    }

    fn drop_until(&mut self, until: usize, place: Place, reason: &str) {
        let skipped = self.window.place(self.at)..self.window.place(until);
        self.index.tally.dropped.push(Dropped { place, reason: reason.to_owned() });
        self.index.skipped.push(skipped);
        self.at = until;
    }

    /// Goes on at the next row behind something that should not be there; without one, the file ends
    /// so.
    fn lost(&mut self, ending: Ending) -> io::Result<Step> {
        self.index.is_json = false;
        let from = self.window.place(self.at);
        let mut zeros = true;
        let mut at = self.at;
        let next = loop {
            self.window.reach(at, self.window.chunk + KEY_MOST + LOOK)?;
            let len = self.window.bytes.len();
            let until = if self.window.ended { len } else { len - KEY_MOST - LOOK };
            if let Some(next) = self.find(at, until) {
                break Some(next);
            }
            zeros &= self.window.bytes[at..until].iter().all(|byte| *byte == 0);
            if self.window.ended {
                break None;
            }
            let before = until.saturating_sub(LOOK);
            self.window.forget(before);
            at = until - before;
        };
        let until = next.unwrap_or(self.window.bytes.len());
        let skipped = from..self.window.place(until);
        let reason = match (skipped.end - skipped.start, next) {
            (0, _) => "a comma is missing before the next row".to_owned(),
            (count, Some(_)) => {
                format!("{} of no row before the next one", counted(count, "byte"))
            }
            (count, None) => format!("{} of no row at the end", counted(count, "byte")),
        };
        self.index.tally.dropped.push(Dropped { place: Place::Byte(from), reason });
        self.index.skipped.push(skipped);
        self.at = until;
        Ok(match next {
            Some(next) => {
                if looks(&self.window.bytes, next) >= Looks::Row {
                    self.learn(next);
                }
                self.objects = self.objects.max(1) + u64::from(ending == Ending::Trailing);
                Step::On(Expected::Key)
            }
            None if zeros && ending == Ending::NotAnObject => Step::Ended(Ending::Empty),
            None => Step::Ended(ending),
        })
    }

    /// The quote of the first key in `from..until` that looks like a row's; everything a look needs is
    /// held.
    fn find(&self, from: usize, until: usize) -> Option<usize> {
        let bytes = &self.window.bytes;
        let mut at = from;
        while at < until {
            let quote = at + memchr(b'"', &bytes[at..until])?;
            if self.is_row(quote) {
                return Some(quote);
            }
            at = quote + 1;
        }
        None
    }

    fn is_row(&self, quote: usize) -> bool {
        let before = &self.window.bytes[..=quote];
        let looks = looks(&self.window.bytes, quote);
        let least = match self.before_key.as_slice() {
            [] => Looks::Row,
            line if before.ends_with(line) => Looks::Member,
            // As they write it: the first key may not have been that of a row.
            _ if before.ends_with(b"\n  \"") => Looks::Row,
            _ => Looks::Surely,
        };
        looks >= least && !before.ends_with(b"\\\"")
    }

    fn finish(self, ending: Ending) -> Index {
        let mut index = self.index;
        index.tally.bytes = self.window.place(self.window.bytes.len());
        index.is_json &= matches!(ending, Ending::Whole);
        index.ending = ending;
        index
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
