//! The page of figures: a part of `docs/performance.md` that is written by the measurement alone.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Where the written part begins and ends.
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of figures -->";

/// One figure.
#[derive(Debug)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The figure, as a ratio where one was measured in the same run.
    pub value: String,
    /// What it should be.
    pub goal: String,
    /// Whether it is.
    pub is_met: bool,
    /// Under which conditions.
    pub conditions: String,
}

/// Replaces the part of the page between the markers.
pub fn write(page: &Path, conditions: &[String], figures: &[Figure]) -> anyhow::Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
    let (before, rest) = text.split_once(BEGIN).context("find where the figures begin")?;
    let (_, after) = rest.split_once(END).context("find where the figures end")?;
    let mut part = String::from("\n\n");
    for line in conditions {
        part += &format!("- {line}\n");
    }
    part += "\n| what | measured | goal | met | conditions |\n|---|---|---|---|---|\n";
    for figure in figures {
        let Figure { what, value, goal, is_met, conditions } = figure;
        let met = if *is_met { "yes" } else { "no" };
        part += &format!("| {what} | {value} | {goal} | {met} | {conditions} |\n");
    }
    fs::write(page, format!("{before}{BEGIN}{part}\n{END}{after}")).context("write the page")
}
