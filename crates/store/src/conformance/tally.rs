//! The tally: counted as it changes, and right after anything.

use std::collections::BTreeMap;

use sexton_domain::alert::{Alert, AlertCode};
use sexton_domain::archive::Archive;
use sexton_domain::change::{Change, Record, RecordId, Version};
use sexton_domain::hook::{DeadReason, Delivery, DeliveryState};
use sexton_domain::id::EventId;
use sexton_domain::job::Job;
use sexton_domain::run::Run;
use sexton_domain::session::Session;

use super::World;
use super::chance::Chance;
use super::lists::{Names, random_run, random_session};
use super::make::{Make, at, epoch};
use crate::page::{RunState, Standing, Tally};

/// What is stored, as far as it is counted.
#[derive(Debug, Clone, Default)]
struct Truth {
    sessions: Vec<Session>,
    runs: Vec<Run>,
    jobs: Vec<Job>,
    events: Vec<EventId>,
    deliveries: Vec<Delivery>,
    archives: Vec<Archive>,
    alerts: Vec<Alert>,
}

impl Truth {
    fn tally(&self) -> Tally {
        let mut sessions = BTreeMap::new();
        for session in &self.sessions {
            *sessions.entry((session.kind, session.is_open())).or_insert(0) += 1;
        }
        let mut runs = BTreeMap::new();
        for run in &self.runs {
            let state = RunState::ALL.into_iter().find(|state| state.name() == run.state.name());
            let state = state.expect("every state has a name");
            *runs.entry((state, run.outcome())).or_insert(0) += 1;
        }
        let jobs = self.jobs.iter().filter(|job| job.removed_at.is_none()).count() as u64;
        let mut deliveries = BTreeMap::new();
        for delivery in &self.deliveries {
            let standing = Standing::of(&delivery.state);
            *deliveries.entry((delivery.hook.clone(), standing)).or_insert(0) += 1;
        }
        let kept = self.archives.iter().filter(|archive| archive.deleted_at.is_none());
        let archives = kept.fold((0, 0), |(count, bytes), kept| (count + 1, bytes + kept.length));
        Tally {
            sessions,
            runs,
            jobs,
            events: self.events.len() as u64,
            deliveries,
            archives,
            troubled: self.jobs.iter().filter(|job| job.is_troubled()).count() as u64,
            alerts: self.alerts.iter().filter(|alert| alert.is_active()).count() as u64,
        }
    }
}

fn put_over<T: Clone + Into<Change>>(
    old: &mut T,
    mut new: T,
    version: fn(&mut T) -> &mut Version,
) -> Change {
    *version(&mut new) = *version(old);
    let change = new.clone().into();
    *version(&mut new) = version(&mut new).next();
    *old = new;
    change
}

/// One random change that can be stored, and what is true after it.
fn step(world: &World, truth: &mut Truth, chance: &mut Chance, names: &Names, n: usize) -> Change {
    let make = &world.make;
    match chance.below(15) {
        0 | 1 => {
            let mut session = random_session(make, chance, names);
            truth.sessions.push(Session { version: Version(1), ..session.clone() });
            session.version = Version::NEW;
            session.into()
        }
        2 | 3 => {
            let run = random_run(make, chance, names, n);
            truth.runs.push(Run { version: Version(1), ..run.clone() });
            run.into()
        }
        4 => {
            let mut job = make.job(&format!("job-{n}"));
            job.removed_at = chance.one_in(3).then(|| at(1));
            job.counters.failing_streak = chance.below(4) as u32;
            truth.jobs.push(Job { version: Version(1), ..job.clone() });
            job.into()
        }
        5 => {
            let fact = make.event();
            truth.events.push(fact.id);
            fact.into()
        }
        6 if !truth.runs.is_empty() => {
            let at = chance.below(truth.runs.len());
            let old = &mut truth.runs[at];
            let new = Run { id: old.id, ..random_run(make, chance, names, n) };
            put_over(old, new, |run| &mut run.version)
        }
        7 if !truth.jobs.is_empty() => {
            let index = chance.below(truth.jobs.len());
            let old = &mut truth.jobs[index];
            let removed_at = chance.one_in(2).then(|| at(2));
            let mut new = Job { removed_at, ..old.clone() };
            new.counters.failing_streak = chance.below(4) as u32;
            put_over(old, new, |job| &mut job.version)
        }
        8..=13 => told_kept_and_raised(make, truth, chance, n),
        _ => delete(truth, chance).unwrap_or_else(|| {
            let fact = world.make.event();
            truth.events.push(fact.id);
            fact.into()
        }),
    }
}

