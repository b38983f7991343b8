//! Crash rounds: forty jobs, conversations, hooks that fail, a short retention; kill -9 or SIGSTOP, start
//! again or SIGCONT, audit.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::archive;
use crate::books::{self, Session};
use crate::dice::Dice;
use crate::gateway::{self, Gateway, Profile};
use crate::hooks::Envelope;
use crate::paint::{Ink, WIDTH, paint, wrap};
use crate::process::{self, Worker};
use crate::signature::Secret;
use crate::slots::Slots;
use crate::webhook::Webhook;
use crate::{Verdict, clock};

mod audit;
mod config;
mod frozen;
mod moment;
mod talk;
mod tally;
mod traces;

use audit::Witnesses;
use config::{Jobs, Plan};
use moment::{Moment, Scene};
use talk::Talk;
use tally::{Kill, Tally};
use traces::Traces;

/// Rounds, when nobody says how many.
pub const ROUNDS: u32 = 40;
/// Runs that are in flight at every kill, at least.
const RUNS: usize = 40;
/// How long agents have between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);
/// What a machine that is busy with other things may add.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long after the last round the outbox may stay as full as it is: the more rounds, the more is in it.
const OUTBOX_LIMIT: Duration = Duration::from_secs(120);
/// The pause between two looks at all processes: each takes about as long.
const SCAN_PAUSE: Duration = Duration::from_millis(50);
/// How long a gateway may be silent; the least that its config takes.
const LEASE: Duration = Duration::from_secs(3);
/// Of ten rounds, those in which the next gateway is killed at its start as well.
const FALSE_STARTS: u64 = 3;

/// `crash`
#[derive(Debug, Args)]
pub struct Crash {
    /// How many times the gateway is killed or frozen
    #[arg(long, default_value_t = ROUNDS)]
    pub rounds: u32,
    /// Decides what is killed when; printed at the start
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Runs the rounds; the answer is no at the first difference.
pub fn run(crash: &Crash) -> anyhow::Result<Verdict> {
    if !process::can_scan() {
        println!("crash rounds need /proc to see who is alive: nothing was done");
        return Ok(Verdict::No);
    }
    let seed = crash.seed.unwrap_or_else(|| clock::now().as_nanosecond() as u64);
    println!("{} rounds, {RUNS} runs in flight each, seed {seed}", crash.rounds);
    let program = gateway::build(Profile::Dev)?;
    gateway::clean_up_on_signals()?;
    let mut rounds = Rounds::new(&program, seed)?;
    let verdict = rounds.play(crash.rounds).with_context(|| rounds.gateway.log_tail());
    // Agents write into its folder until they are dead; then it can go.
    if rounds.gateway.pid().is_ok() {
        rounds.gateway.kill()?;
    }
    clock::until_every(SCAN_PAUSE, PATIENCE, || Ok(process::workers(&rounds.mark)?.is_empty()))?;
    if matches!(verdict, Ok(Verdict::Yes)) {
        rounds.sum_up(crash.rounds);
    }
    verdict
}

struct Rounds {
    gateway: Gateway,
    mark: String,
    dice: Dice,
    witnesses: Witnesses,
    talk: Talk,
    tally: Tally,
}

/// Who worked when the gateway was killed, and what was found of it.
struct Death {
    workers: Vec<Worker>,
    traces: Traces,
}

impl Rounds {
    fn new(program: &Path, seed: u64) -> anyhow::Result<Self> {
        let mark = format!("CRASH={}", std::process::id());
        let mut dice = Dice(seed);
        let secret = Secret::draw(&mut dice);
        let good = Webhook::open(secret.clone(), |_| 204)?;
        let shaky = Webhook::open(secret, half(dice.below(u64::MAX)))?;
        let gateway = Gateway::new(program, "crash", "")?;
        let notes = gateway.folder().join("notes");
        fs::create_dir(&notes)?;
        let witnesses = Witnesses::new(good, shaky, notes);
        gateway.configure(&text(&mark, &witnesses, Jobs::Enabled))?;
        let talk = Talk::begin(dice.below(u64::MAX));
        Ok(Self { gateway, mark, dice, witnesses, talk, tally: Tally::default() })
    }

