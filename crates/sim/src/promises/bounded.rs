//! P6: every record has its time, nothing goes before it, and nothing stays after it without a reason.
//!
//! The rules are written down here once more, not taken from the reaper.

use std::time::Duration as Span;

use jiff::Timestamp;
use sexton_domain::alert::{Alert, AlertCode};
use sexton_domain::archive::Archive;
use sexton_domain::change::{Record, RecordId};
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::event::{EventType, NewEvent};
use sexton_domain::hook::DeliveryState;
use sexton_domain::id::JobId;
use sexton_domain::job::{Job, Retain, Retention};
use sexton_domain::key::SessionKind;
use sexton_domain::retention::{Periods, Policies};
use sexton_domain::session::{Discard, EndReason, HoldReason, Session};
use sexton_store::Driver;
use sexton_store::page::{Expired, MAX_PAGE, PageRequest, SessionFilter};

use super::Kept;
use crate::diary::{Broken, Promise};
use crate::ledger::{Ledger, inline};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest that a reaper goes by one look at what it judges.
const SLICE: Span = Span::from_secs(60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest that a hold may last until it is looked at again.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);
/// So many runs of a job may stay.
const RUNS_PER_JOB: usize = 10_000;

fn broken(how: impl Into<String>) -> Broken {
    Broken::new(Promise::P6, how)
}

/// P6: what the log told of was stored, and went only because a batch deleted it.
pub(crate) fn p6_nothing_vanishes(ledger: &Ledger) -> Kept {
    match ledger.vanished.first() {
        None => Ok(()),
        Some(id) => Err(broken(format!("{id:?} is not stored any more and nobody deleted it"))),
    }
}

/// P6: the log is told whole: whoever reads it before it expires misses nothing.
pub(crate) fn p6_log_without_holes(ledger: &Ledger) -> Kept {
    let mut pairs = ledger.events.windows(2);
    match pairs.find(|pair| pair[0].seq + 1 != pair[1].seq) {
        None => Ok(()),
        Some(pair) => {
            let (one, next) = (pair[0].seq, pair[1].seq);
            Err(broken(format!("event {next} follows event {one} in the log")))
        }
    }
}

/// P6: a session is reaped at most once, and that it was is told.
pub(crate) fn p6_reaped_is_told(ledger: &Ledger, session: &Session) -> Kept {
    let told = ledger.reaped.get(&session.id).copied().unwrap_or(0);
    let gone = ledger.is_gone(&RecordId::Session(session.id));
    match told == u32::from(gone) {
        true => Ok(()),
        false => {
            let how = format!("the log tells {told} times that session {} was reaped", session.id);
            Err(broken(format!("{how}; gone is {gone}")))
        }
    }
}

/// P6: a reaped session has an archive, unless it was to leave nothing. `archive` is what the store says.
pub(crate) fn p6_is_archived(session: &Session, archive: Option<&Archive>) -> Kept {
    let purged = session.discard == Some(Discard::Purge);
    match archive {
        Some(archive) if archive.entries == session.entry_count || purged => Ok(()),
        None if purged => Ok(()),
        archive => Err(broken(format!("of session {session:?} is left {archive:?}"))),
    }
}

/// A record that a batch deletes, as it is before that, with the laws that hold.
pub(crate) struct Departure<'a> {
    pub(crate) store: &'a dyn Driver,
    pub(crate) ledger: &'a Ledger,
    /// Each that the deletion may rest on.
    pub(crate) periods: Vec<&'a Periods>,
    /// The latest time that it may have been decided at.
    pub(crate) now: Timestamp,
    /// The world's age.
    pub(crate) age: Span,
    /// The wall clock has jumped, and everybody knows it.
    pub(crate) distrusted: bool,
}

/// P6: a record may go.
pub(crate) fn p6_may_go(id: &RecordId, record: Option<&Record>, from: &Departure<'_>) -> Kept {
    if from.distrusted && !matches!(id, RecordId::Hook(_)) {
        return Err(broken(format!(
            "{id:?} is deleted although the wall clock jumped a while ago"
        )));
    }
    let reasons = from.periods.iter().map(|periods| why_not(id, record, from, periods));
    match reasons.collect::<Option<Vec<_>>>().and_then(|mut reasons| reasons.pop()) {
        Some(reason) => Err(broken(format!("{id:?} is deleted {reason}"))),
        None => Ok(()),
    }
}

