//! When a job is due: once, on a grid, or by a cron expression in a time zone.
//!
//! # What a change of clock does
//!
//! A cron expression is *fixed* if its second, minute and hour fields each name exactly one value,
//! without `*` and without a step (five fields have the second 0). Every other one is *recurring*; a
//! list such as `0,30 2 * * *` is recurring too, because its minute names two values.
//!
//! - A **fixed** time that does not exist, because the clock jumps over it, runs at the first instant
//!   after the jump, whatever the date there is. One that comes twice runs the first time only.
//! - A **recurring** expression names every instant whose civil time matches: times that do not exist
//!   are left out and made up for by nothing, times that come twice run twice.
//! - A grid (`every`) counts real time and knows no zone.
//! - Equal instants are one slot.
//!
//! Slots have whole seconds for cron and whole milliseconds for the rest. The zone tables are those
//! compiled into the program (see [`Zone`]).

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::duration::Duration;

mod cron;
mod explain;
mod field;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
mod zone;

pub use cron::{CronError, CronExpr};
pub use field::FieldError;
pub use zone::{Gap, Resolved, Zone, ZoneError};

/// When a job is due.
///
/// In JSON one of `{"at": "…"}`, `{"every": "15m", "anchor": "…"}`, `{"cron": "…", "tz": "…"}`; `tz` is
/// UTC where it is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum Schedule {
    /// Once.
    At {
        /// The only slot.
        at: Timestamp,
    },
    /// On a grid of real time. The first slot is the anchor itself.
    Every {
        /// The width of the grid; with zero there is only the anchor.
        every: Duration,
        /// The first slot.
        anchor: Timestamp,
    },
    /// By the clock on a wall.
    Cron {
        /// Which times.
        expr: CronExpr,
        /// Of which clock.
        tz: Zone,
    },
}

/// A contiguous range of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRange {
    /// The first.
    pub from: Timestamp,
    /// The last; equal to `from` if there is one.
    pub to: Timestamp,
    /// How many; at least one.
    pub count: u64,
}

/// The slots in a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueSlots {
    /// The first of them.
    pub first: Option<Timestamp>,
    /// The newest of those looked at, ascending, at most as many as were asked for.
    pub newest: Vec<Timestamp>,
    /// Those before the newest, contiguous.
    pub older: Option<SlotRange>,
    /// The first slot in the span that was not looked at, because the limit was reached. It and all
    /// after it are in neither `newest` nor `older`; ask again from here.
    pub more: Option<Timestamp>,
}

/// The span of [`Schedule::slots`] and how much of it to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first instant of the span.
    pub from: Timestamp,
    /// The last instant of the span.
    pub through: Timestamp,
    /// How many of the newest slots to list.
    pub newest: usize,
    /// How many slots of a cron expression to look at.
    pub scan_limit: usize,
}

impl Schedule {
    /// The first slot strictly after an instant; `None` if there is none any more.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At { at } => Some(*at).filter(|&at| at > after),
            Self::Every { every, anchor } => Grid::new(*every, *anchor).next(after),
            Self::Cron { expr, tz } => expr.next(tz, after),
        }
    }

    /// The slots from `window.from` through `window.through`, both included.
    ///
    /// A grid is computed, whatever its length; a cron expression is walked, at most
    /// `window.scan_limit` slots far.
    pub fn slots(&self, window: Window) -> DueSlots {
        match self {
            Self::Every { every, anchor } => Grid::new(*every, *anchor).slots(window),
            Self::At { .. } | Self::Cron { .. } => self.walk(window),
        }
    }

    fn walk(&self, window: Window) -> DueSlots {
        let in_window = |slot: &Timestamp| *slot <= window.through;
        let first = match window.from.checked_sub(SignedDuration::from_nanos(1)) {
            Ok(before) => self.next(before),
            Err(_) => self.next(window.from),
        };
        let first = first.filter(in_window);
        let mut due = DueSlots { first, more: first, ..DueSlots::default() };
        let mut newest = VecDeque::new();
        for _ in 0..window.scan_limit {
            let Some(slot) = due.more else { break };
            newest.push_back(slot);
            if newest.len() > window.newest {
                let oldest = newest.pop_front().unwrap_or(slot);
                let range = SlotRange { from: oldest, to: oldest, count: 0 };
                let older = due.older.get_or_insert(range);
                older.to = oldest;
                older.count += 1;
            }
            due.more = self.next(slot).filter(in_window);
        }
        due.newest = newest.into();
        due
    }

    /// Whether it has at most one slot.
    pub const fn is_once(&self) -> bool {
        matches!(self, Self::At { .. })
    }
}

/// The equally spaced slots of [`Schedule::Every`], in milliseconds since 1970.
struct Grid {
    anchor_ms: i128,
    every_ms: i128,
}

impl Grid {
    fn new(every: Duration, anchor: Timestamp) -> Self {
        Self { anchor_ms: floor_ms(anchor), every_ms: every.as_millis().into() }
    }