    fn play(&mut self, rounds: u32) -> anyhow::Result<Verdict> {
        self.start()?;
        for round in 1..=rounds {
            let differences = self.round(round).with_context(|| format!("round {round}"))?;
            if !differences.is_empty() {
                return Ok(self.report(&format!("round {round}:"), &differences));
            }
        }
        let differences = self.finish().context("the end")?;
        if !differences.is_empty() {
            return Ok(self.report("at the end:", &differences));
        }
        Ok(Verdict::Yes)
    }

    fn report(&self, when: &str, differences: &[String]) -> Verdict {
        println!("{}", paint(Ink::Bad, when));
        differences.iter().for_each(|difference| println!("  {difference}"));
        println!("\n{}", self.gateway.log_tail());
        Verdict::No
    }

    fn round(&mut self, round: u32) -> anyhow::Result<Vec<String>> {
        let flight = self.wait_for_flight()?;
        let (how, moment) = (How::pick(&mut self.dice), Moment::pick(&mut self.dice));
        if how == How::Thawed {
            return self.thawed_round(round, moment);
        }
        let mut differences = Vec::new();
        let Death { mut workers, traces } = match how {
            How::Frozen => self.kill_frozen(moment, flight, &mut differences)?,
            how => self.kill(how, moment, flight)?,
        };
        // Sometimes the next gateway finds the survivors, sometimes their shims are quicker.
        clock::sleep(Duration::from_millis(self.dice.below(1500)));
        if self.dice.below(10) < FALSE_STARTS {
            self.false_start()?;
        }
        let ready = self.start()?;
        let dead = runs(&workers);
        differences.extend(self.survivors(&workers)?);
        differences.extend(self.witnesses.differences(&self.gateway, &dead)?);
        // Who had ended before is no victim.
        let ended = self.witnesses.ended_by_themselves();
        workers.retain(|worker| !ended.contains(worker.run.as_str()));
        let archives = archive::newest(self.gateway.client()?)?;
        let hits = traces.hits(&self.witnesses.books.events, &archives);
        let (runs, processes) = (runs(&workers).len(), workers.len());
        let ready = ready.as_secs_f64();
        println!(
            "  round {round}: {how} killed {moment}, under {runs} runs and tellings of {processes} \
             processes; ready {ready:.1} s after its start"
        );
        self.tally.count(how, runs, processes);
        let Traces { is_torn, told, .. } = traces;
        self.tally.killed(Kill { aim: moment, hits, is_torn, told });
        Ok(differences)
    }

    fn start(&mut self) -> anyhow::Result<Duration> {
        let took = self.gateway.start()?;
        self.talk.turn_to(Some(self.gateway.client()?.clone()));
        Ok(took)
    }

    /// A gateway that is killed while it cleans up after the one before it.
    fn false_start(&mut self) -> anyhow::Result<()> {
        self.gateway.spawn()?;
        clock::sleep(Duration::from_millis(self.dice.below(300)));
        self.gateway.kill()?;
        self.tally.false_starts += 1;
        Ok(())
    }

    /// Waits until so many runs have living agents; returns who lives then.
    fn wait_for_flight(&self) -> anyhow::Result<Vec<Worker>> {
        let mut workers = Vec::new();
        let in_flight = || {
            workers = process::workers(&self.mark)?;
            let agents = workers.iter().filter(|worker| !worker.is_shim() && !worker.is_of_hook);
            Ok(agents.map(|worker| &worker.run).collect::<BTreeSet<_>>().len() >= RUNS)
        };
        let is_full = clock::until_every(SCAN_PAUSE, PATIENCE, in_flight)?.is_some();
        ensure!(
            is_full,
            "fewer than {RUNS} runs came to be in flight\n{}",
            self.gateway.log_tail()
        );
        Ok(workers)
    }

    /// Waits for the moment and kills. To look at all processes takes longer than what is to be hit, and
    /// agents die as soon as the gateway does: who was in `flight` is known before.
    fn kill(&mut self, how: How, moment: Moment, flight: Vec<Worker>) -> anyhow::Result<Death> {
        let shims = |workers: &[Worker]| {
            for shim in workers.iter().filter(|worker| worker.is_shim()) {
                process::send(shim.life.pid, Signal::SIGKILL);
            }
        };
        self.wait_for(moment)?;
        if how == How::ShimsAndGateway {
            shims(&flight);
        }
        let told = self.witnesses.good.count();
        let at = clock::now();
        self.gateway.kill()?;
        let death = self.bury(flight, at, told)?;
        if how == How::GatewayAndShims {
            shims(&death.workers);
        }
        Ok(death)
    }

