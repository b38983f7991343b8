//! Colours, on a terminal only.

use std::io::IsTerminal as _;

/// The widest a line may be, in characters.
pub const WIDTH: usize = 100;

/// A way to set text apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// For headings.
    Bold,
    /// For what matters less.
    Dim,
    /// For what is as it should be.
    Good,
    /// For what is not.
    Bad,
    /// For what was planned to go wrong.
    Odd,
}

/// The text in this ink, where there is a terminal.
pub fn paint(ink: Ink, text: &str) -> String {
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    let code = match ink {
        Ink::Bold => "1",
        Ink::Dim => "2",
        Ink::Good => "32",
        Ink::Bad => "31",
        Ink::Odd => "33",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// The text in lines of at most `width` characters, broken between words.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let used = lines[last].chars().count();
        if used > 0 && used + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            lines[last].push_str(if used > 0 { " " } else { "" });
            lines[last].push_str(word);
        }
    }
    lines
}
