//! Schedules against the oracle, around every change of clock and through the calendar.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sexton_fuzz::{Part, budget, part};

use super::oracle::draw::{CHANGES, change, expr, expr_at};
use super::oracle::{Expr, Span};
use super::{CronError, CronExpr, Schedule, Window, Zone};
use crate::duration::Duration;

/// The expression as it is read; none if it is refused, which has to be for a reason the oracle knows.
fn read(expr: &Expr, has_slots: impl FnOnce() -> bool) -> Result<Option<CronExpr>, TestCaseError> {
    let text = expr.text();
    match text.parse::<CronExpr>() {
        Ok(cron) => {
            prop_assert!(!expr.is_refused(), "{} is read", text);
            prop_assert_eq!(cron.is_fixed(), expr.is_fixed(), "{}", text);
            Ok(Some(cron))
        }
        Err(CronError::Never { .. }) => {
            prop_assert!(!has_slots(), "{} never fires", text);
            Ok(None)
        }
        Err(error) => {
            prop_assert!(expr.is_refused(), "{}: {}", text, crate::errors::causes(&error));
            Ok(None)
        }
    }
}

/// Asks for up to 25 slots in a row after a point of the span, and compares with the oracle's.
fn agrees(expr: &Expr, zone: &Zone, span: &Span, start: f64) -> Result<(), TestCaseError> {
    let slots = expr.slots(span);
    let Some(cron) = read(expr, || !slots.is_empty())? else { return Ok(()) };
    let (mut after, end) = (span.at(start), span.end());
    let expected = slots.into_iter().filter(|&slot| slot > after).take(25).collect::<Vec<_>>();
    let mut found = Vec::new();
    while found.len() < 25
        && let Some(next) = cron.next(zone, after).filter(|&next| next <= end)
    {
        found.push(next);
        after = next;
    }
    prop_assert_eq!(found, expected, "{} in {} after {}", expr.text(), zone, span.at(start));
    Ok(())
}

/// Where to begin to ask: mostly just before the change, which is in the middle.
fn start() -> impl Strategy<Value = f64> {
    prop_oneof![1 => 0.0..1.0, 3 => 0.4..0.52]
}

/// A random expression around a change of clock, and where in the span to begin to ask.
fn case(seconds: bool) -> impl Strategy<Value = (Expr, Zone, Timestamp, f64)> {
    (change(), start()).prop_flat_map(move |((zone, change), start)| {
        (expr_at(seconds, &zone, change), Just(zone), Just(change), Just(start))
    })
}

fn by_minute(zone: &Zone, change: Timestamp) -> Span {
    Span::around(zone, change, SignedDuration::from_hours(36), SignedDuration::from_mins(1))
}

proptest! {
    #![proptest_config(budget(100))]

    // P5: every slot is accounted for, and the rule says which slots there are.
    #[test]
    fn by_the_minute_cron_follows_the_written_rule(
        (expr, zone, change, start) in case(false),
    ) {
        agrees(&expr, &zone, &by_minute(&zone, change), start)?;
    }
}

proptest! {
    #![proptest_config(budget(40))]

    // P5: the same for expressions with seconds.
    #[test]
    fn by_the_second_cron_follows_the_written_rule(
        (expr, zone, change, start) in case(true),
    ) {
        let (reach, step) = (SignedDuration::from_mins(100), SignedDuration::from_secs(1));
        agrees(&expr, &zone, &Span::around(&zone, change, reach, step), start)?;
    }
}

/// P5, at every change of clock of every zone from 2000 to 2040: a part of them here, all of them where
/// `PROPTEST_CASES` is 32768, or in rounds.
#[test]
fn at_every_change_of_clock_cron_follows_the_written_rule() {
    let Part { start: first, step } = part(32_768);
    let mut config = budget(1);
    config.cases = 6;
    let mut tried = 0;
    for (zone, change) in CHANGES.iter().skip(first).step_by(step) {
        let span = by_minute(zone, *change);
        let mut runner = TestRunner::new(config.clone());
        let cases = (expr_at(false, zone, *change), start());
        let agreed = runner.run(&cases, |(expr, start)| agrees(&expr, zone, &span, start));
        agreed.unwrap_or_else(|error| panic!("{zone} at {change}: {error}"));
        tried += 1;
    }
    println!("tried {tried} of {} changes of clock", CHANGES.len());
    assert!(tried > 0);
}

