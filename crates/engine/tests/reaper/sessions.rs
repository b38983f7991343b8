//! Which sessions go, which stay, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use sexton_domain::change::RecordId;
use sexton_domain::event::{EventType, NewEvent, Subject};
use sexton_domain::hook::DeliveryState;
use sexton_domain::job::{Retain, Retention};
use sexton_domain::key::SessionKind;
use sexton_domain::plan::sweep::Fate;
use sexton_domain::retention::Rule;
use sexton_domain::session::{self, Discard, EndReason, HoldReason, Session};
use sexton_engine::clock::Clock as _;
use sexton_engine::page::PageRequest;

use crate::make::{self, delivery, ended, job, of_job};
use crate::yard::{Keeper, Yard, keep};

/// Every ended session with what becomes of it, as `sweep --explain` shows it.
async fn explained(keeper: &Keeper) -> BTreeMap<session::EndReason, Vec<(Rule, Fate)>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut page = PageRequest::first(2);
    loop {
        let found = keeper.handle.judgements(page).await.unwrap();
        for (session, judgement) in found.items {
            let reason = session.end_reason().unwrap();
            all.entry(reason).or_default().push((judgement.rule, judgement.fate));
        }
        let Some(next) = found.next else { return all };
        page.after = Some(next);
    }
}

/// P6: by the policy of its kind, counted from the end.
#[tokio::test]
async fn a_session_goes_when_its_time_is_over_and_not_before() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let over = ended(SessionKind::Run, keeper.ago("24h1m"));
    let young = ended(SessionKind::Run, keeper.ago("23h59m"));
    let main = ended(SessionKind::Main, keeper.ago("900d"));
    for session in [&over, &young, &main] {
        keeper.bury(session, &["hello", "world"]).await;
    }
    let report = keeper.sweep().await;
    assert_eq!((report.summary.reaped, report.summary.archived), (1, 1), "{report:?}");
    assert_eq!(report.gone, [(Rule::Age, 1)].into());
    assert!(!keeper.is_stored(over.id).await);
    assert_eq!(keeper.archived(over.id).await, ["hello", "world"]);
    let told = keeper.told(over.id).await;
    assert_eq!(told, [EventType::SessionArchived, EventType::SessionReaped]);
    // The others were looked at once, and are looked at again when their time is over.
    let young = keeper.session(young.id).await.unwrap();
    let day = "24h".parse::<sexton_domain::duration::Duration>().unwrap();
    assert_eq!(young.look_at(), Some(day.after(young.ended_at().unwrap())));
    assert_eq!(keeper.session(main.id).await.unwrap().look_at(), None);
    assert_eq!(keeper.sweep().await.summary.reaped, 0);
    keeper.stop().await;
}

