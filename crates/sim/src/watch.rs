//! The watch over the program's own log: warnings go into the diary, and some of them tell of things
//! that the suite wants to have seen or that must not happen.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::diary::{Broken, Diary, Promise};

/// What a part of a message counts as.
const SEEN: [(&str, &str); 5] = [
    ("a claimed run had no runner", "runner adopted"),
    ("a run's end could not be written", "an end had to be written again"),
    ("the store fails; trying again", "a transcript waited for the store"),
    ("a loop failed", "a loop failed and looked again"),
    ("could not be accounted for", "a due job had to wait"),
];
/// What must never be logged in a world whose disk keeps what was written.
const NEVER: &str = "a stored row cannot be read";
/// What only a gateway may log that another one was started beside.
const FENCED: &str = "this epoch was ended by another node";

/// Listens to warnings and errors.
pub(crate) struct Watch {
    pub(crate) diary: Diary,
    pub(crate) spans: AtomicU64,
    /// Two gateways are at work.
    pub(crate) overlap: Arc<AtomicBool>,
}

impl Subscriber for Watch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<tracing::metadata::LevelFilter> {
        Some(tracing::metadata::LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line { message, fields } = line;
        self.diary.note(format_args!("log: {message}{fields}"));
        for (part, seen) in SEEN {
            if message.contains(part) {
                self.diary.count(seen);
            }
        }
        let fenced = message.contains(FENCED);
        let overlap = self.overlap.load(Ordering::Relaxed);
        if fenced && overlap {
            self.diary.count("a gateway noticed that its epoch was over");
        }
        if message.contains(NEVER) || (fenced && !overlap) {
            self.diary.broken(Broken::new(Promise::Sound, format!("{message}{fields}")));
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name} {value:?}"),
        };
    }
}
