//! Marks: what whoever writes to the gateway, or hears of it, notes in the trace.

use serde::{Deserialize, Serialize};

/// A note between two calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Somebody is about to ask for something.
    Asked(Wish),
    /// The wish of this number is granted: the gateway has acknowledged it.
    Acknowledged {
        /// See [`Wish::number`].
        number: u64,
        /// The record that it has become, where only the answer says so.
        id: Option<String>,
    },
    /// A hook was told an event.
    Told {
        /// The event.
        event: String,
        /// Its number in the log.
        seq: u64,
    },
    /// An agent works for this run.
    Works {
        /// The run.
        run: String,
    },
}

/// Something that is asked for: a subject is to be in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Never the same twice.
    pub number: u64,
    /// What it is about. One after the other is asked for the same subject, never two at a time.
    pub subject: Subject,
    /// What is to become of it.
    pub state: State,
}

/// What a wish is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The job of this key.
    Job(String),
    /// The message of this text.
    Message(String),
    /// The end of the session of this id.
    End(String),
    /// The pin of the session of this id.
    Pin(String),
    /// The archive of the session of this id.
    Archive(String),
}

/// The states that are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A job with this prompt.
    Prompt(String),
    /// A job that is removed.
    Removed,
    /// A message that is a run.
    Sent,
    /// An open or ended session that is pinned.
    Pinned,
    /// A session that has ended.
    Ended,
    /// An archive that was erased.
    Erased,
}
