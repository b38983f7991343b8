//! Lists: every filter, alone and together, says what a filter over all records in memory says.

use jiff::Timestamp;
use sexton_domain::change::Change;
use sexton_domain::id::JobId;
use sexton_domain::job::{Job, Source};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::AgentName;
use sexton_domain::run::{Outcome, Run, State};
use sexton_domain::session::{EndReason, Session};

use super::World;
use super::chance::Chance;
use super::make::{Make, agent, at, ended_run, ended_session};
use crate::page::{JobFilter, PageRequest, RunFilter, RunState, SessionFilter};

const ROWS: usize = 240;
const MIXES: usize = 120;

/// Names few enough that filters meet, and the jobs some records belong to.
pub(super) struct Names {
    pub(super) agents: Vec<AgentName>,
    pub(super) jobs: Vec<JobId>,
    pub(super) keys: Vec<SessionKey>,
}

impl Names {
    pub(super) fn new(make: &Make) -> Self {
        let key = |n: usize| format!("agent:main:chat-{n}").parse().expect("it is a key");
        Self {
            agents: ["main", "research", "ops"].map(agent).to_vec(),
            jobs: (0..3).map(|_| make.id()).collect(),
            keys: (0..12).map(key).collect(),
        }
    }
}

/// The time that `since` and `until` mean.
fn made_at(id: uuid::Uuid) -> Timestamp {
    let (seconds, nanos) = id.get_timestamp().expect("ids have a time").to_unix();
    Timestamp::new(seconds.cast_signed(), nanos.cast_signed()).expect("it is in range")
}

pub(super) fn random_session(make: &Make, chance: &mut Chance, names: &Names) -> Session {
    let session = Session {
        key: chance.pick(&names.keys).clone(),
        kind: *chance.pick(&SessionKind::ALL),
        agent: chance.pick(&names.agents).clone(),
        job: chance.maybe(&names.jobs),
        ..make.session("agent:main:main")
    };
    ended_session(session, *chance.pick(&EndReason::ALL))
}

fn random_session_filter(chance: &mut Chance, names: &Names, times: &[Timestamp]) -> SessionFilter {
    let kinds = (0..chance.below(4)).map(|_| *chance.pick(&SessionKind::ALL)).collect();
    SessionFilter {
        key: chance.maybe(&names.keys).filter(|_| chance.one_in(3)),
        kinds,
        agent: chance.maybe(&names.agents),
        job: chance.maybe(&names.jobs).filter(|_| chance.one_in(2)),
        open: chance.maybe(&[true, false]),
        reason: chance.maybe(&EndReason::ALL).filter(|_| chance.one_in(2)),
        since: chance.maybe(times),
    }
}

/// Each filter alone, with every value, and with `open` and `since`.
fn session_filters(names: &Names, since: Timestamp) -> Vec<SessionFilter> {
    let none = SessionFilter::default;
    let mut filters = vec![none()];
    filters.extend(names.keys.iter().map(|key| SessionFilter { key: Some(key.clone()), ..none() }));
    filters.extend(SessionKind::ALL.map(|kind| SessionFilter { kinds: vec![kind], ..none() }));
    let all_but_runs = SessionKind::ALL.into_iter().filter(|kind| *kind != SessionKind::Run);
    filters.push(SessionFilter { kinds: all_but_runs.collect(), ..none() });
    filters.push(SessionFilter { kinds: vec![SessionKind::Run; 3], ..none() });
    let agents = names.agents.iter();
    filters.extend(agents.map(|agent| SessionFilter { agent: Some(agent.clone()), ..none() }));
    filters.extend(names.jobs.iter().map(|job| SessionFilter { job: Some(*job), ..none() }));
    filters.extend(EndReason::ALL.map(|why| SessionFilter { reason: Some(why), ..none() }));
    let mut more = Vec::new();
    for filter in &filters {
        for open in [None, Some(true), Some(false)] {
            for since in [None, Some(since)] {
                more.push(SessionFilter { open, since, ..filter.clone() });
            }
        }
    }
    more
}

fn session_passes(session: &Session, filter: &SessionFilter) -> bool {
    filter.key.as_ref().is_none_or(|key| session.key == *key)
        && (filter.kinds.is_empty() || filter.kinds.contains(&session.kind))
        && filter.agent.as_ref().is_none_or(|agent| session.agent == *agent)
        && filter.job.is_none_or(|job| session.job == Some(job))
        && filter.open.is_none_or(|open| session.is_open() == open)
        && filter.reason.is_none_or(|reason| session.end_reason() == Some(reason))
        && filter.since.is_none_or(|since| made_at(session.id.uuid()) >= since)
}

