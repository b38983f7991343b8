//! What a world is made of: its calendar, its agents, its jobs.

use std::collections::BTreeMap;
use std::time::Duration as Span;

use jiff::{SignedDuration, Timestamp};
use sexton_domain::agent::{Agent, Command, Executor};
use sexton_domain::duration::Duration;
use sexton_domain::job::{Misfire, OnInterrupt, Overlap, Spec, Target};
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::plan::admission::Limits;
use sexton_domain::reset::Rules;
use sexton_domain::retention::Periods;
use sexton_domain::retry::Backoff;
use sexton_domain::schedule::Schedule;
use sexton_engine::settings::{AgentSettings, Drain, Settings};

use crate::clockwork::Temper;
use crate::dice::Die;
use crate::keeping;
use crate::subscribers::{self, Subscriber};

/// Where worlds begin: an ordinary day, a leap day, and the eves of changes of clock.
const BEGINNINGS: [&str; 6] = [
    "2026-11-20T18:00:00Z",
    "2028-02-28T21:30:00Z",
    "2026-03-28T20:00:00Z",
    "2026-10-24T20:00:00Z",
    "2026-03-07T22:00:00Z",
    "2026-10-31T22:00:00Z",
];
const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
];
const AGENTS: [&str; 3] = ["main", "scout", "clerk"];
/// The longest time that any of them has between TERM and KILL.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_secs(15);

/// What a world is about. Most are open; the others come soon to what random worlds come to hardly ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plot {
    Open,
    /// Runs do not end, and the gateway dies again and again while they run.
    Crashes,
    /// Runs do not end before the next one replaces them.
    Replacements,
    /// Every run fails.
    Failures,
    /// Months, in which the machine is off most of the time.
    Absences,
}

impl Plot {
    fn draw(die: &Die) -> Self {
        match die.below(32) {
            0 | 1 => Self::Crashes,
            2 | 3 => Self::Replacements,
            4 | 5 => Self::Failures,
            6 | 7 => Self::Absences,
            _ => Self::Open,
        }
    }

    /// How long a world lasts.
    fn lasts(self, die: &Die) -> Span {
        Span::from_secs(match self {
            Self::Open => die.spread(3600, 4 * 86_400),
            Self::Crashes | Self::Replacements | Self::Failures => die.spread(3600, 43_200),
            Self::Absences => die.between(20 * 86_400, 120 * 86_400),
        })
    }

    fn most_jobs(self, frail: bool) -> u64 {
        match self {
            Self::Open if !frail => 50,
            Self::Absences => 20,
            Self::Open => 8,
            Self::Crashes | Self::Replacements | Self::Failures => 4,
        }
    }
}

/// How a world is.
#[derive(Debug)]
pub(crate) struct Nature {
    pub(crate) plot: Plot,
    pub(crate) clocks: Temper,
    /// About how often the disk is full.
    pub(crate) fills: u64,
    /// How often a second gateway is started beside one.
    pub(crate) doubles: f64,
    /// Above this the store is too large.
    store_alarm: u64,
    pub(crate) began: Timestamp,
    /// How long things happen; after that it settles.
    pub(crate) lasts: Span,
    pub(crate) jobs: u64,
    /// Lives are short here and follow each other quickly, and what they cut off is done again.
    pub(crate) frail: bool,
    /// About how often a job is due.
    pub(crate) rhythm: Span,
    /// What a long run takes.
    pub(crate) long_run: Span,
    pub(crate) lease: Duration,
    pub(crate) limits: Limits,
    pub(crate) hooks: Vec<Subscriber>,
    /// What the config mostly says.
    periods: Periods,
    sweep_every: Duration,
    /// When conversations are over.
    pub(crate) reset: Rules,
}

