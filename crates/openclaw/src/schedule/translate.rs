//! A schedule of theirs as ours.

use jiff::Timestamp;
use sexton_domain::duration::Duration;
use sexton_domain::job::{self, OffsetTooLong};
use sexton_domain::schedule::{CronError, CronExpr, Schedule, Zone, ZoneError};

use super::compare::Clock;
use super::{Difference, Note, at, cron, every, stagger, zone};
use crate::model::{self, JobRecord};

/// What became of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// When it is due.
    pub schedule: Schedule,
    /// By how much each of its slots is delayed.
    pub offset: Duration,
    /// In which ways next slots can differ; in no other.
    pub differences: Vec<Difference>,
    /// What a person should know.
    pub notes: Vec<Note>,
}

/// A schedule that cannot be one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untranslatable {
    /// It could not be read.
    #[error("the schedule cannot be read: {0}")]
    Unreadable(String),
    /// A kind without times.
    #[error("a schedule of kind {0:?} has no times")]
    Kind(String),
    /// No time.
    #[error("{0}")]
    At(String),
    /// Longer than can be written.
    #[error("an interval of {millis} ms is longer than 100 years")]
    Interval {
        /// `everyMs`.
        millis: u64,
    },
    /// No time.
    #[error("an anchor of {millis} ms since 1970 is no time")]
    Anchor {
        /// `anchorMs`.
        millis: u64,
    },
    /// No expression of ours.
    #[error("{}", cron::reason(.0))]
    Cron(CronError),
    /// No zone of ours.
    #[error(transparent)]
    Zone(ZoneError),
    /// Delayed for too long.
    #[error("its slots are delayed by {0}: {1}")]
    Offset(Duration, OffsetTooLong),
}

/// A job's schedule as ours. Where it names no zone, `host_zone` is the one of the machine that it ran on.
///
/// # Errors
/// Where ours has no such schedule.
pub fn translate(job: &JobRecord, host_zone: &Zone) -> Result<Translated, Untranslatable> {
    match job.schedule.as_ref().map_err(|why| Untranslatable::Unreadable(why.clone()))? {
        model::Schedule::At(text) => {
            let at = at::parse(text).map_err(Untranslatable::At)?;
            Ok(exact(Schedule::At { at }, vec![Difference::PastAt]))
        }
        model::Schedule::Every { every_ms, anchor_ms } => grid(job, *every_ms, *anchor_ms),
        model::Schedule::Cron { expr, tz, stagger_ms } => {
            let zone = zone(tz.as_deref(), host_zone).map_err(Untranslatable::Zone)?;
            let mut translated = by_clock(job, expr, *stagger_ms, zone.clone())?;
            if tz.as_deref().is_none_or(|name| name.trim().is_empty()) {
                let note = format!("it names no zone; {zone} is the one of the machine it ran on");
                translated.notes.push(Note::new("schedule.tz", note));
            }
            Ok(translated)
        }
        model::Schedule::Other(kind) => Err(Untranslatable::Kind(kind.clone())),
    }
}

fn exact(schedule: Schedule, differences: Vec<Difference>) -> Translated {
    Translated { schedule, offset: Duration::ZERO, differences, notes: Vec::new() }
}

fn grid(
    job: &JobRecord,
    every_ms: u64,
    anchor_ms: Option<u64>,
) -> Result<Translated, Untranslatable> {
    let interval = Some(Duration::from_millis(every_ms)).filter(|&it| it <= Duration::MAX);
    let interval = interval.ok_or(Untranslatable::Interval { millis: every_ms })?;
    let named = match anchor_ms {
        Some(millis) => Some(at::from_millis(millis).ok_or(Untranslatable::Anchor { millis })?),
        None => job.created_at,
    };
    let anchor = named.unwrap_or(Timestamp::UNIX_EPOCH);
    let schedule = Schedule::every(interval, anchor)
        .map_err(|error| Untranslatable::Unreadable(error.to_string()))?;
    let mut differences = Vec::new();
    if job.state.last_run_at.is_some_and(|last| every::leaves_grid(every_ms, anchor, last)) {
        differences.push(Difference::EveryFromLastRun);
    }
    if named.is_none() {
        differences.push(Difference::NoAnchor);
    }
    let mut translated = exact(schedule, differences);
    if anchor_ms.is_none() && named.is_some() {
        let note = "it names no anchor; the grid begins when the job was created, as it does there";
        translated.notes.push(Note::new("schedule.anchorMs", note));
    }
    let note = "there, a slot is a full interval after the last run began, and on the grid only after a pause; here it is always on the grid";
    translated.notes.push(Note::new("schedule.everyMs", note));
    Ok(translated)
}

fn by_clock(
    job: &JobRecord,
    text: &str,
    stagger_ms: Option<u64>,
    zone: Zone,
) -> Result<Translated, Untranslatable> {
    let plain = cron::plain(text);
    let expr: CronExpr = plain.parse().map_err(Untranslatable::Cron)?;
    let window = stagger::window(text, stagger_ms);
    let delay = stagger::offset(&job.id, window);
    let offset = job::offset(delay).map_err(|why| Untranslatable::Offset(delay, why))?;
    let since = job.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
    let differences = Clock::new(&expr, &zone, offset).possible(since);
    let mut notes = Vec::new();
    if plain != text {
        let note = format!("`?` means every value there, in a day field every day: {plain:?}");
        notes.push(Note::new("schedule.expr", note));
    }
    if !window.is_zero() {
        let note = format!(
            "each slot is delayed by {offset}: the part of {window} that OpenClaw gives to the job's id"
        );
        notes.push(Note::new("schedule.staggerMs", note));
    }
    Ok(Translated { schedule: Schedule::Cron { expr, tz: zone }, offset, differences, notes })
}
