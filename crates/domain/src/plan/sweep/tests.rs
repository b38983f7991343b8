//! What becomes of ended sessions.

use proptest::prelude::*;

use super::*;
use crate::duration::Keep;
use crate::id::Ids;
use crate::job::Retain;
use crate::plan::fixtures::{World, conversation, every, moment, span, spec, time};
use crate::session::{EndReason, State};

/// A session that ended at 10:00.
fn session(kind: SessionKind, reason: EndReason) -> Session {
    Session {
        kind,
        state: State::Ended { at: time("10:00"), reason },
        expires_at: Some(time("10:00")),
        version: crate::change::Version(3),
        ..conversation()
    }
}

fn run() -> Session {
    session(SessionKind::Run, EndReason::Completed)
}

fn case(session: &Session) -> Case<'_> {
    Case { session, job: None, rank: Rank::default(), undelivered: false, continued: false }
}

fn hours_after(hours: u64) -> Timestamp {
    Duration::from_secs(hours * 3600).after(time("10:00"))
}

fn law(kinds: &Policies, now: Timestamp) -> Law<'_> {
    Law { kinds, held_until: None, now }
}

fn judged(case: Case<'_>, hours: u64) -> (Fate, Rule) {
    let Judgement { fate, rule } = judge(case, law(&Policies::default(), hours_after(hours)));
    (fate, rule)
}

/// P6: the first look, right after the end, sets the true time; the next one takes the session.
#[test]
fn a_session_is_looked_at_at_its_end_and_goes_when_its_time_is_over() {
    let run = run();
    let later = Fate::Later(hours_after(24));
    assert_eq!(judged(case(&run), 0), (later, Rule::Age));
    let looked = indexed(&run, later).unwrap();
    assert_eq!(looked.look_at(), Some(hours_after(24)));
    assert_eq!(indexed(&looked, later), None, "looking twice changes nothing");
    assert_eq!(judged(case(&looked), 24), (Fate::Reap(Discard::Archive), Rule::Age));
    let main = session(SessionKind::Main, EndReason::Daily);
    assert_eq!(judged(case(&main), 99_999), (Fate::Keep, Rule::Forever));
    assert_eq!(indexed(&main, Fate::Keep).unwrap().look_at(), None);
}

/// P6: what blocks a session holds it with a reason, and it leaves the due index meanwhile.
#[test]
fn what_is_expired_but_needed_is_held_with_a_reason_and_a_time() {
    let run = run();
    let hold = |reason| (Fate::Hold(reason, hours_after(24) + LONGEST_PAUSE.to_std()), Rule::Age);
    let undelivered = Case { undelivered: true, ..case(&run) };
    assert_eq!(judged(undelivered, 24), hold(HoldReason::DeliveryPending));
    let continued = Case { continued: true, ..case(&run) };
    assert_eq!(judged(continued, 24), hold(HoldReason::Continued));
    assert_eq!(judged(undelivered, 23), (Fate::Later(hours_after(24)), Rule::Age));
    let held = indexed(&run, hold(HoldReason::Continued).0).unwrap();
    assert_eq!(held.look_at(), Some(hours_after(24) + LONGEST_PAUSE.to_std()));
    // A short retention is looked at again soon.
    let kinds = Policies { run: Keep::For(span("2s")), ..Policies::default() };
    let now = span("2s").after(time("10:00"));
    let fate = judge(undelivered, law(&kinds, now)).fate;
    assert_eq!(fate, Fate::Hold(HoldReason::DeliveryPending, span("4s").after(time("10:00"))));
}

/// P6: nobody knows for how long an unreadable job keeps its sessions, whatever their kind says.
#[test]
fn a_session_whose_job_cannot_be_read_is_held_and_never_goes() {
    let kinds = Policies::default();
    let run = run();
    let discarded = Session { discard: Some(Discard::Purge), ..run.clone() };
    for hours in [1, 24, 10_000] {
        for session in [&run, &discarded] {
            let fate = unjudged(session, law(&kinds, hours_after(hours))).fate;
            assert_eq!(fate.hold(), Some(HoldReason::JobUnreadable), "{hours}");
            assert_eq!(fate.until(), Some(LONGEST_PAUSE.after(hours_after(hours))));
        }
    }
    let pinned = Session { pinned: true, ..run };
    assert_eq!(unjudged(&pinned, law(&kinds, hours_after(24))).fate, Fate::Keep);
}

/// P6: nothing is deleted by a clock that is not to be trusted.
#[test]
fn a_held_clock_holds_everything_that_would_go_and_nothing_else() {
    let run = run();
    let until = hours_after(25);
    let kinds = Policies::default();
    let judged = |hours, held_until| {
        judge(case(&run), Law { held_until, ..law(&kinds, hours_after(hours)) })
    };
    assert_eq!(judged(24, Some(until)).fate, Fate::Hold(HoldReason::ClockJump, until));
    assert_eq!(judged(23, Some(until)).fate, Fate::Later(hours_after(24)));
    assert_eq!(judged(25, None).fate, Fate::Reap(Discard::Archive));
}

