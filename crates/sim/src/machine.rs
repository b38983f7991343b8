//! The machine: the processes that agents are, in a table that outlives the gateway.
//!
//! A process has a script. It dies when the script ends, some time after it was asked to stop, a grace
//! after its gateway died (its shim sees to that), or, when its shim died too, only when it is buried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sexton_domain::usage::Tokens;
use sexton_engine::executor::{Exit, ProcessId, Survivor};
use uuid::Uuid;

use crate::diary::{Broken, Diary, Promise};
use crate::faults::Fault;
use crate::script::{Line, OnTerm, Script};
use crate::time::Time;

const TERM: i32 = 15;
const KILL: i32 = 9;

/// What a process is for, as its environment says.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// It works for a run.
    Run(Work),
    /// It takes a letter to a hook, under this id.
    Letter(Uuid),
}

/// The work of a run.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) run: Uuid,
    pub(crate) job: Option<String>,
    pub(crate) slot: Option<String>,
    pub(crate) attempt: Option<String>,
    pub(crate) session_key: String,
}

impl Purpose {
    /// The run or the delivery that it is for.
    fn id(&self) -> Uuid {
        match self {
            Self::Run(work) => work.run,
            Self::Letter(id) => *id,
        }
    }
}

/// The machine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) time: Arc<Time>,
    pub(crate) diary: Diary,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    started: u32,
    processes: BTreeMap<u32, Process>,
    lines: BTreeMap<Uuid, u64>,
    spent: BTreeMap<Uuid, Tokens>,
    /// When they ask to be tried again, should they fail.
    wishes: BTreeMap<Uuid, Duration>,
    unreadable: BTreeSet<Uuid>,
}

struct Process {
    purpose: Purpose,
    script: Script,
    grace: Duration,
    began: Duration,
    stopped: Option<Duration>,
    killed: Option<Duration>,
    /// Whether its gateway lives.
    attended: bool,
    /// It was started by a gateway whose epoch was over, which had not noticed yet.
    stray: bool,
    reported: usize,
    /// How many of its last words were reported.
    spoken: u32,
}

/// The pause between the last words of a process.
const BREATH: Duration = Duration::from_millis(70);

/// What is started.
pub(crate) struct Launch {
    pub(crate) purpose: Purpose,
    pub(crate) script: Script,
    pub(crate) grace: Duration,
    /// By a gateway whose epoch is over.
    pub(crate) stray: bool,
}

/// What a process does next.
pub(crate) enum Next {
    Line(Line),
    Exited(Exit),
    Wait(Duration),
}

impl Machine {
    pub(crate) fn new(time: Arc<Time>, diary: Diary) -> Self {
        Self { time, diary, table: Arc::default() }
    }

    /// Starts a process, and breaks a promise if it must not be. Nothing is said about what a gateway starts between
    /// the end of its epoch by another one and its notice of that.
    pub(crate) fn launch(&self, launch: Launch) -> u32 {
        let Launch { purpose, script, grace, stray } = launch;
        let now = self.time.now();
        let mut table = self.table();
        if stray {
            self.diary.count("a process was started after its gateway's epoch was over");
        }
        for other in table.processes.values().filter(|other| !stray && !other.stray) {
            if let Some(broken) = other.forbids(&purpose, now) {
                self.diary.broken(broken);
            }
        }
        table.started += 1;
        let pid = 1000 + table.started;
        self.diary.note(format_args!("the process of {} starts: {script}", purpose.id()));
        let process = Process {
            purpose,
            script,
            grace,
            began: now,
            stopped: None,
            killed: None,
            attended: true,
            stray,
            reported: 0,
            spoken: 0,
        };
        table.processes.insert(pid, process);
        pid
    }

    /// Asks a process to end.
    pub(crate) fn stop(&self, pid: u32) {
        let now = self.time.now();
        if let Some(process) = self.table().processes.get_mut(&pid)
            && process.attended
        {
            process.stopped.get_or_insert(now);
        }
    }