impl Nature {
    /// Draws a world with about so many slots.
    pub(crate) fn draw(die: &Die, slots: u64) -> Self {
        let plot = Plot::draw(die);
        let frail = plot == Plot::Crashes || (plot != Plot::Absences && die.chance(0.3));
        let jobs = die.spread(1, plot.most_jobs(frail));
        let lasts = plot.lasts(die);
        let rhythm = (lasts * u32::try_from(jobs).unwrap_or(1)) / u32::try_from(slots).unwrap_or(1);
        let rhythm = rhythm.max(Span::from_secs(20));
        let lease = match lasts.as_secs() {
            ..20_000 => die.of([15, 30, 60]),
            20_000..100_000 => die.of([60, 120]),
            100_000.. => die.of([300, 900]),
        };
        let rhythm_secs = rhythm.as_secs().clamp(10, 3600);
        let long_run = match plot {
            Plot::Crashes | Plot::Replacements => 8 * rhythm_secs,
            _ => die.spread(rhythm_secs / 8, 4 * rhythm_secs),
        };
        let runs = usize::try_from(die.spread(1, 40)).unwrap_or(1);
        let runs_per_agent = usize::try_from(die.spread(1, 20)).unwrap_or(1);
        Self {
            plot,
            clocks: Temper::draw(die, lasts),
            fills: die.of([0, 0, 1, 3]),
            doubles: die.of([0.0, 0.0, 0.3]),
            store_alarm: die.of([512 << 10, 10 << 30, 10 << 30]),
            began: time(die.of(BEGINNINGS)) + SignedDuration::from_millis(ms(die, 3_600_000)),
            lasts,
            jobs,
            frail,
            rhythm,
            long_run: Span::from_secs(long_run),
            lease: Duration::from_secs(lease),
            limits: Limits { runs, runs_per_agent },
            hooks: subscribers::draw(die, lasts),
            periods: keeping::periods(die, lasts),
            sweep_every: keeping::sweep_every(die, lasts),
            reset: keeping::reset(die, lasts),
        }
    }

    /// What the reaper may need to come to something: two looks, and a pause of what is held.
    pub(crate) fn sweep_slack(&self) -> Duration {
        self.sweep_every.saturating_mul(2).saturating_add(Duration::from_secs(1_200))
    }

    /// What a gateway starts with, and what it knows of hooks. Now and then it does not know all agents,
    /// and has other times for records than before.
    pub(crate) fn settings(&self, die: &Die, hooks: &[Subscriber]) -> Settings {
        let mut agents = BTreeMap::new();
        for name in AGENTS {
            if name == "main" || !die.chance(0.03) {
                agents.insert(agent_name(name), self.agent(die, name));
            }
        }
        let (retention, sweep_every) = match die.chance(0.2) {
            true => (keeping::periods(die, self.lasts), self.sweep_every),
            false => (self.periods, self.sweep_every),
        };
        let drain = Drain {
            runs: Duration::from_secs(die.of([0, 1, 30, 300])),
            hooks: Duration::from_secs(die.of([0, 2, 10])),
        };
        let hooks = hooks.iter().map(|hook| (hook.name.clone(), hook.settings())).collect();
        let settings = Settings::new(self.limits, self.lease, "/nowhere".into());
        let reset = self.reset.clone();
        let store_alarm_bytes = self.store_alarm;
        let of_config =
            Settings { agents, hooks, retention, sweep_every, reset, drain, ..settings };
        Settings { store_alarm_bytes, ..of_config }
    }

    fn agent(&self, die: &Die, name: &str) -> AgentSettings {
        let command =
            Command { argv: vec![name.to_owned()], cwd: ".".to_owned(), env_pass: Vec::new() };
        let long = self.long_run.as_secs().max(2);
        let agent = Agent {
            executor: Executor::Process(command),
            timeout: Duration::from_secs(die.spread(long / 2, 2 * long)),
            idle_timeout: die.chance(0.3).then(|| Duration::from_secs(die.spread(1, long))),
            grace: Duration::from_millis(die.spread(100, LONGEST_GRACE.as_millis())),
            output_limit_bytes: die.of([200, 16 * 1024 * 1024]),
        };
        AgentSettings { agent, env: BTreeMap::new() }
    }

    /// The longest that a run may take until it is proven dead.
    pub(crate) fn longest_run(&self) -> Span {
        self.long_run * 2 + Span::from_secs(60)
    }

