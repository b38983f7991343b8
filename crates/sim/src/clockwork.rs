//! The clockwork: what the wall clock of a world does that time does not, and how the machine sleeps.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::diary::Diary;
use crate::dice::Die;
use crate::faults::Fault;
use crate::time::{self, Time};

/// How the clocks of a world are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper {
    /// About how often something happens to the wall clock.
    pub(crate) mishaps: u64,
    /// The furthest that it jumps.
    pub(crate) furthest: Duration,
}

/// A clock that is wrong for a while is so at least for this long.
const SHORTEST: Duration = Duration::from_secs(30);
/// The longest time for which a machine sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(3 * 86_400);
/// For so long it is wrong at most where hardly anybody can notice.
const BLINK_SECS: u64 = 20;

impl Temper {
    /// Draws the clocks of a world that lasts so long.
    pub(crate) fn draw(die: &Die, lasts: Duration) -> Self {
        let furthest = (lasts * 6).min(Duration::from_secs(20 * 86_400));
        Self { mishaps: die.of([0, 0, 2, 6]), furthest }
    }
}

/// What moves the clock of a world. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clockwork {
    pub(crate) time: Arc<Time>,
    pub(crate) die: Arc<Die>,
    pub(crate) diary: Diary,
    pub(crate) temper: Temper,
    /// How long the world lasts.
    pub(crate) lasts: Duration,
    /// How long an engine at work may take to look at its clock.
    pub(crate) watched: Duration,
}

impl Clockwork {
    /// Moves the clock for as long as a gateway lives.
    pub(crate) async fn run(self) {
        let mean = self.lasts.checked_div(u32::try_from(self.temper.mishaps).unwrap_or(1));
        let Some(mean) = mean else { return };
        loop {
            time::sleep(Duration::from_millis(self.die.spread(1_000, ms(mean) * 3))).await;
            let wrong_for = self.strike(Some(self.watched));
            if let Some(wrong_for) = wrong_for {
                time::sleep(wrong_for).await;
                self.set_right(Some(self.watched));
            }
        }
    }

    /// While there is no gateway.
    pub(crate) fn between_lives(&self) {
        if self.temper.mishaps > 0 && self.die.chance(0.3) {
            self.strike(None);
        }
    }

    /// Something happens to the clock. Says for how long, where it is wrong for a while only.
    fn strike(&self, watched: Option<Duration>) -> Option<Duration> {
        let by = Duration::from_millis(self.die.spread(1_000, ms(self.temper.furthest)));
        let a_while = Duration::from_millis(self.die.spread(ms(SHORTEST), ms(self.lasts / 10)));
        let a_while = self.die.chance(0.6).then_some(a_while);
        match self.die.below(8) {
            0 => {
                let long = by.min(LONGEST_SLEEP);
                self.told(Fault::MachineSleeps, format_args!("the machine sleeps for {long:?}"));
                self.time.sleep_machine(long, watched);
                None
            }
            1 if watched.is_some() => {
                let blink = Duration::from_secs(self.die.between(1, BLINK_SECS));
                self.jump(by.max(Duration::from_secs(600)), watched);
                Some(blink)
            }
            2..4 if !self.time.is_right() => {
                self.set_right(watched);
                None
            }
            _ => {
                self.jump(by, watched);
                a_while
            }
        }
    }

    fn jump(&self, by: Duration, watched: Option<Duration>) {
        let signed = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        let (fault, where_to, signed) = match self.die.chance(0.5) {
            true => (Fault::ClockAhead, "ahead", signed),
            false => (Fault::ClockBack, "back", -signed),
        };
        self.told(fault, format_args!("the wall clock jumps {where_to} by {by:?}"));
        self.time.jump(signed, watched);
    }

    fn set_right(&self, watched: Option<Duration>) {
        if !self.time.is_right() {
            self.told(Fault::ClockSetRight, format_args!("the wall clock is set right"));
            self.time.set_right(watched);
        }
    }

    fn told(&self, fault: Fault, what: std::fmt::Arguments<'_>) {
        self.diary.strikes(fault);
        self.diary.note(what);
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
