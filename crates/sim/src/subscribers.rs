//! Subscribers: the hooks of a world, what each is told, and how the program behind it behaves.

use std::collections::BTreeSet;
use std::time::Duration as Span;

use serde_json::Value;
use sexton_domain::duration::Duration;
use sexton_domain::event::{EventType, NewEvent};
use sexton_domain::hook::Subscription;
use sexton_domain::key::SessionKind;
use sexton_domain::name::{AgentName, HookName, JobKey};
use sexton_domain::retry::Backoff;
use sexton_engine::courier::Webhook;
use sexton_engine::settings::{HookSettings, Way};

use crate::courier::PLACE;
use crate::dice::Die;
use crate::draw::{agent_name, job_key};

/// A hook as the config of this world has it.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) name: HookName,
    pub(crate) on: BTreeSet<EventType>,
    pub(crate) agents: BTreeSet<AgentName>,
    pub(crate) jobs: BTreeSet<JobKey>,
    pub(crate) kinds: BTreeSet<SessionKind>,
    /// A process on the machine; else a webhook.
    pub(crate) is_command: bool,
    pub(crate) timeout: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) max_age: Duration,
    pub(crate) waits: Vec<Duration>,
    pub(crate) concurrency: u32,
    pub(crate) temper: Temper,
}

/// How the program behind a hook behaves: how often it does what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper {
    pub(crate) fails: f64,
    /// It never answers.
    pub(crate) hangs: f64,
    /// It has taken the letter, and its answer is lost.
    pub(crate) loses: f64,
    /// It says that it is gone for good.
    pub(crate) gone: f64,
    /// The longest that it takes to answer.
    pub(crate) longest: Span,
    /// It is down for the first of these out of every second.
    pub(crate) down: Option<(Span, Span)>,
}

impl Subscriber {
    /// Whether it is told an event. The filters ask for what the event's data says.
    pub(crate) fn is_told(&self, event: &NewEvent) -> bool {
        let said = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default();
        let about_hooks = matches!(
            event.kind,
            EventType::HookEnabled | EventType::HookDisabled | EventType::HookDeadLettered
        );
        // A hook is not told about itself, and nobody of the death of a letter about a death.
        if about_hooks && said("hook") == self.name.as_str() {
            return false;
        }
        if event.kind == EventType::HookDeadLettered && said("event_type") == event.kind.name() {
            return false;
        }
        self.on.contains(&event.kind)
            && (self.agents.is_empty() || self.agents.iter().any(|it| it.as_str() == said("agent")))
            && (self.jobs.is_empty() || self.jobs.iter().any(|it| it.as_str() == said("job_key")))
            && (self.kinds.is_empty() || self.kinds.iter().any(|it| it.as_str() == said("kind")))
    }

    /// As the engine's config has it.
    pub(crate) fn settings(&self) -> HookSettings {
        let subscription = Subscription {
            hook: self.name.clone(),
            on: self.on.clone(),
            agents: self.agents.clone(),
            jobs: self.jobs.clone(),
            kinds: self.kinds.clone(),
            max_attempts: self.max_attempts,
            max_age: self.max_age,
            backoff: Backoff::new(self.waits.clone()).unwrap_or_default(),
        };
        let name = self.name.to_string();
        let way = match self.is_command {
            true => Way::Command(vec!["hook".to_owned(), name]),
            false => Way::Webhook(Webhook { url: format!("{PLACE}{name}"), secret: None }),
        };
        let (timeout, concurrency) = (self.timeout, self.concurrency);
        HookSettings { subscription, way, timeout, concurrency }
    }

    /// The shortest wait after so many failures of a delivery: a fifth less than the list says.
    pub(crate) fn shortest_wait(&self, failures: u32) -> Duration {
        let nth = usize::try_from(failures).unwrap_or(usize::MAX).min(self.waits.len());
        let wait = nth.checked_sub(1).and_then(|nth| self.waits.get(nth));
        Duration::from_millis(wait.copied().unwrap_or_default().as_millis() * 4 / 5)
    }

