//! One line of a transcript.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::model::Usage;
use crate::read::raw::{self, elements, members};

/// A line: an event of a session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line<'a> {
    /// `type`: `session` for the header, `message`, `compaction`, `model_change`, `leaf`, …; empty if
    /// there is none.
    pub kind: String,
    /// `id`.
    pub id: Option<String>,
    /// `parentId`.
    pub parent_id: Option<String>,
    /// `timestamp`.
    pub at: Option<Timestamp>,
    /// `version`, of a header.
    pub version: Option<u64>,
    /// `cwd`, of a header.
    pub cwd: Option<String>,
    /// The role of a message: `user`, `assistant`, `toolResult`, …
    pub role: Option<String>,
    /// The ids of the tool calls in it.
    pub calls: Vec<String>,
    /// The ids of the tool calls whose results are in it.
    pub results: Vec<String>,
    /// Whether the message was broken off: its tool calls need no results.
    pub broken_off: bool,
    /// The model of a message: `provider/model`.
    pub model: Option<String>,
    /// The usage of a message.
    pub usage: Option<Usage>,
    /// The line as it stands there.
    pub raw: Cow<'a, str>,
}

/// Reads a line. Fields of a wrong type are absent; bytes that are no UTF-8 count as replacement
/// characters.
///
/// # Errors
///
/// Why it is no event: it is no JSON, or no object.
pub fn line(bytes: &[u8]) -> Result<Line<'_>, String> {
    let text = raw::lossy(bytes.trim_ascii());
    let mut line = Line::default();
    members(&text, &mut |name, value| match name {
        "type" => line.kind = raw::text(value).unwrap_or_default(),
        "id" => line.id = raw::text(value),
        "parentId" => line.parent_id = raw::text(value),
        "timestamp" => line.at = instant(value),
        "version" => line.version = raw::count(value),
        "cwd" => line.cwd = raw::text(value),
        "message" => message(&mut line, value),
        _ => {}
    })
    .map_err(|error| error.to_string())?;
    line.raw = text;
    Ok(line)
}

impl Line<'_> {
    /// The text that people read: of a message or a message of an extension its content, all parts of
    /// type `text` joined by line feeds; of a summary the summary.
    pub fn text(&self) -> Option<String> {
        let mut text = None;
        self.each(&mut |name, value| match name {
            "message" if self.kind == "message" => {
                text = None;
                // A message that is no object has no content.
                let _ = members(value, &mut |name, value| {
                    if name == "content" {
                        text = content_text(value);
                    }
                });
            }
            "content" if self.kind == "custom_message" => text = content_text(value),
            "summary" if self.kind == "compaction" || self.kind == "branch_summary" => {
                text = raw::text(value);
            }
            _ => {}
        });
        text
    }

    /// Hands on each field and the text of its value.
    pub fn each(&self, each: &mut dyn FnMut(&str, &str)) {
        let read = members(&self.raw, each);
        debug_assert!(read.is_ok(), "a line is made of a text that was read");
    }
}

fn message(line: &mut Line<'_>, message: &str) {
    let mut provider = None;
    let mut model = None;
    let mut result = None;
    // A message that is no object has none of these.
    let _ = members(message, &mut |name, value| match name {
        "role" => line.role = raw::text(value),
        "content" => content(line, value),
        "provider" => provider = raw::text(value),
        "model" => model = raw::text(value),
        "usage" => line.usage = usage(value),
        "stopReason" => {
            let reason = raw::text(value);
            line.broken_off = matches!(reason.as_deref(), Some("aborted" | "error"));
        }
        _ if is_result_id(name) => result = result.take().or_else(|| raw::text(value)),
        _ => {}
    });
    line.model = match (provider, model) {
        (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
        (provider, model) => model.or(provider),
    };
    if matches!(line.role.as_deref(), Some("toolResult" | "tool" | "tool_result")) {
        line.results.extend(result);
    }
}

fn content(line: &mut Line<'_>, content: &str) {
    line.calls.clear();
    line.results.clear();
    // A content that is one text has no parts.
    let _ = elements(content, &mut |part| {
        let mut kind = None;
        let mut id = None;
        let mut result = None;
        let _ = members(part, &mut |name, value| match name {
            "type" => kind = raw::text(value),
            "id" => id = raw::text(value),
            _ if is_result_id(name) => result = result.take().or_else(|| raw::text(value)),
            _ => {}
        });
        match kind.as_deref() {
            Some("toolCall" | "toolUse" | "tool_use" | "functionCall" | "tool_call") => {
                line.calls.extend(id);
            }
            Some("toolResult" | "tool_result") => line.results.extend(result),
            _ => {}
        }
    });
}

fn is_result_id(name: &str) -> bool {
    matches!(name, "toolCallId" | "toolUseId" | "tool_use_id" | "tool_call_id")
}

fn content_text(content: &str) -> Option<String> {
    if content.starts_with('"') {
        return raw::text(content);
    }
    let mut texts = Vec::new();
    elements(content, &mut |part| {
        let mut kind = None;
        let mut text = None;
        let _ = members(part, &mut |name, value| match name {
            "type" => kind = raw::text(value),
            "text" => text = raw::text(value),
            _ => {}
        });
        if kind.as_deref() == Some("text") {
            texts.extend(text);
        }
    })
    .ok()?;
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn usage(value: &str) -> Option<Usage> {
    let mut usage = Usage::default();
    let mut found = false;
    let read = members(value, &mut |name, value| {
        let part = match name {
            "input" => &mut usage.input,
            "output" => &mut usage.output,
            "cacheRead" => &mut usage.cache_read,
            "cacheWrite" => &mut usage.cache_write,
            "cost" => {
                usage.cost_usd = cost(value);
                return;
            }
            _ => return,
        };
        if let Some(count) = raw::count(value) {
            *part = count;
            found = true;
        }
    });
    (read.is_ok() && found).then_some(usage)
}

/// `cost.total`; 0 if it is absent or no cost.
fn cost(value: &str) -> f64 {
    let mut total = None;
    let _ = members(value, &mut |name, value| {
        if name == "total" {
            total = raw::number(value);
        }
    });
    total.filter(|total| *total >= 0.0).unwrap_or(0.0)
}

/// A text of RFC 3339, or milliseconds.
fn instant(value: &str) -> Option<Timestamp> {
    match raw::text(value) {
        Some(text) => text.trim().parse().ok(),
        None => raw::millis(value),
    }
}