    fn wait_for(&mut self, moment: Moment) -> anyhow::Result<()> {
        let scene = Scene { folder: self.gateway.folder(), webhook: &self.witnesses.good };
        moment.wait(scene, &mut self.dice)
    }

    /// Looks at what a gateway left that is dead now and has done nothing since then.
    fn bury(
        &mut self,
        mut workers: Vec<Worker>,
        at: Timestamp,
        told: usize,
    ) -> anyhow::Result<Death> {
        self.talk.turn_to(None);
        let late = process::workers(&self.mark)?;
        let known: BTreeSet<_> = workers.iter().map(|worker| worker.life).collect();
        workers.extend(late.into_iter().filter(|worker| !known.contains(&worker.life)));
        let traces = Traces::read(self.gateway.folder(), &self.gateway.log(), at, told)?;
        Ok(Death { workers, traces })
    }

    /// Nobody of the dead gateway is alive a grace period later.
    fn survivors(&self, before: &[Worker]) -> anyhow::Result<Vec<String>> {
        let alive = || before.iter().filter(|worker| process::lives(worker.life));
        let limit = GRACE + Duration::from_secs(4);
        if clock::until(limit, || Ok(alive().next().is_none()))?.is_some() {
            return Ok(Vec::new());
        }
        let describe =
            |it: &Worker| format!("{} {} of dead {} lives", it.name, it.life.pid, it.run);
        Ok(alive().map(describe).collect())
    }

    /// Stops as one should, starts again without jobs, lets everything arrive, and looks at all of it.
    fn finish(&mut self) -> anyhow::Result<Vec<String>> {
        self.talk.end();
        let mut differences = Vec::new();
        let scheduled_until = clock::now();
        let (took, status) = self.gateway.stop()?;
        println!("  stopped after {:.1} s ({status})", took.as_secs_f64());
        if !status.success() {
            differences.push(format!("the gateway was asked to stop and ended with {status}"));
        }
        self.gateway.configure(&text(&self.mark, &self.witnesses, Jobs::Disabled))?;
        self.start()?;
        self.end_conversations()?;
        self.wait_for_rest()?;
        differences.extend(self.witnesses.differences(&self.gateway, &BTreeSet::new())?);
        let sent = self.talk.runs();
        differences.extend(self.witnesses.rest(&self.gateway, &sent, scheduled_until)?);
        if let Err(error) = self.gateway.sexton(&["archive", "verify"]) {
            differences.push(format!("the archive is not clean: {error:#}"));
        }
        let nobody = || Ok(process::workers(&self.mark)?.is_empty());
        if clock::until_every(SCAN_PAUSE, GRACE + Duration::from_secs(4), nobody)?.is_none() {
            let left = process::workers(&self.mark)?;
            differences
                .extend(left.iter().map(|it| format!("{} {} is left", it.name, it.life.pid)));
        }
        Ok(differences)
    }

    /// Lets the last messages be answered and ends what is left open.
    fn end_conversations(&self) -> anyhow::Result<()> {
        let client = self.gateway.client()?;
        let count = |state: &str| {
            let path = format!("/v1/runs?limit=500&state={state}");
            anyhow::Ok(books::list::<IgnoredAny>(client, &path)?.len())
        };
        let is_silent = || {
            clock::sleep(Duration::from_millis(200));
            Ok(count("queued")? + count("running")? == 0)
        };
        let is_silent = clock::until(2 * PATIENCE, is_silent)?.is_some();
        ensure!(is_silent, "messages are not answered\n{}", self.gateway.log_tail());
        let open: Vec<Session> = books::list(client, "/v1/sessions?open=true&limit=500")?;
        for session in open {
            let path = format!("/v1/sessions/{}/end", session.id);
            client.post::<IgnoredAny>(&path, &serde_json::Value::Null)?;
        }
        Ok(())
    }

