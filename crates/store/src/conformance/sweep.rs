//! What the reaper and the loops around sessions look for.

use sexton_domain::change::{Change, Version};
use sexton_domain::id::{JobId, SessionId};
use sexton_domain::key::SessionKind;
use sexton_domain::session::{Hold, HoldReason, Session, State};

use super::World;
use super::chance::Chance;
use super::lists::{Names, random_session};
use super::make::{at, epoch};
use crate::page::Ended;

const ROWS: usize = 160;

/// A session of any kind and age, with everything the reaper goes by.
fn random(
    world: &World,
    chance: &mut Chance,
    names: &Names,
    before: &[SessionId],
    n: usize,
) -> Session {
    let mut session = random_session(&world.make, chance, names);
    if chance.one_in(3) {
        session.state = State::Open;
        session.key = format!("agent:main:open-{n}").parse().expect("it is a key");
    }
    let time = |chance: &mut Chance| Some(at(chance.below(40) as i64));
    session.expires_at = time(chance).filter(|_| !chance.one_in(4));
    session.hold = time(chance)
        .filter(|_| chance.one_in(4))
        .map(|until| Hold { reason: HoldReason::Floor, until });
    session.pinned = chance.one_in(8);
    session.active_at = time(chance).filter(|_| chance.one_in(2));
    session.run = chance.one_in(4).then(|| world.make.id());
    session.previous = chance.maybe(before);
    session.owner.epoch = epoch(1 + chance.below(3) as u32);
    session
}

/// Sessions that were stored, replaced by others and stored again.
async fn stored(world: &World, chance: &mut Chance) -> (Vec<Session>, Names) {
    let names = Names::new(&world.make);
    let mut sessions: Vec<Session> = Vec::new();
    for n in 0..ROWS {
        let before: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
        sessions.push(random(world, chance, &names, &before, n));
    }
    world.store(sessions.iter().rev().cloned().map(Change::from).collect()).await;
    let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    let mut changes = Vec::new();
    for (n, session) in sessions.iter_mut().enumerate() {
        if chance.one_in(2) {
            let (id, key) = (session.id, session.key.clone());
            *session = Session { id, ..random(world, chance, &names, &ids, ROWS + n) };
            session.key = if session.is_open() { session.key.clone() } else { key };
            session.version = Version(1);
            changes.push(Change::from(session.clone()));
        }
    }
    world.store(changes).await;
    (sessions, names)
}

fn ids<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> Vec<SessionId> {
    sessions.into_iter().map(|session| session.id).collect()
}

/// P6: those that are due and no others; what is held, pinned or open is not in the way.
pub async fn due_sessions_are_those_whose_look_is_due(world: World) {
    let chance = &mut Chance::new(51);
    let driver = world.driver();
    assert_eq!(driver.next_due_session().await.unwrap(), None);
    let (sessions, _) = stored(&world, chance).await;
    let mut due: Vec<&Session> =
        sessions.iter().filter(|session| session.look_at().is_some()).collect();
    due.sort_by_key(|session| (session.look_at(), session.id));
    assert_eq!(driver.next_due_session().await.unwrap(), due[0].look_at());
    for now in [at(-1), at(7), at(20), at(100)] {
        let expected: Vec<&Session> =
            due.iter().copied().filter(|session| session.look_at() <= Some(now)).collect();
        let found = driver.due_sessions(now, u32::MAX).await.unwrap();
        assert_eq!(ids(&found), ids(expected.iter().copied()));
        let some = driver.due_sessions(now, 5).await.unwrap();
        assert_eq!(ids(&some), ids(expected.iter().copied().take(5)));
        let before = due.iter().filter(|session| session.look_at() < Some(now)).count() as u64;
        assert_eq!(driver.overdue_sessions(now, u32::MAX).await.unwrap(), before);
        assert_eq!(driver.overdue_sessions(now, 3).await.unwrap(), before.min(3));
    }
}

