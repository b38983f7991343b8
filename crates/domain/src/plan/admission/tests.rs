//! Which queued runs may start, and why the others wait.

use super::*;
use crate::change::Record;
use crate::job::{Misfire, Overlap, Spec, Target};
use crate::plan::fixtures::{World, cron, node, ok, owner, settings, span, spec, time};
use crate::run::State as RunState;

const LIMITS: Limits = Limits { runs: 4, runs_per_agent: 3 };

/// Nothing but the limits decides.
const OPEN: Conditions = Conditions { catch_up: CatchUp::Paced, headroom: Headroom::Kept };

fn hourly() -> Spec {
    spec(cron("0 * * * *"))
}

fn of(agent: &str) -> Spec {
    Spec { agent: agent.parse().unwrap(), ..hourly() }
}

/// Queued runs of one job each.
fn queued(specs: &[Spec]) -> Vec<Run> {
    let mut world = World::new("10:30");
    let jobs: Vec<JobId> = specs
        .iter()
        .enumerate()
        .map(|(n, spec)| world.put(&format!("job{n}"), spec.clone()))
        .collect();
    world.at("11:00");
    for &job in &jobs {
        world.account(job);
    }
    let mut queued = world.queued();
    queued.sort_by_key(|run| jobs.iter().position(|job| Some(*job) == run.job));
    queued
}

fn offer_all(admission: &mut Admission, runs: &[Run]) -> Vec<Option<Wait>> {
    runs.iter().map(|run| admission.offer(run).err()).collect()
}

#[test]
fn no_more_runs_start_than_the_node_and_the_agent_have_places() {
    let runs = queued(&[of("a"), of("a"), of("a"), of("a"), of("b"), of("b")]);
    let mut admission = Admission::new(LIMITS, OPEN, []);
    let waits = offer_all(&mut admission, &runs);
    assert_eq!(waits, [None, None, None, Some(Wait::AgentFull), None, Some(Wait::NodeFull)]);
    assert!(admission.is_full());
    assert_eq!(admission.full_agents(), ["a".parse().unwrap()]);
}

#[test]
fn what_runs_already_takes_places() {
    let runs = queued(&[of("a"), of("a"), of("a"), of("a")]);
    let mut admission = Admission::new(LIMITS, OPEN, &runs[..3]);
    assert_eq!(admission.offer(&runs[3]), Err(Wait::AgentFull));
    let mut admission = Admission::new(LIMITS, OPEN, &runs[..2]);
    assert_eq!(admission.offer(&runs[3]), Ok(()));
}

/// P2: one open session per key, so one run per key.
#[test]
fn at_most_one_run_runs_on_a_session_key() {
    let main = Spec { target: Target::Main, ..hourly() };
    let runs = queued(&[main.clone(), main, hourly()]);
    let mut admission = Admission::new(LIMITS, OPEN, []);
    assert_eq!(offer_all(&mut admission, &runs), [None, Some(Wait::KeyBusy), None]);
}

#[test]
fn a_job_runs_beside_itself_only_where_its_policy_allows_it() {
    for (overlap, wait) in [
        (Overlap::Queue, Some(Wait::JobBusy)),
        (Overlap::Replace, Some(Wait::JobBusy)),
        (Overlap::Allow, None),
    ] {
        let (mut world, job) = World::with("10:30", Spec { overlap, ..hourly() });
        world.at("11:00").account(job);
        world.start_first();
        world.at("12:00").account(job);
        let mut admission = Admission::new(LIMITS, OPEN, &world.running());
        assert_eq!(admission.offer(&world.queued()[0]).err(), wait, "{overlap:?}");
    }
}

/// A start after a long pause does not crowd out what is due now.
#[test]
fn catching_up_takes_half_of_the_places_and_none_while_it_is_paused() {
    let late: Vec<Spec> = (0..4).map(|_| hourly()).collect();
    let mut runs = queued(&late);
    runs[..3].iter_mut().for_each(|run| run.cause = Cause::CatchUp);
    let mut admission = Admission::new(LIMITS, OPEN, []);
    assert_eq!(offer_all(&mut admission, &runs), [None, None, Some(Wait::CatchUpFull), None]);
    let mut admission =
        Admission::new(LIMITS, Conditions { catch_up: CatchUp::Paused, ..OPEN }, []);
    let full = Some(Wait::CatchUpFull);
    assert_eq!(offer_all(&mut admission, &runs), [full, full, full, None]);
    let places = [0, 1, 2, 3, 8].map(|runs| Limits { runs, runs_per_agent: 1 }.catch_up());
    assert_eq!(places, [1, 1, 1, 1, 4]);
}