/// P6: a job's own policy holds also when the job was removed, its kind's when no record is left.
#[test]
fn floors_caps_and_ages_of_a_job_hold_until_its_record_is_gone() {
    let (mut world, id) = World::with("09:00", spec(every("1h")));
    let edit = |world: &mut World, retention| {
        let edited = crate::job::Spec { retention, ..spec(every("1h")) };
        world.put("job", edited);
        world.jobs[&id].clone()
    };
    let retention = Retention {
        retain: Some(Retain::Keep(Keep::For(span("1h")))),
        keep_last: Some(2),
        max_sessions: Some(5),
        ..Retention::default()
    };
    let job = edit(&mut world, retention);
    assert!(job.reindex, "its sessions are indexed anew");
    world.decide(id, crate::plan::jobs::remove);
    let removed = world.jobs[&id].clone();
    let run = run();
    let ranked = |newer| Case {
        job: Some(&removed),
        rank: Rank { newer, newer_failures: newer },
        ..case(&run)
    };
    assert_eq!(judged(ranked(0), 0), (Fate::Later(hours_after(1)), Rule::KeepLast));
    let floor = Fate::Hold(HoldReason::Floor, hours_after(2));
    assert_eq!(judged(ranked(1), 1), (floor, Rule::KeepLast));
    assert_eq!(judged(ranked(2), 1), (Fate::Reap(Discard::Archive), Rule::Age));
    assert_eq!(judged(ranked(5), 0), (Fate::Reap(Discard::Archive), Rule::MaxSessions));
    assert_eq!(judged(case(&run), 1), (Fate::Later(hours_after(24)), Rule::Age));
    assert_eq!(job_reindexed(&removed, &Retention::default()), None, "edited meanwhile");
    assert!(!job_reindexed(&removed, &retention).unwrap().reindex);
}

/// Pins leave the index, and what loses its pin is in it again, whatever policy it had before.
#[test]
fn a_pinned_session_is_not_looked_at_and_an_unpinned_one_is() {
    let main = session(SessionKind::Main, EndReason::Daily);
    let kept = indexed(&main, Fate::Keep).unwrap();
    let pinned = Session { pinned: true, ..kept };
    assert_eq!(judged(case(&pinned), 999), (Fate::Keep, Rule::Pinned));
    let pinned = indexed(&pinned, Fate::Keep).unwrap();
    assert_eq!(pinned.look_at(), None);
    let unpinned = Session { pinned: false, ..pinned };
    assert_eq!(unpinned.look_at(), Some(time("10:00")));
}

/// P6: a deletion is told with its rule, after the archive, and only if nobody needs the session.
#[test]
fn a_session_that_goes_leaves_an_archive_and_two_events() {
    let run = run();
    let archive = Archive {
        session: run.id,
        key: Some(run.key.clone()),
        ended_at: run.ended_at(),
        segment: "2026-04-01.001.zst".to_owned(),
        offset: 0,
        length: 10,
        sha256: String::new(),
        entries: 0,
        archived_at: time("11:00"),
        delete_after: None,
        deleted_at: None,
        version: crate::change::Version::NEW,
    };
    let gone = Gone { session: &run, rule: Rule::Age, archive: Some(&archive) };
    let decision = reap(&[gone], None, &mut moment("11:00"));
    let [alone, told, put, archived, reaped, delete] = &decision.changes[..] else {
        panic!("{decision:#?}")
    };
    assert_eq!(*alone, Change::Require(Guard::NotContinued(run.id)));
    assert_eq!(*told, Change::Require(Guard::Told(run.id)));
    assert_eq!(*put, archive.clone().into());
    assert_eq!(*delete, Change::Delete(RecordId::Session(run.id), run.version));
    let (Change::Emit(archived), Change::Emit(reaped)) = (archived, reaped) else {
        panic!("{decision:#?}")
    };
    assert_eq!(archived.kind, EventType::SessionArchived);
    assert_eq!(archived.data["segment"], "2026-04-01.001.zst");
    assert_eq!((reaped.kind, &reaped.data["rule"]), (EventType::SessionReaped, &"age".into()));
    let erased = archive.erased(time("11:00"));
    let gone = Gone { archive: Some(&erased), rule: Rule::Discarded, ..gone };
    let decision = reap(&[gone], None, &mut moment("11:00"));
    assert_eq!(decision.changes.len(), 5, "what is erased was not archived: {decision:#?}");
}

