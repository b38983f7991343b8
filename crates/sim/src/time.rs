//! Time in a world: it passes with Tokio's paused clock while the gateway lives, in one leap while it
//! is dead, and it never goes back. What the wall clock shows of it is another matter.
#![expect(clippy::disallowed_methods, reason = "this is the simulation's clock")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use sexton_domain::duration;
use sexton_domain::plan::sweep::DISTRUST;
use sexton_engine::clock::{Clock, whole_millis};

/// A jump of the wall clock by more than this is noticed where it stays. The engine's own limit is a minute.
const NOTICED: SignedDuration = SignedDuration::from_secs(61);
/// How long a decision may rest on what the wall clock showed before it jumped.
pub(crate) const DECIDING: Duration = Duration::from_secs(60);
/// What small jumps may take from the time that deletion is held.
const MARGIN: duration::Duration = duration::Duration::from_secs(120);

/// The time of a world.
#[derive(Debug)]
pub(crate) struct Time(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    began: Timestamp,
    /// How long the world had existed when the current life began, or by now when there is none.
    before: Duration,
    /// How long it had when the last life began.
    born: Duration,
    life: Option<tokio::time::Instant>,
    /// What the wall clock showed, from which age of the world on, in order.
    shown: Vec<Shown>,
    /// What a clock that is right is ahead of the age, because the machine slept.
    slept: SignedDuration,
    /// Since when and until when by the wall clock everybody must know that it is not to be trusted.
    distrust: Option<(Duration, Timestamp)>,
}

/// By how much the wall clock is ahead of the world's age, from an age on.
#[derive(Debug, Clone, Copy)]
struct Shown {
    from: Duration,
    ahead: SignedDuration,
}

impl Time {
    pub(crate) fn new(began: Timestamp) -> Arc<Self> {
        let shown = vec![Shown { from: Duration::ZERO, ahead: SignedDuration::ZERO }];
        let (before, slept) = (Duration::ZERO, SignedDuration::ZERO);
        let inner = Inner { began, before, born: before, life: None, shown, slept, distrust: None };
        Arc::new(Self(Mutex::new(inner)))
    }

    /// How long the world has existed.
    pub(crate) fn now(&self) -> Duration {
        self.lock().now()
    }

    /// What the wall clock shows.
    pub(crate) fn wall(&self) -> Timestamp {
        let inner = self.lock();
        inner.wall(inner.now())
    }

    /// The age of the world at which the wall clock showed this for the last time, up to another age. Where it
    /// never did, the nearest.
    pub(crate) fn age_of(&self, at: Timestamp, latest: Duration) -> Duration {
        self.lock().age_of(at, latest)
    }

    /// The least that the wall clock has shown since an age of the world.
    pub(crate) fn lowest_since(&self, age: Duration) -> Timestamp {
        let inner = self.lock();
        let starts = inner.shown.iter().map(|shown| shown.from).filter(|from| *from > age);
        let lowest = starts.map(|from| inner.wall(from)).min();
        lowest.into_iter().chain([inner.wall(age)]).min().unwrap_or(Timestamp::MIN)
    }

    /// The latest time by which somebody may decide now: what the wall clock shows, or showed just before it was
    /// set back, unless it was not to be trusted then.
    pub(crate) fn latest(&self) -> Timestamp {
        let inner = self.lock();
        let now = inner.now();
        let lately = |pair: &&[Shown]| pair[1].from + DECIDING >= now;
        let before = inner.shown.windows(2).filter(lately).map(|pair| pair[1].from);
        let trusted = before.filter(|from| !inner.was_ahead(*from));
        let walls = trusted.map(|from| inner.wall_before(from));
        walls.chain([inner.wall(now)]).max().unwrap_or(Timestamp::MAX)
    }

    /// Whether the wall clock has jumped so that everybody must know by now that it is not to be trusted.
    pub(crate) fn is_distrusted(&self) -> bool {
        let inner = self.lock();
        let now = inner.now();
        let until = |until| MARGIN.before(until);
        inner
            .distrust
            .is_some_and(|(from, to)| now > from + DECIDING && inner.wall(now) < until(to))
    }

    /// When the wall clock was last set.
    pub(crate) fn last_set(&self) -> Duration {
        self.lock().shown.last().map_or(Duration::ZERO, |shown| shown.from)
    }

