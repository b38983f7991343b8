//! The text of a config file and what is wrong with it, shown to the person who wrote it.

use std::fmt::{self, Write as _};
use std::ops::Range;

use serde_json::{Value, json};

/// A file's name and text.
#[derive(Debug, Clone)]
pub struct Source {
    /// As it is shown.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes.
    pub at: Range<usize>,
    /// The dotted path of the key; empty where there is none.
    pub key: String,
    /// What.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Everything that is wrong with a file, in its order. Printed with the lines it is about.
#[derive(Debug, Clone)]
pub struct Invalid {
    /// The file.
    pub source: Source,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// Line and column of a byte, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Source {
    /// Where a byte is; bytes beyond the end are at the end.
    pub fn place(&self, byte: usize) -> Place {
        let before = self.before(byte);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The line that holds a byte, without its newline.
    pub fn line(&self, byte: usize) -> &str {
        let start = self.before(byte).rfind('\n').map_or(0, |newline| newline + 1);
        self.text[start..].lines().next().unwrap_or("")
    }

    fn before(&self, byte: usize) -> &str {
        let mut end = byte.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }
}

impl Invalid {
    /// The problems for programs.
    pub fn document(&self) -> Value {
        let problem = |problem: &Problem| {
            let Place { line, column } = self.source.place(problem.at.start);
            let Problem { key, message, hint, .. } = problem;
            json!({ "line": line, "column": column, "key": key, "message": message, "hint": hint })
        };
        let problems: Vec<Value> = self.problems.iter().map(problem).collect();
        json!({ "file": self.source.name, "ok": false, "problems": problems })
    }

    fn show(&self, problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { at, key, message, hint } = problem;
        let Place { line, column } = self.source.place(at.start);
        let text = self.source.line(at.start);
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let room = text.chars().count().saturating_sub(column - 1).max(1);
        let inside = self.source.text.get(at.clone()).unwrap_or("");
        let carets = inside.lines().next().unwrap_or("").chars().count().clamp(1, room);
        let mut indent = String::new();
        for character in text.chars().take(column - 1) {
            indent.push(if character == '\t' { '\t' } else { ' ' });
        }
        writeln!(f, "error: {message}")?;
        writeln!(f, "{gutter}--> {}:{line}:{column}", self.source.name)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {text}")?;
        writeln!(f, "{gutter} | {indent}{}", "^".repeat(carets))?;
        if !key.is_empty() {
            writeln!(f, "{gutter} = key: {key}")?;
        }
        if let Some(hint) = hint {
            writeln!(f, "{gutter} = hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            self.show(problem, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret_below_its_characters() {
        let text = "a = 1\nß = \"5x\" # no\n".to_owned();
        let at = text.find('x').unwrap()..text.find('x').unwrap() + 1;
        let source = Source { name: "sexton.toml".into(), text };
        assert_eq!(source.place(at.start), Place { line: 2, column: 7 });
        let problem = Problem {
            at,
            key: "ß".into(),
            message: "no such unit".into(),
            hint: Some("write s".into()),
        };
        let shown = Invalid { source, problems: vec![problem] }.to_string();
        assert_eq!(
            shown,
            "error: no such unit\n --> sexton.toml:2:7\n  |\n2 | ß = \"5x\" # no\n  |       ^\n  \
             = key: ß\n  = hint: write s\n"
        );
    }

    #[test]
    fn a_place_beyond_the_end_is_the_end() {
        let source = Source { name: String::new(), text: "a\nb".into() };
        assert_eq!(source.place(99), Place { line: 2, column: 2 });
        assert_eq!(source.line(99), "b");
    }
}
