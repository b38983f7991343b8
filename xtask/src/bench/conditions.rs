//! Under which conditions a part was measured: what `sexton bench conditions` says of build, machine and
//! disk, where the part waits for the disk as long as the part does.

use anyhow::Context as _;
use serde::Deserialize;

use super::times::Spread;
use super::{Disk, Lab};

/// What it prints, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub struct Document {
    /// In numbers.
    pub conditions: Conditions,
    /// Build, machine and disk, for people.
    machine: Vec<String>,
}

/// The conditions in numbers.
#[derive(Debug, Deserialize)]
pub struct Conditions {
    /// `release` or `debug`.
    pub build: String,
    /// A write of 4 KiB that waits for the disk.
    pub raw_sync: Spread,
    load_before: Vec<f64>,
}

/// The conditions now, with this disk.
pub fn now(lab: &Lab, disk: Disk) -> anyhow::Result<Document> {
    serde_json::from_value(lab.bench(&["conditions"], disk)?).context("read the conditions")
}

impl Document {
    /// What stands under the figures of a part that began with these conditions.
    pub fn until(self, after: &Self) -> Vec<String> {
        let load = |of: &Self| {
            let words: Vec<String> =
                of.conditions.load_before.iter().map(|load| format!("{load:.2}")).collect();
            words.join(" ")
        };
        let loads = format!("load averages {} before, {} after", load(&self), load(after));
        let raw = format!("raw writes after it: {}", after.conditions.raw_sync.shown());
        let mut lines = self.machine;
        lines.extend([raw, loads]);
        lines
    }
}