/// P6: floors and caps count a job's ended sessions from the newest on.
pub async fn ended_sessions_of_a_job_are_counted_from_the_newest(world: World) {
    let chance = &mut Chance::new(52);
    let (sessions, names) = stored(&world, chance).await;
    let unknown: JobId = world.make.id();
    for job in names.jobs.iter().chain([&unknown]) {
        let ended = || {
            let mine = sessions.iter().rev().filter(|session| session.job == Some(*job));
            mine.filter(|session| !session.is_open())
        };
        let failed =
            || ended().filter(|session| session.end_reason().is_some_and(|why| why.is_failure()));
        for limit in [1, 3, u32::MAX] {
            let newest = world.driver().newest_ended(*job, Ended::All, limit).await.unwrap();
            assert_eq!(newest, ids(ended().take(limit as usize)));
            let newest = world.driver().newest_ended(*job, Ended::Failures, limit).await.unwrap();
            assert_eq!(newest, ids(failed().take(limit as usize)));
        }
        for keep in [0, 1, 4, 1000] {
            let beyond = || {
                ended().skip(keep as usize).filter(|session| {
                    let held = session.hold.as_ref().is_some_and(|hold| hold.until > at(20));
                    !session.pinned && !held
                })
            };
            let found = world.driver().ended_beyond(*job, keep, at(20), u32::MAX).await.unwrap();
            assert_eq!(ids(&found), ids(beyond()));
            let some = world.driver().ended_beyond(*job, keep, at(20), 2).await.unwrap();
            assert_eq!(ids(&some), ids(beyond().take(2)));
        }
    }
}

/// P2: a node that stops ends its own.
pub async fn open_sessions_of_an_epoch_come_oldest_first(world: World) {
    let chance = &mut Chance::new(53);
    let (sessions, _) = stored(&world, chance).await;
    for count in 1..5 {
        let mine: Vec<&Session> = sessions
            .iter()
            .filter(|session| session.is_open() && session.owner.epoch == epoch(count))
            .collect();
        let found = world.driver().sessions_of(epoch(count), u32::MAX).await.unwrap();
        assert_eq!(ids(&found), ids(mine.iter().copied()));
        let some = world.driver().sessions_of(epoch(count), 2).await.unwrap();
        assert_eq!(ids(&some), ids(mine.into_iter().take(2)));
    }
}

/// Reset policies look at conversations that are silent, by kind; isolated runs are none.
pub async fn idle_sessions_come_longest_silent_first_by_kind(world: World) {
    let chance = &mut Chance::new(54);
    let (sessions, _) = stored(&world, chance).await;
    let mut found_any = false;
    for kind in SessionKind::ALL {
        for until in [at(5), at(30), at(100)] {
            let mut silent: Vec<&Session> = sessions
                .iter()
                .filter(|session| session.is_open() && session.kind == kind)
                .filter(|session| session.run.is_none())
                .filter(|session| session.active_at.is_some_and(|active| active <= until))
                .collect();
            silent.sort_by_key(|session| (session.active_at, session.id));
            let found = world.driver().idle_sessions(kind, until, u32::MAX).await.unwrap();
            assert_eq!(ids(&found), ids(silent.iter().copied()), "{kind:?} until {until}");
            let some = world.driver().idle_sessions(kind, until, 1).await.unwrap();
            assert_eq!(ids(&some), ids(silent.iter().copied().take(1)));
            found_any |= !silent.is_empty();
        }
    }
    assert!(found_any);
}

/// P6: a session that an open one continues stays.
pub async fn continued_sessions_are_those_that_an_open_one_names(world: World) {
    let chance = &mut Chance::new(55);
    let (sessions, _) = stored(&world, chance).await;
    let all = ids(&sessions);
    let named: Vec<SessionId> = sessions
        .iter()
        .filter(|session| session.is_open())
        .filter_map(|session| session.previous)
        .collect();
    assert!(!named.is_empty());
    let expected: Vec<SessionId> = all.iter().copied().filter(|id| named.contains(id)).collect();
    assert_eq!(world.driver().continued(all).await.unwrap(), expected);
    assert_eq!(world.driver().continued(vec![world.make.id()]).await.unwrap(), []);
}