/// P6: pins, deliveries, successors: whatever needs a session keeps it, with a reason.
#[tokio::test]
async fn what_is_needed_stays_with_a_reason_until_it_is_not() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("3d");
    let as_ended = |reason| {
        let session = ended(SessionKind::Run, at);
        Session { state: session::State::Ended { at, reason }, ..session }
    };
    let pinned = Session { pinned: true, ..as_ended(EndReason::New) };
    let awaited = as_ended(EndReason::Idle);
    let continued = as_ended(EndReason::Shutdown);
    let free = as_ended(EndReason::Completed);
    for session in [&pinned, &awaited, &continued, &free] {
        keeper.bury(session, &["x"]).await;
    }
    let successor = ended(SessionKind::Run, at);
    let successor = Session {
        state: session::State::Open,
        previous: Some(continued.id),
        owner: sexton_domain::node::Owner {
            epoch: keeper.handle.nodes(1).await.unwrap()[0].epoch,
            ..successor.owner
        },
        ..successor
    };
    let told = NewEvent {
        id: make::id(at),
        kind: EventType::SessionEnded,
        at,
        subject: Subject { session: Some(awaited.id), ..Subject::default() },
        data: Default::default(),
    };
    let far = DeliveryState::Pending { next_at: "2100-01-01T00:00:00Z".parse().unwrap() };
    let pending = delivery(told.id, Some(awaited.id), far, at);
    keeper.put(vec![successor.into(), told.into(), pending.clone().into()]).await;
    let report = keeper.sweep().await;
    assert_eq!(report.summary.reaped, 1, "{report:?}");
    let held = [(HoldReason::Continued, 1), (HoldReason::DeliveryPending, 1)];
    assert_eq!(report.held, held.into());
    let explained = explained(&keeper).await;
    let fate = |reason| explained.get(&reason).map(|fates: &Vec<_>| fates[0]);
    assert_eq!(fate(EndReason::New), Some((Rule::Pinned, Fate::Keep)));
    let hold = |reason| fate(reason).map(|(rule, fate)| (rule, fate.hold()));
    assert_eq!(hold(EndReason::Idle), Some((Rule::Age, Some(HoldReason::DeliveryPending))));
    assert_eq!(hold(EndReason::Shutdown), Some((Rule::Age, Some(HoldReason::Continued))));
    assert_eq!(fate(EndReason::Completed), None);
    // A hold leaves the due index; what holds it is gone, so it goes with the next look.
    let stored = keeper.session(awaited.id).await.unwrap();
    assert!(stored.look_at().is_some_and(|at| keeper.now() < at));
    let at_last = Session { hold: None, ..stored };
    keeper.put(vec![at_last.into()]).await;
    keeper
        .put(vec![sexton_domain::change::Change::Delete(
            RecordId::Delivery(pending.id),
            sexton_domain::change::Version(1),
        )])
        .await;
    assert_eq!(keeper.sweep().await.summary.reaped, 1);
    assert!(!keeper.is_stored(awaited.id).await);
    keeper.stop().await;
}

/// P6: floors over age, a cap over floors, successful runs at once; also of a job that was removed.
#[tokio::test]
async fn floors_caps_and_on_failure_of_a_job_are_kept() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("9d");
    let floor = Retention { keep_last: Some(2), ..Retention::default() };
    let cap = Retention { max_sessions: Some(2), ..Retention::default() };
    let failures = Retention {
        retain: Some(Retain::OnFailure),
        keep_last_failures: Some(1),
        ..Retention::default()
    };
    let jobs = [job("floor", at, floor), job("cap", at, cap), job("failures", at, failures)];
    let mut removed = jobs[0].clone();
    removed.removed_at = Some(keeper.ago("8d"));
    keeper.put(vec![removed.into(), jobs[1].clone().into(), jobs[2].clone().into()]).await;
    let mut sessions: Vec<Vec<Session>> = Vec::new();
    for (job, age) in jobs.iter().zip(["5d", "1h", "3h"]) {
        let end = keeper.ago(age);
        let mut of = Vec::new();
        for nth in 0..4 {
            let minutes = sexton_domain::duration::Duration::from_secs(60 * nth);
            of.push(of_job(job, minutes.after(end)));
        }
        sessions.push(of);
    }
    for (nth, reason) in
        [EndReason::Failed, EndReason::Completed, EndReason::TimedOut].into_iter().enumerate()
    {
        let session = &mut sessions[2][nth];
        session.state = session::State::Ended { at: session.ended_at().unwrap(), reason };
    }
    for session in sessions.iter().flatten() {
        keeper.bury(session, &["x"]).await;
    }
    let report = keeper.sweep().await;
    let gone = [(Rule::MaxSessions, 2), (Rule::OnFailure, 2), (Rule::Age, 2)];
    assert_eq!(report.gone, gone.into(), "{report:?}");
    assert_eq!(report.held, [(HoldReason::Floor, 2)].into());
    let mut left = Vec::new();
    for (of, session) in
        sessions.iter().enumerate().flat_map(|(of, s)| s.iter().map(move |s| (of, s)))
    {
        if keeper.is_stored(session.id).await {
            left.push((of, session.id));
        }
    }
    let newest = |of: usize| sessions[of][2..].iter().map(move |session| (of, session.id));
    let failed = [(2, sessions[2][0].id), (2, sessions[2][2].id)];
    let expected: Vec<_> = newest(0).chain(newest(1)).chain(failed).collect();
    assert_eq!(left, expected);
    keeper.stop().await;
}

