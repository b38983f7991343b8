//! P1, P2, P4, P5 and progress: what is stored of runs, sessions, jobs and nodes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sexton_domain::duration::Duration;
use sexton_domain::event::EventType;
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::node::Epoch;
use sexton_domain::plan::admission::{Admission, CatchUp, Conditions, Headroom, Limits};
use sexton_domain::plan::turns;
use sexton_domain::reset::Rules;
use sexton_domain::run::{Outcome, Reason, Run, State};
use sexton_domain::session::{EndReason, Session};

use super::{Kept, bounded, keys};
use crate::diary::{Broken, Promise};
use crate::history;
use crate::ledger::Ledger;
use crate::machine::Machine;

/// How long a running run may be without a process: between claim and start, and between death and
/// the record of it, the store may be slow and fail a few times.
const UNATTENDED: Duration = Duration::from_secs(180);
/// How far a run may be beyond its deadline, besides the grace.
const OVERTIME: Duration = Duration::from_secs(180);

/// P1: a run, its session, its transcript and its events agree in every committed state.
pub(crate) fn p1_one_record(ledger: &Ledger, machine: &Machine, run: &Run) -> Kept {
    let id = run.id;
    let no = |how: String| Err(Broken::new(Promise::P1, how));
    let told: Vec<EventType> = ledger.told_of_run(id).map(|event| event.fact.kind).collect();
    let count = |kind| told.iter().filter(|&&told| told == kind).count();
    let started = count(EventType::RunStarted);
    let over = told.iter().filter(|kind| is_over(**kind)).count();
    let not_executed = match run.outcome() {
        Some(Outcome::Skipped) => Some(EventType::RunSkipped),
        Some(Outcome::Missed) => Some(EventType::RunMissed),
        Some(Outcome::Coalesced) => Some(EventType::RunCoalesced),
        _ => None,
    };
    if let Some(kind) = not_executed {
        // A record of several slots is told again when it grows.
        return match run.session.is_none() && over > 0 && told.iter().all(|told| *told == kind) {
            true => Ok(()),
            false => no(format!("{id} was not executed and the log says {told:?}")),
        };
    }
    if count(EventType::RunQueued) == 0 || told.first() != Some(&EventType::RunQueued) {
        return no(format!("{id} does not begin with run.queued: {told:?}"));
    }
    if started != usize::from(run.session.is_some())
        || started != usize::from(run.started_at.is_some())
    {
        return no(format!("{id} has {started} run.started and session {:?}", run.session));
    }
    if over != usize::from(!run.is_active()) {
        return no(format!("{id} is {} and has {over} ends in the log", run.state.name()));
    }
    if over == 1 && !told.last().is_some_and(|kind| is_over(*kind)) {
        return no(format!("{id} goes on after its end: {told:?}"));
    }
    let Some(session) = run.session else {
        return match run.state {
            State::Running { .. } => no(format!("{id} is running without a session")),
            State::Ended { outcome, .. } if outcome != Outcome::Cancelled => {
                no(format!("{id} ended {outcome:?} and was never started"))
            }
            _ => Ok(()),
        };
    };
    let Some(session) = ledger.sessions.get(&session) else {
        return no(format!("{id} names session {session}, which is not stored"));
    };
    one_record_with_session(machine, run, session)
}

fn one_record_with_session(machine: &Machine, run: &Run, session: &Session) -> Kept {
    let id = run.id;
    let no = |how: String| Err(Broken::new(Promise::P1, how));
    if session.key != run.session_key {
        return no(format!("{id} and its session {} have other keys", session.id));
    }
    if !run.is_isolated() {
        return in_a_shared_session(run, session);
    }
    if session.run != Some(id) || session.job != run.job {
        return no(format!("{id} and its session {} do not name each other", session.id));
    }
    match (run.state, session.is_open()) {
        (State::Running { owner, .. }, true) if owner == session.owner => {}
        (State::Ended { at, outcome, reason }, false) => {
            let agreed = session_reason(outcome, reason);
            if session.ended_at() != Some(at) || !agreed.contains(&session.end_reason()) {
                return no(format!(
                    "{id} ended {outcome:?} {reason:?} at {at}, its session {:?}",
                    session.state
                ));
            }
        }
        (state, _) => {
            return no(format!("{id} is {state:?}, its session {:?}", session.state));
        }
    }
    // What the agent said is in the transcript when its run ended by its own exit.
    let limit = run.input.as_ref().and_then(|input| input.settings.as_ref());
    let unlimited = limit.is_some_and(|agent| agent.output_limit_bytes > 1_000_000);
    if run.reason() == Some(Reason::Exit) && unlimited {
        let said = machine.entries(id.uuid());
        if session.entry_count != said {
            return no(format!("{id} wrote {said} entries, {} are stored", session.entry_count));
        }
    }
    Ok(())
}