    /// What a process has to report.
    pub(crate) fn next(&self, pid: u32) -> Next {
        let now = self.time.now();
        let mut table = self.table();
        let Some(process) = table.processes.get_mut(&pid) else {
            return Next::Exited(Exit::Signal(KILL));
        };
        let spoken = process.spoken;
        let next = process.next(now);
        if process.spoken > spoken {
            self.diary.strikes(Fault::WritesOn);
        }
        match (&next, &process.purpose) {
            (Next::Line(line), Purpose::Run(work)) if line.is_stdout() => {
                let run = work.run;
                *table.lines.entry(run).or_default() += 1;
            }
            // There are many, and nothing is asked about them again.
            (Next::Exited(_), Purpose::Letter(_)) => drop(table.processes.remove(&pid)),
            _ => {}
        }
        next
    }

    /// The gateway is gone. Shims stop what they hold; of some processes the shim is gone too.
    pub(crate) fn gateway_died(&self) {
        let now = self.time.now();
        let mut table = self.table();
        let is_run = |process: &Process| matches!(process.purpose, Purpose::Run(_));
        table.processes.retain(|_, process| process.lives(now) || is_run(process));
        for process in table.processes.values_mut().filter(|process| process.attended) {
            process.attended = false;
            if !process.lives(now) {
                continue;
            }
            if !process.script.loses_shim {
                process.stopped.get_or_insert(now);
            } else if matches!(process.script.on_term, OnTerm::Ignores) {
                // It was asked before, but nobody is left to kill it.
                process.stopped = None;
            }
        }
    }

    /// Kills what is left of some runs.
    pub(crate) fn bury(&self, is_dead: &dyn Fn(Uuid) -> bool) -> Vec<Survivor> {
        let now = self.time.now();
        let mut buried = Vec::new();
        for (&pid, process) in &mut self.table().processes {
            let run = process.purpose.id();
            if process.lives(now) && is_dead(run) {
                process.killed = Some(now);
                buried.push(Survivor { process: process_id(pid), run });
                self.diary.note(format_args!("the process of {run} is found alive and killed"));
                match process.purpose {
                    Purpose::Run(_) => self.diary.strikes(Fault::SurvivorKilled),
                    Purpose::Letter(_) => self.diary.count("survivor of a hook killed"),
                }
            }
        }
        buried
    }

    /// The runs that have a living process.
    pub(crate) fn living(&self) -> Vec<Uuid> {
        let now = self.time.now();
        let table = self.table();
        let living = table.processes.values().filter(|process| process.lives(now));
        living.map(|process| process.purpose.id()).collect()
    }

    /// When the process of a run was last alive, as far as is known now; none if it never had one.
    pub(crate) fn last_alive(&self, run: Uuid) -> Option<Duration> {
        let now = self.time.now();
        let table = self.table();
        let of_run = table.processes.values().filter(|process| process.purpose.id() == run);
        of_run.map(|process| process.dies_at().map_or(now, |at| at.min(now))).max()
    }

    /// How many lines of stdout the gateway was told of a run.
    fn lines(&self, run: Uuid) -> u64 {
        self.table().lines.get(&run).copied().unwrap_or(0)
    }

    /// The agent of a run has reported that it took this.
    pub(crate) fn spend(&self, run: Uuid, tokens: Tokens) {
        let mut table = self.table();
        let spent = table.spent.entry(run).or_default();
        *spent = spent.plus(tokens);
    }

    /// The agent of a run has reported something that nobody can read: a remark of it is kept.
    pub(crate) fn mumble(&self, run: Uuid) {
        self.table().unreadable.insert(run);
    }

    /// The agent of a run asks to be tried again so long after its end.
    pub(crate) fn wish(&self, run: Uuid, rest: Duration) {
        self.table().wishes.insert(run, rest);
    }

    /// What it asks for.
    pub(crate) fn wished(&self, run: Uuid) -> Option<Duration> {
        self.table().wishes.get(&run).copied()
    }