/// A policy edit is an edit of the kinds that it changes.
#[test]
fn only_the_kinds_whose_policy_changed_are_indexed_anew() {
    let first = policies_changed(&Reaper::default(), &Policies::default()).unwrap();
    assert_eq!(first.reindex.len(), SessionKind::ALL.len(), "nothing was indexed before");
    assert_eq!(policies_changed(&first, &Policies::default()), None);
    let mut reaper = first;
    while !reaper.reindex.is_empty() {
        reaper = reindexed(&reaper, None);
    }
    let edited = Policies { chat: Keep::For(span("7d")), ..Policies::default() };
    let reaper = policies_changed(&reaper, &edited).unwrap();
    assert_eq!(reaper.reindex, [Reindex::whole(SessionKind::Chat)]);
    let somewhere = Ids::new(time("10:00"), 1).mint();
    let reaper = reindexed(&reaper, Some(somewhere));
    assert_eq!(reaper.reindex[0].after, Some(somewhere));
    // Edited again halfway: from the beginning.
    let again = policies_changed(&reaper, &Policies::default()).unwrap();
    assert_eq!(again.reindex, [Reindex::whole(SessionKind::Chat)]);
    let jumped = |jump| distrusted(&again, jump, time("12:00"));
    let ahead = jumped(ClockJump::Ahead { by: span("9d") });
    assert_eq!(ahead.deletion_held_until, Some(time("13:00")));
    assert_eq!(ahead.indexed, again.indexed, "what is due by then is due by any clock");
    assert_eq!(jumped(ClockJump::Back { by: span("9d") }).indexed, None);
}

fn any_keep() -> impl Strategy<Value = Keep> {
    prop_oneof![
        Just(Keep::Forever),
        (1_u64..200).prop_map(|hours| Keep::For(Duration::from_secs(hours * 3600))),
    ]
}

fn any_session() -> impl Strategy<Value = Session> {
    let discard = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Discard::Archive)),
        1 => Just(Some(Discard::Purge)),
    ];
    let parts = (
        proptest::sample::select(&SessionKind::ALL[..]),
        proptest::sample::select(&EndReason::ALL[..]),
        any::<[bool; 2]>(),
        discard,
    );
    parts.prop_map(|(kind, reason, [open, pinned], discard)| {
        let ended = session(kind, reason);
        let state = if open { State::Open } else { ended.state };
        Session { state, pinned, discard, ..ended }
    })
}

fn any_retention() -> impl Strategy<Value = Retention> {
    let retain = prop_oneof![
        Just(None),
        Just(Some(Retain::OnFailure)),
        any_keep().prop_map(|keep| Some(Retain::Keep(keep))),
    ];
    let count = || proptest::option::of(0_u32..6);
    (retain, count(), count(), count()).prop_map(
        |(retain, keep_last, keep_last_failures, max_sessions)| Retention {
            retain,
            keep_last,
            keep_last_failures,
            max_sessions,
        },
    )
}

proptest! {
    /// P6: whatever the policies are, nothing goes that is alive, pinned, awaited or continued; and
    /// whatever stays leaves the due index, with a reason if its time is over.
    #[test]
    fn nothing_goes_that_is_needed_and_nothing_stays_without_a_reason(
        session in any_session(),
        retention in any_retention(),
        kind_keep in any_keep(),
        newer in 0_u32..8,
        [undelivered, continued, held] in any::<[bool; 3]>(),
        hours in 0_u64..400,
    ) {
        let (mut world, id) = World::with("09:00", spec(every("1h")));
        let job = world.jobs.get_mut(&id).unwrap();
        job.spec.retention = retention;
        let rank = Rank { newer, newer_failures: newer / 2 };
        let case = Case { session: &session, job: Some(job), rank, undelivered, continued };
        let kinds = Policies { run: kind_keep, ..Policies::default() };
        let now = hours_after(hours);
        let held_until = held.then(|| hours_after(hours + 1));
        let Judgement { fate, rule } = judge(case, Law { held_until, ..law(&kinds, now) });
        let needed = session.is_open() || session.pinned || undelivered || continued || held;
        match fate {
            Fate::Reap(_) => prop_assert!(!needed, "{rule:?}"),
            Fate::Hold(_, until) | Fate::Later(until) => prop_assert!(now < until),
            Fate::Keep => {
                let for_ever = matches!(
                    rule,
                    Rule::Open | Rule::Pinned | Rule::Forever | Rule::KeepLast | Rule::KeepLastFailures
                );
                prop_assert!(for_ever, "{rule:?}");
            }
        }
        let stays = indexed(&session, fate).unwrap_or_else(|| session.clone());
        if !matches!(fate, Fate::Reap(_)) && !session.is_open() {
            prop_assert!(stays.look_at().is_none_or(|at| now < at), "{fate:?} is looked at again");
        }
    }
}
