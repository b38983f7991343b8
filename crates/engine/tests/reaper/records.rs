//! The retention table: every line of it, just before its time is over and just after.

use jiff::Timestamp;
use sexton_domain::access::{Idempotency, IdempotencyKey};
use sexton_domain::alert::{Alert, AlertCode, AlertKey};
use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::{Change, Record, RecordId};
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::event::{EventType, NewEvent, Subject};
use sexton_domain::hook::{DeadReason, DeliveryState};
use sexton_domain::job::{Job, Retention, Source};
use sexton_domain::key::SessionKind;
use sexton_domain::node::{EndReason, Epoch, Node, NodeEnd, ProcessId};
use sexton_domain::retention::{Line, MAX_RUNS_PER_JOB, Periods};
use sexton_domain::usage::{Tokens, Usage};

use crate::make::{self, delivery, ended, id, job};
use crate::yard::{Keeper, Yard};

/// A record of a line whose time began then, with what else it needs.
fn record(line: Line, at: Timestamp, nth: u32) -> (RecordId, Vec<Change>) {
    let put = |record: Record| (record.id(), vec![Change::Put(record)]);
    match line {
        Line::Nodes => put(Record::Node(node(at, nth))),
        Line::DoneJobs => {
            let done_at = Some(at);
            let done = Job { done_at, ..job(&format!("done-{nth}"), at, Retention::default()) };
            put(Record::Job(done.into()))
        }
        Line::Tombstones => {
            let removed_at = Some(at);
            let gone = Job { removed_at, ..job(&format!("gone-{nth}"), at, Retention::default()) };
            put(Record::Job(gone.into()))
        }
        Line::Runs | Line::RunsPerJob => put(Record::Run(make::run(at).into())),
        Line::Events => {
            let event = event(at);
            (RecordId::Event(event.id), vec![event.into()])
        }
        Line::Delivered => sent(at, DeliveryState::Delivered { at }),
        Line::Dead => sent(at, DeliveryState::Dead { at, why: DeadReason::MaxAge }),
        Line::Usage => put(Record::Usage(usage(at))),
        Line::Stubs => put(Record::Archive(stub(at))),
        Line::Segments => put(Record::Segment(segment(at, nth))),
        Line::Idempotency => {
            let key = IdempotencyKey { token: None, route: "r".into(), key: nth.to_string() };
            let result = "{}".to_owned();
            let body_sha256 = String::new();
            put(Record::Idempotency(Idempotency { id: key, body_sha256, status: 200, result, at }))
        }
        Line::Alerts => put(Record::Alert(alert(at, nth))),
    }
}

fn sent(at: Timestamp, state: DeliveryState) -> (RecordId, Vec<Change>) {
    let event = event(at);
    let sent = delivery(event.id, None, state, at);
    (RecordId::Delivery(sent.id), vec![event.into(), sent.into()])
}

fn node(at: Timestamp, nth: u32) -> Node {
    Node {
        id: id(at),
        epoch: Epoch::new(0, nth + 1),
        host: "here".to_owned(),
        process: ProcessId { pid: 7, started: 7 },
        software: "0".to_owned(),
        started_at: at,
        heartbeat_at: at,
        lease_until: at,
        stable_at: None,
        end: Some(NodeEnd { at, reason: EndReason::Crash }),
        drained: None,
        left_behind: None,
        version: Default::default(),
    }
}

fn event(at: Timestamp) -> NewEvent {
    let (kind, subject) = (EventType::RunEnded, Subject::default());
    NewEvent { id: id(at), kind, at, subject, data: Default::default() }
}

fn usage(at: Timestamp) -> Usage {
    Usage {
        id: id(at),
        at,
        job: None,
        agent: "main".parse().unwrap(),
        run: id(at),
        session: None,
        model: "model".to_owned(),
        tokens: Tokens { input: 7, ..Tokens::default() },
        imported_at: None,
    }
}