/// P6: between the judgement and the deletion, somebody pins one and another one is continued. They stay,
/// without a copy that nobody knows of; the others go.
#[tokio::test]
async fn what_is_touched_while_it_is_archived_is_left_out_and_the_others_go() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("2d");
    let sessions: Vec<Session> = (0..4).map(|_| ended(SessionKind::Run, at)).collect();
    for session in &sessions {
        keeper.bury(session, &["mine"]).await;
    }
    let pinned = Session { pinned: true, ..keeper.session(sessions[1].id).await.unwrap() };
    let epoch = keeper.handle.nodes(1).await.unwrap()[0].epoch;
    let next = ended(SessionKind::Run, at);
    let owner = sexton_domain::node::Owner { epoch, ..next.owner };
    let (previous, state) = (Some(sessions[2].id), session::State::Open);
    let next = Session { previous, state, owner, ..next };
    let meanwhile = vec![pinned.into(), next.into()];
    *yard.files.meanwhile.lock().unwrap() = Some((keeper.store.clone(), meanwhile));
    let report = keeper.sweep().await;
    let counts = (report.summary.reaped, report.summary.archived);
    assert_eq!(counts, (2, 2), "{report:?}");
    for (session, stays) in sessions.iter().zip([false, true, true, false]) {
        assert_eq!(keeper.is_stored(session.id).await, stays);
        assert_eq!(keeper.has(RecordId::Archive(session.id)).await, !stays);
    }
    assert_eq!(keeper.transcript(sessions[1].id).await, ["mine"]);
    assert_eq!(keeper.archived(sessions[3].id).await, ["mine"]);
    let segment = keeper.archive(sessions[3].id).await.segment;
    let bytes = std::fs::read(yard.archives().join(&segment)).unwrap();
    let mut plain = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(&bytes[..]).unwrap();
    std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    let lines = plain.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 4, "two sessions of one entry");
    keeper.stop().await;
}

/// What a person deletes goes at once; purged, it leaves nothing behind.
#[tokio::test]
async fn what_was_deleted_by_hand_goes_whatever_its_age() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("1m");
    let main = ended(SessionKind::Main, at);
    let archived = Session { discard: Some(Discard::Archive), ..main.clone() };
    let id = make::id(at);
    let purged = Session { id, discard: Some(Discard::Purge), ..main };
    keeper.bury(&archived, &["kept"]).await;
    keeper.bury(&purged, &["secret"]).await;
    // Their change wakes the reaper: which of the sweeps takes them does not matter.
    keeper.sweep().await;
    assert!(!keeper.is_stored(archived.id).await && !keeper.is_stored(purged.id).await);
    assert_eq!(keeper.archived(archived.id).await, ["kept"]);
    assert!(!keeper.has(RecordId::Archive(purged.id)).await);
    assert_eq!(keeper.told(purged.id).await, [EventType::SessionReaped]);
    keeper.stop().await;
}

