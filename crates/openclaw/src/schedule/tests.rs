//! OpenClaw's documented cases, one after the other.

use jiff::{SignedDuration, Timestamp};
use sexton_domain::duration::Duration;
use sexton_domain::schedule::Zone;

use super::*;
use crate::model::{JobRecord, JobState, Place};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn cron(expr: &str, tz: &str, stagger_ms: Option<u64>) -> Schedule {
    Schedule::Cron { expr: expr.to_owned(), tz: Some(tz.to_owned()), stagger_ms }
}

fn every(every_ms: u64, anchor: Option<&str>) -> Schedule {
    let anchor_ms = anchor.map(|at| u64::try_from(time(at).as_millisecond()).unwrap());
    Schedule::Every { every_ms, anchor_ms }
}

pub(super) fn job(id: &str, schedule: Schedule) -> JobRecord {
    JobRecord {
        id: id.to_owned(),
        name: None,
        declaration_key: None,
        agent: None,
        enabled: true,
        delete_after_run: None,
        created_at: Some(time("2025-06-01T10:14:07.321Z")),
        updated_at: None,
        schedule: Ok(schedule),
        session_target: None,
        payload_kind: None,
        state: JobState::default(),
        raw: serde_json::Value::Null,
        place: Place::Index(0),
    }
}

/// The next time of theirs, created never and run last at `last`.
fn after(schedule: &Schedule, last: Option<&str>, now: &str) -> Option<Timestamp> {
    next(schedule, "job", None, last.map(time), &Zone::UTC, time(now)).unwrap()
}

#[test]
fn cron_slots_are_those_of_their_cases() {
    let los_angeles = cron("0 9 * * 3", "America/Los_Angeles", None);
    let wednesday = after(&los_angeles, None, "2025-12-13T00:00:00Z");
    assert_eq!(wednesday, Some(time("2025-12-17T17:00:00Z")));
    let shanghai = cron("0 8 * * *", "Asia/Shanghai", None);
    assert_eq!(after(&shanghai, None, "2026-03-01T00:00:00Z"), Some(time("2026-03-02T00:00:00Z")));
    let noon = cron("0 12 * * *", "UTC", None);
    for now in ["12:00:00.000Z", "12:00:00.500Z", "12:00:00.999Z"] {
        let next = after(&noon, None, &format!("2026-03-01T{now}"));
        assert_eq!(next, Some(time("2026-03-02T12:00:00Z")), "{now}");
    }
    let before = after(&noon, None, "2026-03-01T11:59:59.500Z");
    assert_eq!(before, Some(time("2026-03-01T12:00:00Z")));
    for never in ["0 0 30 2 *", "0 0 0 1 1 * 2020"] {
        assert_eq!(after(&cron(never, "UTC", None), None, "2026-03-01T00:00:00Z"), None, "{never}");
    }
    let error = next(&cron("", "UTC", None), "", None, None, &Zone::UTC, Timestamp::UNIX_EPOCH);
    assert!(error.unwrap_err().contains("empty"));
}

#[test]
fn every_prefers_the_last_run_and_goes_back_to_its_grid() {
    let half_minute = every(30_000, Some("2026-01-01T00:00:00Z"));
    let at = |second: &str| Some(time(&format!("2026-01-01T00:{second}Z")));
    assert_eq!(after(&half_minute, None, "2026-01-01T00:00:10Z"), at("00:30"));
    assert_eq!(after(&half_minute, None, "2026-01-01T00:00:00Z"), at("00:30"));
    assert_eq!(after(&half_minute, None, "2026-01-01T00:00:30Z"), at("01:00"));
    assert_eq!(after(&half_minute, None, "2025-12-31T23:00:00Z"), at("00:00"));
    assert_eq!(after(&every(30_000, None), None, "2026-01-01T00:00:10Z"), at("00:40"));
    let half_hour = every(1_800_000, Some("2026-01-01T00:14:00Z"));
    let last = Some("2026-01-01T10:04:00Z");
    let next = |last, now: &str| after(&half_hour, last, now).unwrap().to_string();
    assert_eq!(next(last, "2026-01-01T10:10:00Z"), "2026-01-01T10:34:00Z");
    assert_eq!(next(None, "2026-01-01T10:10:00Z"), "2026-01-01T10:14:00Z");
    assert_eq!(next(last, "2026-01-01T10:40:00Z"), "2026-01-01T10:44:00Z");
}

