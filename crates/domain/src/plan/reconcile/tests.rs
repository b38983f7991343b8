//! What becomes of what a dead epoch left behind.

use super::*;
use crate::change::{Change, Record};
use crate::job::{OnInterrupt, Spec};
use crate::plan::fixtures::{World, cron, failed, moment, node, spec, time};
use crate::usage::Tokens;

/// P4: who is dead, by the lock and by the lease.
///
/// A second gateway was started on a store whose lock did not hold. It ended the epoch of the first; the
/// first, which had not noticed yet, took the later epoch for a dead one and ended that in return.
#[test]
fn a_node_is_dead_by_the_lock_at_once_and_by_its_lease_when_it_is_over() {
    let me = node(9).epoch;
    let lease_until = node(1).lease_until;
    let before = Duration::from_millis(1).before(lease_until);
    let ended = Node {
        end: Some(NodeEnd { at: time("00:00"), reason: node::EndReason::Shutdown }),
        ..node(1)
    };
    let cases = [
        (node(1), Fence::Exclusive, before, true),
        (node(1), Fence::Lease, before, false),
        (node(1), Fence::Lease, lease_until, true),
        (node(9), Fence::Exclusive, time("10:00"), false),
        (node(9), Fence::Lease, time("10:00"), false),
        (node(10), Fence::Exclusive, time("10:00"), false),
        (node(10), Fence::Lease, lease_until, true),
        (ended.clone(), Fence::Exclusive, time("10:00"), false),
        (ended, Fence::Lease, time("10:00"), false),
    ];
    for (node, fence, now, dead) in cases {
        assert_eq!(is_dead(&node, me, fence, now), dead, "{} {fence:?} {now}", node.epoch);
    }
}

/// Twice is once.
#[test]
fn a_node_is_buried_once() {
    let mut moment = moment("10:00");
    let decision = bury_node(&node(1), node::EndReason::Crash, &mut moment);
    let [Change::Emit(event), Change::Put(Record::Node(buried))] = &decision.changes[..] else {
        panic!("{decision:?}")
    };
    assert_eq!(event.kind, EventType::NodeLost);
    let end = NodeEnd { at: time("10:00"), reason: node::EndReason::Crash };
    assert_eq!(buried.end, Some(end));
    assert!(bury_node(buried, node::EndReason::Lost, &mut moment).is_empty());
    assert!(!is_dead(buried, node(9).epoch, Fence::Exclusive, time("10:00")));
}

/// P2, P4: what a dead node ran ends as interrupted, says why, and its session with it.
#[test]
fn the_run_of_a_dead_node_ends_interrupted_and_a_second_time_is_refused() {
    for (reason, word) in [(Reason::Crash, "crash"), (Reason::NodeLost, "node_lost")] {
        let (mut world, job) = World::with("10:30", spec(cron("0 * * * *")));
        world.at("11:00").account(job);
        let run = world.start_first();
        let end = |world: &mut World| {
            let mut moment = world.moment();
            let snapshot = Snapshot {
                run: &world.runs[&run],
                session: world.sessions.values().next(),
                job: Some(&world.jobs[&job]),
                others: &[],
            };
            let spent = vec![Spent { line: 1, model: "m".to_owned(), tokens: Tokens::default() }];
            end_orphan(snapshot, Loss { reason, dead: None, spent }, &mut moment)
        };
        let decision = end(&mut world).unwrap();
        world.commit(decision);
        assert_eq!(world.history(job), [format!("11:00 interrupted {word}")]);
        assert_eq!(world.runs[&run].error.as_ref().unwrap().class, "interrupted");
        assert_eq!(world.runs[&run].usage, Some(Tokens::default()));
        let session = world.sessions.values().next().unwrap();
        assert_eq!(session.end_reason(), Some(EndReason::Interrupted));
        assert!(end(&mut world).is_err());
    }
}

/// P4: at boot the orphan ends and its retry is queued in one decision, so that a second boot
/// finds one of them, not two.
#[test]
fn an_orphan_that_runs_again_is_ended_and_queued_at_once() {
    let again = Spec { on_interrupt: OnInterrupt::Retry, ..spec(cron("0 * * * *")) };
    let (mut world, job) = World::with("10:30", again);
    world.at("11:00").account(job);
    let run = world.start_first();
    world.end(run, crate::plan::fixtures::crashed());
    assert_eq!(world.history(job), ["11:00 interrupted crash", "11:00 #2 queued"]);
}

/// P2: no open session without a living owner; twice is once.
#[test]
fn a_session_without_an_owner_ends_once_as_restarted() {
    let (mut world, job) = World::with("10:30", spec(cron("0 * * * *")));
    world.at("11:00").account(job);
    world.start_first();
    let id = *world.sessions.keys().next().unwrap();
    let end = |world: &World, now| end_ownerless([&world.sessions[&id]], None, &mut moment(now));
    let decision = end(&world, "11:05");
    world.commit(decision);
    assert_eq!(world.sessions[&id].end_reason(), Some(EndReason::Restart));
    assert!(end(&world, "11:06").is_empty());
}