/// Slots that are all made up for run one after the other, also where the policy is `allow`.
#[test]
fn runs_that_make_up_for_slots_of_one_job_do_not_run_beside_each_other() {
    let spec = Spec { misfire: Misfire::All, overlap: Overlap::Allow, ..hourly() };
    let (mut world, job) = World::with("10:30", spec);
    world.at("13:30").account(job);
    let mut admission = Admission::new(LIMITS, OPEN, []);
    let waits = offer_all(&mut admission, &world.queued());
    assert_eq!(waits, [None, Some(Wait::JobBusy), Some(Wait::JobBusy)]);
}

/// P1, P4: claim and session are one decision, fenced by what it relied on.
#[test]
fn a_start_claims_the_run_and_opens_its_session_in_one_decision() {
    let (mut world, job) = World::with("10:30", hourly());
    world.at("11:00").account(job);
    let run = world.queued().remove(0);
    let mut moment = world.moment();
    let decision = world.claimed(run.id, &mut moment).unwrap();
    let guards: Vec<&Guard> = decision
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Require(guard) => Some(guard),
            _ => None,
        })
        .collect();
    let (idle, alone) = (Guard::KeyIdle(run.session_key.clone()), Guard::NothingRunning(job));
    assert_eq!(guards, [&idle, &alone]);
    let effects = world.commit(decision);
    let claimed = world.runs[&run.id].clone();
    let session = world.sessions[&claimed.session.unwrap()].clone();
    let deadline = time("11:10");
    assert_eq!(claimed.state, RunState::Running { owner: owner(), deadline });
    assert_eq!((claimed.started_at, session.opened_at), (Some(time("11:00")), time("11:00")));
    assert_eq!((session.run, session.owner), (Some(run.id), owner()));
    assert_eq!((&session.key, session.kind), (&run.session_key, run.session_key.kind()));
    // The effect carries the records as they are stored.
    let expected = Effect::Start { run: Box::new(claimed), session: Box::new(session) };
    assert_eq!(effects, [expected]);
    assert_eq!(world.told(EventType::RunStarted), 1);
    assert_eq!(world.told(EventType::SessionStarted), 1);
}

#[test]
fn a_run_that_may_run_beside_its_job_does_not_ask_for_it_to_be_idle() {
    let (mut world, job) = World::with("10:30", Spec { overlap: Overlap::Allow, ..hourly() });
    world.at("11:00").account(job);
    let run = world.queued().remove(0);
    let mut moment = world.moment();
    let decision = world.claimed(run.id, &mut moment).unwrap();
    let alone = Change::Require(Guard::NothingRunning(job));
    assert!(!decision.changes.contains(&alone));
}

/// P5: no attempt is executed twice.
#[test]
fn only_a_queued_run_can_be_claimed() {
    let (mut world, job) = World::with("10:30", Spec { retries: Some(1), ..hourly() });
    world.at("11:00").account(job);
    let run = world.start_first();
    let claim = |world: &World, run| world.claimed(run, &mut Moment::new(world.now, 9));
    assert!(claim(&world, run).is_err());
    world.end(run, crate::plan::fixtures::failed());
    assert!(claim(&world, run).is_err());
    let waiting = world.active(job).remove(0);
    assert!(claim(&world, waiting.id).is_err());
}

/// What a run works from is fixed when it is made; only an agent that was unknown then is filled in.
#[test]
fn a_claim_fills_in_an_agent_that_was_unknown_when_the_run_was_made() {
    let (mut world, job) = World::with("10:30", hourly());
    let run = world.trigger(job).unwrap();
    world.at("11:00").account(job);
    assert_eq!(world.runs[&run].input.as_ref().unwrap().settings, None);
    world.start(run);
    assert_eq!(world.runs[&run].input.as_ref().unwrap().settings, Some(settings()));
    world.end(run, ok());

    let (mut world, job) = World::with("10:30", hourly());
    world.at("11:00").account(job);
    let run = world.queued().remove(0);
    let other = crate::agent::Agent { timeout: span("1m"), ..settings() };
    let claim = Claim {
        run: &run,
        owner: node(2).owner(),
        current: Some(&other),
        behind: Behind::default(),
        rules: &Rules::default(),
    };
    let decision = start(claim, &mut world.moment()).unwrap();
    let claimed = decision.changes.iter().find_map(|change| match change {
        Change::Put(Record::Run(run)) => Some(run),
        _ => None,
    });
    assert_eq!(claimed.unwrap().input, run.input);
}

/// P2, P7: the room that is left on a full disk is for the ends of what runs.
#[test]
fn no_run_starts_while_the_store_has_no_room_but_for_ends() {
    let runs = queued(&[of("a"), of("b")]);
    let full = Conditions { headroom: Headroom::Released, ..OPEN };
    let mut admission = Admission::new(LIMITS, full, []);
    assert!(admission.is_full(), "the queue need not be looked at");
    assert_eq!(offer_all(&mut admission, &runs), [Some(Wait::StoreFull), Some(Wait::StoreFull)]);
}