/// P1, P2: a turn runs in an open session of its own epoch, which outlives it; a crash ends both.
fn in_a_shared_session(run: &Run, session: &Session) -> Kept {
    let agree = session.run.is_none()
        && match run.state {
            State::Running { owner, .. } => session.is_open() && session.owner == owner,
            State::Ended { at, outcome: Outcome::Interrupted, reason: Reason::Crash } => {
                session.ended_at() == Some(at)
            }
            State::Ended { at, .. } => session.ended_at().is_none_or(|ended| ended >= at),
            State::Queued | State::Waiting { .. } => false,
        };
    match agree {
        true => Ok(()),
        false => {
            let how = format!("{} is {:?}, its session {:?}", run.id, run.state, session.state);
            Err(Broken::new(Promise::P1, how))
        }
    }
}

/// P1: a transcript has no gaps, and its session knows how long it is.
pub(crate) fn p1_transcript(ledger: &Ledger, session: &Session) -> Kept {
    let entries = ledger.transcript(session.id);
    let gap_free = entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq);
    let bytes: u64 = entries.iter().map(|entry| entry.content.len() as u64).sum();
    if gap_free && session.entry_count == entries.len() as u64 && session.bytes == bytes {
        return Ok(());
    }
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    Err(Broken::new(
        Promise::P1,
        format!(
            "session {} counts {} entries and {} bytes; stored are {seqs:?} with {bytes} bytes",
            session.id, session.entry_count, session.bytes
        ),
    ))
}

/// P1: a job's counters are what its runs add up to.
pub(crate) fn p1_counters(ledger: &Ledger, job: JobId) -> Kept {
    let Some(job) = ledger.jobs.get(&job).filter(|job| job.removed_at.is_none()) else {
        return Ok(());
    };
    let mut counted: BTreeMap<Outcome, u64> = BTreeMap::new();
    for run in ledger.runs_of(job.id) {
        if let Some(outcome) = run.outcome() {
            *counted.entry(outcome).or_default() += run.range.map_or(1, |range| range.count);
        }
    }
    let counters = &job.counters;
    let kept = [
        (Outcome::Ok, counters.ok),
        (Outcome::Failed, counters.failed),
        (Outcome::TimedOut, counters.timed_out),
        (Outcome::Cancelled, counters.cancelled),
        (Outcome::Interrupted, counters.interrupted),
        (Outcome::Skipped, counters.skipped),
        (Outcome::Missed, counters.missed),
        (Outcome::Coalesced, counters.coalesced),
    ];
    match kept.iter().find(|(outcome, kept)| counted.get(outcome).copied().unwrap_or(0) != *kept) {
        None => Ok(()),
        Some((outcome, kept)) => Err(Broken::new(
            Promise::P1,
            format!("job {} counts {kept} {outcome:?} runs, stored are {counted:?}", job.key),
        )),
    }
}

/// P2: a session has exactly one start and, once it has ended, exactly one end, in this order.
pub(crate) fn p2_every_session_ends_once(ledger: &Ledger, session: &Session) -> Kept {
    let told: Vec<_> = ledger.told_of_session(session.id).collect();
    let kinds: Vec<EventType> = told.iter().map(|event| event.fact.kind).collect();
    let expected: &[EventType] = match session.is_open() {
        true => &[EventType::SessionStarted],
        false => &[EventType::SessionStarted, EventType::SessionEnded],
    };
    if kinds != expected {
        return Err(Broken::new(
            Promise::P2,
            format!("session {} is {:?}, the log says {kinds:?}", session.id, session.state),
        ));
    }
    if let Some(end) = told.get(1) {
        let data = &end.fact.data;
        let count = data.get("entry_count").and_then(serde_json::Value::as_u64);
        let reason = data.get("reason").cloned();
        let stored = serde_json::to_value(session.end_reason()).ok();
        if count != Some(session.entry_count) || reason != stored {
            return Err(Broken::new(
                Promise::P2,
                format!(
                    "session {} has {} entries and {stored:?}; its end says {count:?} and {reason:?}",
                    session.id, session.entry_count
                ),
            ));
        }
    }
    Ok(())
}

/// P2: the log tells of no session that is not stored.
pub(crate) fn p2_nothing_unknown(ledger: &Ledger, session: SessionId) -> Kept {
    match ledger.sessions.contains_key(&session) {
        true => Ok(()),
        false => {
            let how = format!("the log tells of session {session}, which is not stored");
            Err(Broken::new(Promise::P2, how))
        }
    }
}

