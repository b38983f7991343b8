//! Keys and tables that are there a second time: said with both lines, and once for a whole table.

use std::ops::Range;

use super::section::{Findings, joined};
use super::source::{Problem, Source};

/// Looks at what the parser found twice, in the order of the file.
#[derive(Debug)]
pub struct Twice {
    source: Source,
    /// Lines of headers that were reported, counted from 0: what is below them is not.
    reported: Vec<usize>,
}

impl Twice {
    /// Nothing yet, in this text.
    pub fn new(text: &str) -> Self {
        let source = Source { name: String::new(), text: text.to_owned() };
        Self { source, reported: Vec::new() }
    }

    /// Reports the key at this place, unless all of its table is there twice.
    pub fn report(&mut self, at: Range<usize>, findings: &mut Findings<'_>) {
        let line = self.source.place(at.start).line - 1;
        let key = self.source.text.get(at.clone()).unwrap_or("");
        let (name, earlier) = match header(self.source.line(at.start)) {
            Some(name) => {
                self.reported.push(line);
                let same = |earlier: &str| header(earlier) == Some(name);
                (name.to_owned(), self.lines(0, line).find(|(_, text)| same(text)))
            }
            None => {
                let table = self.lines(0, line).filter(|(_, text)| header(text).is_some()).last();
                let (begin, table) = table.unwrap_or((0, ""));
                if self.reported.contains(&begin) {
                    return;
                }
                let same = |earlier: &str| {
                    earlier.split_once('=').is_some_and(|(left, _)| left.trim() == key)
                };
                let name = joined(header(table).unwrap_or(""), key);
                (name, self.lines(begin, line).find(|(_, text)| same(text)))
            }
        };
        let first = earlier.map(|(line, _)| format!(", the first time on line {}", line + 1));
        let hint = match name.split('.').collect::<Vec<_>>()[..] {
            ["jobs" | "agents" | "hooks", _] => "give one of them another name",
            _ => "leave one of them out",
        };
        findings.add(Problem {
            at,
            message: format!("`{name}` is declared twice{}", first.unwrap_or_default()),
            key: name,
            hint: Some(hint.to_owned()),
        });
    }

    fn lines(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, &str)> {
        self.source.text.lines().enumerate().take(to).skip(from)
    }
}

/// The name in the header of a table.
fn header(line: &str) -> Option<&str> {
    let (name, _) = line.trim().strip_prefix('[')?.split_once(']')?;
    Some(name.trim())
}
