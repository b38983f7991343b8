//! What a run's record keeps of an agent's output: the answer, cut at a limit, and the end of stderr.

use std::collections::VecDeque;

use sexton_domain::entry::Role;
use sexton_domain::run::{MAX_OUTPUT_BYTES, MAX_STDERR_BYTES};

/// The output of one run as it comes in.
#[derive(Debug)]
pub(crate) struct Output {
    limit_bytes: u64,
    taken_bytes: u64,
    answer: String,
    stderr: VecDeque<String>,
    stderr_bytes: usize,
}

/// A line for the transcript.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) role: Role,
    pub(crate) text: String,
}

impl Output {
    /// Output of which at most `limit_bytes` go into the transcript.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        let (answer, stderr) = (String::new(), VecDeque::new());
        Self { limit_bytes, taken_bytes: 0, answer, stderr, stderr_bytes: 0 }
    }

    /// Takes a line of stdout and says what goes into the transcript: the line, a mark in place of
    /// the first line beyond the limit, nothing after that.
    pub(crate) fn take(&mut self, line: String) -> Option<Kept> {
        let before = self.taken_bytes;
        self.taken_bytes += line.len() as u64 + 1;
        if self.taken_bytes <= self.limit_bytes {
            self.keep_answer(&line);
            return Some(Kept { role: Role::Assistant, text: line });
        }
        (before <= self.limit_bytes).then(|| {
            let text = format!("[output truncated after {} bytes]", self.limit_bytes);
            Kept { role: Role::System, text }
        })
    }

    /// Takes a line of stderr; the oldest ones make room.
    pub(crate) fn take_stderr(&mut self, line: &str) {
        let tail =
            &line[line.ceil_char_boundary(line.len().saturating_sub(MAX_STDERR_BYTES - 1))..];
        self.stderr_bytes += tail.len() + 1;
        self.stderr.push_back(tail.to_owned());
        while self.stderr_bytes > MAX_STDERR_BYTES {
            let Some(oldest) = self.stderr.pop_front() else { break };
            self.stderr_bytes -= oldest.len() + 1;
        }
    }

    /// The answer and the end of stderr, as far as there are any.
    pub(crate) fn finish(self) -> (Option<String>, Option<String>) {
        let stderr = Vec::from(self.stderr).join("\n");
        let some = |text: String| (!text.is_empty()).then_some(text);
        (some(self.answer), some(stderr))
    }

    fn keep_answer(&mut self, line: &str) {
        let separator = usize::from(!self.answer.is_empty());
        let room = MAX_OUTPUT_BYTES.saturating_sub(self.answer.len() + separator);
        if room > 0 {
            self.answer.push_str(&"\n"[..separator]);
            self.answer.push_str(&line[..line.floor_char_boundary(room)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beyond_the_limit_is_marked_once_and_dropped() {
        let mut output = Output::new(8);
        let texts: Vec<_> =
            ["abc", "def", "g", "h"].map(|line| output.take(line.to_owned())).into_iter().collect();
        assert_eq!(texts[1].as_ref().map(|kept| kept.role), Some(Role::Assistant));
        let mark = texts[2].as_ref().map(|kept| (kept.role, kept.text.as_str()));
        assert_eq!(mark, Some((Role::System, "[output truncated after 8 bytes]")));
        assert_eq!(texts[3], None);
        assert_eq!(output.finish().0.as_deref(), Some("abc\ndef"));
    }

    #[test]
    fn the_answer_and_stderr_are_bounded_and_never_split_a_character() {
        let mut output = Output::new(u64::MAX);
        output.take("ä".repeat(MAX_OUTPUT_BYTES));
        output.take("more".to_owned());
        for n in 0..10_000 {
            output.take_stderr(&format!("line {n}"));
        }
        output.take_stderr(&"ö".repeat(MAX_STDERR_BYTES));
        let (answer, stderr) = output.finish();
        assert!(answer.is_some_and(|answer| answer.len() <= MAX_OUTPUT_BYTES));
        assert!(stderr.is_some_and(|text| text.len() <= MAX_STDERR_BYTES && text.ends_with('ö')));
    }
}
