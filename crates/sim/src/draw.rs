//! What a world is made of: its calendar, its agents, its jobs.

use std::collections::BTreeMap;
use std::time::Duration as Span;

use jiff::{SignedDuration, Timestamp};
use sexton_domain::agent::{Agent, Command, Executor};
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::job::{Misfire, OnInterrupt, Overlap, Retention, Spec, Target};
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::plan::admission::Limits;
use sexton_domain::retention::{Periods, Policies};
use sexton_domain::retry::Backoff;
use sexton_domain::schedule::Schedule;
use sexton_engine::settings::{AgentSettings, Drain, Settings};

use crate::dice::Die;

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

/// How a world is.
#[derive(Debug)]
pub(crate) struct Nature {
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
}

impl Nature {
    /// Draws a world with about so many slots.
    pub(crate) fn draw(die: &Die, slots: u64) -> Self {
        let frail = die.chance(0.3);
        let jobs = die.spread(1, if frail { 8 } else { 50 });
        let lasts = Span::from_secs(die.spread(3600, 4 * 86_400));
        let rhythm = (lasts * u32::try_from(jobs).unwrap_or(1)) / u32::try_from(slots).unwrap_or(1);
        let rhythm = rhythm.max(Span::from_secs(20));
        let lease = match lasts.as_secs() {
            ..20_000 => die.of([15, 30, 60]),
            20_000..100_000 => die.of([60, 120]),
            100_000.. => die.of([300, 900]),
        };
        let runs = usize::try_from(die.spread(1, 40)).unwrap_or(1);
        let runs_per_agent = usize::try_from(die.spread(1, 20)).unwrap_or(1);
        Self {
            began: time(die.of(BEGINNINGS)) + SignedDuration::from_millis(ms(die, 3_600_000)),
            lasts,
            jobs,
            frail,
            rhythm,
            long_run: Span::from_secs(die.spread(
                rhythm.as_secs().clamp(10, 3600) / 8,
                4 * rhythm.as_secs().clamp(10, 3600),
            )),
            lease: Duration::from_secs(lease),
            limits: Limits { runs, runs_per_agent },
        }
    }

    /// What a gateway starts with. Now and then it does not know all agents.
    pub(crate) fn settings(&self, die: &Die) -> Settings {
        let mut agents = BTreeMap::new();
        for name in AGENTS {
            if name == "main" || !die.chance(0.03) {
                agents.insert(agent(name), self.agent(die, name));
            }
        }
        let runs = Duration::from_secs(die.of([0, 5, 30]));
        let drain = Drain { runs, ..Drain::default() };
        let retention = for_ever();
        let settings = Settings::new(self.limits, self.lease, "/nowhere".into());
        Settings { agents, drain, retention, ..settings }
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

    /// A job. Its jitter belongs to its key: no edit changes it.
    pub(crate) fn spec(&self, die: &Die, key: &JobKey, now: Timestamp) -> Spec {
        let agent = agent(die.of(AGENTS));
        Spec {
            name: None,
            schedule: self.schedule(die, now),
            jitter: jitter(key),
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
            overlap: die.of([Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow]),
            misfire: match die.below(4) {
                0 => Misfire::Skip,
                1 => Misfire::Latest,
                2 => Misfire::All,
                _ => Misfire::Within(Duration::from_secs(die.spread(10, 7200))),
            },
            retries: die.chance(0.5).then(|| die.of([0, 1, 2, 5])),
            backoff: Backoff::new(vec![
                Duration::from_secs(die.spread(1, 60)),
                Duration::from_secs(die.spread(1, 1800)),
            ])
            .unwrap_or_default(),
            on_interrupt: match die.of([OnInterrupt::Fail, OnInterrupt::Retry]) {
                OnInterrupt::Fail if !self.frail => OnInterrupt::Fail,
                _ => OnInterrupt::Retry,
            },
            retention: Retention::default(),
            enabled: !die.chance(0.05),
            agent,
        }
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

fn shared_key(die: &Die) -> SessionKey {
    let key = die.of(["agent:main:telegram:group:1", "agent:scout:slack:channel:c2"]);
    key.parse().expect("the keys above are valid")
}

fn agent(name: &str) -> AgentName {
    name.parse().expect("the names above are valid")
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("the times above are valid")
}

fn ms(die: &Die, below: u64) -> i64 {
    i64::try_from(die.below(below)).unwrap_or(0)
}

/// The promises are checked over the whole history: nothing of it goes because of its age.
fn for_ever() -> Periods {
    let keep = Keep::Forever;
    let sessions = Policies {
        run: keep,
        job: keep,
        main: keep,
        chat: keep,
        subagent: keep,
        boot: keep,
        temporary: keep,
        other: keep,
    };
    Periods { sessions, archive: keep, events: keep, runs: keep, dead: keep, job_done: keep }
}
