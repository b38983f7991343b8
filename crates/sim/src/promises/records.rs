//! P1, P2, P4, P5 and progress: what is stored of runs, sessions, jobs and nodes.

use std::collections::BTreeMap;
use std::time::Duration as Span;

use jiff::Timestamp;
use sexton_domain::change::{Record, RecordId};
use sexton_domain::duration::Duration;
use sexton_domain::event::{Event, EventType};
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::node::Epoch;
use sexton_domain::plan::admission::{Admission, CatchUp, Conditions, Headroom, Limits};
use sexton_domain::plan::turns;
use sexton_domain::reset::Rules;
use sexton_domain::run::{Outcome, Reason, Run, State};
use sexton_domain::session::{EndReason, Session};
use sexton_store::Driver;

use super::{Kept, bounded, keys};
use crate::diary::{Broken, Promise};
use crate::ledger::{Ledger, inline};
use crate::machine::Machine;

/// How long a running run may be without a process: between claim and start, and between death and
/// the record of it, the store may be slow and fail a few times.
const UNATTENDED: Span = Span::from_secs(180);
/// How far a run may be beyond its deadline, besides the grace.
const OVERTIME: Span = Span::from_secs(180);

/// P1: a run, its session, its transcript and its events agree in every committed state.
pub(crate) fn p1_one_record(ledger: &Ledger, machine: &Machine, run: &Run) -> Kept {
    let id = run.id;
    let no = |how: String| Err(Broken::new(Promise::P1, how));
    let told: Vec<EventType> = ledger.told_of_run(id).map(|event| event.fact.kind).collect();
    let count = |kind| told.iter().filter(|&&told| told == kind).count();
    let started = count(EventType::RunStarted);
    let over = told.iter().filter(|kind| is_over(**kind)).count();
    let executed = run.started_at.is_some();
    let not_executed = match run.outcome().filter(|_| !executed) {
        Some(Outcome::Skipped) => Some(EventType::RunSkipped),
        Some(Outcome::Missed) => Some(EventType::RunMissed),
        Some(Outcome::Coalesced) => Some(EventType::RunCoalesced),
        _ => None,
    };
    if let Some((outcome, reason)) = run.outcome().zip(run.reason())
        && !reason.outcomes().contains(&outcome)
    {
        return no(format!("{id} ended {outcome:?} for {reason:?}"));
    }
    if let Some(kind) = not_executed {
        // A record of several slots is told again when it grows.
        let last =
            ledger.told_of_run(id).last().and_then(|event| event.fact.data.get("slots")?.as_u64());
        let stands_for = run.range.map_or(1, |range| range.count);
        let agree = run.session.is_none() && over > 0 && last == Some(stands_for);
        return match agree && told.iter().all(|told| *told == kind) {
            true => Ok(()),
            false => no(format!(
                "{id} stands for {stands_for} slots, the log says {told:?}, last {last:?}"
            )),
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
    one_record_with_session(ledger, machine, run, session)
}

fn one_record_with_session(
    ledger: &Ledger,
    machine: &Machine,
    run: &Run,
    session: &Session,
) -> Kept {
    let id = run.id;
    let no = |how: String| Err(Broken::new(Promise::P1, how));
    if session.key != run.session_key {
        return no(format!("{id} and its session {} have other keys", session.id));
    }
    if !run.is_isolated() {
        return in_a_shared_session(ledger, run, session);
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
fn in_a_shared_session(ledger: &Ledger, run: &Run, session: &Session) -> Kept {
    let mut told = ledger.told_of_session(session.id);
    let session_ended = told.find(|event| event.fact.kind == EventType::SessionEnded);
    let session_ended = session_ended.and_then(|event| ledger.stored_at(event.seq));
    let run_ended = stored(ledger, run.id, EventType::RunEnded);
    let agree = session.run.is_none()
        && match run.state {
            State::Running { owner, .. } => session.is_open() && session.owner == owner,
            State::Ended { at, outcome: Outcome::Interrupted, reason: Reason::Crash } => {
                session.ended_at() == Some(at)
            }
            State::Ended { .. } => {
                session_ended.is_none_or(|ended| run_ended.is_some_and(|run| run <= ended))
            }
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
/// has a process or had one a moment ago, and none is past its deadline. All of it by the world's age: the wall
/// clock may have been set. What lasted while the store could take nothing does not count: `able` is since when
/// it can.
pub(crate) fn p4_nothing_runs_for_ever(
    ledger: &Ledger,
    machine: &Machine,
    living: Epoch,
    able: Span,
) -> Kept {
    let now = machine.time.now();
    let no = |how: String| Err(Broken::new(Promise::P4, how));
    for run in ledger.runs.values() {
        let State::Running { owner, deadline } = run.state else { continue };
        let id = run.id;
        if owner.epoch != living {
            return no(format!("{id} is running for epoch {}, at work is {living}", owner.epoch));
        }
        let input = run.input.as_ref();
        let grace = input.and_then(|input| input.settings.as_ref()).map(|agent| agent.grace);
        let Some(began) = stored(ledger, id, EventType::RunStarted) else { continue };
        let timeout = run.started_at.map(|at| Duration::between(at, deadline));
        let ends = began + timeout.unwrap_or_default().to_std();
        if now > ends.max(able) + grace.unwrap_or_default().to_std() + OVERTIME {
            return no(format!("{id} is still running, its deadline was {deadline}"));
        }
        let since = machine.last_alive(id.uuid()).unwrap_or(began).max(able);
        if now.saturating_sub(since) > UNATTENDED {
            return no(format!("{id} is running, but has had no process for {:?}", now - since));
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

/// P4: a run is stopped for its deadline or its silence when it has had its time, whatever the wall clock does.
pub(crate) fn p4_has_had_its_time(ledger: &Ledger, run: &Run) -> Kept {
    let Some(input) = &run.input else { return Ok(()) };
    let limit = match run.reason() {
        Some(Reason::Deadline) => input.timeout,
        Some(Reason::IdleLimit) => input.idle_timeout.unwrap_or_default(),
        _ => return Ok(()),
    };
    let age = |kind| stored(ledger, run.id, kind);
    let Some((began, ended)) = age(EventType::RunStarted).zip(age(EventType::RunEnded)) else {
        return Ok(());
    };
    match ended.saturating_sub(began) >= limit.to_std() {
        true => Ok(()),
        false => {
            let (id, reason, took) = (run.id, run.reason(), ended.saturating_sub(began));
            let how =
                format!("{id} was stopped for {reason:?} after {took:?}, its limit is {limit}");
            Err(Broken::new(Promise::P4, how))
        }
    }
}

/// The age of the world at which this was stored of a run.
fn stored(ledger: &Ledger, run: RunId, kind: EventType) -> Option<Span> {
    let event = ledger.told_of_run(run).find(|event| event.fact.kind == kind)?;
    ledger.stored_at(event.seq)
}

/// P4: after a stop nothing is left that runs or is open.
pub(crate) fn p4_rest(ledger: &Ledger) -> Kept {
    let no = |how: String| Err(Broken::new(Promise::P4, how));
    if let Some(run) = ledger.runs.values().find(|run| run.owner().is_some()) {
        return no(format!("{} is running after the node has stopped", run.id));
    }
    if let Some(session) = ledger.sessions.values().find(|session| session.is_open()) {
        return no(format!("session {} is open after the node has stopped", session.id));
    }
    Ok(())
}

/// P4: after a stop there is no process.
pub(crate) fn p4_no_process(machine: &Machine) -> Kept {
    match machine.living().first() {
        Some(run) => {
            let how = format!("the process of run {run} lives after the node has stopped");
            Err(Broken::new(Promise::P4, how))
        }
        None => Ok(()),
    }
}

/// P5: the claim of a run is on disk before its process starts.
pub(crate) fn p5_claim_is_stored(store: &dyn Driver, run: RunId) -> Kept {
    let claimed = match inline(store.get(RecordId::Run(run))) {
        Some(Record::Run(run)) => run.started_at.is_some(),
        _ => false,
    };
    match claimed {
        true => Ok(()),
        false => {
            let how = format!("the process of {run} starts before its claim is on disk");
            Err(Broken::new(Promise::P5, how))
        }
    }
}

/// P5: a retry after a failure does not start before its backoff is over, or what its agent asked for instead:
/// until then it waits, by the wall clock as the log has it, and it is told when it does not any more. Where the job was edited meanwhile, nobody knows what it had to wait for.
fn p5_backoff(
    ledger: &Ledger,
    machine: &Machine,
    job: &Job,
    (before, retry): (&Run, &Run),
) -> Kept {
    let failed = matches!(before.outcome(), Some(Outcome::Failed | Outcome::TimedOut));
    let as_it_was = retry.input.as_ref().and_then(|input| input.job_revision) == Some(job.revision);
    let (Some(ended_at), true, true) = (before.ended_at(), failed, as_it_was) else {
        return Ok(());
    };
    let wished = machine.wished(before.id.uuid());
    let wished = wished.filter(|_| before.reason() == Some(Reason::Declared));
    let backoff = job.spec.backoff.delay(before.failures + 1);
    let rested = wished.map_or(backoff, Duration::from_std).after(ended_at);
    let told = |kind| ledger.told_of_run(retry.id).filter(move |event| event.fact.kind == kind);
    let is_rest =
        |event: &Event| event.fact.data["not_before"].is_null() && rested <= event.fact.at;
    let has_rested = told(EventType::RunQueued).any(is_rest);
    match told(EventType::RunStarted).next().is_some() && !has_rested {
        false => Ok(()),
        true => {
            let how = format!("{} starts without having rested until {rested}", retry.id);
            Err(Broken::new(Promise::P5, how))
        }
    }
}

/// P5: attempts of a slot follow each other, and no two of them are under way at once.
pub(crate) fn p5_attempts(ledger: &Ledger, machine: &Machine, job: JobId) -> Kept {
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
            if let (Some(before), Some(job)) = (before, ledger.jobs.get(&job)) {
                p5_backoff(ledger, machine, job, (before, run))?;
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
pub(crate) fn work_conserving(ledger: &Ledger, limits: Limits, now: Span) -> Kept {
    let running = ledger.runs.values().filter(|run| run.owner().is_some());
    let open = Conditions { catch_up: CatchUp::Paced, headroom: Headroom::Kept };
    let mut admission = Admission::new(limits, open, running);
    let patience = Span::from_secs(90);
    let mut queued: Vec<&Run> =
        ledger.runs.values().filter(|run| run.state == State::Queued).collect();
    queued.sort_by_key(|run| (run.turn, run.id));
    for run in queued {
        let told = ledger.told_of_run(run.id).last();
        let since = told.and_then(|event| ledger.stored_at(event.seq)).unwrap_or(now);
        let on_key: Vec<Run> = (ledger.runs.values())
            .filter(|other| other.session_key == run.session_key && other.is_active())
            .cloned()
            .collect();
        if now.saturating_sub(since) > patience
            && turns::is_next(run, &on_key)
            && admission.offer(run).is_ok()
        {
            let long = now.saturating_sub(since);
            let how = format!("{} is queued for {long:?} and could start", run.id);
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
        (Outcome::Ok | Outcome::Skipped, _) => &[Some(EndReason::Completed)],
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
    keys::p2_first_come_first_served(ledger, &machine.time)?;
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
            (_, Some(run)) => {
                p1_one_record(ledger, machine, run)?;
                p4_has_had_its_time(ledger, run)?;
            }
            (id, None) => {
                let how = format!("the log tells of run {id}, which is not stored");
                return Err(Broken::new(Promise::P1, how));
            }
        }
    }
    for &job in &ledger.touched.jobs {
        p1_counters(ledger, job)?;
        p5_attempts(ledger, machine, job)?;
    }
    Ok(())
}