    /// The slot with a number, counted from the anchor; `None` beyond the end of time.
    fn slot(&self, index: i128) -> Option<Timestamp> {
        let at_ms = self.anchor_ms + index * self.every_ms;
        Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()
    }

    /// The number of the last slot at or before an instant; -1 before the anchor.
    fn last_index(&self, at: Timestamp) -> i128 {
        let since_anchor = floor_ms(at) - self.anchor_ms;
        match since_anchor {
            ..0 => -1,
            _ if self.every_ms == 0 => 0,
            _ => since_anchor / self.every_ms,
        }
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let index = self.last_index(after) + 1;
        if index > 0 && self.every_ms == 0 { None } else { self.slot(index) }
    }

    fn slots(&self, window: Window) -> DueSlots {
        let before = window.from.checked_sub(SignedDuration::from_nanos(1));
        let from = before.map_or(0, |before| self.last_index(before) + 1);
        let past = self.last_index(window.through) + 1;
        let count = past - from;
        if count <= 0 {
            return DueSlots::default();
        }
        let listed = count.min(i128::try_from(window.newest).unwrap_or(i128::MAX));
        DueSlots {
            first: self.slot(from),
            newest: (past - listed..past).filter_map(|index| self.slot(index)).collect(),
            older: self.range(from, past - listed),
            more: None,
        }
    }

    /// The slots from one number up to but without another; `None` if there are none.
    fn range(&self, from: i128, past: i128) -> Option<SlotRange> {
        let count = u64::try_from(past - from).ok().filter(|&count| count > 0)?;
        Some(SlotRange { from: self.slot(from)?, to: self.slot(past - 1)?, count })
    }
}

/// The whole milliseconds since 1970, rounded towards the past.
fn floor_ms(at: Timestamp) -> i128 {
    at.as_nanosecond().div_euclid(1_000_000)
}

/// How much later than its slots a job runs, so that jobs with the same slot do not start together.
///
/// From zero up to but without `window`; zero for an empty window. A function of the job's id alone:
/// FNV-1a over its 16 bytes, spread by the finalizer of SplitMix64, scaled to the window. Stored slots
/// depend on it, so it must never change.
pub fn jitter(job: Uuid, window: Duration) -> Duration {
    let hash = job.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let scaled = (u128::from(mixed) * u128::from(window.as_millis())) >> 64;
    Duration::from_millis(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// How a schedule looks in JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<CronExpr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tz: Option<Zone>,
}

/// Fields that make no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not exactly one of the three.
    #[error("read a schedule: expected exactly one of `at`, `every` and `cron`")]
    NotOne,
    /// An anchor without a grid.
    #[error("read a schedule: `anchor` belongs to `every`")]
    Anchor,
    /// A grid without an anchor.
    #[error("read a schedule: `every` needs an `anchor`, the instant of its first slot")]
    NoAnchor,
    /// A zone without a cron expression.
    #[error("read a schedule: `tz` belongs to `cron`")]
    Zone,
    /// A grid of zero width.
    #[error("read a schedule: `every` must be longer than zero")]
    ZeroWidth,
}

impl Schedule {
    /// A grid; an error if its width is zero.
    pub fn every(every: Duration, anchor: Timestamp) -> Result<Self, ScheduleError> {
        if every.is_zero() {
            return Err(ScheduleError::ZeroWidth);
        }
        Ok(Self::Every { every, anchor: whole_ms(anchor) })
    }
}

impl TryFrom<Wire> for Schedule {
    type Error = ScheduleError;

    fn try_from(wire: Wire) -> Result<Self, ScheduleError> {
        if wire.anchor.is_some() && wire.every.is_none() {
            return Err(ScheduleError::Anchor);
        }
        if wire.tz.is_some() && wire.cron.is_none() {
            return Err(ScheduleError::Zone);
        }
        match (wire.at, wire.every, wire.cron) {
            (Some(at), None, None) => Ok(Self::At { at: whole_ms(at) }),
            (None, Some(every), None) => {
                Self::every(every, wire.anchor.ok_or(ScheduleError::NoAnchor)?)
            }
            (None, None, Some(expr)) => Ok(Self::Cron { expr, tz: wire.tz.unwrap_or(Zone::UTC) }),
            _ => Err(ScheduleError::NotOne),
        }
    }
}

impl From<Schedule> for Wire {
    fn from(schedule: Schedule) -> Self {
        match schedule {
            Schedule::At { at } => Self { at: Some(at), ..Self::default() },
            Schedule::Every { every, anchor } => {
                Self { every: Some(every), anchor: Some(anchor), ..Self::default() }
            }
            Schedule::Cron { expr, tz } => {
                Self { cron: Some(expr), tz: Some(tz), ..Self::default() }
            }
        }
    }
}

/// The instant without what is finer than a millisecond, rounded towards the past.
fn whole_ms(at: Timestamp) -> Timestamp {
    i64::try_from(floor_ms(at))
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(at)
}
