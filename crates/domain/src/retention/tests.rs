//! When a session may go.

use super::*;
use crate::key::SessionKey;
use crate::plan::fixtures::{conversation, span, time};
use crate::session::State;

/// An isolated run's session that ended at 10:00.
fn session(reason: EndReason) -> Session {
    Session {
        key: SessionKey::parse("agent:shell:cron:job:run:1").unwrap(),
        kind: SessionKind::Run,
        state: State::Ended { at: time("10:00"), reason },
        ..conversation()
    }
}

fn judge(session: &Session, job: Retention, rank: Rank, now: Timestamp) -> Verdict {
    verdict(session, &Policies::default(), &job, rank, now)
}

fn newer(newer: u32) -> Rank {
    Rank { newer, newer_failures: newer }
}

fn day_later() -> Timestamp {
    span("24h").after(time("10:00"))
}

/// Interface 3: the defaults that the documentation shows.
#[test]
fn the_default_policies_are_those_of_the_interface() {
    let documented = serde_json::json!({
        "run": "24h", "job": "30d", "main": false, "chat": false, "subagent": "24h",
        "boot": "24h", "temporary": "1h", "other": false,
    });
    let documented: Policies = serde_json::from_value(documented).unwrap();
    assert_eq!(documented, Policies::default());
    let stored = serde_json::to_value(Policies::default()).unwrap();
    assert_eq!(serde_json::from_value::<Policies>(stored).unwrap(), Policies::default());
}

/// The stored form of a job's retention; a change of it needs a fixture of the old form.
#[test]
fn the_retention_of_a_job_keeps_its_stored_form() {
    let cases = [
        (
            Retention::default(),
            r#"{"retain":null,"keep_last":null,"keep_last_failures":null,"max_sessions":null}"#,
        ),
        (
            Retention {
                retain: Some(Retain::Keep(Keep::For(span("7d")))),
                keep_last: Some(3),
                ..Retention::default()
            },
            r#"{"retain":{"keep":"7d"},"keep_last":3,"keep_last_failures":null,"max_sessions":null}"#,
        ),
        (
            Retention {
                retain: Some(Retain::Keep(Keep::Forever)),
                keep_last_failures: Some(5),
                ..Retention::default()
            },
            r#"{"retain":{"keep":false},"keep_last":null,"keep_last_failures":5,"max_sessions":null}"#,
        ),
        (
            Retention {
                retain: Some(Retain::OnFailure),
                max_sessions: Some(9),
                ..Retention::default()
            },
            r#"{"retain":"on_failure","keep_last":null,"keep_last_failures":null,"max_sessions":9}"#,
        ),
    ];
    for (retention, stored) in cases {
        assert_eq!(serde_json::to_string(&retention).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Retention>(stored).unwrap(), retention);
    }
}

/// P6: age counts from the end, by the policy of the stored kind.
#[test]
fn each_kind_expires_by_its_own_policy_counted_from_the_end() {
    let cases = [
        (SessionKind::Run, Some("24h")),
        (SessionKind::Job, Some("30d")),
        (SessionKind::Main, None),
        (SessionKind::Chat, None),
        (SessionKind::Subagent, Some("24h")),
        (SessionKind::Boot, Some("24h")),
        (SessionKind::Temporary, Some("1h")),
        (SessionKind::Other, None),
    ];
    for (kind, age) in cases {
        let session = Session { kind, ..session(EndReason::Completed) };
        let at = |now| judge(&session, Retention::default(), Rank::default(), now);
        let Some(age) = age else {
            assert_eq!(at(Timestamp::MAX), Verdict::Kept(Rule::Forever, None), "{kind:?}");
            continue;
        };
        let end = span(age).after(time("10:00"));
        let before = Duration::from_millis(1).before(end);
        assert_eq!(at(before), Verdict::Kept(Rule::Age, Some(end)), "{kind:?}");
        assert_eq!(at(end), Verdict::Expired(Rule::Age), "{kind:?}");
    }
}

/// P6: history that is brought over is as young as its import, also where it is older than any policy.
#[test]
fn the_age_of_an_imported_session_counts_from_the_import() {
    let imported_at = Some(time("12:00"));
    let imported = Session { imported_at, ..session(EndReason::Failed) };
    let at = |session: &Session, now| judge(session, Retention::default(), Rank::default(), now);
    let end = span("24h").after(time("12:00"));
    assert_eq!(
        at(&imported, span("24h").after(time("10:00"))),
        Verdict::Kept(Rule::Age, Some(end))
    );
    assert_eq!(at(&imported, end), Verdict::Expired(Rule::Age));
    // A clock that was set back between the end and the import makes nothing older than it is.
    let early = Session { imported_at: Some(time("09:00")), ..imported };
    let end = span("24h").after(time("10:00"));
    assert_eq!(at(&early, time("10:00")), Verdict::Kept(Rule::Age, Some(end)));
}