/// After kill -9 in the middle of forty runs, nobody could say what was interrupted but by reading
/// through the lists: it is counted in the record of the dead, in the commits that end it.
#[test]
fn what_is_ended_for_a_dead_node_is_counted_in_its_record() {
    let again = Spec { on_interrupt: OnInterrupt::Retry, ..spec(cron("0 * * * *")) };
    let (mut world, job) = World::with("10:30", again);
    world.at("11:00").account(job);
    let run = world.start_first();
    let mut dead = node(1);
    let counted = |decision: &Decision| {
        let node = decision.changes.iter().find_map(|change| match change {
            Change::Put(Record::Node(node)) => Some(node.clone()),
            _ => None,
        });
        node.unwrap()
    };
    let session = world.sessions.values().next().unwrap().clone();
    let snapshot = Snapshot {
        run: &world.runs[&run],
        session: Some(&session),
        job: Some(&world.jobs[&job]),
        others: &[],
    };
    let loss = Loss { reason: Reason::Crash, dead: Some(&dead), spent: Vec::new() };
    let first = end_orphan(snapshot, loss, &mut moment("11:05")).unwrap();
    dead = counted(&first);
    let left = |runs, retried, sessions| Some(node::LeftBehind { runs, retried, sessions });
    assert_eq!(dead.left_behind, left(1, 1, 1));
    let ended = end_ownerless([&session], Some(&dead), &mut moment("11:06"));
    dead = counted(&ended);
    assert_eq!(dead.left_behind, left(1, 1, 2));
    let buried = bury_node(&dead, node::EndReason::Crash, &mut moment("11:07"));
    let Change::Emit(event) = &buried.changes[0] else { panic!("{buried:?}") };
    let told = serde_json::json!({ "runs": 1, "retried": 1, "sessions": 2 });
    assert_eq!(event.data["left_behind"], told);
    assert_eq!(counted(&buried).left_behind, dead.left_behind);
}

#[test]
fn a_retry_is_queued_when_its_rest_is_over_and_not_before() {
    let (mut world, job) =
        World::with("10:30", Spec { retries: Some(1), ..spec(cron("0 * * * *")) });
    world.at("11:00").account(job);
    world.run_first(failed());
    let waiting = world.active(job).remove(0);
    assert!(rested(&waiting, &mut moment("11:00:29.999")).is_empty());
    let decision = rested(&waiting, &mut moment("11:00:30"));
    world.commit(decision);
    let queued = world.queued().remove(0);
    assert_eq!(queued.id, waiting.id);
    assert!(rested(&queued, &mut moment("11:01")).is_empty());
}

/// A gateway that keeps dying of what it makes up for stops making up for it.
#[test]
fn catching_up_is_paused_after_three_deaths_within_a_minute_of_their_start() {
    use node::EndReason::{Crash, Lost, Restart, Shutdown};
    let life = |stable: bool, reason: Option<node::EndReason>| Node {
        stable_at: stable.then(|| time("00:01")),
        end: reason.map(|reason| NodeEnd { at: time("00:02"), reason }),
        ..node(1)
    };
    let young = |reason| life(false, Some(reason));
    let cases = [
        (vec![], CatchUp::Paced),
        (vec![young(Crash), young(Crash)], CatchUp::Paced),
        (vec![young(Crash), young(Crash), young(Crash)], CatchUp::Paused),
        // The newest is found dead by this very start; others were found by the leases.
        (vec![life(false, None), young(Lost), young(Crash)], CatchUp::Paused),
        (vec![young(Crash), life(true, Some(Crash)), young(Crash), young(Crash)], CatchUp::Paced),
        (vec![young(Crash), young(Shutdown), young(Crash)], CatchUp::Paced),
        (vec![young(Restart), young(Crash), young(Crash)], CatchUp::Paced),
        (
            vec![young(Crash), young(Crash), young(Crash), life(true, Some(Shutdown))],
            CatchUp::Paused,
        ),
    ];
    for (earlier, expected) in cases {
        assert_eq!(catch_up(&earlier), expected, "{earlier:#?}");
    }
}

#[test]
fn a_wall_clock_that_went_back_or_a_week_ahead_is_not_believed() {
    let last = time("10:00");
    let week = MAX_ABSENCE.after(last);
    let ms = Duration::from_millis(1);
    let cases = [
        (None, last, None),
        (Some(last), last, None),
        (Some(last), ms.before(last), Some(ClockJump::Back { by: ms })),
        (Some(last), time("15:00"), None),
        (Some(last), week, None),
        (Some(last), ms.after(week), Some(ClockJump::Ahead { by: MAX_ABSENCE.saturating_add(ms) })),
    ];
    for (heartbeat, now, jump) in cases {
        assert_eq!(clock_at_boot(heartbeat, now), jump, "{heartbeat:?} {now}");
    }
}
