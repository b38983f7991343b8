//! The room on the disk: now and then something else takes it up for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sexton_store_sqlite::Disk;

use crate::diary::Diary;
use crate::dice::Die;
use crate::faults::Fault;
use crate::time::{self, Time};

/// The shortest time for which the disk is full.
const SHORTEST: Duration = Duration::from_secs(30);

/// The room on the disk. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Room {
    disk: Disk,
    time: Arc<Time>,
    diary: Diary,
    die: Arc<Die>,
    /// The age of the world since which there is room.
    since: Arc<Mutex<Duration>>,
}

impl Room {
    pub(crate) fn new(disk: Disk, time: &Arc<Time>, diary: &Diary, die: Die) -> Self {
        let (time, diary) = (Arc::clone(time), diary.clone());
        Self { disk, time, diary, die: Arc::new(die), since: Arc::default() }
    }

    /// Fills the disk about so many times in a world that lasts so long, for as long as a gateway lives.
    pub(crate) async fn run(self, fills: u64, lasts: Duration) {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let a_while = |longest| Duration::from_millis(self.die.spread(millis(SHORTEST), longest));
        loop {
            if !self.is_full() {
                let Some(mean) = millis(lasts).checked_div(fills) else { return };
                time::sleep(Duration::from_millis(self.die.spread(1_000, 3 * mean))).await;
                self.fill();
            }
            // Also where an earlier gateway has left it full.
            time::sleep(a_while(millis(lasts / 20))).await;
            self.clear();
        }
    }

    fn fill(&self) {
        if self.disk.fill().is_ok() {
            self.diary.strikes(Fault::DiskFull);
            self.diary.note("the disk is full");
        }
    }

    /// There is room.
    pub(crate) fn clear(&self) {
        if self.disk.is_full() {
            self.disk.make_room();
            self.diary.note("there is room on the disk again");
            *self.lock() = self.time.now();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.disk.is_full()
    }

    /// The age of the world since which there is room; now while there is none.
    pub(crate) fn since(&self) -> Duration {
        if self.is_full() { self.time.now() } else { *self.lock() }
    }

    fn lock(&self) -> MutexGuard<'_, Duration> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
