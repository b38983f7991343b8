//! The history of a job: which slots were due, walked independently of the scheduler over what the
//! event log says about the job.

use jiff::Timestamp;
use sexton_domain::duration::Duration;
use sexton_domain::event::{Event, EventType};
use sexton_domain::schedule::Schedule;
use sexton_domain::when;

/// More slots than any world has: a walk that gets here is wrong.
const MAX_SLOTS: usize = 1_000_000;

/// The slots of a job that came due while it was active, up to and including `until`, in order.
///
/// A slot is due its jitter after its instant; it counts if the job is active then. Whatever happens
/// to the job at that very millisecond comes after it. A job that begins, is resumed or gets another
/// schedule starts with the first slot that is due after that; a one-shot may be a little late.
pub(crate) fn due_slots<'a>(
    events: impl Iterator<Item = &'a Event>,
    jitter: Duration,
    until: Timestamp,
) -> Vec<Timestamp> {
    let mut walk = Walk::default();
    for event in events.take_while(|event| event.fact.at <= until) {
        walk.advance(jitter, event.fact.at);
        walk.apply(event, jitter);
    }
    walk.advance(jitter, until);
    walk.due
}

#[derive(Default)]
struct Walk {
    /// The schedule as the log has it.
    written: serde_json::Value,
    schedule: Option<Schedule>,
    enabled: bool,
    suspended: bool,
    over: bool,
    /// The next slot may only be after this.
    after: Timestamp,
    due: Vec<Timestamp>,
}

impl Walk {
    fn active(&self) -> bool {
        self.enabled && !self.suspended && !self.over
    }

    fn advance(&mut self, jitter: Duration, until: Timestamp) {
        if !self.active() {
            return;
        }
        let Some(schedule) = &self.schedule else { return };
        while let Some(slot) = next(schedule, self.after)
            && jitter.after(slot) <= until
            && self.due.len() < MAX_SLOTS
        {
            self.due.push(slot);
            self.after = slot;
        }
    }

    fn apply(&mut self, event: &Event, jitter: Duration) {
        let was_active = self.active();
        let data = &event.fact.data;
        self.enabled = data.get("enabled").and_then(serde_json::Value::as_bool).unwrap_or(false);
        self.suspended = data.get("suspension").is_some_and(|suspension| !suspension.is_null());
        let written = data.get("schedule").cloned().unwrap_or_default();
        let rescheduled = written != self.written;
        if rescheduled {
            self.schedule = serde_json::from_value(written.clone()).ok();
            self.written = written;
        }
        self.over = match event.fact.kind {
            EventType::JobRemoved | EventType::JobDone => true,
            EventType::JobChanged if rescheduled => false,
            _ => self.over,
        };
        if rescheduled || (self.active() && !was_active) {
            let once = matches!(self.schedule, Some(Schedule::At { .. }));
            let grace = if once { when::GRACE } else { Duration::ZERO };
            let last = self.due.last().copied().unwrap_or(Timestamp::MIN);
            self.after = last.max(jitter.saturating_add(grace).before(event.fact.at));
        }
    }
}

/// The first slot after an instant. Grids are computed here, in another way than the scheduler's.
fn next(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    match schedule {
        Schedule::At { at } => (*at > after).then_some(*at),
        Schedule::Every { every, anchor } => {
            if after < *anchor {
                return Some(*anchor);
            }
            let (width, begin) = (i64::try_from(every.as_millis()).ok()?, anchor.as_millisecond());
            let past = after.as_millisecond() - begin;
            Timestamp::from_millisecond(after.as_millisecond() - past % width + width).ok()
        }
        Schedule::Cron { .. } => schedule.next(after),
    }
}