#[test]
fn a_full_hour_is_spread_over_five_minutes_and_what_names_its_window_over_that() {
    let millis = |expr: &str, stagger| stagger_window(expr, stagger).as_millis();
    for full in ["0 * * * *", "0 0 */2 * * *", "0 9,* * * *", "0 ?/3 * * *"] {
        assert_eq!(millis(full, None), 300_000, "{full}");
        assert_eq!(millis(full, Some(30_000)), 30_000);
        assert_eq!(millis(full, Some(0)), 0);
    }
    for exact in ["15 * * * *", "0 7 * * *", "0 5* * * *", "0 1-*/2 * * *", "0 */x * * *", ""] {
        assert_eq!(millis(exact, None), 0, "{exact}");
    }
}

// The digest of `abc` begins with ba7816bf, which is 3128432319.
#[test]
fn the_delay_is_the_beginning_of_the_digest_of_the_id_modulo_the_window() {
    let offset = |window| stagger_offset("abc", Duration::from_millis(window)).as_millis();
    assert_eq!(offset(300_000), 3_128_432_319 % 300_000);
    assert_eq!(offset(30_000), 3_128_432_319 % 30_000);
    assert_eq!((offset(1), offset(0)), (0, 0));
}

#[test]
fn a_delayed_slot_of_this_hour_is_still_due_while_it_is_ahead() {
    let offset = stagger_offset("abc", Duration::from_secs(300));
    let hourly = cron("0 * * * *", "UTC", None);
    let next = |now: Timestamp| next(&hourly, "abc", None, None, &Zone::UTC, now).unwrap().unwrap();
    let (ten, moment) = (time("2026-01-01T10:00:00Z"), SignedDuration::from_millis(1));
    let due = offset.after(ten);
    assert_eq!(next(due - moment), due);
    assert_eq!(next(due), due + SignedDuration::from_hours(1));
    let named = cron("17 * * * *", "UTC", Some(30_000));
    let named = super::next(&named, "abc", None, None, &Zone::UTC, time("2026-01-01T10:05:00Z"));
    let delay = Duration::from_millis(3_128_432_319 % 30_000);
    assert_eq!(named.unwrap(), Some(delay.after(time("2026-01-01T10:17:00Z"))));
}

#[test]
fn an_at_stays_due_until_a_run_of_it_ended_well() {
    let once = Schedule::At("2026-01-15T12:30".to_owned());
    let at = Some(time("2026-01-15T12:30:00Z"));
    assert_eq!(after(&once, None, "2026-02-01T00:00:00Z"), at);
    assert_eq!(after(&once, Some("2026-01-15T12:30:00Z"), "2026-01-01T00:00:00Z"), None);
    assert_eq!(after(&once, Some("2026-01-15T12:29:59Z"), "2026-01-01T00:00:00Z"), at);
}

