//! Their next slots beside ours, each difference by its name.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use sexton_domain::duration::Duration;
use sexton_domain::schedule::{CronExpr, Schedule, Zone};
use sexton_domain::when;

use super::{Difference, Due, Translated, cron};
use crate::model::{self, JobRecord};

/// An instant of a list of slots: theirs, ours, or both if they are the same, and what makes it one only.
pub type Row = (Option<Timestamp>, Option<Timestamp>, Option<Difference>);

/// The next `count` instants at which a job is due, there or here, in order.
///
/// Theirs are those of a scheduler that is never late: each run begins at its slot. An instant that is in one
/// list only comes with the reason, or with none if it is a difference that [`super::translate()`] did not
/// foresee; there is no such.
pub fn side_by_side(
    job: &JobRecord,
    translated: &Translated,
    host_zone: &Zone,
    now: Timestamp,
    count: usize,
) -> Vec<Row> {
    let mut theirs = theirs(job, host_zone, now).peekable();
    let mut ours = ours(translated, now).peekable();
    let mut rows = Vec::new();
    while rows.len() < count {
        let (there, here) = (theirs.peek().copied(), ours.peek().copied());
        let Some(at) = there.into_iter().chain(here).min() else { break };
        let there = theirs.next_if_eq(&at);
        let here = ours.next_if_eq(&at);
        let is_same = there.is_some() && here.is_some();
        let why = if is_same { None } else { reason(job, translated, now, at) };
        rows.push((there, here, why));
    }
    rows
}

/// The slots of a scheduler of theirs that is never late. A time that is past is due at once, and once.
fn theirs(job: &JobRecord, zone: &Zone, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let mut last = job.state.last_run_at;
    if matches!(job.schedule, Ok(model::Schedule::At(_)))
        && job.state.last_status.as_deref() != Some("ok")
    {
        last = None;
    }
    let mut now = now;
    let due = job.schedule.as_ref().ok();
    let due = due.and_then(|schedule| Due::read(schedule, &job.id, zone).ok());
    std::iter::from_fn(move || {
        let slot = due.as_ref()?.next(job.created_at, last, now)?;
        (last, now) = (Some(slot), slot.max(now));
        Some(slot)
    })
}

/// When runs of ours start: each slot with its delay, the first of a one-shot as late as it may be.
fn ours(translated: &Translated, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let grace = if translated.schedule.is_once() { when::GRACE } else { Duration::ZERO };
    let mut after = translated.offset.saturating_add(grace).before(now);
    std::iter::from_fn(move || {
        after = translated.schedule.next(after)?;
        Some(translated.offset.after(after))
    })
}

/// Why an instant is a slot of one of the two only.
fn reason(
    job: &JobRecord,
    translated: &Translated,
    now: Timestamp,
    at: Timestamp,
) -> Option<Difference> {
    let foreseen = |difference| translated.differences.contains(&difference).then_some(difference);
    match &translated.schedule {
        Schedule::At { .. } => foreseen(Difference::PastAt).filter(|_| at <= now),
        Schedule::Every { .. } if job.state.last_run_at.is_some() => {
            foreseen(Difference::EveryFromLastRun).or_else(|| foreseen(Difference::NoAnchor))
        }
        Schedule::Every { .. } => foreseen(Difference::NoAnchor),
        Schedule::Cron { expr, tz } => {
            let clock = Clock::new(expr, tz, translated.offset);
            clock.difference(at, now).and_then(foreseen)
        }
    }
}

/// An expression in a zone: what a change of the zone's clock does to it, there and here.
pub(super) struct Clock<'a> {
    expr: &'a CronExpr,
    zone: &'a Zone,
    offset: Duration,
}

/// A change of a zone's clock.
struct Change {
    /// When.
    at: Timestamp,
    /// By how much it jumps forward, or back.
    by: SignedDuration,
    /// The first civil time that does not exist, or comes twice.
    from: DateTime,
    /// The first after them.
    to: DateTime,
}

/// How far from a change an instant can lie and still have to do with it.
const NEAR: SignedDuration = SignedDuration::from_hours(72);
/// So many changes are looked at to say what is possible: a century of them, or two where there are two a year.
const CHANGES: usize = 400;

