//! A world: a machine, a disk, a calendar and a gateway that lives on them again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sexton_domain::change::{Record, RecordId};
use sexton_domain::event::EventType;
use sexton_domain::node::{EndReason, Epoch};
use sexton_engine::RunFiles;
use sexton_store::Driver as _;
use sexton_store::page::MAX_PAGE;
use sexton_store_sqlite::{Disk, Faults, Options, Point, SqliteDriver};
use uuid::Uuid;

use crate::Budget;
use crate::clockwork::Clockwork;
use crate::diary::{Broken, Diary, Promise};
use crate::dice::Die;
use crate::draw::{Nature, Plot};
use crate::executor::Scripted;
use crate::faults::Fault;
use crate::history::{History, Settled};
use crate::ledger::{Ledger, inline};
use crate::life::{End, Fate, live};
use crate::machine::Machine;
use crate::mailbox::{Mailbox, Place};
use crate::patience::{self, Patience};
use crate::planted::{Plant, Planted};
use crate::promises;
use crate::room::Room;
use crate::shelf::Shelf;
use crate::slow::Manners;
use crate::teller::Teller;
use crate::time::Time;
use crate::witness::{Stand, Witness};

/// So many lives a world may have before one lasts to its end.
const MAX_LIVES: u32 = 40;
/// About so many times a world is asked something, and checked.
const ASKS: u32 = 80;
const CHECKS: u32 = 150;
/// What the store keeps free for ends.
const RESERVE_BYTES: u64 = 1 << 20;
/// The longest time between two looks, and about that between two things that are asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// How long an alert may take, and a delivery that waits by a wrong clock.
const TOLD: Duration = Duration::from_secs(300);
/// One look in so many is a thorough one.
const THOROUGH: u32 = 9;

/// A world.
pub(crate) struct World {
    pub(crate) nature: Arc<Nature>,
    pub(crate) time: Arc<Time>,
    pub(crate) diary: Diary,
    pub(crate) machine: Machine,
    pub(crate) disk: Disk,
    pub(crate) shelf: Shelf,
    pub(crate) die: Arc<Die>,
    pub(crate) manners: Manners,
    /// Nothing goes wrong any more.
    pub(crate) calm: Arc<AtomicBool>,
    /// Nothing goes into it but by the witness and by looks.
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) mailbox: Mailbox,
    pub(crate) witness: Witness,
    pub(crate) clockwork: Clockwork,
    pub(crate) room: Room,
    /// Two gateways are at work.
    pub(crate) overlap: Arc<AtomicBool>,
    pub(crate) plant: Plant,
    pub(crate) patience: Patience,
    history: History,
    run_files: RunFiles,
    auditor: Arc<SqliteDriver>,
    faults: Faults,
    first_jobs: u64,
    /// So many looks until everything that is stored is looked at for its time.
    until_thorough: u32,
}

impl World {
    /// Draws a world, and plants a fault in it.
    pub(crate) fn draw(seed: u64, budget: Budget, planted: Option<Planted>) -> Self {
        let die = Die::new(seed);
        let nature = Arc::new(Nature::draw(&die, budget.slots));
        let time = Time::new(nature.began);
        let diary = Diary::new(Arc::clone(&time));
        let plant = Plant::new(planted, Arc::clone(&time));
        let overlap = Arc::new(AtomicBool::new(false));
        let machine = Machine::new(Arc::clone(&time), diary.clone());
        let manners = Manners {
            waits: die.of([0.0, 0.1, 0.5]),
            late: die.of([0.0, 0.02, 0.2]),
            longest: Duration::from_millis(die.spread(2, 2_000)),
            fails: die.of([0.0, 0.0, 0.01]),
        };
        let calm = Arc::new(AtomicBool::new(false));
        let faults = faults(&die, &calm, &diary);
        let disk = Disk::new().expect("there is memory for a database");
        let options = Options::new("sim", Uuid::from_u64_pair(seed, seed), nature.began);
        let auditor = SqliteDriver::in_memory(&disk, options).expect("a database in memory opens");
        let (auditor, ledger) = (Arc::new(auditor), Arc::<Mutex<Ledger>>::default());
        let place = Place {
            time: Arc::clone(&time),
            diary: diary.clone(),
            die: die.fork(),
            calm: Arc::clone(&calm),
            auditor: Arc::clone(&auditor),
            ledger: Arc::clone(&ledger),
            overlap: Arc::clone(&overlap),
        };
        let mailbox = Mailbox::new(place, nature.hooks.clone());
        let clockwork = Clockwork {
            time: Arc::clone(&time),
            die: Arc::new(die.fork()),
            diary: diary.clone(),
            temper: nature.clocks,
            lasts: nature.lasts,
            watched: nature.watched(),
        };
        let room = Room::new(disk.clone(), &time, &diary, die.fork());
        let shelf = Shelf::new(die.fork(), Arc::clone(&calm), diary.clone(), plant.clone());
        let witness = Witness::new(Stand {
            time: Arc::clone(&time),
            diary: diary.clone(),
            auditor: Arc::clone(&auditor),
            ledger: Arc::clone(&ledger),
            mailbox: mailbox.clone(),
            shelf: shelf.clone(),
        });
        diary.note(format_args!("a world with {nature:?} and a store with {manners:?}"));
        Self {
            nature,
            clockwork,
            room,
            overlap,
            history: History::default(),
            run_files: RunFiles::in_memory(),
            time,
            shelf,
            diary,
            machine,
            disk,
            die: Arc::new(die),
            manners,
            calm,
            ledger,
            mailbox,
            witness,
            plant,
            patience: Patience::default(),
            auditor,
            faults,
            first_jobs: 0,
            until_thorough: THOROUGH,
        }
    }

