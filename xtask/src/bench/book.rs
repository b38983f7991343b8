//! The book of figures: what every part measured last, in `docs/performance.json`. A part that is measured
//! again replaces its own figures and no others; the page and the plots are drawn from the book alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::gateway;

/// What was measured, by the name of the part.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book(pub BTreeMap<String, Part>);

/// What a part measured.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Machine, disk and load while it did.
    pub conditions: Vec<String>,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// What plots are drawn from: points by the name of the line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, Vec<(f64, f64)>>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// By what it is found, if it stands elsewhere too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was measured.
    pub what: String,
    /// The figure, as a ratio where one was measured in the same run.
    pub value: String,
    /// What it should be, and whether it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// Under which conditions.
    pub conditions: String,
}

/// What a figure should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// In words.
    pub text: String,
    /// Whether it is.
    pub is_met: bool,
}

impl Figure {
    /// A figure without a goal.
    pub fn new(
        what: impl Into<String>,
        value: impl Into<String>,
        conditions: impl Into<String>,
    ) -> Self {
        let (what, value, conditions) = (what.into(), value.into(), conditions.into());
        Self { key: None, what, value, goal: None, conditions }
    }

    /// With what it should be.
    #[must_use]
    pub fn goal(mut self, text: impl Into<String>, is_met: bool) -> Self {
        self.goal = Some(Goal { text: text.into(), is_met });
        self
    }

    /// With a key by which it is found.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }
}

impl Book {
    /// Where it lies.
    pub fn path() -> PathBuf {
        gateway::root().join("docs/performance.json")
    }

    /// Reads it; an empty one where there is none yet.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the figures as JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }

    /// The figure of this key.
    pub fn find(&self, key: &str) -> Option<&Figure> {
        let figures = self.0.values().flat_map(|part| &part.figures);
        figures.into_iter().find(|figure| figure.key.as_deref() == Some(key))
    }

    /// A line of a part; empty while it was not measured.
    pub fn line(&self, part: &str, line: &str) -> &[(f64, f64)] {
        self.0.get(part).and_then(|part| part.lines.get(line)).map_or(&[], Vec::as_slice)
    }
}