    /// Waits until nothing is to be told any more, and every session was reaped.
    fn wait_for_rest(&mut self) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Status {
            outbox: Outbox,
        }
        #[derive(Deserialize)]
        struct Outbox {
            pending: usize,
        }
        let client = self.gateway.client()?;
        let start = clock::monotonic();
        let (mut least, mut since) = (usize::MAX, start);
        loop {
            let Status { outbox: Outbox { pending } } = client.get("/v1/status")?;
            let sessions: Vec<IgnoredAny> = books::list(client, "/v1/sessions?kind=all&limit=500")?;
            let left = pending + sessions.len();
            if left == 0 {
                println!("  nothing is on its way {:.1} s later", start.elapsed().as_secs_f64());
                return Ok(());
            }
            if left < least {
                (least, since) = (left, clock::monotonic());
            }
            ensure!(
                since.elapsed() < OUTBOX_LIMIT,
                "{OUTBOX_LIMIT:?} long {pending} deliveries and {} sessions do not become fewer\n{}",
                sessions.len(),
                self.gateway.log_tail()
            );
            clock::sleep(Duration::from_secs(1));
        }
    }

    fn sum_up(self, rounds: u32) {
        let (gateways, (runs, processes)) = (self.tally.gateways(), self.tally.victims());
        let books = &self.witnesses.books;
        let sessions = books.by_session("session.started").len();
        let Slots { due, ran, skipped, missed, coalesced } = self.witnesses.slots;
        let sum = format!(
            "{rounds} rounds: the gateway was killed {gateways} times, and {runs} runs and tellings of \
             {processes} processes with it. {sessions} sessions, each started once, ended once, told to \
             every hook in order, archived once and reaped; {} messages acknowledged, each with its \
             turn; {due} slots, each accounted for: {ran} ran, {skipped} skipped, {missed} missed, \
             {coalesced} coalesced; no slot ran twice at a time; usage adds up; nothing is left over.",
            self.talk.runs().len()
        );
        wrap(&sum, WIDTH).iter().for_each(|line| println!("{}", paint(Ink::Good, line)));
        for (hook, count) in self.witnesses.counts() {
            let audit::Count { tries, acknowledged, late } = count;
            println!(
                "  hook {hook:11}{tries:>7} tries, {acknowledged:>7} acknowledged, {late:>7} late"
            );
        }
        let told = self.witnesses.told_to_good();
        self.tally.lines(told).iter().for_each(|line| println!("  {line}"));
    }
}

fn text(mark: &str, witnesses: &Witnesses, jobs: Jobs) -> String {
    let (good, shaky) = (witnesses.good.config(), witnesses.shaky.config());
    let plan = Plan { mark, notes: &witnesses.notes, good: &good, shaky: &shaky };
    config::config(&plan, jobs)
}

/// An answer that is a failure six times in ten, at the first two tries of a telling: half of all tries.
fn half(seed: u64) -> impl Fn(&Envelope) -> u16 + Send + Sync {
    let dice = std::sync::Mutex::new(Dice(seed));
    move |envelope| {
        let mut dice = dice.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if envelope.attempt <= 2 && dice.below(10) < 6 { 500 } else { 204 }
    }
}

/// For which runs, or tellings, somebody works.
fn runs(workers: &[Worker]) -> BTreeSet<&str> {
    workers.iter().map(|worker| worker.run.as_str()).collect()
}

/// What is done to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// SIGKILL.
    Gateway,
    /// SIGKILL, and then for its shims.
    GatewayAndShims,
    /// SIGKILL, and before for its shims.
    ShimsAndGateway,
    /// SIGSTOP for longer than its lease, and SIGKILL.
    Frozen,
    /// SIGSTOP for longer than its lease, and SIGCONT.
    Thawed,
}

impl How {
    fn pick(dice: &mut Dice) -> Self {
        match dice.below(10) {
            0..3 => Self::Gateway,
            3..5 => Self::GatewayAndShims,
            5..7 => Self::ShimsAndGateway,
            7 => Self::Frozen,
            _ => Self::Thawed,
        }
    }

    fn is_deadly(self) -> bool {
        self != Self::Thawed
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "the gateway",
            Self::GatewayAndShims => "gateway, then shims",
            Self::ShimsAndGateway => "shims, then gateway",
            Self::Frozen => "the frozen gateway",
            Self::Thawed => "the gateway was frozen and went on",
        })
    }
}
