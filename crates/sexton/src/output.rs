//! What commands print: JSON documents, tables that fit the terminal, times for people.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use sexton_domain::duration::Duration;
pub use sexton_domain::words::counted as count;

use crate::args::{Color, Globals};
use crate::failure::Failure;

/// Where results go: stdout, in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON document instead of texts and tables.
    pub json: bool,
    /// Whether texts have colors.
    color: bool,
    /// Nothing on stderr but errors.
    quiet: bool,
}

impl Output {
    /// As the flags say.
    pub fn new(globals: &Globals) -> Self {
        let color = match globals.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                io::stdout().is_terminal() && !unwanted
            }
        };
        Self { json: globals.json, color, quiet: globals.quiet }
    }

    /// Prints a line on stdout.
    pub fn line(self, text: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(io::stdout().lock(), "{text}")?)
    }

    /// Prints one JSON document.
    pub fn document(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.line(text)
    }

    /// Prints one JSON value on a line of its own.
    pub fn json_line(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        self.line(text)
    }

    /// Says something on stderr that is neither result nor error.
    pub fn note(self, text: impl std::fmt::Display) {
        if !self.quiet {
            // Whoever closed stderr does not want to know.
            let _ = writeln!(io::stderr().lock(), "note: {text}");
        }
    }

    /// Prints a table, or a line that there is nothing to show.
    pub fn table(self, header: &[&str], rows: Vec<Vec<String>>, none: &str) -> Result<(), Failure> {
        if rows.is_empty() {
            return self.line(none);
        }
        self.line(self.grid(header, rows))
    }

    /// Prints names and values, the names in a column; values that are empty are left out.
    pub fn fields(self, fields: &[(&str, String)]) -> Result<(), Failure> {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            let padded = format!("{name:width$}");
            self.line(format_args!("{}  {value}", self.dim(&padded)))?;
        }
        Ok(())
    }

    fn grid(self, header: &[&str], rows: Vec<Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
            if let Some(width) = terminal_width() {
                table.set_width(width);
            }
        }
        let title = |text: &&str| Cell::new(text.to_uppercase()).add_attribute(Attribute::Dim);
        table.set_header(header.iter().map(title));
        table.add_rows(rows);
        // An id is there to be copied: it stays on one line, whatever the others do.
        let ids = header.iter().position(|title| title.eq_ignore_ascii_case("id"));
        if let Some(ids) = ids.and_then(|at| table.column_mut(at)) {
            ids.set_constraint(ColumnConstraint::ContentWidth);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.styled("1", text)
    }

    /// Something less important.
    pub fn dim(self, text: &str) -> String {
        self.styled("2", text)
    }

    /// Something that needs a look.
    pub fn alarming(self, text: &str) -> String {
        self.styled("31", text)
    }

    fn styled(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The columns of the terminal that stdout is, if it is one.
fn terminal_width() -> Option<u16> {
    Table::new().width()
}

/// An instant as seen from another one: `in 5m`, `3h ago`, and a date where it is far away.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (Duration::between(now, at), Duration::between(at, now));
    let far = Duration::from_secs(7 * 86_400);
    match (ahead, behind) {
        _ if ahead.max(behind) > far => at.strftime("%Y-%m-%d").to_string(),
        (ahead, Duration::ZERO) if ahead >= Duration::from_secs(1) => {
            format!("in {}", rough(ahead))
        }
        (_, behind) if behind >= Duration::from_secs(1) => format!("{} ago", rough(behind)),
        _ => "now".to_owned(),
    }
}

/// An instant as text, or nothing.
pub fn relative_or_dash(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "-".to_owned(), |at| relative(at, now))
}

/// An instant with what it is from here.
pub fn instant(at: Timestamp, now: Timestamp) -> String {
    format!("{at} ({})", relative(at, now))
}

/// The two largest units of a duration.
pub fn rough(duration: Duration) -> String {
    let ms = duration.as_millis();
    let cut = |unit: u64| Duration::from_millis(ms / unit * unit).to_string();
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{:.1}s", duration.as_secs_f64()),
        10_000..3_600_000 => cut(1_000),
        3_600_000..86_400_000 => cut(60_000),
        _ => cut(3_600_000),
    }
}

/// Milliseconds as a duration, or a dash.
pub fn rough_ms(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| rough(Duration::from_millis(ms)))
}

/// Bytes in the largest unit that leaves a number of at least one.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / size as f64),
        None => format!("{count} B"),
    }
}

/// A value of the API as its word on the wire.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(serde_json::Value::Null) | Err(_) => "-".to_owned(),
        Ok(other) => other.to_string(),
    }
}

/// A path as one argument of a command to be typed.
pub fn argument(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+~@%,:=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_argument_of_a_command() {
        let of = |path: &str| argument(Path::new(path));
        assert_eq!(of("/srv/user/.openclaw"), "/srv/user/.openclaw");
        assert_eq!(of("/srv/it's $HOME"), r"'/srv/it'\''s $HOME'");
    }

    #[test]
    fn times_are_told_from_where_one_stands() {
        let now: Timestamp = "2026-11-20T18:00:00Z".parse().unwrap();
        let at = |text: &str| relative(text.parse().unwrap(), now);
        assert_eq!(at("2026-11-20T18:00:00.4Z"), "now");
        assert_eq!(at("2026-11-20T18:05:00Z"), "in 5m");
        assert_eq!(at("2026-11-20T16:59:59Z"), "1h ago");
        assert_eq!(at("2026-11-20T17:59:57.5Z"), "2.5s ago");
        assert_eq!(at("2026-11-18T15:30:00Z"), "2d2h ago");
        assert_eq!(at("2027-01-01T00:00:00Z"), "2027-01-01");
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes(5_368_709_120), "5.0 GiB");
    }
}
