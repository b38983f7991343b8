//! The budget of a drain, the ends of sessions, and the end of the epoch.

use super::*;
use crate::change::{Change, Record};
use crate::node::{DrainedDeliveries, DrainedRuns};
use crate::plan::fixtures::{World, cron, moment, node, span, spec, time};

fn budget(runs: &str, grace: &str, hooks: &str) -> Budget {
    Budget { runs: span(runs), grace: span(grace), hooks: span(hooks) }
}

/// P9: the sum is the sum of the steps, and each part of the config is in it once.
#[test]
fn the_budget_is_the_sum_of_its_steps_and_grows_with_each_of_its_parts() {
    let usual = budget("30s", "5s", "2s");
    let sum: u64 = Step::ALL.iter().map(|step| usual.bound(*step).as_millis()).sum();
    assert_eq!(usual.total().as_millis(), sum);
    assert_eq!(usual.total(), span("84s"));
    let cases = [
        (budget("31s", "5s", "2s"), "85s"),
        (budget("30s", "7s", "2s"), "86s"),
        (budget("30s", "5s", "5s"), "87s"),
        (budget("0s", "0s", "0s"), "47s"),
    ];
    for (budget, total) in cases {
        assert_eq!(budget.total(), span(total), "{budget:?}");
    }
}

#[test]
fn the_usual_budget_fits_what_supervisors_allow() {
    assert!(budget("30s", "10s", "2s").total() <= SUPERVISOR);
}

#[test]
fn what_is_left_shrinks_by_each_step_that_is_done() {
    let budget = budget("30s", "5s", "2s");
    let rests = Step::ALL.map(|step| budget.rest(step));
    assert!(rests.is_sorted_by(|earlier, later| earlier > later), "{rests:?}");
    assert_eq!(rests.last(), Some(&ANSWERS.saturating_add(EXIT)));
}

#[test]
fn a_budget_says_what_it_is_made_of() {
    let text = "1m24s: 30s for running runs, 20s to stop the rest, 5s for hooks, 29s for store and \
                answers";
    assert_eq!(budget("30s", "5s", "2s").to_string(), text);
}

#[test]
fn the_less_patient_wish_is_the_smaller_one() {
    assert!(Patience::Cancel < Patience::Budget && Patience::Budget < Patience::Deadlines);
}

/// Three open sessions of node 1.
fn open() -> Vec<Session> {
    let (mut world, job) = World::with("10:30", spec(cron("0 * * * *")));
    world.at("11:00").account(job);
    world.start_first();
    let session = world.sessions.into_values().next().unwrap();
    let mut ids = moment("11:00").ids;
    std::iter::repeat_with(|| Session { id: ids.mint(), ..session.clone() }).take(3).collect()
}

fn ended(decision: &Decision) -> Vec<(SessionId, session::EndReason)> {
    let end = |change: &Change| match change {
        Change::Put(Record::Session(session)) => Some((session.id, session.end_reason()?)),
        _ => None,
    };
    decision.changes.iter().filter_map(end).collect()
}

/// P2: in one commit, each with the node's reason; what is not proven dead stays.
#[test]
fn the_open_sessions_of_a_node_end_with_its_reason_but_for_busy_ones() {
    let open = open();
    let reasons = [
        (node::EndReason::Shutdown, session::EndReason::Shutdown),
        (node::EndReason::Restart, session::EndReason::Restart),
    ];
    for (stop, reason) in reasons {
        let busy = [open[1].id].into();
        let decision = end_sessions(&open, &busy, stop, &mut moment("11:30"));
        assert_eq!(ended(&decision), [(open[0].id, reason), (open[2].id, reason)]);
        let told = decision.changes.iter().filter(|change| matches!(change, Change::Emit(_)));
        assert_eq!(told.count(), 2);
    }
}