fn stub(at: Timestamp) -> Archive {
    Archive {
        session: id(at),
        key: None,
        ended_at: None,
        segment: "gone.zst".to_owned(),
        offset: 0,
        length: 1,
        sha256: String::new(),
        entries: 0,
        archived_at: at,
        delete_after: Some(at),
        deleted_at: Some(at),
        version: Default::default(),
    }
}

fn segment(at: Timestamp, nth: u32) -> Segment {
    Segment {
        name: format!("gone-{nth}.zst"),
        epoch: None,
        committed_bytes: 1,
        frames: 1,
        delete_after: Some(at),
        created_at: at,
        deleted_at: Some(at),
        version: Default::default(),
    }
}

fn alert(at: Timestamp, nth: u32) -> Alert {
    Alert {
        key: AlertKey { code: AlertCode::JobFailing, about: nth.to_string() },
        message: String::new(),
        subject: Subject::default(),
        raised_at: at,
        cleared_at: Some(at),
        told: true,
        version: Default::default(),
    }
}

/// Whether a record is gone, as far as its line is concerned.
async fn is_gone(keeper: &Keeper, line: Line, id: RecordId) -> bool {
    if let RecordId::Event(id) = id {
        return keeper.store.read().event(id).await.unwrap().is_none();
    }
    match keeper.store.read().get(id).await.unwrap() {
        // Its tombstone stays for its own time.
        Some(Record::Job(job)) => line == Line::DoneJobs && job.removed_at.is_some(),
        found => found.is_none(),
    }
}

/// P6: each line of the table deletes what is over and nothing else.
#[tokio::test]
async fn every_record_goes_when_its_time_is_over_and_not_before() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let minute = Duration::from_secs(60);
    for (nth, line) in (0..).step_by(2).zip(Line::ALL) {
        let Some(Keep::For(time)) = line.keep(&Periods::default()) else {
            assert_eq!(line, Line::RunsPerJob, "{line:?} has no time");
            continue;
        };
        let end = time.before(keeper.now());
        let (young, changes) = record(line, minute.after(end), nth);
        keeper.put(changes).await;
        let (over, changes) = record(line, minute.before(end), nth + 1);
        keeper.put(changes).await;
        let swept = keeper.sweep().await;
        assert!(swept.summary.records >= 1, "{line:?}: {swept:?}");
        assert!(is_gone(&keeper, line, over).await, "{line:?} stays for ever");
        assert!(!is_gone(&keeper, line, young).await, "{line:?} goes too early");
    }
    let sums = keeper.store.read().daily_usage(jiff::civil::Date::MIN).await.unwrap();
    let input: u64 = sums.iter().map(|day| day.tokens.input).sum();
    assert_eq!(input, 14, "P12: no retention changes what was used");
    keeper.stop().await;
}

/// P12: a folder that is imported again tells of every report again, however long ago the first time was.
/// Once the row of a report was gone, its day counted it a second time.
#[tokio::test]
async fn a_report_that_is_imported_again_after_years_counts_once() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("1000d");
    let imported = Usage { imported_at: Some(at), ..usage(at) };
    keeper.put(vec![imported.clone().into(), usage(at).into()]).await;
    let sums = keeper.store.read().daily_usage(jiff::civil::Date::MIN).await.unwrap();
    assert_eq!(keeper.sweep().await.summary.records, 1);
    let again = Usage { imported_at: Some(keeper.now()), ..imported };
    keeper.put(vec![again.into()]).await;
    assert_eq!(keeper.store.read().daily_usage(jiff::civil::Date::MIN).await.unwrap(), sums);
    keeper.stop().await;
}