proptest! {
    #![proptest_config(budget(400))]

    // P5: L, W, #, names, lists, both days of a date, and years, day by day.
    #[test]
    fn through_the_calendar_cron_names_the_days_that_it_says(
        expr in expr(), from in 0..40 * 365_i32, days in 1..800_i32,
    ) {
        const MOST: usize = 40;
        let from = Date::constant(2000, 1, 1) + SignedDuration::from_hours(24 * i64::from(from));
        let expected = expr.slots_by_day(from, days, MOST);
        let Some(cron) = read(&expr, || !expected.is_empty())? else { return Ok(()) };
        let utc = |date: Date| Zone::UTC.time_zone().to_timestamp(date.into()).unwrap();
        let end = utc(from + SignedDuration::from_hours(24 * i64::from(days)));
        let mut after = utc(from) - SignedDuration::from_nanos(1);
        let mut found = Vec::new();
        while found.len() < MOST
            && let Some(next) = cron.next(&Zone::UTC, after).filter(|&next| next < end)
        {
            found.push(Zone::UTC.civil(next));
            after = next;
        }
        prop_assert_eq!(found, expected, "{} from {}", expr.text(), from);
    }
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let (low, high) = (Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    let at = |nanos: i128| Timestamp::from_nanosecond(nanos).unwrap();
    let seconds = 946_684_800..2_240_611_200_i64;
    prop_oneof![
        3 => seconds.prop_map(|second| Timestamp::from_second(second).unwrap()),
        2 => (low..=high).prop_map(at),
        1 => (low..=low + 1_000_000_000_000).prop_map(at),
        1 => (high - 1_000_000_000_000..=high).prop_map(at),
    ]
}

fn width() -> impl Strategy<Value = Duration> {
    prop_oneof![1..5_000_u64, 1..=Duration::MAX.as_millis()].prop_map(Duration::from_millis)
}

proptest! {
    #![proptest_config(budget(2_000))]

    // P5: a grid counts real time from its anchor, whatever a clock on a wall does meanwhile.
    #[test]
    fn a_slot_of_a_grid_is_the_first_whole_number_of_widths_after_its_anchor(
        every in width(), anchor in instant(), after in instant(), near in prop::bool::ANY,
        offset in -3_i64..3,
    ) {
        let schedule = Schedule::every(every, anchor).unwrap();
        let Schedule::Every { anchor, .. } = schedule else { unreachable!("a grid is a grid") };
        // Half of the time very near to a slot.
        let after = match schedule.next(after) {
            Some(slot) if near => slot.checked_add(SignedDuration::from_nanos(offset)).unwrap_or(slot),
            _ => after,
        };
        let next = schedule.next(after);
        let (width, start) = (i128::from(every.as_millis()) * 1_000_000, anchor.as_nanosecond());
        match next.map(Timestamp::as_nanosecond) {
            Some(slot) => {
                prop_assert!(slot > after.as_nanosecond());
                prop_assert_eq!((slot - start) % width, 0);
                prop_assert!(slot == start || slot - width <= after.as_nanosecond());
                prop_assert!(slot >= start);
            }
            None => {
                // Of the last second of time there is only its beginning.
                let slot = ((after.as_nanosecond() - start).div_euclid(width) + 1).max(0);
                let last = Timestamp::MAX.as_nanosecond() - 1_000_000_000;
                prop_assert!(start + slot * width > last);
            }
        }
        let window = Window { from: after, through: after, newest: 3, scan_limit: 3 };
        let is_slot = after >= anchor && (after.as_nanosecond() - start) % width == 0;
        prop_assert_eq!(schedule.slots(window).newest, if is_slot { vec![after] } else { vec![] });
    }

    #[test]
    fn a_single_instant_is_due_once(at in instant(), after in instant()) {
        let schedule = Schedule::At { at };
        prop_assert_eq!(schedule.next(after), Some(at).filter(|&at| at > after));
        prop_assert_eq!(schedule.next(at), None);
        let window = |from, through| Window { from, through, newest: 3, scan_limit: 3 };
        let due = schedule.slots(window(at.min(after), at.max(after)));
        prop_assert_eq!((due.newest, due.older, due.more), (vec![at], None, None));
    }
}