/// Why a record must stay.
fn why_not(
    id: &RecordId,
    record: Option<&Record>,
    from: &Departure<'_>,
    periods: &Periods,
) -> Option<String> {
    let Departure { ledger, now, .. } = *from;
    let aged = |since: Option<Timestamp>, keep: Keep, what: &str| match (since, keep) {
        (None, _) => Some(format!("although it has not {what}")),
        (Some(_), Keep::Forever) => Some("although such are kept for ever".to_owned()),
        (Some(at), Keep::For(time)) if time.after(at) <= now => None,
        (Some(at), Keep::For(time)) => Some(format!("at {now}; it has {what} at {at}, {time} ago")),
    };
    let month = Keep::For(MONTH);
    match (id, record?) {
        (_, Record::Session(session)) => session_stays(session, from, periods),
        (_, Record::Run(run)) => {
            let ended = run.job.map_or(0, |job| {
                ledger.runs_of(job).filter(|it| !ledger.is_gone(&RecordId::Run(it.id))).count()
            });
            let many = run.ended_at().is_some() && ended > RUNS_PER_JOB;
            aged(run.aged_from(), periods.runs, "ended").filter(|_| !many)
        }
        (_, Record::Delivery(delivery)) => match delivery.state {
            DeliveryState::Pending { .. } => Some("although it is pending".to_owned()),
            DeliveryState::Delivered { at } => aged(Some(at), Keep::For(DAY), "arrived"),
            DeliveryState::Dead { at, .. } => aged(Some(at), periods.dead, "died"),
        },
        (_, Record::Job(job)) => {
            let left = sessions_of(from.store, job.id, None);
            match left.first() {
                Some(left) => Some(format!("although it has session {}", left.id)),
                None => aged(job.removed_at, month, "been removed"),
            }
        }
        (_, Record::Node(node)) => aged(node.end.map(|end| end.at), month, "ended"),
        (_, Record::Usage(usage)) => aged(usage.aged_from(), periods.runs, "been reported"),
        (_, Record::Archive(archive)) => aged(archive.deleted_at, month, "been deleted"),
        (_, Record::Segment(segment)) => aged(segment.deleted_at, month, "been deleted"),
        (_, Record::Alert(alert)) => aged(alert.cleared_at, month, "been cleared"),
        (_, Record::Idempotency(answer)) => aged(Some(answer.at), Keep::For(DAY), "been given"),
        (_, Record::Hook(_)) => None,
        (_, Record::Token(_) | Record::Reaper(_) | Record::ReceiptPart(_)) => {
            Some("although the reaper does not take such".to_owned())
        }
    }
}

/// P6: an event may go when it is old and no delivery of it is pending.
pub(crate) fn p6_event_may_go(event: &sexton_domain::event::Event, from: &Departure<'_>) -> Kept {
    if from.distrusted {
        let seq = event.seq;
        return Err(broken(format!(
            "event {seq} is deleted although the wall clock jumped a while ago"
        )));
    }
    let mut deliveries = from.ledger.deliveries_of(event.fact.id);
    let pending = |state| matches!(state, DeliveryState::Pending { .. });
    if let Some(one) = deliveries.find(|it| pending(it.state)) {
        let (seq, hook) = (event.seq, &one.hook);
        return Err(broken(format!("event {seq} is deleted although it is to be told {hook}")));
    }
    let old = |periods: &&Periods| match periods.events {
        Keep::Forever => false,
        Keep::For(time) => time.after(event.fact.at) <= from.now,
    };
    match from.periods.iter().any(old) {
        true => Ok(()),
        false => Err(broken(format!("event {} of {} is deleted", event.seq, event.fact.at))),
    }
}