    /// How many entries a run has added to its transcript: the prompt, its lines, a remark.
    pub(crate) fn entries(&self, run: Uuid) -> u64 {
        1 + self.lines(run) + u64::from(self.table().unreadable.contains(&run))
    }

    /// What the agent of a run has reported that it took.
    pub(crate) fn spent(&self, run: Uuid) -> Tokens {
        self.table().spent.get(&run).copied().unwrap_or_default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process as the engine knows it.
pub(crate) fn process_id(pid: u32) -> ProcessId {
    ProcessId { pid, started: u64::from(pid) }
}

impl Process {
    /// Which promise is broken if another process starts now.
    fn forbids(&self, other: &Purpose, now: Duration) -> Option<Broken> {
        match (&self.purpose, other) {
            (Purpose::Run(mine), Purpose::Run(other)) => {
                let how = self.forbids_work(mine, other, now)?;
                Some(Broken::new(Promise::P5, how))
            }
            (Purpose::Letter(mine), Purpose::Letter(other)) if mine == other => {
                let how = format!("delivery {mine} is tried while an earlier try of it lives");
                self.lives(now).then(|| Broken::new(Promise::P3, how))
            }
            _ => None,
        }
    }

    fn forbids_work(&self, mine: &Work, other: &Work, now: Duration) -> Option<String> {
        if mine.run == other.run {
            return Some(format!("run {} was started twice", mine.run));
        }
        let same_slot = mine.job == other.job && mine.slot.is_some() && mine.slot == other.slot;
        if same_slot && mine.attempt == other.attempt {
            return Some(format!(
                "attempt {:?} of slot {:?} was started as run {} and as run {}",
                mine.attempt, mine.slot, mine.run, other.run
            ));
        }
        if !self.lives(now) {
            return None;
        }
        if same_slot {
            return Some(format!(
                "run {} of slot {:?} starts while run {} of the same slot lives",
                other.run, mine.slot, mine.run
            ));
        }
        (mine.session_key == other.session_key).then(|| {
            let key = &mine.session_key;
            format!("run {} starts on {key} while run {} lives there", other.run, mine.run)
        })
    }

    fn lives(&self, now: Duration) -> bool {
        self.dies_at().is_none_or(|at| now < at)
    }

    /// When it dies, if nothing else happens to it.
    fn dies_at(&self) -> Option<Duration> {
        let own = self.script.ends.map(|(after, _)| self.began + after);
        let stopped = self.stopped.map(|at| match self.script.on_term {
            OnTerm::EndsAfter(delay) => at + delay.min(self.grace),
            OnTerm::Ignores => at + self.grace,
        });
        [own, stopped, self.killed].into_iter().flatten().min()
    }

    fn next(&mut self, now: Duration) -> Next {
        let death = self.dies_at();
        let line = self.script.lines.get(self.reported).cloned();
        let line = line.map(|line| (self.began + line.after, line));
        let word = self.stopped.filter(|_| self.spoken < self.script.last_words);
        let word = word.map(|at| (at + BREATH * (self.spoken + 1), Line::last_word(self.spoken)));
        let is_word =
            word.as_ref().is_some_and(|(at, _)| line.as_ref().is_none_or(|(line, _)| at < line));
        let line = if is_word { word } else { line };
        match (line, death) {
            (Some((at, line)), _) if at <= now && death.is_none_or(|death| at < death) => {
                self.reported += usize::from(!is_word);
                self.spoken += u32::from(is_word);
                Next::Line(line)
            }
            (_, Some(death)) if death <= now => Next::Exited(self.exit(death)),
            (line, death) => {
                let next = line.map(|(at, _)| at).into_iter().chain(death).min();
                Next::Wait(next.map_or(Duration::from_secs(3600), |at| at.saturating_sub(now)))
            }
        }
    }

    fn exit(&self, death: Duration) -> Exit {
        match self.script.ends {
            Some((after, exit)) if self.began + after <= death => exit,
            _ if self.stopped.is_some_and(|at| death >= at + self.grace) => Exit::Signal(KILL),
            _ => Exit::Signal(TERM),
        }
    }
}