impl<'a> Clock<'a> {
    /// An expression whose slots are delayed.
    pub(super) const fn new(expr: &'a CronExpr, zone: &'a Zone, offset: Duration) -> Self {
        Self { expr, zone, offset }
    }

    /// Every difference that a change of the clock after an instant can make.
    pub(super) fn possible(&self, since: Timestamp) -> Vec<Difference> {
        // Where the expression names years, its first slot can be decades away.
        let firsts = [self.expr.next(self.zone, since), cron::next(self.expr, self.zone, since)];
        let first = firsts.into_iter().flatten().min().unwrap_or(since);
        let start = first.checked_sub(NEAR).unwrap_or(first);
        let mut found = Vec::new();
        for change in self.changes(start).take(CHANGES) {
            if change.by.is_negative() {
                found.push(Difference::AskedInRepeat);
            }
            found.extend(self.made_by(&change));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Why a delayed slot is one of theirs only, or of ours only.
    fn difference(&self, at: Timestamp, now: Timestamp) -> Option<Difference> {
        let (base, asked) = (self.offset.before(at), self.offset.before(now));
        if let Some(until) = self.passed_over(asked)
            && base <= until
        {
            return Some(Difference::AskedInRepeat);
        }
        let start = base.checked_sub(NEAR).ok()?;
        let mut near = self.changes(start).take_while(|change| change.at <= later(base, NEAR));
        near.find(|change| change.reaches(base)).and_then(|change| self.made_by(&change))
    }

    /// Until when nothing is due there because the question is asked while time comes a second time.
    fn passed_over(&self, asked: Timestamp) -> Option<Timestamp> {
        let start = asked.checked_sub(NEAR).ok()?;
        let mut near = self.changes(start).take_while(|change| change.at <= asked);
        let change = near.find(|it| it.by.is_negative() && asked < later(it.at, it.by.abs()))?;
        let midnight = Offset::UTC.to_datetime(asked).date().tomorrow().ok()?.at(0, 0, 0, 0);
        let midnight = Offset::UTC.to_timestamp(midnight).ok()?;
        // The first slot of theirs after that midnight is where both lists are one again.
        let again =
            cron::next(self.expr, self.zone, midnight.max(later(change.at, change.by.abs())));
        Some(again.unwrap_or(Timestamp::MAX))
    }

    fn changes(&self, after: Timestamp) -> impl Iterator<Item = Change> {
        let next = move |at: Timestamp| self.zone.change_after(at);
        std::iter::successors(next(after), move |&at| next(at)).filter_map(|at| self.change(at))
    }

    fn change(&self, at: Timestamp) -> Option<Change> {
        let earlier = at.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        let (before, after) = (self.zone.offset(earlier), self.zone.offset(at));
        let by = SignedDuration::from_secs((after.seconds() - before.seconds()).into());
        let (old, new) = (before.to_datetime(at), after.to_datetime(at));
        (!by.is_zero()).then(|| Change { at, by, from: old.min(new), to: old.max(new) })
    }

    /// What a change does to this expression, if anything.
    fn made_by(&self, change: &Change) -> Option<Difference> {
        let before = change.from.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        let named = cron::next_civil(self.expr, before).filter(|&named| named < change.to)?;
        match (change.by.is_positive(), self.expr.is_fixed()) {
            (true, true) => (named > change.from).then_some(Difference::FixedInGap),
            (true, false) => Some(Difference::RecurringInGap),
            (false, true) => {
                let is_hour = change.by.abs() == SignedDuration::from_hours(1);
                (!is_hour).then_some(Difference::FixedInRepeat)
            }
            (false, false) => Some(Difference::RecurringInRepeat),
        }
    }
}

impl Change {
    /// Whether it can move or lose a slot at this instant: what follows a gap by no more than its length,
    /// and what comes twice, both times.
    fn reaches(&self, at: Timestamp) -> bool {
        let end = later(self.at, self.by.abs());
        let start = if self.by.is_positive() { self.at } else { later(self.at, self.by) };
        start <= at && at < end
    }
}

/// The instant so much later, or the last there is.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