/// The same for deliveries, archives and alerts.
fn told_kept_and_raised(make: &Make, truth: &mut Truth, chance: &mut Chance, n: usize) -> Change {
    match chance.below(6) {
        0 => {
            let hook = format!("hook-{}", chance.below(3));
            let mut delivery = make.delivery(make.id(), &hook);
            delivery.state = random_standing(chance);
            truth.deliveries.push(Delivery { version: Version(1), ..delivery.clone() });
            delivery.into()
        }
        1 if !truth.deliveries.is_empty() => {
            let index = chance.below(truth.deliveries.len());
            let old = &mut truth.deliveries[index];
            let new = Delivery { state: random_standing(chance), ..old.clone() };
            put_over(old, new, |delivery| &mut delivery.version)
        }
        2 => {
            let archive = Archive { length: chance.number() % 5000, ..make.archive() };
            truth.archives.push(Archive { version: Version(1), ..archive.clone() });
            archive.into()
        }
        3 if !truth.archives.is_empty() => {
            let index = chance.below(truth.archives.len());
            let old = &mut truth.archives[index];
            let deleted_at = chance.one_in(2).then(|| at(2));
            let new = Archive { deleted_at, length: chance.number() % 5000, ..old.clone() };
            put_over(old, new, |archive| &mut archive.version)
        }
        4 => {
            let alert = make.alert(AlertCode::JobMissed, &format!("job-{n}"));
            truth.alerts.push(Alert { version: Version(1), ..alert.clone() });
            alert.into()
        }
        _ if !truth.alerts.is_empty() => {
            let index = chance.below(truth.alerts.len());
            let old = &mut truth.alerts[index];
            let new = Alert { cleared_at: chance.one_in(2).then(|| at(2)), ..old.clone() };
            put_over(old, new, |alert| &mut alert.version)
        }
        _ => {
            let fact = make.event();
            truth.events.push(fact.id);
            fact.into()
        }
    }
}

fn random_standing(chance: &mut Chance) -> DeliveryState {
    match chance.below(3) {
        0 => DeliveryState::Pending { next_at: at(1) },
        1 => DeliveryState::Delivered { at: at(2) },
        _ => DeliveryState::Dead { at: at(3), why: DeadReason::MaxAttempts },
    }
}

fn delete(truth: &mut Truth, chance: &mut Chance) -> Option<Change> {
    fn take<T>(of: &mut Vec<T>, chance: &mut Chance) -> Option<T> {
        if of.is_empty() { None } else { Some(of.swap_remove(chance.below(of.len()))) }
    }
    Some(match chance.below(7) {
        0 => take(&mut truth.sessions, chance)
            .map(|gone| Change::Delete(RecordId::Session(gone.id), gone.version))?,
        1 => take(&mut truth.runs, chance)
            .map(|gone| Change::Delete(RecordId::Run(gone.id), gone.version))?,
        2 => take(&mut truth.jobs, chance)
            .map(|gone| Change::Delete(RecordId::Job(gone.id), gone.version))?,
        3 => take(&mut truth.deliveries, chance)
            .map(|gone| Change::Delete(RecordId::Delivery(gone.id), gone.version))?,
        4 => take(&mut truth.archives, chance)
            .map(|gone| Change::Delete(RecordId::Archive(gone.session), gone.version))?,
        5 => take(&mut truth.alerts, chance)
            .map(|gone| Change::Delete(RecordId::Alert(gone.key), gone.version))?,
        _ => take(&mut truth.events, chance)
            .map(|gone| Change::Delete(RecordId::Event(gone), Version(1)))?,
    })
}

/// P6, P8: numbers for a glance and for metrics, at no cost and never wrong; also after conflicts.
pub async fn the_tally_equals_the_truth_after_random_changes(mut world: World) {
    let chance = &mut Chance::new(31);
    let names = Names::new(&world.make);
    let mut truth = Truth::default();
    assert_eq!(world.driver().tally().await.unwrap(), Tally::default());
    for round in 0..60 {
        let before = truth.clone();
        let mut batch: Vec<Change> = (0..1 + chance.below(8))
            .map(|n| step(&world, &mut truth, chance, &names, round * 100 + n))
            .collect();
        if chance.one_in(4) {
            batch.push(Change::Require(sexton_domain::change::Guard::Alive(epoch(99))));
            world.conflict(batch).await;
            truth = before;
        } else {
            world.store(batch).await;
        }
        assert_eq!(world.driver().tally().await.unwrap(), truth.tally(), "round {round}");
        // An open session that ends moves from one count to another.
        let mut open = world.make.session(&format!("agent:main:open-{round}"));
        world.put(open.clone()).await;
        open.version = Version(1);
        truth.sessions.push(open.clone());
        assert_eq!(world.driver().tally().await.unwrap(), truth.tally());
        let over = super::make::ended_session(open, sexton_domain::session::EndReason::Idle);
        world.put(over.clone()).await;
        let last = truth.sessions.last_mut().expect("it was pushed");
        *last = Session { version: Version(2), ..over };
    }
    world.reopen().await;
    assert_eq!(world.driver().tally().await.unwrap(), truth.tally());
    assert!(matches!(world.stored(truth.runs[0].clone()).await, Some(Record::Run(_))));
}
