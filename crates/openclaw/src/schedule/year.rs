//! A year of slots, theirs and ours, of many jobs in many zones: equal, or foreseen by the translation.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use sexton_domain::schedule::Zone;

use super::tests::{cron, job};
use super::*;
use crate::model::JobRecord;

const ZONES: &[&str] = &[
    "UTC",
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Asuncion",
    "America/Havana",
    "America/Los_Angeles",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Easter",
    "Pacific/Kiritimati",
];

/// Years with changes of clock of every kind; in the last, Apia lost a day.
const YEARS: &[i16] = &[2026, 2027, 2028, 2011];
/// So many rows are compared from one instant: of a daily job, a month.
const ROWS: usize = 32;

fn of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(choices)
}

fn expr() -> impl Strategy<Value = String> {
    let minute = of(&["0", "30", "15", "59", "*/15", "*/20", "0,30", "5-55/10", "*/7", "*", "?"]);
    let hour = of(&["*", "0", "1", "2", "3", "23", "7", "*/2", "*/5", "1-3", "0,2", "22-23", "?"]);
    let day = of(&["*", "*", "*", "*", "1", "15", "L", "15W", "*/2", "LW", "?", "25-31"]);
    let month = of(&["*", "*", "*", "3,4,9", "10,11", "APR", "*/2"]);
    let weekday =
        of(&["*", "*", "*", "*", "SUN", "MON-FRI", "7", "FRI#2", "5L", "+SUN", "?", "SAT"]);
    let second = prop::option::weighted(0.25, of(&["0", "30", "*/20", "10,40"]));
    let year = prop::option::weighted(0.3, of(&["*", "2026", "2011-2027", "*/2"]));
    (second, minute, hour, day, month, weekday, year).prop_map(
        |(second, minute, hour, day, month, weekday, year)| {
            let five = format!("{minute} {hour} {day} {month} {weekday}");
            match (second, year) {
                (None, _) => five,
                (Some(second), None) => format!("{second} {five}"),
                (Some(second), Some(year)) => format!("{second} {five} {year}"),
            }
        },
    )
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let stagger = prop_oneof![Just(None), Just(Some(0)), Just(Some(90_000)), Just(Some(7_200_000))];
    let interval = select(vec![1_000_u64, 60_000, 90_000, 3_600_000, 5_400_001, 86_400_000]);
    let anchor = prop::option::of(1_262_304_000_000..1_830_297_600_000_u64);
    prop_oneof![
        8 => (expr(), of(ZONES), stagger).prop_map(|(expr, tz, stagger)| cron(&expr, tz, stagger)),
        2 => (interval, anchor).prop_map(|(every_ms, anchor_ms)| Schedule::Every { every_ms, anchor_ms }),
        1 => (1_262_304_000_000..1_830_297_600_000_u64).prop_map(|at| Schedule::At(at.to_string())),
    ]
}

fn drawn() -> impl Strategy<Value = (JobRecord, i16)> {
    let last = prop::option::weighted(0.3, 0..31_536_000_000_i64);
    let created = prop::bool::weighted(0.8);
    (schedule(), "[a-f0-9]{8}", select(YEARS), last, created).prop_map(
        |(schedule, id, year, last, created)| {
            let mut record = job(&id, schedule);
            let start = new_year(year);
            record.created_at = Some(start).filter(|_| created);
            record.state.last_run_at = last.map(|last| start + SignedDuration::from_millis(last));
            (record, year)
        },
    )
}

fn new_year(year: i16) -> Timestamp {
    format!("{year}-01-01T00:00:00Z").parse().unwrap()
}

/// From where lists are compared: through the year, and around every change of the clock.
fn starts(zone: &Zone, year: i16) -> Vec<Timestamp> {
    let (start, end) = (new_year(year), new_year(year + 1));
    let changes = std::iter::successors(zone.change_after(start), |&at| zone.change_after(at));
    let minutes = [-1_500, -61, -1, 0, 20, 61];
    let near = changes
        .take_while(|&at| at < end)
        .flat_map(|at| minutes.map(|minutes| at + SignedDuration::new(minutes * 60, 500_000_000)));
    (0..12).map(|month| start + SignedDuration::from_hours(month * 730)).chain(near).collect()
}

/// Compares the lists of a job from an instant on; the number of rows that are in one list only.
fn compare(record: &JobRecord, translated: &Translated, now: Timestamp, rows: usize) -> usize {
    let mut alone = 0;
    for (theirs, ours, why) in side_by_side(record, translated, &Zone::UTC, now, rows) {
        if theirs.is_some() && ours.is_some() {
            assert_eq!((theirs, why), (ours, None));
            continue;
        }
        alone += 1;
        let why = why.unwrap_or_else(|| {
            panic!("not foreseen, asked at {now}: {theirs:?} {ours:?} of {:?}", record.schedule)
        });
        assert!(translated.differences.contains(&why), "{why:?}");
    }
    alone
}

proptest! {
    #![proptest_config(sexton_fuzz::budget(160))]

    #[test]
    fn a_year_of_slots_is_equal_or_foreseen((record, year) in drawn()) {
        let Ok(translated) = translate(&record, &Zone::UTC) else {
            return Err(TestCaseError::reject("never fires"));
        };
        let zone = match &translated.schedule {
            sexton_domain::schedule::Schedule::Cron { tz, .. } => tz.clone(),
            _ => Zone::UTC,
        };
        // Nobody asks before the last run.
        for now in starts(&zone, year).into_iter().filter(|now| Some(*now) >= record.state.last_run_at) {
            compare(&record, &translated, now, ROWS);
        }
    }
}

/// A job that does not say since when it is there was looked at from 1970 on, and half a century of changes
/// ended before the one year that its expression names, or before one of them fell on its day.
#[test]
fn what_a_change_makes_decades_later_is_foreseen() {
    let seldom =
        [("0 0 */2 * * * 2026", "America/Havana", 2026), ("0 ? 1 * *", "Pacific/Easter", 2028)];
    for (expr, name, year) in seldom {
        let mut record = job("abc", cron(expr, name, None));
        record.created_at = None;
        let translated = translate(&record, &Zone::UTC).unwrap();
        let zone: Zone = name.parse().unwrap();
        let of = |at| compare(&record, &translated, at, ROWS);
        assert!(starts(&zone, year).into_iter().map(of).sum::<usize>() > 0, "{expr}");
    }
}

/// A daily job at each quarter of the first hours of a day, and an hourly one, in every zone: where a
/// difference is foreseen it is there, and where none is foreseen there is none.
#[test]
fn what_is_foreseen_happens() {
    for &zone in ZONES {
        for quarter in 0..20 {
            foreseen_happens(&format!("{} {} * * *", quarter % 4 * 15, quarter / 4), zone, 5);
        }
        foreseen_happens("5 * * * *", zone, 60);
    }
}

fn foreseen_happens(expr: &str, zone: &str, rows: usize) {
    let mut record = job("abc", cron(expr, zone, None));
    record.created_at = Some(new_year(2026));
    let translated = translate(&record, &Zone::UTC).unwrap();
    let zone: Zone = zone.parse().unwrap();
    let is_real = |why: &Difference| *why != Difference::AskedInRepeat;
    let foreseen = translated.differences.iter().filter(|why| is_real(why)).count();
    let changes =
        std::iter::successors(zone.change_after(new_year(2026)), |&at| zone.change_after(at));
    let alone: usize = changes
        .take(4)
        .map(|at| compare(&record, &translated, at - SignedDuration::from_hours(30), rows))
        .sum();
    assert_eq!(foreseen > 0, alone > 0, "{expr} in {zone}: {:?}", translated.differences);
}
