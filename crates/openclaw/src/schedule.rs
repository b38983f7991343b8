//! When their jobs are due by their rules, the same as ours, and every way in which the two can differ.
//!
//! [`next`] computes what OpenClaw computes: a time that stays due, a grid that prefers the last run, and
//! cron as the library computes it that OpenClaw uses (croner 10 for JavaScript), with the delay that
//! OpenClaw gives to expressions of the full hour. [`translate()`] makes a schedule of ours from it and says
//! in advance where next slots will differ; [`side_by_side`] shows both.

mod at;
mod compare;
mod cron;
mod every;
mod stagger;
mod translate;

pub use at::parse as parse_at;
pub use compare::{Row, side_by_side};
pub use stagger::{offset as stagger_offset, window as stagger_window};
pub use translate::{Translated, Untranslatable, translate};

use jiff::Timestamp;
use serde::Serialize;
use sexton_domain::duration::Duration;
use sexton_domain::schedule::{CronExpr, Zone, ZoneError};

use crate::model::Schedule;

/// Something a person should know about what was brought over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Their field that it is about.
    pub field: &'static str,
    /// What there is to know.
    pub text: String,
}

impl Note {
    /// A note about a field.
    pub fn new(field: &'static str, text: impl Into<String>) -> Self {
        Self { field, text: text.into() }
    }
}

/// A way in which their next slots and ours can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// A time that is past.
    PastAt,
    /// `every` counts from the last run.
    EveryFromLastRun,
    /// `every` without a start of its grid.
    NoAnchor,
    /// One time a day, in a gap.
    FixedInGap,
    /// Several times a day, some in a gap.
    RecurringInGap,
    /// One time a day, in a stretch of time that comes twice.
    FixedInRepeat,
    /// Several times a day, some in a stretch of time that comes twice.
    RecurringInRepeat,
    /// The question is asked while time comes for the second time.
    AskedInRepeat,
}

impl Difference {
    /// What differs, and why, in a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::PastAt => {
                "OpenClaw keeps a past `at` due until it has run well; here a slot that is past is no slot any more"
            }
            Self::EveryFromLastRun => {
                "OpenClaw counts `every` from the last run while that is in the future; here every slot lies on the grid of the anchor"
            }
            Self::NoAnchor => {
                "the job has neither anchor nor time of creation, and OpenClaw begins its grid at the moment it is asked; here it begins at 1970-01-01T00:00:00Z"
            }
            Self::FixedInGap => {
                "OpenClaw moves a time that the clock jumps over by the length of the jump; here it runs at the first instant after it"
            }
            Self::RecurringInGap => {
                "OpenClaw moves the first of the times that the clock jumps over by the length of the jump, and goes on from there; here they are left out, and those after the jump are all kept"
            }
            Self::FixedInRepeat => {
                "where time comes twice and by another length than an hour, OpenClaw takes the second; here the first"
            }
            Self::RecurringInRepeat => {
                "where time comes twice, OpenClaw runs once and passes over the rest; here each of them runs"
            }
            Self::AskedInRepeat => {
                "asked while time comes for the second time, OpenClaw goes on after the next midnight in UTC; here nothing is passed over"
            }
        }
    }
}

/// The next time a job of theirs is due, as OpenClaw computes it; `None` if it will not be due again.
///
/// `last_run_at` is its last run: for `at` the last one that ended well.
///
/// # Errors
/// Where OpenClaw cannot compute it either: a time, an expression or a zone that cannot be read.
pub fn next(
    schedule: &Schedule,
    job_id: &str,
    created_at: Option<Timestamp>,
    last_run_at: Option<Timestamp>,
    host_zone: &Zone,
    now: Timestamp,
) -> Result<Option<Timestamp>, String> {
    Due::read(schedule, job_id, host_zone).map(|due| due.next(created_at, last_run_at, now))
}

/// A schedule of theirs, read.
enum Due {
    At(Timestamp),
    Every { every_ms: u64, anchor_ms: Option<u64> },
    Cron { expr: CronExpr, zone: Zone, offset: Duration },
    Never,
}

impl Due {
    fn read(schedule: &Schedule, job_id: &str, host_zone: &Zone) -> Result<Self, String> {
        Ok(match schedule {
            Schedule::At(text) => Self::At(at::parse(text)?),
            &Schedule::Every { every_ms, anchor_ms } => Self::Every { every_ms, anchor_ms },
            Schedule::Cron { expr, tz, stagger_ms } => {
                let offset = stagger::offset(job_id, stagger::window(expr, *stagger_ms));
                let zone = zone(tz.as_deref(), host_zone).map_err(|error| error.to_string())?;
                match cron::read(expr)? {
                    Some(expr) => Self::Cron { expr, zone, offset },
                    None => Self::Never,
                }
            }
            Schedule::Other(kind) => {
                return Err(format!("a schedule of kind {kind:?} has no times"));
            }
        })
    }

    fn next(
        &self,
        created_at: Option<Timestamp>,
        last_run_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(*at).filter(|&at| last_run_at.is_none_or(|last| at > last)),
            Self::Every { every_ms, anchor_ms } => {
                every::next(*every_ms, *anchor_ms, created_at, last_run_at, now)
            }
            Self::Cron { expr, zone, offset } => stagger::next(expr, zone, *offset, now),
            Self::Never => None,
        }
    }
}

/// The zone that an expression is meant in: the one it names, else that of the machine.
fn zone(named: Option<&str>, host: &Zone) -> Result<Zone, ZoneError> {
    match named.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => name.parse(),
        None => Ok(host.clone()),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod year;
