//! The story of a world that broke a promise: what happened around it, in words.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sexton_domain::event::Event;

use crate::diary::{Broken, FOUND, Note, Promise};
use crate::ledger::Ledger;

/// So many happenings are told.
const TOLD: usize = 40;

/// A world that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that leads to it.
    pub seed: u64,
    /// Which promise was broken, and how.
    pub broken: Broken,
    /// The last things that happened before that, in words.
    pub story: Vec<String>,
}

impl Failure {
    /// The promise that was broken.
    pub fn promise(&self) -> Promise {
        self.broken.promise
    }

    pub(crate) fn new(seed: u64, broken: Broken, notes: &[Note], ledger: &Ledger) -> Self {
        let happened = notes.iter().map(|note| (note.age, note.at, note.what.clone()));
        let mut told: Vec<(Duration, Timestamp, String)> = happened.collect();
        told.extend(ledger.events.iter().map(|event| {
            let age = ledger.stored_at(event.seq).unwrap_or_default();
            (age, event.fact.at, words(event))
        }));
        // The wall clock may have been wrong.
        told.sort_by_key(|(age, ..)| *age);
        // What is about the same run or session or job is told from further back.
        let named = |text: &str| {
            let ids = broken.how.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
            ids.filter(|id| id.len() == 36).any(|id| text.contains(id))
        };
        // The world goes on until somebody looks.
        if let Some(end) = told.iter().position(|(.., what)| what.starts_with(FOUND)) {
            told.truncate(end + 1);
        }
        let recent = told.len().saturating_sub(TOLD);
        let about: Vec<usize> = (0..recent).filter(|&at| named(&told[at].2)).collect();
        let about = about[about.len().saturating_sub(TOLD / 2)..].iter().copied();
        let line = |at: usize| format!("{} {}", told[at].1, told[at].2);
        let story = about.chain(recent..told.len()).map(line).collect();
        Self { seed, broken, story }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, broken, story } = self;
        writeln!(f, "seed {seed} breaks {}:", broken.promise)?;
        writeln!(f, "  {}", broken.how)?;
        writeln!(f, "what happened before that:")?;
        for line in story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "again: cargo xtask sim --seed {seed} --seeds 1")
    }
}

impl std::error::Error for Failure {}

/// An event in words.
fn words(event: &Event) -> String {
    let data = &event.fact.data;
    let text = |name: &str| match data.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => format!(" {name} {text}"),
        Some(other) => format!(" {name} {other}"),
    };
    let names: &[&str] = match event.fact.kind.name().split('.').next() {
        Some("session") => &["session_id", "run_id", "reason", "entry_count"],
        Some("run") => &[
            "run_id",
            "job_key",
            "cause",
            "slot",
            "slots",
            "attempt",
            "state",
            "not_before",
            "outcome",
            "reason",
        ],
        Some("job") => &["job_id", "job_key", "schedule", "enabled", "suspension", "next_slot"],
        Some("node") => &["epoch", "reason"],
        _ => &["message"],
    };
    let told: String = names.iter().map(|name| text(name)).collect();
    format!("event {} {}:{told}", event.seq, event.fact.kind)
}