    /// Whether the wall clock shows what it should.
    pub(crate) fn is_right(&self) -> bool {
        let inner = self.lock();
        inner.ahead() == inner.slept
    }

    /// The wall clock jumps. `watched` is how long the engine may take to look at it, where it is at work.
    pub(crate) fn jump(&self, by: SignedDuration, watched: Option<Duration>) {
        let mut inner = self.lock();
        let ahead = inner.ahead().saturating_add(by);
        inner.show(ahead, watched);
    }

    /// It is set right.
    pub(crate) fn set_right(&self, watched: Option<Duration>) {
        let mut inner = self.lock();
        let right = inner.slept;
        inner.show(right, watched);
    }

    /// The machine sleeps: the wall clock goes on, nothing else does.
    pub(crate) fn sleep_machine(&self, long: Duration, watched: Option<Duration>) {
        let long = SignedDuration::try_from(long).unwrap_or(SignedDuration::MAX);
        self.lock().slept += long;
        self.jump(long, watched);
    }

    /// What the store says about the wall clock: by when deletion is held. A jump that nobody noted before the
    /// gateway died is not known to the next one.
    pub(crate) fn noted(&self, held_until: Option<Timestamp>) {
        let mut inner = self.lock();
        let known = |until| held_until.is_some_and(|held| MARGIN.before(until) <= held);
        inner.distrust = inner.distrust.filter(|(_, until)| known(*until));
    }

    /// A start finds that the wall clock does not follow on from what is stored.
    pub(crate) fn distrust(&self) {
        let mut inner = self.lock();
        let now = inner.now();
        inner.distrust = Some((now, DISTRUST.after(inner.wall(now))));
    }

    /// The gateway's process starts. To be called inside its runtime.
    pub(crate) fn begin_life(self: &Arc<Self>) -> Arc<LifeClock> {
        let mut inner = self.lock();
        inner.life = Some(instant());
        inner.born = inner.before;
        Arc::new(LifeClock { time: Arc::clone(self), born: inner.before })
    }

    /// Its process is gone. To be called inside its runtime.
    pub(crate) fn end_life(&self) {
        let mut inner = self.lock();
        inner.before = inner.now();
        inner.life = None;
    }

    /// Time passes while there is no gateway.
    pub(crate) fn pass(&self, pause: Duration) {
        self.lock().before += pause;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn now(&self) -> Duration {
        self.before + self.life.map_or(Duration::ZERO, |life| life.elapsed())
    }

    fn wall(&self, age: Duration) -> Timestamp {
        let shown = self.shown.iter().rfind(|shown| shown.from <= age);
        self.show_at(age, shown.map_or(SignedDuration::ZERO, |shown| shown.ahead))
    }

    /// What the wall clock showed just before it was set.
    fn wall_before(&self, from: Duration) -> Timestamp {
        let shown = self.shown.iter().rfind(|shown| shown.from < from);
        self.show_at(from, shown.map_or(SignedDuration::ZERO, |shown| shown.ahead))
    }

    fn show_at(&self, age: Duration, ahead: SignedDuration) -> Timestamp {
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let at = self.began.checked_add(age.saturating_add(ahead));
        whole_millis(at.unwrap_or(Timestamp::MAX))
    }

    fn ahead(&self) -> SignedDuration {
        self.shown.last().map_or(SignedDuration::ZERO, |shown| shown.ahead)
    }

    fn show(&mut self, ahead: SignedDuration, watched: Option<Duration>) {
        let now = self.now();
        if let Some(watched) = watched {
            // Nobody need notice what was undone before somebody looked.
            let since = now.saturating_sub(watched);
            let last = self.shown.iter().rposition(|shown| shown.from <= since).unwrap_or(0);
            let differs = |shown: &Shown| (shown.ahead - ahead).abs() > NOTICED;
            if self.shown[last..].iter().all(differs) {
                let wall = self.show_at(now, ahead);
                self.distrust = Some((now, DISTRUST.after(wall)));
            } else if self.shown.last().is_some_and(differs) {
                self.distrust = None;
            }
        }
        self.shown.push(Shown { from: now, ahead });
    }

    /// Whether by this age the wall clock had been put ahead and might not be trusted yet, by a gateway that was
    /// there to see it.
    fn was_ahead(&self, age: Duration) -> bool {
        let hour = DISTRUST.to_std();
        let seen = self.shown.windows(2).filter(|pair| self.born <= pair[1].from);
        let lately = seen.filter(|pair| pair[1].from < age && age <= pair[1].from + hour);
        lately.into_iter().any(|pair| pair[1].ahead - pair[0].ahead > NOTICED)
    }

    fn age_of(&self, at: Timestamp, latest: Duration) -> Duration {
        let mut until = latest;
        for shown in self.shown.iter().rev().filter(|shown| shown.from <= latest) {
            let (low, high) =
                (self.show_at(shown.from, shown.ahead), self.show_at(until, shown.ahead));
            if low <= at && at <= high {
                let back = Duration::try_from(high.duration_since(at)).unwrap_or_default();
                return until.saturating_sub(back).max(shown.from);
            }
            until = shown.from;
        }
        latest
    }
}

/// The clock of one life of the gateway. Its monotonic time begins with the life.
#[derive(Debug)]
pub(crate) struct LifeClock {
    time: Arc<Time>,
    born: Duration,
}

#[async_trait]
impl Clock for LifeClock {
    fn now(&self) -> Timestamp {
        self.time.wall()
    }