    /// The longest wait after a failure: a fifth more than the list says.
    pub(crate) fn longest_wait(&self) -> Duration {
        let longest = self.waits.iter().max().copied().unwrap_or_default();
        Duration::from_millis(longest.as_millis() * 6 / 5 + 1)
    }

    /// Whether it is told of starts of sessions, whatever its filters.
    pub(crate) fn hears_of_starts(&self) -> bool {
        self.on.contains(&EventType::SessionStarted)
    }
}

impl Temper {
    /// A program that does what it should.
    pub(crate) const GOOD: Self = Self {
        fails: 0.0,
        hangs: 0.0,
        loses: 0.0,
        gone: 0.0,
        longest: Span::from_millis(50),
        down: None,
    };

    fn draw(die: &Die, lasts: Span) -> Self {
        let period = lasts / 4;
        Self {
            fails: die.of([0.0, 0.05, 0.5]),
            hangs: die.of([0.0, 0.0, 0.05]),
            loses: die.of([0.0, 0.02, 0.1]),
            gone: die.of([0.0, 0.0, 0.01]),
            longest: Span::from_millis(die.spread(2, 20_000)),
            down: die.chance(0.3).then(|| (period / 3, period)),
        }
    }

    /// Whether it is down at an age of the world.
    pub(crate) fn is_down(&self, age: Span) -> bool {
        self.down.is_some_and(|(down, period)| {
            age.as_millis().checked_rem(period.as_millis()).is_some_and(|at| at < down.as_millis())
        })
    }
}

/// Those of the hooks that the config has in one life of the gateway: the first always.
pub(crate) fn in_config(die: &Die, hooks: &[Subscriber]) -> Vec<Subscriber> {
    let first = hooks.first().into_iter();
    first.chain(hooks.iter().skip(1).filter(|_| !die.chance(0.12))).cloned().collect()
}

/// Draws the hooks of a world that lasts so long.
pub(crate) fn draw(die: &Die, lasts: Span) -> Vec<Subscriber> {
    let count = die.between(2, 3);
    ["memory", "pager", "books"]
        .iter()
        .zip(0..count)
        .map(|(name, n)| hook(die, name, n, lasts))
        .collect()
}

fn hook(die: &Die, name: &str, n: u64, lasts: Span) -> Subscriber {
    use EventType::{
        HookDeadLettered, NodeStarted, NodeStopped, RunEnded, SessionEnded, SessionStarted,
    };
    let on: &[EventType] = match (n, die.below(4)) {
        // The first hears of every start and every end of every session.
        (0, _) | (_, 0) => &[SessionStarted, SessionEnded],
        (_, 1) => &[SessionEnded, RunEnded, HookDeadLettered],
        (_, 2) => &[SessionStarted, SessionEnded, RunEnded, NodeStarted, NodeStopped],
        _ => EventType::ALL,
    };
    let filtered = n > 0 && die.chance(0.3);
    let mut filter = [BTreeSet::new(), BTreeSet::new()];
    if filtered && die.chance(0.5) {
        filter[0].insert(die.of(["main", "scout"]));
    }
    let jobs = (filtered && filter[0].is_empty()).then(|| (0..3).map(|n| job_key("job", n)));
    let unit = lasts.as_secs().max(60);
    Subscriber {
        name: name.parse().expect("the names above are valid"),
        on: on.iter().copied().collect(),
        agents: filter[0].iter().map(|name| agent_name(name)).collect(),
        jobs: jobs.into_iter().flatten().collect(),
        kinds: match n > 0 && !filtered && die.chance(0.2) {
            true => BTreeSet::from([SessionKind::Run, SessionKind::Main]),
            false => BTreeSet::new(),
        },
        is_command: die.chance(0.4),
        timeout: Duration::from_millis(die.spread(500, 15_000)),
        max_attempts: die.of([2, 4, 8, 20]),
        max_age: Duration::from_secs(die.of([unit / 12, unit / 4, unit])),
        waits: vec![
            Duration::from_secs(die.spread(1, 30)),
            Duration::from_secs(die.spread(1, (unit / 40).max(30))),
        ],
        concurrency: u32::try_from(die.between(1, 4)).unwrap_or(1),
        temper: Temper::draw(die, lasts),
    }
}