/// P3, P6: an event stays as long as a delivery of it is pending, or could be sent again by hand.
#[tokio::test]
async fn an_event_that_somebody_waits_for_stays() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("40d");
    let events = [event(at), event(at), event(at)];
    let next_at = "2100-01-01T00:00:00Z".parse().unwrap();
    let pending = delivery(events[0].id, None, DeliveryState::Pending { next_at }, at);
    let yesterday = keeper.ago("1d");
    let dead = DeliveryState::Dead { at: yesterday, why: DeadReason::MaxAge };
    let dead = delivery(events[1].id, None, dead, at);
    keeper.put(events.iter().cloned().map(Change::from).collect()).await;
    keeper.put(vec![pending.into(), dead.into()]).await;
    keeper.sweep().await;
    let stored = events.each_ref().map(|event| keeper.store.read().event(event.id));
    let stored = futures_util::future::join_all(stored).await;
    let stored: Vec<bool> = stored.into_iter().map(|event| event.unwrap().is_some()).collect();
    assert_eq!(stored, [true, true, false]);
    keeper.stop().await;
}

/// A removed job is remembered as long as a session of it is there: its policy is in its record.
#[tokio::test]
async fn a_tombstone_outlives_the_sessions_of_its_job() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("40d");
    let forever = Retention {
        retain: Some(sexton_domain::job::Retain::Keep(Keep::Forever)),
        ..Retention::default()
    };
    let removed = Job { removed_at: Some(at), ..job("removed", at, forever) };
    let session = make::of_job(&removed, at);
    keeper.put(vec![removed.clone().into()]).await;
    keeper.bury(&session, &["x"]).await;
    let other = ended(SessionKind::Run, at);
    keeper.bury(&other, &["x"]).await;
    keeper.sweep().await;
    assert!(keeper.has(RecordId::Job(removed.id)).await);
    assert!(keeper.is_stored(session.id).await, "by the policy of its removed job");
    assert!(!keeper.is_stored(other.id).await);
    let mut stored = keeper.session(session.id).await.unwrap();
    stored.discard = Some(sexton_domain::session::Discard::Archive);
    stored.expires_at = Some(keeper.now());
    keeper.put(vec![stored.into()]).await;
    keeper.sweep().await;
    assert!(!keeper.has(RecordId::Job(removed.id)).await);
    keeper.stop().await;
}

/// A job of a config file belongs to the file: removed here, it would be added again by the next start.
#[tokio::test]
async fn a_done_job_of_a_config_source_stays() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let at = keeper.ago("8d");
    let done = Job { done_at: Some(at), ..job("declared", at, Retention::default()) };
    let declared = Job { source: Source::Config("main".to_owned()), ..done };
    keeper.put(vec![declared.clone().into()]).await;
    keeper.sweep().await;
    let stored = keeper.store.job(declared.id).await.unwrap().unwrap();
    assert_eq!(stored.removed_at, None);
    keeper.stop().await;
}

/// P6: no job has more runs than the table says, however young they are.
#[tokio::test]
async fn a_job_keeps_its_newest_runs() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let busy = job("busy", keeper.ago("2d"), Retention::default());
    keeper.put(vec![busy.clone().into()]).await;
    let mut at = keeper.ago("1d");
    let mut oldest = Vec::new();
    for _ in 0..=MAX_RUNS_PER_JOB / 500 {
        let runs: Vec<_> = (0..500)
            .map(|_| {
                at += std::time::Duration::from_millis(5);
                sexton_domain::run::Run { job: Some(busy.id), ..make::run(at) }
            })
            .collect();
        if oldest.is_empty() {
            oldest = runs.iter().map(|run| run.id).collect();
        }
        keeper.put(runs.into_iter().map(Change::from).collect()).await;
    }
    let newer = make::run(at);
    keeper.put(vec![newer.clone().into()]).await;
    assert_eq!(keeper.sweep().await.summary.records, 500);
    assert!(!keeper.has(RecordId::Run(oldest[0])).await);
    assert!(!keeper.has(RecordId::Run(oldest[499])).await);
    assert!(keeper.has(RecordId::Run(newer.id)).await);
    let left = keeper.store.read().jobs_over(MAX_RUNS_PER_JOB - 1, 10).await.unwrap();
    assert_eq!(left, [busy.id]);
    keeper.stop().await;
}