/// P4: while an engine is at work, nothing runs and nothing is open without it, every running run
/// has a process or had one a moment ago, and none is past its deadline.
pub(crate) fn p4_nothing_runs_for_ever(
    ledger: &Ledger,
    machine: &Machine,
    living: Epoch,
    now: Timestamp,
) -> Kept {
    let no = |how: String| Err(Broken::new(Promise::P4, how));
    for run in ledger.runs.values() {
        let State::Running { owner, deadline } = run.state else { continue };
        let id = run.id;
        if owner.epoch != living {
            return no(format!("{id} is running for epoch {}, at work is {living}", owner.epoch));
        }
        let input = run.input.as_ref();
        let grace = input.and_then(|input| input.settings.as_ref()).map(|agent| agent.grace);
        let last = OVERTIME.after(grace.unwrap_or_default().after(deadline));
        if now > last {
            return no(format!("{id} is still running, its deadline was {deadline}"));
        }
        let seen = machine.last_alive(id.uuid()).map(|age| machine.time.wall_at(age));
        let since = seen.or(run.started_at).unwrap_or(now);
        if Duration::between(since, now) > UNATTENDED {
            return no(format!("{id} is running, but has had no process since {since}"));
        }
    }
    for session in ledger.sessions.values().filter(|session| session.is_open()) {
        if session.owner.epoch != living {
            let epoch = session.owner.epoch;
            return no(format!("{} is open for epoch {epoch}, at work is {living}", session.id));
        }
    }
    let dead = ledger.nodes.iter().find(|node| node.epoch != living && node.end.is_none());
    dead.map_or(Ok(()), |node| no(format!("dead epoch {} is not recorded as over", node.epoch)))
}

/// P4: after a stop nothing is left that runs or is open, nor any process.
pub(crate) fn p4_rest(ledger: &Ledger, machine: &Machine) -> Kept {
    let no = |how: String| Err(Broken::new(Promise::P4, how));
    if let Some(run) = ledger.runs.values().find(|run| run.owner().is_some()) {
        return no(format!("{} is running after the node has stopped", run.id));
    }
    if let Some(session) = ledger.sessions.values().find(|session| session.is_open()) {
        return no(format!("session {} is open after the node has stopped", session.id));
    }
    match machine.living().first() {
        Some(run) => no(format!("the process of run {run} lives after the node has stopped")),
        None => Ok(()),
    }
}

/// P5: every slot that was due is exactly one of run, skipped, missed, coalesced. `settled` is the
/// instant up to which the scheduler has had the time to account for them.
pub(crate) fn p5_every_slot(ledger: &Ledger, job: JobId, settled: Timestamp) -> Kept {
    let Some(job) = ledger.jobs.get(&job) else { return Ok(()) };
    let no = |how: String| Err(Broken::new(Promise::P5, format!("job {}: {how}", job.key)));
    let due = history::due_slots(ledger.told_of_job(job.id), job.jitter(), settled);
    let mut records: Vec<&Run> =
        ledger.runs_of(job.id).filter(|run| run.slot.is_some() && run.attempt == 1).collect();
    records.sort_by_key(|run| run.slot);
    let mut rest = due.iter().copied().peekable();
    for run in &records {
        let from = run.slot.unwrap_or_default();
        let (to, count) = run.range.map_or((from, 1), |range| (range.to, range.count));
        // Slots that came due since are accounted for, too.
        let unsettled = |slot: Timestamp| job.jitter().after(slot) > settled;
        if (unsettled(from) || run.queued_at > settled) && rest.peek().is_none() {
            continue;
        }
        let covered: Vec<Timestamp> =
            std::iter::from_fn(|| rest.next_if(|slot| *slot <= to)).collect();
        let whole = unsettled(to) || covered.len() as u64 == count;
        if covered.first() != Some(&from) || !whole {
            return no(format!(
                "{} ({}) accounts for {count} slots from {from} to {to}; due and not accounted for \
                 were {covered:?}",
                run.id,
                run.outcome().map_or_else(|| run.state.name().to_owned(), |o| format!("{o:?}")),
            ));
        }
    }
    match rest.next() {
        Some(slot) => {
            let near = records.iter().rfind(|run| run.slot <= Some(slot));
            let near = near.map(|run| (run.id, run.slot, run.range));
            no(format!("slot {slot} was due and is not accounted for; before it is {near:?}"))
        }
        None => Ok(()),
    }
}