    /// Lets it happen, until a promise is broken or it has settled.
    pub(crate) fn happen(&mut self) {
        for life in 0.. {
            let last = self.time.now() >= self.nature.lasts;
            let fate = if last { self.last_fate() } else { self.fate(life) };
            let end = live(self, fate);
            if end == End::Broken || self.diary.verdict().is_some() || (last && end == End::Stopped)
            {
                return;
            }
            let pause = match self.die.below(10) {
                _ if self.nature.plot == Plot::Absences => self.absence(life),
                0..9 if self.nature.frail => Duration::from_millis(self.die.spread(1, 2_000)),
                0..6 => Duration::from_millis(self.die.spread(1, 20_000)),
                6..9 => Duration::from_secs(self.die.spread(20, 1_800)),
                _ => Duration::from_secs(self.die.spread(1_800, 36_000)),
            };
            self.time.pass(pause);
            self.clockwork.between_lives();
        }
    }

    /// How long the machine is off in a world of months.
    fn absence(&self, life: u32) -> Duration {
        match self.nature.lasts.checked_sub(self.time.now()) {
            Some(rest) if life >= MAX_LIVES => rest,
            _ => Duration::from_secs(self.die.spread(21_600, 9 * 86_400)),
        }
    }

    fn fate(&self, life: u32) -> Fate {
        let die = &self.die;
        let rest = self.nature.lasts.saturating_sub(self.time.now());
        let whole = |high: u64| Duration::from_millis(die.spread(1, high.max(1)));
        let rest_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        let crashes = self.nature.plot == Plot::Crashes;
        let (dies_at, stops_after) = match die.below(10) {
            0..9 if crashes && life < MAX_LIVES => (Some(die.spread(600, 4_000)), rest),
            die_at if self.nature.plot == Plot::Absences => {
                let dies_at = (die_at < 3).then(|| die.spread(300, 30_000));
                (dies_at, Duration::from_secs(die.spread(300, 3_600)))
            }
            _ if life >= MAX_LIVES => (None, rest),
            0..2 => (Some(die.spread(1, 300)), rest),
            2..9 if self.nature.frail => (Some(die.spread(60, 1_200)), rest),
            2..7 => (Some(die.spread(300, 30_000)), rest),
            _ => (None, whole(rest_ms)),
        };
        let stops_for = die.of([EndReason::Shutdown, EndReason::Restart]);
        let doubled = die.chance(self.nature.doubles).then(|| whole(rest_ms / 4));
        Fate { dies_at, stops_after, stops_for, doubled, last: false }
    }

    fn last_fate(&self) -> Fate {
        let (stops_after, stops_for) = (Duration::ZERO, EndReason::Shutdown);
        Fate { dies_at: None, stops_after, stops_for, doubled: None, last: true }
    }

    /// A gateway that is about to start.
    pub(crate) fn teller(&self) -> Teller {
        Teller::new(Arc::clone(&self.auditor))
    }

    /// The executor of a gateway.
    pub(crate) fn executor(&self, teller: &Teller, plant: &Plant) -> Scripted {
        Scripted {
            machine: self.machine.clone(),
            die: self.die.fork(),
            mailbox: self.mailbox.clone(),
            run_files: self.run_files.clone(),
            long: self.nature.long_run,
            plot: self.nature.plot,
            teller: teller.clone(),
            auditor: Arc::clone(&self.auditor),
            plant: plant.clone(),
        }
    }

