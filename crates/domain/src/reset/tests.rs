//! When conversations are over, and the instant up to which a look has to search for them.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn idle(text: &str) -> Rule {
    Rule { idle: Some(text.parse().unwrap()), daily: None }
}

fn daily(clock: &str, zone: &str) -> Rule {
    let daily = Daily { at: clock.parse().unwrap(), zone: zone.parse().unwrap() };
    Rule { idle: None, daily: Some(daily) }
}

#[test]
fn without_a_rule_no_silence_is_too_long() {
    let rule = Rule::default();
    assert_eq!(rule.over(Timestamp::MIN, Timestamp::MAX), None);
    assert_eq!(rule.cutoff(Timestamp::MAX), None);
    assert!(Rules::default().of(SessionKind::Run).is_none());
}

#[test]
fn a_conversation_is_idle_as_soon_as_it_was_silent_for_the_limit() {
    let rule = idle("12h");
    let now = at("2026-03-02T12:00:00Z");
    assert_eq!(rule.over(at("2026-03-02T00:00:00.001Z"), now), None);
    assert_eq!(rule.over(at("2026-03-02T00:00:00Z"), now), Some(EndReason::Idle));
    // A clock that was put back makes nobody silent.
    assert_eq!(rule.over(at("2026-03-03T00:00:00Z"), now), None);
}

/// A turn at the very minute belongs to the new day.
#[test]
fn a_day_is_over_at_its_hour_by_the_clock_on_the_wall_of_its_zone() {
    let rule = daily("04:00", "Europe/Berlin");
    let boundary = at("2026-03-02T03:00:00Z");
    for (active, now, over) in [
        ("2026-03-02T02:59:59.999Z", "2026-03-02T02:59:59.999Z", false),
        ("2026-03-02T02:59:59.999Z", "2026-03-02T03:00:00Z", true),
        ("2026-03-02T03:00:00Z", "2026-03-02T03:00:00Z", false),
        ("2026-03-02T03:00:00Z", "2026-03-03T02:59:59Z", false),
        ("2026-03-02T03:00:00Z", "2026-03-03T03:00:00Z", true),
        ("2026-02-01T00:00:00Z", "2026-03-02T10:00:00Z", true),
    ] {
        let expected = over.then_some(EndReason::Daily);
        assert_eq!(rule.over(at(active), at(now)), expected, "{active} {now}");
    }
    assert_eq!(rule.cutoff(boundary), Some(at("2026-03-02T02:59:59.999Z")));
}

/// The written rule for civil times: in a gap the first instant after it, of two the first.
#[test]
fn a_change_of_clock_moves_the_end_of_a_day_as_it_moves_a_slot() {
    let rule = daily("02:30", "Europe/Berlin");
    // 29 March 2026: 02:00 to 03:00 does not exist.
    assert_eq!(rule.cutoff(at("2026-03-29T00:59:59Z")), Some(at("2026-03-28T01:29:59.999Z")));
    assert_eq!(rule.cutoff(at("2026-03-29T01:00:00Z")), Some(at("2026-03-29T00:59:59.999Z")));
    // 25 October 2026: 02:30 comes at 00:30 and 01:30.
    let active = at("2026-10-25T00:30:00Z");
    assert_eq!(rule.over(active, at("2026-10-25T01:30:00Z")), None, "the second is not a new day");
    assert_eq!(rule.over(active, at("2026-10-26T01:30:00Z")), Some(EndReason::Daily));
}

#[test]
fn of_two_limits_the_one_that_passed_first_is_the_reason() {
    let rule = Rule { idle: idle("12h").idle, ..daily("04:00", "UTC") };
    let now = at("2026-03-03T15:00:00Z");
    assert_eq!(rule.over(at("2026-03-02T23:00:00Z"), now), Some(EndReason::Daily));
    assert_eq!(rule.over(at("2026-03-02T10:00:00Z"), now), Some(EndReason::Idle));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What a look finds by the cutoff is what the rule says is over, to the millisecond.
    #[test]
    fn the_cutoff_is_the_newest_silence_that_is_over(
        now in 1_700_000_000_000_i64..1_900_000_000_000,
        idle_ms in proptest::option::of(1_u64..100_000_000),
        minute in proptest::option::of(0_i8..60),
        hour in 0_i8..24,
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("Pacific/Apia"), Just("America/St_Johns")],
    ) {
        let now = Timestamp::from_millisecond(now).unwrap();
        let rule = Rule {
            idle: idle_ms.map(Duration::from_millis),
            daily: minute.map(|minute| Daily {
                at: jiff::civil::time(hour, minute, 0, 0),
                zone: zone.parse().unwrap(),
            }),
        };
        let Some(cutoff) = rule.cutoff(now) else {
            prop_assert!(rule == Rule::default());
            return Ok(());
        };
        let ms = Duration::from_millis(1);
        prop_assert!(rule.over(cutoff, now).is_some());
        prop_assert!(rule.over(ms.before(cutoff), now).is_some());
        prop_assert_eq!(rule.over(ms.after(cutoff), now), None);
    }
}