/// P5: attempts of a slot follow each other, and no two of them are under way at once.
pub(crate) fn p5_attempts(ledger: &Ledger, job: JobId) -> Kept {
    let no = |how: String| Err(Broken::new(Promise::P5, how));
    let mut slots: BTreeMap<Timestamp, Vec<&Run>> = BTreeMap::new();
    for run in ledger.runs_of(job) {
        if let Some(before) = run.retry_of {
            let before = ledger.runs.get(&before);
            if !before
                .is_some_and(|before| before.attempt + 1 == run.attempt && !before.is_active())
            {
                return no(format!("{} is attempt {} and follows {before:?}", run.id, run.attempt));
            }
        }
        if let Some(slot) = run.slot {
            slots.entry(slot).or_default().push(run);
        }
    }
    for (slot, mut attempts) in slots {
        attempts.sort_by_key(|run| run.attempt);
        let numbers: Vec<u32> = attempts.iter().map(|run| run.attempt).collect();
        if !numbers.iter().copied().eq(1..=numbers.len() as u32) {
            return no(format!("slot {slot} of job {job} has the attempts {numbers:?}"));
        }
        if attempts.iter().filter(|run| run.is_active()).count() > 1 {
            return no(format!("slot {slot} of job {job} has several attempts under way"));
        }
    }
    Ok(())
}

/// What can be done is done: a run that may start has not been waiting for long.
pub(crate) fn work_conserving(ledger: &Ledger, limits: Limits, now: Timestamp) -> Kept {
    let running = ledger.runs.values().filter(|run| run.owner().is_some());
    let open = Conditions { catch_up: CatchUp::Paced, headroom: Headroom::Kept };
    let mut admission = Admission::new(limits, open, running);
    let patience = SignedDuration::from_secs(90);
    let mut queued: Vec<&Run> =
        ledger.runs.values().filter(|run| run.state == State::Queued).collect();
    queued.sort_by_key(|run| (run.turn, run.id));
    for run in queued {
        let since = ledger.told_of_run(run.id).last().map_or(run.queued_at, |event| event.fact.at);
        let on_key: Vec<Run> = (ledger.runs.values())
            .filter(|other| other.session_key == run.session_key && other.is_active())
            .cloned()
            .collect();
        if now.duration_since(since) > patience
            && turns::is_next(run, &on_key)
            && admission.offer(run).is_ok()
        {
            let how = format!("{} is queued since {since} and could start", run.id);
            return Err(Broken::new(Promise::Progress, how));
        }
    }
    Ok(())
}

fn is_over(kind: EventType) -> bool {
    use EventType::{RunCoalesced, RunEnded, RunMissed, RunSkipped};
    matches!(kind, RunEnded | RunSkipped | RunMissed | RunCoalesced)
}

/// The end reasons that a session may have beside its run's.
fn session_reason(outcome: Outcome, reason: Reason) -> &'static [Option<EndReason>] {
    match (outcome, reason) {
        (Outcome::Ok, _) => &[Some(EndReason::Completed)],
        (Outcome::Failed, Reason::CrashLoop) => &[Some(EndReason::Interrupted)],
        (Outcome::Failed, _) => &[Some(EndReason::Failed)],
        (Outcome::TimedOut, _) => &[Some(EndReason::TimedOut)],
        (Outcome::Cancelled, _) => &[Some(EndReason::Cancelled), Some(EndReason::Deleted)],
        (Outcome::Interrupted, Reason::Shutdown) => &[Some(EndReason::Shutdown)],
        (Outcome::Interrupted, Reason::Restart) => &[Some(EndReason::Restart)],
        (Outcome::Interrupted, _) => &[Some(EndReason::Interrupted)],
        _ => &[],
    }
}

/// Checks what the last look has read, or everything if it read everything.
pub(crate) fn records(ledger: &Ledger, machine: &Machine, rules: &Rules) -> Kept {
    bounded::p6_nothing_vanishes(ledger)?;
    bounded::p6_log_without_holes(ledger)?;
    keys::p2_one_open_per_key(ledger)?;
    keys::p2_first_come_first_served(ledger)?;
    for id in &ledger.touched.sessions {
        p2_nothing_unknown(ledger, *id)?;
        if let Some(session) = ledger.sessions.get(id) {
            p2_every_session_ends_once(ledger, session)?;
            bounded::p6_reaped_is_told(ledger, session)?;
            keys::p2_succession(ledger, session, rules)?;
            p1_transcript(ledger, session)?;
        }
    }
    for run in ledger.touched.runs.iter().map(|id: &RunId| (id, ledger.runs.get(id))) {
        match run {
            (_, Some(run)) => p1_one_record(ledger, machine, run)?,
            (id, None) => {
                let how = format!("the log tells of run {id}, which is not stored");
                return Err(Broken::new(Promise::P1, how));
            }
        }
    }
    for &job in &ledger.touched.jobs {
        p1_counters(ledger, job)?;
        p5_attempts(ledger, job)?;
    }
    Ok(())
}