/// P6: nothing open, pinned, pending, continued is reaped, and nothing whose time is not over.
fn session_stays(session: &Session, from: &Departure<'_>, periods: &Periods) -> Option<String> {
    let Departure { store, ledger, now, age, .. } = *from;
    let Some(ended_at) = session.ended_at() else {
        return Some("although it is open".to_owned());
    };
    if session.pinned {
        return Some("although it is pinned".to_owned());
    }
    let about = |kind| matches!(kind, Some(EventType::SessionStarted | EventType::SessionEnded));
    let mut deliveries = ledger.deliveries_about(session.id).filter(|it| about(it.event_type));
    if let Some(one) = deliveries.find(|it| matches!(it.state, DeliveryState::Pending { .. })) {
        return Some(format!("although {} is to be told of it", one.hook));
    }
    if let Some(next) = inline(store.continued(vec![session.id])).first() {
        return Some(format!("although the open session after {next} continues it"));
    }
    if session.discard.is_some() {
        return None;
    }
    let job = session.job.and_then(|id| match inline(store.get(RecordId::Job(id))) {
        Some(Record::Job(job)) => Some(*job),
        _ => None,
    });
    let mut others = match &job {
        Some(job) if has_bounds(&job.spec.retention) => sessions_of(store, job.id, Some(false)),
        _ => Vec::new(),
    };
    let due_now = due(session, job.as_ref(), &others, &periods.sessions);
    // A slice of a sweep may have counted what another part of it took.
    others.extend(job.iter().flat_map(|job| ledger.gone_since(job.id, age.saturating_sub(SLICE))));
    let crowded = due(session, job.as_ref(), &others, &periods.sessions) == Due::Now;
    match due_now {
        _ if crowded => None,
        Due::Now => None,
        Due::At(at) if at <= now => None,
        due => Some(format!("at {now}, although it is due {due:?}; it ended at {ended_at}")),
    }
}

/// When a session may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Whatever its age.
    Now,
    At(Timestamp),
    /// A floor of its job keeps it.
    Floor,
    Never,
}

/// When an ended session may go: by its job's bounds, else by its age. `others` are the ended sessions of
/// its job, where that has bounds.
pub(crate) fn due(
    session: &Session,
    job: Option<&Job>,
    others: &[Session],
    kinds: &Policies,
) -> Due {
    let (Some(aged_from), Some(reason)) = (session.aged_from(), session.end_reason()) else {
        return Due::Never;
    };
    if session.discard.is_some() {
        return Due::Now;
    }
    let Retention { retain, keep_last, keep_last_failures, max_sessions } =
        job.map_or_else(Retention::default, |job| job.spec.retention);
    let newer = others.iter().filter(|other| other.id > session.id);
    let newer = |failed: bool| {
        let counts = |it: &&Session| !failed || it.end_reason().is_some_and(EndReason::is_failure);
        u32::try_from(newer.clone().filter(counts).count()).unwrap_or(u32::MAX)
    };
    if max_sessions.is_some_and(|most| newer(false) >= most) {
        return Due::Now;
    }
    if keep_last.is_some_and(|least| newer(false) < least)
        || (reason.is_failure() && keep_last_failures.is_some_and(|least| newer(true) < least))
    {
        return Due::Floor;
    }
    let keep = match retain {
        Some(Retain::OnFailure) if reason == EndReason::Completed => return Due::At(aged_from),
        Some(Retain::Keep(keep)) => keep,
        _ => of_kind(kinds, session.kind),
    };
    match keep {
        Keep::Forever => Due::Never,
        Keep::For(time) => Due::At(time.after(aged_from)),
    }
}

fn of_kind(kinds: &Policies, kind: SessionKind) -> Keep {
    match kind {
        SessionKind::Run => kinds.run,
        SessionKind::Job => kinds.job,
        SessionKind::Main => kinds.main,
        SessionKind::Chat => kinds.chat,
        SessionKind::Subagent => kinds.subagent,
        SessionKind::Boot => kinds.boot,
        SessionKind::Temporary => kinds.temporary,
        SessionKind::Other => kinds.other,
    }
}

fn has_bounds(retention: &Retention) -> bool {
    retention.keep_last.is_some()
        || retention.keep_last_failures.is_some()
        || retention.max_sessions.is_some()
}

fn sessions_of(store: &dyn Driver, job: JobId, open: Option<bool>) -> Vec<Session> {
    let (mut all, mut page) = (Vec::new(), PageRequest::first(MAX_PAGE));
    loop {
        let filter = SessionFilter { job: Some(job), open, ..SessionFilter::default() };
        let found = inline(store.sessions(filter, page));
        all.extend(found.items);
        let Some(next) = found.next else { return all };
        page.after = Some(next);
    }
}

/// What is looked at while a reaper has been at work for longer than `slack`.
#[derive(Clone, Copy)]
pub(crate) struct Settled<'a> {
    pub(crate) store: &'a dyn Driver,
    pub(crate) ledger: &'a Ledger,
    pub(crate) periods: &'a Periods,
    pub(crate) now: Timestamp,
    /// How long a sweep may take to get to something.
    pub(crate) slack: Duration,
}

