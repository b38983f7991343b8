//! Promises about schedules: which slots there are, and how a schedule is stored.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn grid(every_ms: u64, anchor_ms: i64) -> Schedule {
    Schedule::every(Duration::from_millis(every_ms), ms(anchor_ms)).unwrap()
}

fn hourly() -> Schedule {
    serde_json::from_str(r#"{"cron": "0 * * * *"}"#).unwrap()
}

fn window(from: Timestamp, through: Timestamp, newest: usize, scan_limit: usize) -> Window {
    Window { from, through, newest, scan_limit }
}

/// The slots of a span one by one, without any limit.
fn all(schedule: &Schedule, from: Timestamp, through: Timestamp) -> Vec<Timestamp> {
    let before = from - SignedDuration::from_nanos(1);
    std::iter::successors(schedule.next(before), |&slot| schedule.next(slot))
        .take_while(|&slot| slot <= through)
        .collect()
}

// openclaw.md b1.4, b1.8
#[test]
fn the_next_slot_of_a_grid_is_strictly_later() {
    let every_30_s = grid(30_000, 1_000_000);
    let cases = [
        (0, 1_000_000),
        (999_999, 1_000_000),
        (1_000_000, 1_030_000),
        (1_010_000, 1_030_000),
        (1_030_000, 1_060_000),
    ];
    for (after, next) in cases {
        assert_eq!(every_30_s.next(ms(after)), Some(ms(next)), "after {after}");
    }
}

#[test]
fn a_grid_anchored_before_1970_and_asked_with_nanoseconds_stays_on_its_milliseconds() {
    let odd = grid(7, -10);
    let just_before_zero = Timestamp::from_nanosecond(-1).unwrap();
    assert_eq!(odd.next(ms(-11)), Some(ms(-10)));
    assert_eq!(odd.next(Timestamp::from_nanosecond(-3_000_001).unwrap()), Some(ms(-3)));
    assert_eq!(odd.next(just_before_zero), Some(ms(4)));
}

#[test]
fn a_grid_ends_with_time_itself() {
    let day = grid(86_400_000, 0);
    assert_eq!(day.next(Timestamp::MAX), None);
    let huge = Schedule::Every { every: Duration::from_millis(u64::MAX), anchor: ms(0) };
    assert_eq!((huge.next(ms(-1)), huge.next(ms(0))), (Some(ms(0)), None));
    let zero = Schedule::Every { every: Duration::ZERO, anchor: ms(5) };
    assert_eq!((zero.next(ms(4)), zero.next(ms(5))), (Some(ms(5)), None));
    assert_eq!(zero.slots(window(ms(0), ms(9), 5, 5)).newest, [ms(5)]);
}

#[test]
fn a_single_instant_has_one_slot() {
    let once = Schedule::At { at: ms(5) };
    assert_eq!((once.next(ms(4)), once.next(ms(5))), (Some(ms(5)), None));
    let due = once.slots(window(ms(5), ms(5), 3, 3));
    assert_eq!((due.first, due.newest), (Some(ms(5)), vec![ms(5)]));
    assert_eq!(once.slots(window(ms(6), ms(9), 3, 3)), DueSlots::default());
    assert_eq!(once.slots(window(ms(0), ms(4), 3, 3)), DueSlots::default());
}

// P5: a node that slept for a year accounts for every slot of a fast grid, and at once.
#[test]
fn a_year_of_slots_every_second_is_counted_without_walking() {
    let through = ms(365 * 86_400_000);
    let due = grid(1_000, 0).slots(window(ms(1), through, 2, 0));
    assert_eq!(due.first, Some(ms(1_000)));
    assert_eq!(due.newest, [ms(365 * 86_400_000 - 1_000), through]);
    let to = ms(365 * 86_400_000 - 2_000);
    assert_eq!(due.older, Some(SlotRange { from: ms(1_000), to, count: 31_535_998 }));
    assert_eq!(due.more, None);
}

// P5: what was not looked at is named, so that the next look begins there.
#[test]
fn a_walk_that_reaches_its_limit_names_the_first_slot_it_did_not_look_at() {
    let (from, through) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T09:59:00Z"));
    let due = hourly().slots(window(from, through, 2, 5));
    assert_eq!(due.first, Some(from));
    assert_eq!(due.newest, [at("2026-01-01T03:00:00Z"), at("2026-01-01T04:00:00Z")]);
    let older = SlotRange { from, to: at("2026-01-01T02:00:00Z"), count: 3 };
    assert_eq!(due.older, Some(older));
    assert_eq!(due.more, Some(at("2026-01-01T05:00:00Z")));

    let rest = hourly().slots(window(due.more.unwrap(), through, 2, 5));
    assert_eq!((rest.older.unwrap().count, rest.newest.len(), rest.more), (3, 2, None));
    let none = hourly().slots(window(from, through, 2, 0));
    assert_eq!((none.first, none.more, none.newest), (Some(from), Some(from), vec![]));
}

#[test]
fn the_span_of_slots_includes_both_of_its_ends() {
    let (from, through) = (at("2026-01-01T01:00:00Z"), at("2026-01-01T02:00:00Z"));
    assert_eq!(hourly().slots(window(from, through, 9, 9)).newest, [from, through]);
    assert_eq!(grid(3_600_000, 0).slots(window(from, through, 9, 9)).newest, [from, through]);
    assert_eq!(hourly().slots(window(through, from, 9, 9)), DueSlots::default());
    assert_eq!(grid(3_600_000, 0).slots(window(through, from, 9, 9)), DueSlots::default());
}

#[test]
fn every_form_of_json_reads_back_as_it_was_written() {
    for json in [
        r#"{"at":"2026-11-21T08:00:00Z"}"#,
        r#"{"every":"15m","anchor":"2026-01-01T00:00:00.125Z"}"#,
        r#"{"cron":"0 7 * * *","tz":"Europe/Berlin"}"#,
    ] {
        let schedule: Schedule = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&schedule).unwrap(), json);
    }
    let fine: Schedule = serde_json::from_str(r#"{"at": "2026-11-21T08:00:00.0009Z"}"#).unwrap();
    assert_eq!(fine, Schedule::At { at: at("2026-11-21T08:00:00Z") });
}