#[test]
fn a_session_that_was_asked_to_end_keeps_that_reason() {
    let [first, ..] = &open()[..] else { panic!("three sessions") };
    let closing = Session { closing: Some(session::EndReason::Reset), ..first.clone() };
    let stop = node::EndReason::Shutdown;
    let decision = end_sessions(&[closing], &BTreeSet::new(), stop, &mut moment("11:30"));
    assert_eq!(ended(&decision), [(first.id, session::EndReason::Reset)]);
}

#[test]
fn without_open_sessions_nothing_is_committed() {
    let stop = node::EndReason::Shutdown;
    assert!(end_sessions(&[], &BTreeSet::new(), stop, &mut moment("11:30")).is_empty());
}

/// P9: the report is in the record and in the event, and an epoch ends once.
#[test]
fn the_end_of_an_epoch_carries_the_report_and_comes_once() {
    let runs = DrainedRuns { finished: 1, interrupted: 2, unproven: 3 };
    let drained = Drained { took_ms: 4, runs, sessions_ended: 5, ..Drained::default() };
    let mut moment = moment("11:30");
    let (node, reason) = (node(1), node::EndReason::Restart);
    let leaving = |node| Leaving { node, as_of: 7, reason, drained, hooks: &[] };
    let (decision, _) = leave(leaving(&node), &mut moment);
    let [Change::Require(guard), Change::Emit(event), Change::Put(Record::Node(left))] =
        &decision.changes[..]
    else {
        panic!("{decision:?}")
    };
    assert_eq!((guard, event.kind), (&Guard::NothingSince(7), EventType::NodeStopped));
    assert_eq!(event.data["drained"]["runs"]["unproven"], 3);
    assert_eq!(event.data["drained"]["sessions_ended"], 5);
    assert_eq!(event.data["reason"], "restart");
    assert_eq!((left.drained, left.end.unwrap().at), (Some(drained), time("11:30")));
    let (again, found) = leave(leaving(left), &mut moment);
    assert!(again.is_empty());
    assert_eq!(found, *left, "what is recorded already is what counts");
}

/// P9: nobody is told of the end before the next start: that is pending, too, and in the report.
#[test]
fn what_the_end_of_an_epoch_is_to_be_told_is_in_its_own_report() {
    let hook = |name: &str, on: &[EventType]| Subscription {
        hook: name.parse().unwrap(),
        on: on.iter().copied().collect(),
        agents: BTreeSet::new(),
        jobs: BTreeSet::new(),
        kinds: BTreeSet::new(),
        max_attempts: 20,
        max_age: span("7d"),
        backoff: Subscription::default_backoff(),
    };
    let stopped = &[EventType::NodeStopped];
    let hooks =
        [hook("one", stopped), hook("two", stopped), hook("none", &[EventType::NodeDraining])];
    let deliveries = DrainedDeliveries { delivered: 1, failed: 2, pending: 3 };
    let drained = Drained { deliveries, ..Drained::default() };
    let (node, reason) = (node(1), node::EndReason::Shutdown);
    let leaving = Leaving { node: &node, as_of: 0, reason, drained, hooks: &hooks };
    let (decision, left) = leave(leaving, &mut moment("11:30"));
    let expected = DrainedDeliveries { pending: 5, ..deliveries };
    assert_eq!(left.drained.unwrap().deliveries, expected);
    let told = decision.changes.iter().find_map(|change| match change {
        Change::Emit(event) => Some(event.data["drained"]["deliveries"]["pending"].clone()),
        _ => None,
    });
    assert_eq!(told.unwrap(), 5);
    assert!(decision.changes.contains(&Change::from(left)), "the record says the same");
}

#[test]
fn the_begin_of_a_drain_says_how_long_it_takes_at_most() {
    let budget = budget("30s", "5s", "2s");
    let decision = begin(&node(1), node::EndReason::Shutdown, budget, &mut moment("11:30"));
    let [Change::Emit(event)] = &decision.changes[..] else { panic!("{decision:?}") };
    assert_eq!(event.kind, EventType::NodeDraining);
    assert_eq!(event.data["at_most_ms"], budget.total().as_millis());
}