#[test]
fn absolute_times_are_those_that_openclaw_reads() {
    for (text, at) in [
        ("1767225600123", "2026-01-01T00:00:00.123Z"),
        ("2026-01-15", "2026-01-15T00:00:00Z"),
        ("2026-01-15T12:30", "2026-01-15T12:30:00Z"),
        (" 2026-01-15T12:30:05z ", "2026-01-15T12:30:05Z"),
        ("2026-01-15T12:30+05:30", "2026-01-15T07:00:00Z"),
        ("2026-01-15T12:30:00+12:45", "2026-01-14T23:45:00Z"),
        ("2026-01-15T12:30:00+0530", "2026-01-15T07:00:00Z"),
        ("2026-01-15T12:30:00-12:00", "2026-01-16T00:30:00Z"),
        ("2026-01-15T12:30:00+14:00", "2026-01-14T22:30:00Z"),
        ("2026-01-15T12:30:00.123456789Z", "2026-01-15T12:30:00.123Z"),
        ("2026-01-15T12:30:00.5Z", "2026-01-15T12:30:00.5Z"),
        ("2026-01-15T24:00:00Z", "2026-01-16T00:00:00Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
    ] {
        assert_eq!(parse_at(text), Ok(time(at)), "{text}");
    }
    for refused in [
        "",
        "0",
        "-5",
        "123abc",
        "99999999999999999999",
        "2023-02-29",
        "2026-02-31",
        "2026-04-31",
        "2026-1-5",
        "2026-01-15T25:00:00Z",
        "2026-01-15T12",
        "2026-01-15T1:30",
        "T12:30",
        "2026-01",
        "December 17, 2026 03:24:00",
        "2026/01/15",
        "2026-01-15T12:30:00+5",
        "2026-01-15T12:30.5Z",
        "2026-01-15T12:30:00.Z",
        "2026-01-15T12:30:61Z",
        "2026-01-15T24:00:01Z",
        "é026-01-15",
        "2026-01-15T12:30:00+24:00",
    ] {
        assert!(parse_at(refused).is_err(), "{refused}");
    }
}

// Asked of croner 10.0.1 itself, for instants that often lie near a change of clock, with the two further
// attempts that OpenClaw makes where it answers with a time that is past. Columns: expression, zone, now, next.
#[test]
fn cron_slots_are_those_of_the_library_that_openclaw_uses() {
    let answers = include_str!("../../tests/fixtures/croner-10.0.1.tsv");
    let mut wrong = Vec::new();
    for line in answers.lines() {
        let [expr, zone, now, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let schedule = cron(expr, zone, Some(0));
        let found = next(&schedule, "", None, None, &Zone::UTC, time(now)).unwrap();
        if found != (expected != "-").then(|| time(expected)) {
            wrong.push(format!("{line}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(answers.lines().count() > 1400);
}

#[test]
fn what_cannot_be_ours_says_why() {
    let read = |schedule| translate(&job("abc", schedule), &Zone::UTC).unwrap_err().to_string();
    let day = 86_400_000;
    for (schedule, why) in [
        (Schedule::At("tomorrow".to_owned()), "as a time"),
        (Schedule::Every { every_ms: u64::MAX, anchor_ms: None }, "100 years"),
        (Schedule::Every { every_ms: 1, anchor_ms: Some(u64::MAX) }, "no time"),
        (cron("0 0 30 2 *", "UTC", None), "never fires"),
        (cron("0 25 * * *", "UTC", None), "hour field"),
        (cron("0 7 * * *", "Mars/Olympus_Mons", None), "time zone"),
        (cron("0 7 * * *", "UTC", Some(40 * day)), "shorter than a day"),
        (Schedule::Other("on-exit".to_owned()), "on-exit"),
    ] {
        assert!(read(schedule).contains(why), "{why}");
    }
    let unread =
        JobRecord { schedule: Err("no kind".to_owned()), ..job("abc", cron("", "", None)) };
    assert!(translate(&unread, &Zone::UTC).unwrap_err().to_string().contains("no kind"));
}

#[test]
fn a_schedule_without_a_zone_has_the_one_of_its_machine_and_says_so() {
    let berlin: Zone = "Europe/Berlin".parse().unwrap();
    let schedule = Schedule::Cron { expr: "0 * * * *".to_owned(), tz: None, stagger_ms: None };
    let translated = translate(&job("abc", schedule), &berlin).unwrap();
    let about: Vec<&str> = translated.notes.iter().map(|note| note.field).collect();
    assert_eq!(about, ["schedule.staggerMs", "schedule.tz"]);
    assert!(translated.notes[1].text.contains("Europe/Berlin"));
    assert_eq!(translated.offset, Duration::from_millis(3_128_432_319 % 300_000));
    assert_eq!(
        translated.differences,
        [Difference::RecurringInGap, Difference::RecurringInRepeat, Difference::AskedInRepeat]
    );
}

/// The rows as texts: theirs, ours, and the reason.
fn rows(job: &JobRecord, now: &str, count: usize) -> Vec<String> {
    let translated = translate(job, &Zone::UTC).unwrap();
    let text = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
    side_by_side(job, &translated, &Zone::UTC, time(now), count)
        .into_iter()
        .map(|(theirs, ours, why)| match why {
            Some(why) => format!("{} {} {why:?}", text(theirs), text(ours)),
            None => format!("{} {}", text(theirs), text(ours)),
        })
        .collect()
}

#[test]
fn each_difference_is_shown_where_it_is() {
    let fixed = job("a", cron("30 2 * * *", "America/New_York", None));
    assert_eq!(
        rows(&fixed, "2026-03-07T12:00:00Z", 3),
        [
            "- 2026-03-08T07:00:00Z FixedInGap",
            "2026-03-08T07:30:00Z - FixedInGap",
            "2026-03-09T06:30:00Z 2026-03-09T06:30:00Z",
        ]
    );
    let hourly = job("a", cron("0 * * * *", "America/New_York", Some(0)));
    assert_eq!(
        rows(&hourly, "2026-11-01T04:30:00Z", 3),
        [
            "2026-11-01T05:00:00Z 2026-11-01T05:00:00Z",
            "- 2026-11-01T06:00:00Z RecurringInRepeat",
            "2026-11-01T07:00:00Z 2026-11-01T07:00:00Z",
        ]
    );
    let past = job("a", Schedule::At("2026-01-01".to_owned()));
    assert_eq!(rows(&past, "2026-01-02T00:00:00Z", 3), ["2026-01-01T00:00:00Z - PastAt"]);
    let mut late = job("a", every(3_600_000, Some("2026-01-01T00:00:00Z")));
    late.state.last_run_at = Some(time("2026-01-01T00:07:00Z"));
    assert_eq!(
        rows(&late, "2026-01-01T00:30:00Z", 2),
        ["- 2026-01-01T01:00:00Z EveryFromLastRun", "2026-01-01T01:07:00Z - EveryFromLastRun"]
    );
}