    pub(crate) fn store_options(&self) -> Options {
        let mut options = Options::new("sim", Uuid::nil(), self.time.wall());
        options.faults = self.faults.clone();
        options.reserve_bytes = RESERVE_BYTES;
        options
    }

    /// The next of the jobs that the world begins with.
    pub(crate) fn next_first_job(&mut self) -> Option<u64> {
        let next = Some(self.first_jobs).filter(|next| *next < self.nature.jobs)?;
        self.first_jobs += 1;
        Some(next)
    }

    pub(crate) fn next_ask(&self) -> Duration {
        let mean = (self.nature.lasts / ASKS).min(LONGEST_PAUSE);
        let mean = u64::try_from(mean.as_millis()).unwrap_or(1);
        self.time.now() + Duration::from_millis(self.die.spread(1, mean * 3))
    }

    pub(crate) fn next_check(&self) -> Duration {
        let pause = (self.nature.lasts / CHECKS).clamp(Duration::from_secs(20), LONGEST_PAUSE);
        self.time.now() + pause
    }

    /// Reads and checks everything.
    pub(crate) fn audit_all(&mut self) {
        self.ledger().look_at(self.time.now());
        self.ledger().read_all(&*self.auditor);
        self.judge_records();
    }

    /// Reads and checks what has changed.
    pub(crate) fn audit_changes(&mut self) {
        self.ledger().look_at(self.time.now());
        self.ledger().follow(&*self.auditor);
        self.judge_records();
    }

