//! Asking the reaper for a sweep, and hearing what came of it.

use sexton_store::Error;
use tokio::sync::watch;

use super::Report;

/// Rings for the reaper. However often it rings during a sweep, one more follows.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: watch::Sender<u64>,
    answers: watch::Sender<Answer>,
}

/// What the last sweep came to, and how often the bell had rung when it began.
#[derive(Debug, Clone, Default)]
struct Answer {
    heard: u64,
    report: Option<Result<Report, Error>>,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: watch::Sender::new(0), answers: watch::Sender::new(Answer::default()) }
    }
}

impl Bell {
    /// Asks for a sweep that begins from now on. Returns what to wait for.
    pub fn ring(&self) -> u64 {
        self.rung.send_modify(|count| *count += 1);
        *self.rung.borrow()
    }

    /// Wakes the reaper, to see whether there is a reason to sweep.
    pub fn wake(&self) {
        self.rung.send_modify(|_| {});
    }

    /// Nudges of the reaper's loop.
    pub fn nudges(&self) -> watch::Receiver<u64> {
        self.rung.subscribe()
    }

    /// How often it was rung by now, if no sweep has begun since.
    pub(super) fn unheard(&self) -> Option<u64> {
        let rung = *self.rung.borrow();
        (rung > self.answers.borrow().heard).then_some(rung)
    }

    /// How often it was rung by now.
    pub(super) fn rung(&self) -> u64 {
        *self.rung.borrow()
    }

    /// A sweep is over that began after the bell had rung so often.
    pub(super) fn answer(&self, heard: u64, report: Result<Report, Error>) {
        self.answers.send_replace(Answer { heard, report: Some(report) });
    }

    /// The report of the first sweep that begins after a ring; none when the reaper is gone.
    pub async fn wait(&self, ring: u64) -> Option<Result<Report, Error>> {
        let mut answers = self.answers.subscribe();
        let answer = answers.wait_for(|answer| answer.heard >= ring).await.ok()?;
        answer.report.clone()
    }
}