/// P8, P10: what is asked for, all of it and nothing else, newest first.
pub async fn every_filter_of_sessions_agrees_with_the_model(world: World) {
    let chance = &mut Chance::new(11);
    let names = Names::new(&world.make);
    let mut stored: Vec<Session> =
        (0..ROWS).map(|_| random_session(&world.make, chance, &names)).collect();
    for (session, key) in stored.iter_mut().step_by(7).zip(&names.keys) {
        session.state = sexton_domain::session::State::Open;
        session.key = key.clone();
    }
    // In an order that is not that of their ids.
    let mut shuffled: Vec<Change> = stored.iter().cloned().map(Change::from).collect();
    shuffled.sort_by_cached_key(|_| chance.number());
    world.store(shuffled).await;
    let times: Vec<Timestamp> = stored.iter().map(|row| made_at(row.id.uuid())).collect();
    let mixes = (0..MIXES).map(|_| random_session_filter(chance, &names, &times));
    let filters: Vec<_> =
        session_filters(&names, times[ROWS / 2]).into_iter().chain(mixes).collect();
    for filter in filters {
        let limit = 1 + chance.number() as u32 % 40;
        let (mut found, mut page) = (Vec::new(), PageRequest::first(limit));
        loop {
            let answer = world.driver().sessions(filter.clone(), page).await.unwrap();
            assert!(answer.items.len() <= limit as usize);
            found.extend(answer.items.into_iter().map(|session| session.id));
            match answer.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        let expected = stored.iter().rev().filter(|session| session_passes(session, &filter));
        assert_eq!(found, expected.map(|session| session.id).collect::<Vec<_>>(), "{filter:?}");
    }
}

pub(super) fn random_run(make: &Make, chance: &mut Chance, names: &Names, n: usize) -> Run {
    let run = Run {
        job: chance.maybe(&names.jobs),
        agent: chance.pick(&names.agents).clone(),
        turn: chance.number() % 50,
        ..make.run(&format!("agent:main:key-{n}"))
    };
    let owner = make.owner(1 + chance.below(4) as u32);
    match chance.below(6) {
        0 => run,
        1 => Run { state: State::Waiting { until: at(chance.below(100) as i64) }, ..run },
        2 => {
            let state = State::Running { owner, deadline: at(3600) };
            Run { state, started_at: Some(at(1)), ..run }
        }
        _ => ended_run(Run { started_at: Some(at(1)), ..run }, *chance.pick(&Outcome::ALL)),
    }
}

fn run_filters(names: &Names, times: [Timestamp; 2]) -> Vec<RunFilter> {
    let none = RunFilter::default;
    let mut filters = vec![none()];
    filters.extend(names.jobs.iter().map(|job| RunFilter { job: Some(*job), ..none() }));
    let agents = names.agents.iter();
    filters.extend(agents.map(|agent| RunFilter { agent: Some(agent.clone()), ..none() }));
    filters.extend(Outcome::ALL.map(|outcome| RunFilter { outcome: Some(outcome), ..none() }));
    filters.extend(RunState::ALL.map(|state| RunFilter { state: Some(state), ..none() }));
    let mut more = Vec::new();
    for filter in &filters {
        for since in [None, Some(times[0])] {
            for until in [None, Some(times[1])] {
                more.push(RunFilter { since, until, ..filter.clone() });
            }
        }
    }
    more
}

fn random_run_filter(chance: &mut Chance, names: &Names, times: &[Timestamp]) -> RunFilter {
    RunFilter {
        job: chance.maybe(&names.jobs),
        agent: chance.maybe(&names.agents),
        state: chance.maybe(&RunState::ALL),
        outcome: chance.maybe(&Outcome::ALL).filter(|_| chance.one_in(2)),
        since: chance.maybe(times).filter(|_| chance.one_in(2)),
        until: chance.maybe(times).filter(|_| chance.one_in(2)),
    }
}

fn run_passes(run: &Run, filter: &RunFilter) -> bool {
    filter.job.is_none_or(|job| run.job == Some(job))
        && filter.agent.as_ref().is_none_or(|agent| run.agent == *agent)
        && filter.state.is_none_or(|state| run.state.name() == state.name())
        && filter.outcome.is_none_or(|outcome| run.outcome() == Some(outcome))
        && filter.since.is_none_or(|since| made_at(run.id.uuid()) >= since)
        && filter.until.is_none_or(|until| made_at(run.id.uuid()) < until)
}

/// P8, P10: as for sessions.
pub async fn every_filter_of_runs_agrees_with_the_model(world: World) {
    let chance = &mut Chance::new(12);
    let names = Names::new(&world.make);
    let stored: Vec<Run> = (0..ROWS).map(|n| random_run(&world.make, chance, &names, n)).collect();
    let mut shuffled: Vec<Change> = stored.iter().cloned().map(Change::from).collect();
    shuffled.sort_by_cached_key(|_| chance.number());
    world.store(shuffled).await;
    let times: Vec<Timestamp> = stored.iter().map(|row| made_at(row.id.uuid())).collect();
    let mixes = (0..MIXES).map(|_| random_run_filter(chance, &names, &times));
    let alone = run_filters(&names, [times[ROWS / 4], times[ROWS / 2]]);
    for filter in alone.into_iter().chain(mixes).collect::<Vec<_>>() {
        let (mut found, mut page) =
            (Vec::new(), PageRequest::first(1 + chance.number() as u32 % 40));
        loop {
            let answer = world.driver().runs(filter.clone(), page).await.unwrap();
            found.extend(answer.items.into_iter().map(|run| run.id));
            match answer.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        let expected = stored.iter().rev().filter(|run| run_passes(run, &filter));
        assert_eq!(found, expected.map(|run| run.id).collect::<Vec<_>>(), "{filter:?}");
    }
}

fn job_passes(job: &Job, filter: &JobFilter) -> bool {
    filter.source.as_ref().is_none_or(|source| job.source == *source)
        && filter.agent.as_ref().is_none_or(|agent| job.spec.agent == *agent)
        && (filter.removed || job.removed_at.is_none())
}

/// P8: as for sessions. A config source named `api` is not the API.
pub async fn every_filter_of_jobs_agrees_with_the_model(world: World) {
    let chance = &mut Chance::new(13);
    let names = Names::new(&world.make);
    let config = |name: &str| Source::Config(name.to_owned());
    let sources = [Source::Api, config("api"), config("main"), config("höme \"x\"")];
    let mut stored = Vec::new();
    for n in 0..ROWS / 4 {
        let mut job = world.make.job(&format!("job-{n}"));
        job.source = chance.pick(&sources).clone();
        job.spec.agent = chance.pick(&names.agents).clone();
        job.removed_at = chance.one_in(3).then(|| at(1));
        stored.push(job);
    }
    world.store(stored.iter().rev().cloned().map(Change::from).collect()).await;
    let some_source = sources.iter().cloned().map(Some).chain([None]);
    let some_agent: Vec<_> = names.agents.iter().cloned().map(Some).chain([None]).collect();
    for source in some_source {
        for agent in &some_agent {
            for removed in [false, true] {
                let filter = JobFilter { source: source.clone(), agent: agent.clone(), removed };
                let (mut found, mut page) = (Vec::new(), PageRequest::first(4));
                loop {
                    let answer = world.driver().jobs(filter.clone(), page).await.unwrap();
                    found.extend(answer.items.into_iter().map(|job| job.id));
                    match answer.next {
                        Some(next) => page.after = Some(next),
                        None => break,
                    }
                }
                let expected = stored.iter().rev().filter(|job| job_passes(job, &filter));
                assert_eq!(found, expected.map(|job| job.id).collect::<Vec<_>>(), "{filter:?}");
            }
        }
    }
}

/// P4: the living are asked for as a whole, because everybody else's runs are ended.
pub async fn nodes_are_listed_newest_first_and_the_living_ones_completely(world: World) {
    let mut nodes = Vec::new();
    for count in 1..=30 {
        nodes.push(match count % 3 {
            0 => world.make.node(count),
            _ => world.make.ended_node(count),
        });
    }
    let mut restored = world.make.node(1);
    restored.epoch = sexton_domain::node::Epoch::new(2, 1);
    nodes.push(restored);
    world.store(nodes.iter().rev().cloned().map(Change::from).collect()).await;
    let epochs = |nodes: Vec<sexton_domain::node::Node>| -> Vec<_> {
        nodes.into_iter().map(|node| node.epoch).collect()
    };
    let newest: Vec<_> = nodes.iter().rev().map(|node| node.epoch).collect();
    assert_eq!(epochs(world.driver().nodes(7).await.unwrap()), newest[..7]);
    assert_eq!(epochs(world.driver().nodes(100).await.unwrap()), newest);
    let mut living = epochs(world.driver().living_nodes().await.unwrap());
    living.sort_unstable();
    let expected: Vec<_> =
        nodes.iter().filter(|node| node.end.is_none()).map(|node| node.epoch).collect();
    assert_eq!(living, expected);
}