    fn judge_records(&mut self) {
        let reset = &self.nature.reset;
        self.judge(promises::records::records(&self.ledger(), &self.machine, reset));
        let mut history = std::mem::take(&mut self.history);
        self.judge(history.follow(&self.ledger()));
        self.history = history;
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come to be due a while ago is done. For a gateway that has been at work for longer.
    /// It reads all ended sessions: not at every look.
    pub(crate) fn nothing_overdue(&mut self) {
        self.until_thorough = self.until_thorough.checked_sub(1).unwrap_or(THOROUGH);
        if self.until_thorough == 0 {
            self.witness.nothing_overdue(self.nature.sweep_slack());
        }
    }

    /// Everything is told that can be. For a while after things went wrong for the last time.
    pub(crate) fn goes_out(&self) {
        let hooks = inline(self.auditor.hooks());
        let off: Vec<_> = hooks.into_iter().filter(|hook| hook.disabled.is_some()).collect();
        let off: Vec<_> = off.into_iter().map(|hook| hook.name).collect();
        let now = self.time.wall();
        self.judge(promises::told::p3_goes_out(&self.ledger(), &off, now));
    }

    pub(crate) fn newest_epoch(&self) -> Epoch {
        let nodes = Ledger::nodes_of(&*self.auditor);
        nodes.first().map_or(Epoch::new(0, 0), |node| node.epoch)
    }

    /// Checks what holds while a gateway is at work, since it is ready.
    pub(crate) fn at_work(&mut self, epoch: Epoch, ready_at: Duration) {
        let able = self.room.since();
        let told = ready_at.max(able).max(self.time.last_set()) + TOLD < self.time.now();
        let kept = self.patience.look(&patience::Look {
            ledger: &self.ledger.lock().unwrap_or_else(PoisonError::into_inner),
            rules: &self.nature.reset,
            epoch,
            now: self.time.wall(),
            age: self.time.now(),
            able,
        });
        self.judge(kept);
        let hooks = self.witness.law().hooks;
        self.judge(promises::told::p3_no_hook_no_outbox(&self.ledger(), &hooks));
        self.judge(promises::usage::p12_sums(&self.ledger(), &self.machine, &*self.auditor));
        self.judge(promises::records::p4_nothing_runs_for_ever(
            &self.ledger(),
            &self.machine,
            epoch,
            able,
        ));
        if told {
            let now = self.time.wall();
            self.judge(promises::told::p3_waits_no_longer(&self.ledger(), &hooks, now));
            if self.time.is_distrusted() {
                let alerts = inline(self.auditor.alerts(MAX_PAGE));
                self.judge(promises::bounded::p6_a_jump_is_told(&alerts));
            }
        }
    }

    /// Checks what holds after a gateway has stopped. While the disk is full, or too slow for the time that a stop
    /// has, it may have been unable to write down its end and those of its runs and sessions: the next start does.
    pub(crate) fn at_rest(&self, reason: EndReason) {
        let calm = self.calm.load(Ordering::Relaxed);
        let ledger = self.ledger();
        let has_end = ledger.nodes.first().is_some_and(|node| node.end.is_some());
        if !self.room.is_full() {
            self.judge(promises::records::p4_no_process(&self.machine));
            if has_end || calm {
                self.judge(promises::records::p4_rest(&ledger));
            }
        }
        if let Some(node) = ledger.nodes.first().filter(|node| node.end.is_some()) {
            self.judge(promises::stopping::p9_report_adds_up(&ledger, node, &self.time));
        }
        if calm
            && ledger.nodes.first().and_then(|node| node.end).map(|end| end.reason) != Some(reason)
        {
            let how = "a gateway that stopped in peace has not recorded its end";
            self.diary.broken(Broken::new(Promise::P9, how));
        }
    }

    /// Checks that what was due some time ago is accounted for.
    pub(crate) fn every_slot(&mut self, ago: Duration) {
        let since = self.time.now().saturating_sub(ago);
        let settled = Settled { since, wall: self.time.lowest_since(since) };
        self.judge(self.history.settled(&self.ledger(), settled));
    }

    /// The last time that a gateway told that it lives.
    pub(crate) fn last_heartbeat(&self) -> Option<Timestamp> {
        Ledger::nodes_of(&*self.auditor).first().map(|node| node.heartbeat_at)
    }

    /// A gateway is gone: what the store does not say of the clock is not known any more.
    pub(crate) fn forget_clock(&self) {
        let memory = match inline(self.auditor.get(RecordId::Reaper)) {
            Some(Record::Reaper(memory)) => memory.deletion_held_until,
            _ => None,
        };
        self.time.noted(memory);
    }

    pub(crate) fn conserves_work(&self) {
        let (limits, now) = (self.nature.limits, self.time.now());
        self.judge(promises::records::work_conserving(&self.ledger(), limits, now));
    }

    /// The event log and the diary, line by line: what one seed always leads to.
    pub(crate) fn log(&self) -> Vec<String> {
        let notes = self.diary.notes();
        let notes = notes.iter().map(|note| format!("{:?} {} {}", note.age, note.at, note.what));
        self.ledger().events.iter().map(|event| format!("{event:?}")).chain(notes).collect()
    }

    /// Adds to the report what became of runs and sessions.
    pub(crate) fn cover(&self) {
        self.diary.count("world");
        let ledger = self.ledger();
        for run in ledger.runs.values() {
            match (run.outcome(), run.reason()) {
                (Some(outcome), Some(reason)) => {
                    self.diary.count(format!("run: {outcome:?} {reason:?}"));
                }
                _ => self.diary.count(format!("run: {}", run.state.name())),
            }
            self.diary.count(format!("cause: {:?}", run.cause));
        }
        for session in ledger.sessions.values() {
            self.diary.count(match session.end_reason() {
                Some(reason) => format!("session: {reason:?}"),
                None => "session: open".to_owned(),
            });
        }
        for event in &ledger.events {
            self.diary.count(format!("event: {}", event.fact.kind));
            if event.fact.kind == EventType::AlertRaised {
                let code = event.fact.data.get("code").and_then(serde_json::Value::as_str);
                self.diary.count(format!("alert: {}", code.unwrap_or_default()));
            }
        }
    }

    pub(crate) fn judge(&self, kept: Result<(), Broken>) {
        if let Err(broken) = kept {
            self.diary.broken(broken);
        }
    }
}

/// What the database itself does wrong: as often as this world wants it.
fn faults(die: &Die, calm: &Arc<AtomicBool>, diary: &Diary) -> Faults {
    let rates: [f64; 3] =
        [die.of([0.0, 0.0, 0.01, 0.05]), die.of([0.0, 0.0, 0.01, 0.05]), die.of([0.0, 0.01, 0.05])];
    let (die, calm, diary) = (die.fork(), Arc::clone(calm), diary.clone());
    Faults::when(move |point| {
        if calm.load(Ordering::Relaxed) {
            return false;
        }
        let (rate, fault) = match point {
            Point::Apply => (rates[0], Fault::TransactionRolledBack),
            Point::BeforeCommit => (rates[1], Fault::CommitFails),
            Point::AfterCommit => (rates[2], Fault::AnswerLost),
        };
        let strikes = die.chance(rate);
        if strikes {
            diary.strikes(fault);
        }
        strikes
    })
}