/// P6: a session whose time is over is held for a reason that a program can read, and looked at again.
/// Returns what holds it.
pub(crate) fn p6_nothing_overdue(look: Settled<'_>) -> Result<Vec<HoldReason>, Broken> {
    let Settled { store, ledger, periods, now, slack } = look;
    let before = slack.before(now);
    if let Some(overdue) = inline(store.due_sessions(before, 1)).first() {
        let at = overdue.look_at();
        return Err(broken(format!(
            "at {now} the reaper has not looked at {overdue:?}, due {at:?}"
        )));
    }
    let mut holds = Vec::new();
    let ended = ledger.sessions.values().filter(|it| !it.is_open());
    for known in ended.filter(|it| !ledger.is_gone(&RecordId::Session(it.id))) {
        let Some(Record::Session(session)) = inline(store.get(RecordId::Session(known.id))) else {
            continue;
        };
        holds.extend(session.hold.as_ref().map(|hold| hold.reason));
        if session.hold.as_ref().is_some_and(|hold| LONGEST_HOLD.after(now) < hold.until) {
            let (id, hold) = (session.id, &session.hold);
            return Err(broken(format!("at {now} session {id} is held for too long: {hold:?}")));
        }
        let job = session.job.and_then(|id| match inline(store.get(RecordId::Job(id))) {
            Some(Record::Job(job)) => Some(*job),
            _ => None,
        });
        // Ranks move with every end: bounds are left to the next look.
        let bounded =
            job.as_ref().is_some_and(|job| has_bounds(&job.spec.retention) || job.reindex);
        if session.pinned || bounded {
            continue;
        }
        if session.hold.as_ref().is_some_and(|hold| hold.reason == HoldReason::Floor) {
            return Err(broken(format!("it has no floor that could hold {session:?}")));
        }
        let due = match due(&session, job.as_ref(), &[], &periods.sessions) {
            Due::Now => session.aged_from().unwrap_or(now),
            Due::At(at) => at,
            Due::Floor | Due::Never => continue,
        };
        // What was deleted or unpinned a while ago is due since then.
        let looked_at = session
            .look_at()
            .is_some_and(|at| before <= at && (at <= now || session.hold.is_some()));
        if due < before && !looked_at {
            let how = format!("it is {now}, due at {due} and held by nothing is {session:?}");
            return Err(broken(how));
        }
    }
    Ok(holds)
}

/// P6: that nothing is deleted, because the wall clock jumped, is told for as long as it lasts.
pub(crate) fn p6_a_jump_is_told(alerts: &[Alert]) -> Kept {
    match alerts.iter().any(|it| it.is_active() && it.key.code == AlertCode::ClockJump) {
        true => Ok(()),
        false => Err(broken("the wall clock jumped a while ago, and no alert says so")),
    }
}

/// P6: no alert ever has to tell of rows that are overdue without a reason.
pub(crate) fn p6_overdue_is_never_told(event: &NewEvent) -> Kept {
    let code = event.data.get("code").and_then(serde_json::Value::as_str);
    match event.kind == EventType::AlertRaised && code == Some("overdue") {
        true => Err(broken(format!("an alert is raised: {}", event.data))),
        false => Ok(()),
    }
}

/// P6: records whose time is over by the retention table are gone.
pub(crate) fn p6_the_table_is_kept(look: Settled<'_>) -> Kept {
    let Settled { store, periods, now, slack, .. } = look;
    let horizon = |keep: Keep| match keep {
        Keep::Forever => None,
        Keep::For(time) => Some(time.saturating_add(slack).before(now)),
    };
    let month = horizon(Keep::For(MONTH));
    let lines = [
        month.map(Expired::Nodes),
        month.map(Expired::Tombstones),
        horizon(periods.job_done).map(Expired::DoneJobs),
        horizon(periods.runs).map(Expired::Runs),
        horizon(periods.events).map(Expired::Events),
        horizon(Keep::For(DAY)).map(Expired::Delivered),
        horizon(periods.dead).map(Expired::Dead),
        horizon(periods.runs).map(Expired::Usage),
        month.map(Expired::Stubs),
        month.map(Expired::Segments),
        horizon(Keep::For(DAY)).map(Expired::Idempotency),
        month.map(Expired::Alerts),
    ];
    for line in lines.into_iter().flatten() {
        if let Some((id, _)) = inline(store.expired(line.clone(), 1)).first() {
            return Err(broken(format!("{id:?} is stored at {now} beyond {line:?}")));
        }
    }
    Ok(())
}