    fn monotonic(&self) -> Duration {
        self.time.now().saturating_sub(self.born)
    }

    async fn sleep(&self, duration: Duration) {
        sleep(duration).await;
    }
}

/// What the runtime's clock shows.
pub(crate) fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Waits on the world's time.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const WATCHED: Option<Duration> = Some(Duration::from_secs(120));

    fn at(text: &str) -> Timestamp {
        text.parse().expect("the times of these tests are valid")
    }

    /// Ahead by ten hours at one o'clock, right again at two.
    fn ahead_for_an_hour() -> Arc<Time> {
        let time = Time::new(at("2027-01-15T00:00:00Z"));
        time.pass(HOUR);
        time.jump(SignedDuration::from_hours(10), WATCHED);
        time.pass(HOUR);
        time.set_right(WATCHED);
        time.pass(HOUR / 2);
        time
    }

    #[test]
    fn a_time_of_the_wall_clock_leads_back_to_the_age_at_which_it_was_shown() {
        let time = ahead_for_an_hour();
        let now = time.now();
        assert_eq!((time.wall(), time.is_right()), (at("2027-01-15T02:30:00Z"), true));
        let ages = ["00:30", "11:30", "02:15"]
            .map(|it| time.age_of(at(&format!("2027-01-15T{it}:00Z")), now).as_secs() / 60);
        assert_eq!(ages, [30, 90, 135]);
        assert_eq!(time.age_of(at("2027-01-15T11:30:00Z"), HOUR), HOUR, "it was not shown by then");
        assert_eq!(time.lowest_since(HOUR), at("2027-01-15T02:00:00Z"));
        assert_eq!(time.lowest_since(Duration::ZERO), at("2027-01-15T00:00:00Z"));
    }

    #[test]
    fn a_clock_is_distrusted_for_an_hour_after_every_jump_that_stays() {
        let time = ahead_for_an_hour();
        assert!(time.is_distrusted());
        time.pass(HOUR / 2);
        assert!(!time.is_distrusted());
        time.jump(SignedDuration::from_hours(10), WATCHED);
        time.pass(Duration::from_secs(5));
        time.set_right(WATCHED);
        time.pass(Duration::from_secs(300));
        assert!(!time.is_distrusted(), "nobody need have seen it");
        assert_eq!(time.latest(), time.wall());
    }

    /// What a gateway decided by a clock that had been put ahead before it was there may be stored just after the
    /// clock was set right.
    #[tokio::test(start_paused = true)]
    async fn who_begins_by_a_clock_that_is_ahead_may_have_decided_by_it() {
        for (is_there, latest) in [(true, "01:45"), (false, "11:46")] {
            let time = Time::new(at("2027-01-15T00:00:00Z"));
            time.pass(HOUR);
            let begin = || drop(time.begin_life());
            if is_there {
                begin();
            }
            time.jump(SignedDuration::from_hours(10), WATCHED);
            if !is_there {
                time.pass(Duration::from_secs(60));
                begin();
            }
            sleep(HOUR * 3 / 4).await;
            time.set_right(WATCHED);
            assert_eq!(time.latest(), at(&format!("2027-01-15T{latest}:00Z")));
        }
    }
}
