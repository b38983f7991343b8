//! Measuring: what this machine can do, in a scratch folder of its own, with the conditions beside
//! every number.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use sexton_store_sqlite::Mode;

use crate::output::Output;

pub mod conditions;
pub mod fill;
pub mod fire;
pub mod list;
pub mod sample;
pub mod scratch;
pub mod store;
pub mod sweep;

mod fairness;
mod hot;
mod node;
mod raw;
mod times;

pub use conditions::Conditions;

/// Where is measured, and who is told how far it is.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The scratch folder.
    pub folder: &'a Path,
    /// A store that was filled before, of which copies are measured.
    pub filled: Option<&'a Path>,
    /// What is said meanwhile.
    pub output: Output,
}

impl Site<'_> {
    /// Makes a store of so many ended sessions, or copies the one that was filled before if it has as
    /// many. Returns how many.
    pub async fn fill(self, file: &Path, sessions: u64) -> anyhow::Result<u64> {
        if let Some(filled) = self.filled
            && fill::count(filled).await? == sessions
        {
            fs::copy(filled, file).context("copy the store that was filled")?;
            return Ok(sessions);
        }
        self.output.note(format_args!("filling a store with {sessions} sessions"));
        let store = sample::open(file, Mode::Pool)?;
        fill::fill(&store, sessions).await?;
        store.read().close().await;
        Ok(sessions)
    }
}

/// What was measured, as it is printed.
pub trait Figures: Serialize {
    /// Every number with its conditions.
    fn rows(&self) -> Vec<Row>;
}

/// Nothing was measured but the conditions.
#[derive(Debug, Serialize)]
pub struct Nothing {}

impl Figures for Nothing {
    fn rows(&self) -> Vec<Row> {
        Vec::new()
    }
}

/// One number, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How much it is.
    pub value: String,
    /// Under which conditions.
    pub conditions: String,
}

impl Row {
    /// One number.
    pub fn new(
        what: impl Into<String>,
        value: impl Into<String>,
        conditions: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), value: value.into(), conditions: conditions.into() }
    }
}

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
pub struct Document<'a, F> {
    /// `store`, `fire`, `sweep`, `list` or `conditions`.
    pub bench: &'a str,
    /// What goes for every figure.
    pub conditions: &'a Conditions,
    /// Those of the machine, for people.
    pub machine: Vec<String>,
    /// The figures.
    pub figures: &'a F,
}
