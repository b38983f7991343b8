//! Reads the tables of a config file with serde, and finds everything that is wrong with one instead
//! of the first thing: a table is read again without the key that was at fault until it has no more.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use super::source::Problem;
use super::words::{example, in_words, stated};

/// What is wrong with a file so far.
#[derive(Debug)]
pub struct Findings<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

/// A table of the file with the path that leads to it.
#[derive(Debug, Clone)]
pub struct Section<'t> {
    /// For example `agents.shell`.
    pub path: String,
    /// What it holds.
    pub table: DeTable<'t>,
    /// Where it begins: its header, or all of an inline table.
    pub span: Range<usize>,
}

impl<'t> Section<'t> {
    /// Where a key's value is, or the key where `part` is [`Part::Key`]; the header if it is absent.
    pub fn span_of(&self, key: &str, part: Part) -> Range<usize> {
        let found = self.table.iter().find(|(name, _)| name.get_ref() == key);
        match (found, part) {
            (Some((name, _)), Part::Key) => name.span(),
            (Some((_, value)), Part::Value) => value.span(),
            (None, _) => self.span.clone(),
        }
    }

    /// Whether it has a key.
    pub fn has(&self, key: &str) -> bool {
        self.table.keys().any(|name| name.get_ref() == key)
    }

    /// The text under a key, if it is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        value.get_ref().as_str()
    }

    /// Takes a key out of it.
    pub fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        let name = self.table.keys().find(|name| name.get_ref() == key)?.clone();
        self.table.remove(&name)
    }
}

/// One side of a `key = value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The left one.
    Key,
    /// The right one.
    Value,
}

impl<'t> Findings<'t> {
    /// Nothing yet, in this text.
    pub fn new(text: &'t str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// For reading the same text without telling what is found.
    pub fn scratch(&self) -> Self {
        Self::new(self.text)
    }

    /// What was found, in the order of the file.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.at.start);
        self.problems
    }

    /// Adds a problem.
    pub fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Adds a problem with the value of a key, pointing into the value where the message has a
    /// byte offset.
    pub fn add_at(
        &mut self,
        section: &Section<'_>,
        key: &str,
        message: &str,
        hint: Option<String>,
    ) {
        let (at, path) = (section.span_of(key, Part::Value), joined(&section.path, key));
        let (message, own_hint) = stated(message);
        let at = self.inside(self.narrowed(at, &message), &message);
        let hint = hint.or(own_hint).or_else(example);
        self.add(Problem { at, key: path, message, hint });
    }