/// P6: a sweep never touches what is alive or what a person has pinned.
#[test]
fn an_open_or_pinned_session_stays_whatever_the_policies_say() {
    let strict = Retention {
        retain: Some(Retain::OnFailure),
        max_sessions: Some(0),
        ..Retention::default()
    };
    let open = Session { state: State::Open, ..session(EndReason::Completed) };
    let kept = |rule| Verdict::Kept(rule, None);
    assert_eq!(judge(&open, strict, newer(99), Timestamp::MAX), kept(Rule::Open));
    let pinned = Session { pinned: true, ..session(EndReason::Completed) };
    assert_eq!(judge(&pinned, strict, newer(99), Timestamp::MAX), kept(Rule::Pinned));
}

/// Floors go before age, the cap before both.
#[test]
fn floors_keep_the_newest_and_the_cap_takes_the_oldest_whatever_their_age() {
    let policy = |keep_last, keep_last_failures, max_sessions| Retention {
        retain: Some(Retain::Keep(Keep::For(span("1h")))),
        keep_last,
        keep_last_failures,
        max_sessions,
    };
    let (good, bad) = (EndReason::Completed, EndReason::Failed);
    // Age alone would have taken it.
    let kept = |rule| Verdict::Kept(rule, Some(time("11:00")));
    let expired = Verdict::Expired;
    let cases = [
        (good, policy(Some(3), None, None), newer(2), kept(Rule::KeepLast)),
        (good, policy(Some(3), None, None), newer(3), expired(Rule::Age)),
        (bad, policy(None, Some(3), None), newer(2), kept(Rule::KeepLastFailures)),
        (bad, policy(None, Some(3), None), newer(3), expired(Rule::Age)),
        (good, policy(None, Some(3), None), newer(0), expired(Rule::Age)),
        (
            bad,
            policy(Some(1), Some(1), None),
            Rank { newer: 5, newer_failures: 0 },
            kept(Rule::KeepLastFailures),
        ),
        (good, policy(Some(9), None, Some(4)), newer(4), expired(Rule::MaxSessions)),
        (good, policy(Some(9), None, Some(4)), newer(3), kept(Rule::KeepLast)),
        (bad, policy(None, Some(9), Some(4)), newer(4), expired(Rule::MaxSessions)),
        (good, policy(Some(0), Some(0), None), newer(0), expired(Rule::Age)),
    ];
    for (reason, job, rank, expected) in cases {
        assert_eq!(judge(&session(reason), job, rank, day_later()), expected, "{job:?} {rank:?}");
    }
}

/// A job's own age goes before its kind's, in both directions.
#[test]
fn what_a_job_says_about_age_goes_before_what_its_kind_says() {
    let job = |keep| Retention { retain: Some(Retain::Keep(keep)), ..Retention::default() };
    let session = session(EndReason::Completed);
    let judge = |keep, now| judge(&session, job(keep), Rank::default(), now);
    assert_eq!(judge(Keep::For(span("5m")), time("10:05")), Verdict::Expired(Rule::Age));
    let week = span("7d").after(time("10:00"));
    assert_eq!(judge(Keep::For(span("7d")), day_later()), Verdict::Kept(Rule::Age, Some(week)));
    assert_eq!(judge(Keep::Forever, Timestamp::MAX), Verdict::Kept(Rule::Forever, None));
}

/// `on_failure` deletes what succeeded at once. Regression: it also took sessions that a stop of
/// the gateway or a person had cut short.
#[test]
fn on_failure_takes_what_succeeded_at_once_and_nothing_else() {
    let job = Retention { retain: Some(Retain::OnFailure), ..Retention::default() };
    for reason in EndReason::ALL {
        let expected = match reason {
            EndReason::Completed => Verdict::Expired(Rule::OnFailure),
            _ => Verdict::Kept(Rule::Age, Some(day_later())),
        };
        let got = judge(&session(reason), job, Rank::default(), time("10:00"));
        assert_eq!(got, expected, "{reason:?}");
    }
    let floor = Retention { keep_last: Some(1), ..job };
    let kept = judge(&session(EndReason::Completed), floor, newer(0), day_later());
    assert_eq!(kept, Verdict::Kept(Rule::KeepLast, Some(time("10:00"))));
}

/// What a person has deleted goes, whatever the policies keep; a pin alone is stronger.
#[test]
fn what_was_deleted_by_hand_goes_at_once() {
    use crate::session::Discard;
    let keep = Retention {
        retain: Some(Retain::Keep(Keep::Forever)),
        keep_last: Some(9),
        ..Retention::default()
    };
    let discarded = Session { discard: Some(Discard::Archive), ..session(EndReason::Deleted) };
    let judge = |session: &Session| judge(session, keep, newer(0), time("10:00"));
    assert_eq!(judge(&discarded), Verdict::Expired(Rule::Discarded));
    let pinned = Session { pinned: true, ..discarded };
    assert_eq!(judge(&pinned), Verdict::Kept(Rule::Pinned, None));
}
