//! The crew: every task of one life of the gateway, polled one at a time in an order that follows from
//! the seed, until the poll at which the process dies.
//!
//! Tokio only keeps the time. Its own order of wake-ups is not deterministic (`watch` spreads its
//! waiters by a random number), so the crew keeps the *set* of tasks that are awake and draws the next
//! one itself. That also tries orders which a real scheduler takes only under load.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sexton_engine::tasks::Tasks;
use tokio::task::coop::unconstrained;

use crate::diary::Diary;
use crate::dice::Die;
use crate::time::Time;

/// A task of the crew.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The main task: the one that a life is about.
const MAIN: u64 = 0;
/// So many polls at one instant are a loop that never rests.
const MAX_POLLS_AT_ONCE: u64 = 2_000_000;

/// How a life went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lived<T> {
    /// The main task came to its end.
    Ended(T),
    /// The process died, with everything in it.
    Died,
    /// A promise was broken: there is no point in going on.
    Broken,
    /// The tasks kept each other awake without end.
    NeverRested,
}

/// The tasks of one life. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Crew(Arc<Inner>);

struct Inner {
    awake: Arc<Mutex<Awake>>,
    tasks: Mutex<Roster>,
}

#[derive(Default)]
struct Roster {
    hired: u64,
    tasks: BTreeMap<u64, Task>,
}

#[derive(Default)]
struct Awake {
    tasks: BTreeSet<u64>,
    /// Wakes the thread of the crew.
    bell: Option<Waker>,
}

/// Wakes one task.
struct Alarm {
    task: u64,
    awake: Arc<Mutex<Awake>>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let mut awake = lock(&self.awake);
        awake.tasks.insert(self.task);
        if let Some(bell) = awake.bell.take() {
            bell.wake();
        }
    }
}

impl Crew {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { awake: Arc::default(), tasks: Mutex::default() }))
    }

    /// How the engine starts its tasks: they join the crew. Tokio gets an empty one in their place.
    pub(crate) fn tasks(&self) -> Tasks {
        let crew = self.clone();
        Tasks::wrapped(move |task| {
            crew.hire(task);
            Box::pin(std::future::ready(()))
        })
    }

    /// Takes on a task.
    pub(crate) fn hire(&self, task: Task) {
        let mut roster = lock(&self.0.tasks);
        roster.hired += 1;
        let id = roster.hired;
        roster.tasks.insert(id, task);
        drop(roster);
        Arc::new(Alarm { task: id, awake: Arc::clone(&self.0.awake) }).wake();
    }

    /// Lives until the main task ends, or until the given number of polls, or until a promise is broken.
    pub(crate) async fn live<T>(
        &self,
        main: impl Future<Output = T>,
        dies_at: Option<u64>,
        order: &Die,
        (time, diary): (&Time, &Diary),
    ) -> Lived<T> {
        let mut main = Box::pin(main);
        let alarm = |task| Waker::from(Arc::new(Alarm { task, awake: Arc::clone(&self.0.awake) }));
        alarm(MAIN).wake();
        let mut polls = 0_u64;
        let mut instant = (Duration::ZERO, 0_u64);
        let life = poll_fn(|context| {
            loop {
                let Some(task) = self.next(order, context) else { return Poll::Pending };
                polls += 1;
                if dies_at.is_some_and(|last| polls > last) {
                    return Poll::Ready(Lived::Died);
                }
                if diary.is_broken() {
                    return Poll::Ready(Lived::Broken);
                }
                if time.now() != instant.0 {
                    instant = (time.now(), 0);
                }
                instant.1 += 1;
                if instant.1 > MAX_POLLS_AT_ONCE {
                    return Poll::Ready(Lived::NeverRested);
                }
                let alarm = alarm(task);
                let mut context = Context::from_waker(&alarm);
                if task == MAIN {
                    if let Poll::Ready(end) = main.as_mut().poll(&mut context) {
                        return Poll::Ready(Lived::Ended(end));
                    }
                } else {
                    self.poll(task, &mut context);
                }
            }
        });
        // Without Tokio's own budget, which would make tasks yield at points nobody drew.
        unconstrained(life).await
    }

    /// Draws the next task among those that are awake.
    fn next(&self, order: &Die, context: &Context<'_>) -> Option<u64> {
        let mut awake = lock(&self.0.awake);
        awake.bell = Some(context.waker().clone());
        let drawn = match awake.tasks.len() {
            0 => return None,
            1 => 0,
            n => usize::try_from(order.below(n as u64)).unwrap_or(0),
        };
        let task = awake.tasks.iter().nth(drawn).copied()?;
        awake.tasks.remove(&task);
        Some(task)
    }

    fn poll(&self, id: u64, context: &mut Context<'_>) {
        // Out of the roster while it is polled: it may hire others.
        let Some(mut task) = lock(&self.0.tasks).tasks.remove(&id) else { return };
        if task.as_mut().poll(context).is_pending() {
            lock(&self.0.tasks).tasks.insert(id, task);
        }
    }

    /// The process is gone: nothing in it is polled again.
    pub(crate) fn dismiss(&self) {
        let tasks = std::mem::take(&mut lock(&self.0.tasks).tasks);
        drop(tasks);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(seed: u64, dies_at: Option<u64>) -> (Lived<()>, Vec<u32>) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lived = runtime.unwrap().block_on(async {
            let time = Time::new(jiff::Timestamp::UNIX_EPOCH);
            let _clock = time.begin_life();
            let crew = Crew::new();
            let (sender, _) = tokio::sync::watch::channel(0);
            for n in 0..8 {
                let (mut receiver, log) = (sender.subscribe(), Arc::clone(&log));
                crew.hire(Box::pin(async move {
                    while receiver.changed().await.is_ok() {
                        lock(&log).push(n);
                    }
                }));
            }
            let main = async {
                for n in 1..4 {
                    crate::time::sleep(Duration::from_secs(1)).await;
                    sender.send_replace(n);
                }
                crate::time::sleep(Duration::from_secs(1)).await;
            };
            crew.live(main, dies_at, &Die::new(seed), (&time, &Diary::new(Arc::clone(&time)))).await
        });
        let log = lock(&log).clone();
        (lived, log)
    }

    #[test]
    fn tasks_that_are_woken_together_run_in_an_order_that_follows_from_the_seed() {
        let (lived, log) = life(1, None);
        assert_eq!((lived, log.len()), (Lived::Ended(()), 24));
        assert_eq!(life(1, None).1, log);
        assert_ne!(life(2, None).1, log);
    }

    #[test]
    fn a_process_that_dies_at_a_poll_does_nothing_after_it() {
        let (lived, log) = life(1, Some(20));
        assert_eq!(lived, Lived::Died);
        assert_eq!(log, life(1, None).1[..log.len()]);
        assert!(log.len() < 24);
    }
}