    /// The value as a table under a path.
    pub fn section(&mut self, path: &str, value: Spanned<DeValue<'t>>) -> Option<Section<'t>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Section { path: path.to_owned(), table, span }),
            other => {
                self.add(Problem {
                    at: span,
                    key: path.to_owned(),
                    message: format!("expected a table, found {}", other.type_str()),
                    hint: Some(format!("begin it with a line `[{path}]`")),
                });
                None
            }
        }
    }

    /// The tables in a table, as sections of their own.
    pub fn sections(&mut self, outer: Section<'t>) -> Vec<(Spanned<String>, Section<'t>)> {
        let mut sections = Vec::new();
        for (name, value) in outer.table {
            let name = Spanned::new(name.span(), name.into_inner().into_owned());
            let path = joined(&outer.path, name.get_ref());
            sections.extend(self.section(&path, value).map(|section| (name, section)));
        }
        sections
    }

    /// Reads a section, and reports every key of it that cannot be read. What is returned is then
    /// what the other keys say: to look for more that is wrong, not to be used.
    pub fn read<T: DeserializeOwned>(&mut self, section: &Section<'t>) -> Option<T> {
        self.read_with_rest(section).map(|(value, _)| value)
    }

    /// The same with the section of the keys that could be read.
    pub fn read_with_rest<T: DeserializeOwned>(
        &mut self,
        section: &Section<'t>,
    ) -> Option<(T, Section<'t>)> {
        let mut left = section.clone();
        let mut removed = BTreeSet::new();
        loop {
            let error = match deserialize::<T>(&left) {
                Ok(value) => return Some((value, left)),
                Err(error) => error,
            };
            if let Some(missing) = quoted(error.message()).filter(|_| is_missing(&error)) {
                if !removed.contains(missing) {
                    self.report(&error, &section.path, section.span.clone());
                }
                return None;
            }
            let Some(culprit) = culprit::<T>(&left, &error) else {
                self.report(&error, &section.path, section.span.clone());
                return None;
            };
            let at = precise(&left, &culprit, &error);
            self.report(&error, &joined(&section.path, &culprit), at);
            left.take(&culprit);
            removed.insert(culprit);
        }
    }

    fn report(&mut self, error: &Error, key: &str, at: Range<usize>) {
        let (message, hint) = in_words(error.message(), key);
        let at = self.inside(self.narrowed(at, &message), &message);
        let hint = hint.or_else(example);
        self.add(Problem { at, key: key.to_owned(), message, hint });
    }

    /// The one text within a list or an inline table that a message repeats, if it is that clear.
    fn narrowed(&self, at: Range<usize>, message: &str) -> Range<usize> {
        let whole = &self.text[at.clone()];
        let repeated = [message.split('`').nth(1), message.split('"').nth(1)];
        for text in repeated.into_iter().flatten() {
            let text = format!("\"{text}\"");
            let mut found = whole.match_indices(&text);
            if let (Some((start, _)), None) = (found.next(), found.next()) {
                let start = at.start + start;
                return start..start + text.len();
            }
        }
        at
    }

    /// The byte a message points at, if the value is a plain string; else all of the value.
    fn inside(&self, at: Range<usize>, message: &str) -> Range<usize> {
        let Some(offset) = offset(message) else { return at };
        let value = &self.text[at.clone()];
        let plain = value.len() >= 2
            && value.starts_with(['"', '\''])
            && !value.starts_with("\"\"\"")
            && !value.starts_with("'''")
            && !value.contains('\\');
        let byte = at.start + 1 + offset;
        if plain && byte + 1 < at.end && self.text.is_char_boundary(byte) {
            byte..byte + self.text[byte..].chars().next().map_or(1, char::len_utf8)
        } else {
            at
        }
    }
}

/// A path and a key below it.
pub fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn deserialize<T: DeserializeOwned>(section: &Section<'_>) -> Result<T, Error> {
    let value = DeValue::Table(section.table.clone());
    T::deserialize(ValueDeserializer::from(Spanned::new(section.span.clone(), value)))
}

fn is_missing(error: &Error) -> bool {
    error.message().starts_with("missing field")
}

/// The key of the section that is at fault: the one around the error's place, else the first one
/// without which the error is another.
fn culprit<T: DeserializeOwned>(section: &Section<'_>, error: &Error) -> Option<String> {
    let name = |key: &Spanned<std::borrow::Cow<'_, str>>| key.get_ref().clone().into_owned();
    let around = |span: Range<usize>| {
        error.span().is_some_and(|at| span.start <= at.start && at.end <= span.end)
    };
    let entries = || section.table.iter();
    if let Some((key, _)) =
        entries().find(|(key, value)| around(key.span()) || around(value.span()))
    {
        return Some(name(key));
    }
    entries().map(|(key, _)| name(key)).find(|key| {
        let mut without = section.clone();
        without.take(key);
        match deserialize::<T>(&without) {
            Ok(_) => true,
            Err(other) => other.message() != error.message() && !is_missing(&other),
        }
    })
}

/// The error's own place if it lies within the key or its value, else the value.
fn precise(section: &Section<'_>, key: &str, error: &Error) -> Range<usize> {
    let value = section.span_of(key, Part::Value);
    let name = section.span_of(key, Part::Key);
    match error.span() {
        Some(at) if name.start <= at.start && at.end <= value.end && at != section.span => at,
        _ => value,
    }
}

/// The first text between backticks.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// The number after the last `byte ` of a message: where in a value the domain found the fault.
fn offset(message: &str) -> Option<usize> {
    let (_, rest) = message.rsplit_once(" at byte ").or_else(|| message.rsplit_once("(byte "))?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}