#[test]
fn json_that_makes_no_schedule_is_an_error_that_says_what_is_missing() {
    let cases = [
        ("{}", "exactly one of"),
        (r#"{"every": "5m", "cron": "@daily", "anchor": "2026-01-01T00:00:00Z"}"#, "exactly one"),
        (r#"{"every": "5m"}"#, "needs an `anchor`"),
        (r#"{"every": "0s", "anchor": "2026-01-01T00:00:00Z"}"#, "longer than zero"),
        (r#"{"at": "2026-01-01T00:00:00Z", "tz": "UTC"}"#, "`tz` belongs to `cron`"),
        (r#"{"cron": "@daily", "anchor": "2026-01-01T00:00:00Z"}"#, "`anchor` belongs"),
        (r#"{"cron": "@daily", "zone": "UTC"}"#, "unknown field `zone`"),
        (r#"{"cron": "0 0 31 2 *"}"#, "never fires"),
        (r#"{"cron": "@daily", "tz": "Mars"}"#, "unknown name"),
    ];
    for (json, said) in cases {
        let error = serde_json::from_str::<Schedule>(json).unwrap_err().to_string();
        assert!(error.contains(said), "{json}: {error}");
    }
}

// Stored slots depend on it: these values must stay what they are.
#[test]
fn jitter_is_the_same_on_every_node_and_in_every_version() {
    let window = Duration::from_secs(300);
    let jitter_of = |id: u128| jitter(Uuid::from_u128(id), window).as_millis();
    assert_eq!([jitter_of(0), jitter_of(1), jitter_of(u128::MAX)], [122_411, 31_602, 223_368]);
}

#[test]
fn jitter_spreads_over_its_whole_window() {
    let mut tenths = [0_u32; 10];
    for id in 0..1_000 {
        let jitter = jitter(Uuid::from_u128(id), Duration::from_millis(1_000)).as_millis();
        tenths[usize::try_from(jitter / 100).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|&count| (60..140).contains(&count)), "{tenths:?}");
    assert_eq!(jitter(Uuid::from_u128(1), Duration::ZERO), Duration::ZERO);
    assert_eq!(jitter(Uuid::from_u128(1), Duration::from_millis(1)), Duration::ZERO);
    assert!(jitter(Uuid::from_u128(1), Duration::from_millis(u64::MAX)).as_millis() > 1 << 50);
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let cron = |expr: &str, tz: &str| Schedule::Cron {
        expr: expr.parse().unwrap(),
        tz: tz.parse().unwrap(),
    };
    prop_oneof![
        (1..40_000_000_u64, -50_000_000..50_000_000_i64).prop_map(|(e, a)| grid(e, a)),
        Just(cron("*/20 * * * *", "Africa/Casablanca")),
        Just(cron("30 2 * * *", "Europe/Berlin")),
        (0..90_000_000_i64).prop_map(|at| Schedule::At { at: ms(at) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    // P5: first, older and newest are together exactly the slots of the span.
    #[test]
    fn the_parts_of_a_span_add_up_to_all_of_its_slots(
        schedule in schedule(), from in 0..90_000_000_i64, length in 0..90_000_000_i64,
        newest in 0..20_usize,
    ) {
        let (from, through) = (ms(from), ms(from + length));
        let due = schedule.slots(window(from, through, newest, usize::MAX));
        // A fast grid has too many to walk here; the slowest hundred are enough to compare.
        let count = due.newest.len() as u64 + due.older.map_or(0, |older| older.count);
        prop_assume!(count < 500);
        let all = all(&schedule, from, through);
        prop_assert_eq!(due.first, all.first().copied());
        prop_assert_eq!(count, all.len() as u64);
        let (older, expected) = all.split_at(all.len().saturating_sub(newest));
        prop_assert_eq!(due.newest, expected);
        let ends = older.first().copied().zip(older.last().copied());
        prop_assert_eq!(due.older.map(|range| (range.from, range.to)), ends);
        prop_assert_eq!(due.more, None);
    }

    // P5: slots only move forward, so none is ever due twice.
    #[test]
    fn a_next_slot_is_later_than_what_it_follows(schedule in schedule(), after in -9e15..9e15_f64) {
        let after = Timestamp::from_nanosecond(after as i128 * 1_000).unwrap_or(Timestamp::UNIX_EPOCH);
        if let Some(next) = schedule.next(after) {
            prop_assert!(next > after);
            prop_assert_eq!(schedule.next(next - SignedDuration::from_nanos(1)), Some(next));
        }
    }
}