/// P6: an edited policy holds for what has ended before, of a kind and of a job.
#[tokio::test]
async fn an_edit_of_a_policy_reaches_every_session_it_is_about() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let chat = ended(SessionKind::Chat, keeper.ago("8d"));
    let daily = job("daily", keeper.ago("90d"), Retention::default());
    let of_daily = Session { kind: SessionKind::Job, ..of_job(&daily, keeper.ago("8d")) };
    keeper.put(vec![daily.clone().into()]).await;
    keeper.bury(&chat, &["x"]).await;
    keeper.bury(&of_daily, &["x"]).await;
    assert_eq!(keeper.sweep().await.summary.reaped, 0);
    // The reload itself wakes the reaper: which of the two sweeps takes it does not matter.
    keeper.reload(|settings| settings.retention.sessions.chat = keep("7d")).await;
    keeper.sweep().await;
    assert!(!keeper.is_stored(chat.id).await);
    let edited = keeper.handle.job(&sexton_engine::handle::JobRef::Id(daily.id)).await.unwrap();
    let mut spec = edited.spec.clone();
    spec.retention.retain = Some(Retain::Keep(keep("7d")));
    let mut moment = sexton_domain::plan::Moment::new(keeper.now(), 7);
    let existing = sexton_domain::plan::jobs::Existing { job: &edited, active: &[] };
    let decision = sexton_domain::plan::jobs::edit(existing, spec, &mut moment).unwrap();
    keeper.put(decision.changes).await;
    assert_eq!(keeper.sweep().await.summary.reaped, 1);
    assert!(!keeper.is_stored(of_daily.id).await);
    let indexed = keeper.handle.job(&sexton_engine::handle::JobRef::Id(daily.id)).await.unwrap();
    assert!(!indexed.reindex);
    keeper.stop().await;
}

/// P6, P8: many sessions that become due at once go in slices, and what others commit meanwhile does
/// not wait for the end of the sweep.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_makes_many_sessions_due_at_once_does_not_stop_the_others() {
    const SESSIONS: usize = 3_000;
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("8d");
    for _ in 0..SESSIONS / 1000 {
        let sessions = (0..1000).map(|_| {
            let session = ended(SessionKind::Chat, at);
            Session { expires_at: None, ..session }.into()
        });
        keeper.put(sessions.collect()).await;
    }
    keeper
        .reload(|settings| {
            settings.retention.sessions.chat = keep("7d");
            settings.retention.archive = keep("1d");
        })
        .await;
    let mut sweep = Box::pin(keeper.sweep());
    let (mut commits, mut longest) = (0, Duration::ZERO);
    let mut left = SESSIONS as u64;
    let report = loop {
        let before = yard.clock.monotonic();
        let foreground = async {
            keeper.put(vec![make::run(keeper.now()).into()]).await;
            yard.clock.monotonic() - before
        };
        tokio::select! {
            report = &mut sweep => break report,
            took = foreground => {
                commits += 1;
                longest = longest.max(took);
                let ended = chats(&keeper).await;
                assert!(ended <= left, "it only makes progress");
                left = ended;
            }
        }
    };
    drop(sweep);
    let mut reaped = report.summary.reaped;
    let mut sweeps = 1;
    while report.unfinished && reaped < SESSIONS as u64 {
        reaped = SESSIONS as u64 - chats(&keeper).await;
        sweeps += 1;
        keeper.sweep().await;
    }
    assert_eq!(chats(&keeper).await, 0, "after {sweeps} sweeps");
    assert!(commits > 20, "only {commits} commits were served meanwhile");
    assert!(longest < Duration::from_secs(3), "a commit waited for {longest:?}");
    keeper.stop().await;
}

async fn chats(keeper: &Keeper) -> u64 {
    let tally = keeper.store.read().tally().await.unwrap();
    tally.sessions.get(&(SessionKind::Chat, false)).copied().unwrap_or(0)
}

/// P6: what the reaper had time to look at and did not is counted, and nothing right after a start.
#[tokio::test]
async fn what_the_reaper_does_not_get_to_is_overdue_when_there_was_time() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    keeper.bury(&ended(SessionKind::Run, keeper.ago("2d")), &["x"]).await;
    let overdue = async || keeper.handle.status().await.unwrap().overdue;
    assert_eq!(overdue().await, 0, "there was no time yet");
    yard.clock.pass(3 * 24 * 60);
    assert_eq!(overdue().await, 1);
    keeper.sweep().await;
    assert_eq!(overdue().await, 0);
    keeper.stop().await;
}
