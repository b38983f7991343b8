//! What a transcript holds, all in all, and what is wrong with it, line by line.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{is_blank, line, too_long};
use crate::model::Usage;
use crate::read::transcript::Line;

/// How many lines a list names.
pub const LISTED: usize = 1000;

/// How much of the first prompt is kept.
pub const PROMPT_CHARS: usize = 256;

/// Lines of one kind: how many there are, and the first [`LISTED`] of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// All of them.
    pub count: u64,
    /// The number of a line, and what is to be said about it.
    pub first: Vec<(u64, String)>,
}

impl Listed {
    fn push(&mut self, number: u64, text: String) {
        self.count += 1;
        if self.first.len() < LISTED {
            self.first.push((number, text));
        }
    }
}

/// The first line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `id`: the session.
    pub id: Option<String>,
    /// `version`.
    pub version: Option<u64>,
    /// `timestamp`.
    pub at: Option<Timestamp>,
    /// `cwd`.
    pub cwd: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// The first line of type `session`, wherever it is.
    pub header: Option<Header>,
    /// What is wrong with the first line, which should be that one.
    pub header_fault: Option<String>,
    /// Lines that are not blank, readable or not.
    pub lines: u64,
    /// The number of the last of them.
    pub last_line: u64,
    /// The number of the last one that can be read.
    pub last_sound: u64,
    /// Messages among them.
    pub messages: u64,
    /// The earliest instant of a line.
    pub first_at: Option<Timestamp>,
    /// The latest instant of a line.
    pub last_at: Option<Timestamp>,
    /// The beginning of the first message of a user, at most 256 characters.
    pub prompt: Option<String>,
    /// The role of the last message.
    pub last_role: Option<String>,
    /// The last model that a message names.
    pub model: Option<String>,
    /// The sum over all messages.
    pub usage: Usage,
    /// The bytes of all lines, with their line feeds, not compressed.
    pub bytes: u64,
    /// Lines that cannot be read, each with the reason.
    pub damaged: Listed,
    /// Lines that are the word `undefined` or `null`.
    pub void: Listed,
    /// The last line if it has no line feed and cannot be read: its number and the reason.
    pub partial_tail: Option<(u64, String)>,
    /// Tool calls without a result: line and id.
    pub open_calls: Listed,
    /// Tool results without a call: line and id.
    pub lone_results: Listed,
    /// Why the compressed bytes could not be read to their end.
    pub cut: Option<String>,
}

/// A summary that grows line by line.
#[derive(Debug, Default)]
pub struct Survey {
    summary: Summary,
    /// The calls that wait for their results: by id, the lines that call, and whether they need one.
    waiting: BTreeMap<String, Vec<(u64, bool)>>,
}

impl Survey {
    /// Before the first line.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line that a line feed ends; without it.
    pub fn push(&mut self, number: u64, bytes: &[u8]) {
        self.summary.bytes += 1;
        if let Err(reason) = self.take(number, bytes) {
            self.damage(number, reason);
        }
    }

    /// The last line, which has no line feed.
    pub fn push_last(&mut self, number: u64, bytes: &[u8]) {
        if let Err(reason) = self.take(number, bytes) {
            self.summary.partial_tail = Some((number, reason));
        }
    }

    /// A line of so many bytes that is too long to be held.
    pub fn push_too_long(&mut self, number: u64, bytes: u64) {
        self.summary.bytes += bytes + 1;
        self.summary.lines += 1;
        self.summary.last_line = number;
        let reason = too_long(bytes);
        self.head(&Err(reason.clone()));
        self.damage(number, reason);
    }

    /// Nothing follows, for this reason, though there is more.
    pub fn cut(&mut self, reason: String) {
        self.summary.cut = Some(reason);
    }

    /// What was found.
    pub fn finish(mut self) -> Summary {
        let mut open: Vec<(u64, String)> = Vec::new();
        for (id, calls) in self.waiting {
            open.extend(
                calls.iter().filter(|(_, needs)| *needs).map(|(line, _)| (*line, id.clone())),
            );
        }
        open.sort();
        for (number, id) in open {
            self.summary.open_calls.push(number, id);
        }
        if self.summary.lines == 0 {
            self.summary.header_fault = Some("there are no lines".to_owned());
        }
        self.summary
    }

    fn take(&mut self, number: u64, bytes: &[u8]) -> Result<(), String> {
        self.summary.bytes += bytes.len() as u64;
        if is_blank(bytes) {
            return Ok(());
        }
        self.summary.lines += 1;
        self.summary.last_line = number;
        let read = line(bytes);
        self.head(&read);
        match read {
            Ok(line) => {
                self.summary.last_sound = number;
                self.add(number, &line);
                Ok(())
            }
            Err(_) if matches!(bytes.trim_ascii(), b"undefined" | b"null") => {
                let word = String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
                self.summary.void.push(number, word);
                Ok(())
            }
            Err(reason) => Err(reason),
        }
    }

    fn damage(&mut self, number: u64, reason: String) {
        self.summary.damaged.push(number, reason);
    }

    /// Looks at a line as a header: the first one should be it.
    fn head(&mut self, read: &Result<Line<'_>, String>) {
        let summary = &mut self.summary;
        let is_header = matches!(read, Ok(line) if line.kind == "session");
        if summary.lines == 1 {
            summary.header_fault = match read {
                Ok(line) if is_header && line.id.is_none() => {
                    Some("it names no session".to_owned())
                }
                Ok(_) if is_header => None,
                Ok(line) => Some(format!("the first line is of type `{}`", line.kind)),
                Err(reason) => Some(format!("the first line cannot be read: {reason}")),
            };
        }
        if let Ok(line) = read
            && is_header
            && summary.header.is_none()
        {
            summary.header = Some(Header {
                id: line.id.clone(),
                version: line.version,
                at: line.at,
                cwd: line.cwd.clone(),
            });
        }
    }

    fn add(&mut self, number: u64, line: &Line<'_>) {
        let summary = &mut self.summary;
        if let Some(at) = line.at {
            summary.first_at = Some(summary.first_at.map_or(at, |first| first.min(at)));
            summary.last_at = summary.last_at.max(Some(at));
        }
        if line.kind != "message" {
            return;
        }
        summary.messages += 1;
        if summary.prompt.is_none() && line.role.as_deref() == Some("user") {
            summary.prompt = line.text().map(|text| text.chars().take(PROMPT_CHARS).collect());
        }
        summary.last_role.clone_from(&line.role);
        if line.model.is_some() {
            summary.model.clone_from(&line.model);
        }
        if let Some(usage) = line.usage {
            add_usage(&mut summary.usage, usage);
        }
        for id in &line.results {
            self.pair(number, id);
        }
        for id in &line.calls {
            self.waiting.entry(id.clone()).or_default().push((number, !line.broken_off));
        }
    }

    /// A result answers the first call of its id that waits.
    fn pair(&mut self, number: u64, id: &str) {
        let Some(calls) = self.waiting.get_mut(id) else {
            self.summary.lone_results.push(number, id.to_owned());
            return;
        };
        calls.remove(0);
        if calls.is_empty() {
            self.waiting.remove(id);
        }
    }
}

fn add_usage(sum: &mut Usage, usage: Usage) {
    sum.input = sum.input.saturating_add(usage.input);
    sum.output = sum.output.saturating_add(usage.output);
    sum.cache_read = sum.cache_read.saturating_add(usage.cache_read);
    sum.cache_write = sum.cache_write.saturating_add(usage.cache_write);
    sum.cost_usd += usage.cost_usd;
}