    /// A job. Its jitter and its offset belong to its key: no edit changes them.
    pub(crate) fn spec(&self, die: &Die, key: &JobKey, now: Timestamp) -> Spec {
        let agent = agent_name(die.of(AGENTS));
        Spec {
            name: None,
            schedule: self.schedule(die, now),
            jitter: jitter(key),
            offset: offset(key),
            prompt: format!("work {}", die.below(1000)),
            target: match die.below(10) {
                0 => Target::Main,
                1 => Target::Key(shared_key(die)),
                _ => Target::Isolated,
            },
            timeout: die
                .chance(0.3)
                .then(|| Duration::from_secs(die.spread(1, 2 * self.long_run.as_secs().max(1)))),
            idle_timeout: die.chance(0.1).then(|| Duration::from_secs(die.spread(1, 600))),
            overlap: match self.plot {
                Plot::Replacements => Overlap::Replace,
                _ => die.of([Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow]),
            },
            misfire: match die.below(4) {
                0 => Misfire::Skip,
                1 => Misfire::Latest,
                2 => Misfire::All,
                _ => Misfire::Within(Duration::from_secs(die.spread(10, 7200))),
            },
            retries: die.chance(0.5).then(|| die.of([0, 1, 2, 5])),
            backoff: self.backoff(die),
            on_interrupt: match die.of([OnInterrupt::Fail, OnInterrupt::Retry]) {
                OnInterrupt::Fail if !self.frail => OnInterrupt::Fail,
                _ => OnInterrupt::Retry,
            },
            retention: keeping::of_job(die, self.lasts),
            enabled: !die.chance(0.05),
            agent,
        }
    }

    fn backoff(&self, die: &Die) -> Backoff {
        let longest = if self.plot == Plot::Failures { 2 } else { 1800 };
        let waits = [die.spread(1, 60.min(longest)), die.spread(1, longest)];
        Backoff::new(waits.map(Duration::from_secs).to_vec()).unwrap_or_default()
    }

    /// How long an engine at work may take to look at its clocks.
    pub(crate) fn watched(&self) -> Span {
        self.lease.to_std() / 3 + Span::from_secs(60)
    }

    fn schedule(&self, die: &Die, now: Timestamp) -> Schedule {
        let rhythm = self.rhythm.as_secs().max(1);
        match die.below(10) {
            0 => Schedule::At {
                at: now + SignedDuration::from_millis(ms(die, self.lasts.as_secs() * 500)),
            },
            1..5 => Schedule::Every {
                every: Duration::from_millis(die.spread(rhythm * 500, rhythm * 3000)),
                anchor: now + SignedDuration::from_millis(ms(die, 7_200_000) - 3_600_000),
            },
            _ => cron(die, rhythm),
        }
    }
}

/// A cron expression of about this rhythm, in one of the zones.
fn cron(die: &Die, rhythm_secs: u64) -> Schedule {
    let minutes = rhythm_secs / 60;
    let expr = match minutes {
        0 => format!("*/{} * * * * *", (rhythm_secs % 60).clamp(20, 30)),
        1..60 => die
            .of([
                format!("*/{} * * * *", minutes.clamp(1, 30)).as_str(),
                "7,37 * * * *",
                "*/10 * * * 1-5",
                "30 */5 * * * *",
            ])
            .to_owned(),
        _ => die
            .of([
                "30 2 * * *",
                "0 * * * *",
                "15 1-4 * * *",
                "0 9 * * 1-5",
                "0,30 2 * * *",
                "@daily",
            ])
            .to_owned(),
    };
    Schedule::Cron {
        expr: expr.parse().expect("the expressions above are valid"),
        tz: die.of(ZONES).parse().expect("the zones above exist"),
    }
}

/// The key of the n-th job of the API, or of the config.
pub(crate) fn job_key(source: &str, n: u64) -> JobKey {
    format!("{source}-{n}").parse().expect("a letter, a dash and digits are a job key")
}

fn jitter(key: &JobKey) -> Duration {
    let tail = key.as_str().bytes().last().unwrap_or(0);
    if tail.is_multiple_of(3) { Duration::from_secs(30) } else { Duration::ZERO }
}

fn offset(key: &JobKey) -> Duration {
    let tail = key.as_str().bytes().last().unwrap_or(0);
    if tail.is_multiple_of(5) { Duration::from_secs(45) } else { Duration::ZERO }
}

/// A key behind which sessions follow each other.
pub(crate) fn shared_key(die: &Die) -> SessionKey {
    let key =
        die.of(["agent:main:telegram:group:1", "agent:scout:slack:channel:c2", "agent:main:main"]);
    key.parse().expect("the keys above are valid")
}

/// The name of an agent.
pub(crate) fn agent_name(name: &str) -> AgentName {
    name.parse().expect("the names above are valid")
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("the times above are valid")
}

fn ms(die: &Die, below: u64) -> i64 {
    i64::try_from(die.below(below)).unwrap_or(0)
}
