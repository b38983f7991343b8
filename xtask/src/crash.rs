//! Crash rounds: forty runs in flight, kill -9, start again, audit. Twenty rounds by default.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nix::sys::signal::Signal;

use crate::books::{Books, status};
use crate::gateway::{self, Gateway, Profile};
use crate::paint::{Ink, WIDTH, paint, wrap};
use crate::process::{self, Worker};
use crate::{Verdict, clock};

/// Runs that are in flight at every kill, at least.
const RUNS: usize = 40;
/// Jobs that ask for a new attempt after a crash, besides as many as there must be runs. Their slots
/// fail after three crashes, and after ten failures they are switched off: they come on top.
const RETRIES: usize = 20;
/// How long agents have between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);
/// What a machine that is busy with other things may add.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a difference must be seen to be one: lists are read one after the other.
const LOOKS: u32 = 3;

/// `crash`
#[derive(Debug, Args)]
pub struct Crash {
    /// How many times the gateway is killed
    #[arg(long, default_value_t = 20)]
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
    let mark = format!("CRASH={}", std::process::id());
    let notes = std::env::temp_dir().join(format!("sexton-crash-notes-{}", std::process::id()));
    fs::create_dir_all(&notes)?;
    let gateway = Gateway::new(&program, "crash", &config(&mark, &notes))?;
    let mut rounds = Rounds { gateway, mark, notes, dice: Dice(seed), ended: Ended::default() };
    let verdict = rounds.play(crash.rounds);
    let Rounds { gateway, mark, notes, .. } = rounds;
    drop(gateway);
    // The last agents write notes until they are dead.
    clock::until(PATIENCE, || Ok(process::workers(&mark)?.is_empty()))?;
    let _ = fs::remove_dir_all(notes);
    verdict
}

struct Rounds {
    gateway: Gateway,
    mark: String,
    /// Where agents write down what they do.
    notes: std::path::PathBuf,
    dice: Dice,
    ended: Ended,
}

/// Counts over all rounds.
#[derive(Debug, Default)]
struct Ended {
    killed: usize,
    processes: usize,
}

impl Rounds {
    fn play(&mut self, rounds: u32) -> anyhow::Result<Verdict> {
        self.gateway.start()?;
        for round in 1..=rounds {
            let differences = self.round(round).with_context(|| format!("round {round}"))?;
            if !differences.is_empty() {
                println!("{}", paint(Ink::Bad, &format!("round {round}:")));
                differences.iter().for_each(|difference| println!("  {difference}"));
                println!("\n{}", self.gateway.log_tail());
                return Ok(Verdict::No);
            }
        }
        let books = Books::read(self.gateway.client()?)?;
        let sum = format!(
            "{rounds} rounds: {} runs were cut off, {} processes with them; {} sessions, each started \
             once and ended once but for {} that are open under their live owner; no slot ran twice at \
             a time.",
            self.ended.killed,
            self.ended.processes,
            books.sessions.len(),
            books.sessions.iter().filter(|session| session.open).count(),
        );
        wrap(&sum, WIDTH).iter().for_each(|line| println!("{}", paint(Ink::Good, line)));
        Ok(Verdict::Yes)
    }

    fn round(&mut self, round: u32) -> anyhow::Result<Vec<String>> {
        self.wait_for_flight()?;
        clock::sleep(Duration::from_millis(self.dice.below(400)));
        let how = [How::Gateway, How::GatewayAndShims, How::ShimsAndGateway];
        let how = how[self.dice.below(how.len() as u64) as usize];
        let before = self.kill(how)?;
        // Sometimes the next gateway finds the survivors, sometimes their shims are quicker.
        clock::sleep(Duration::from_millis(self.dice.below(1500)));
        let ready = self.gateway.start()?;
        let dead: BTreeSet<&str> = before.iter().map(|worker| worker.run.as_str()).collect();
        self.ended.killed += dead.len();
        self.ended.processes += before.len();
        let mut differences = self.survivors(&before)?;
        differences.extend(self.audit(&dead)?);
        let (runs, processes, ready) = (dead.len(), before.len(), ready.as_secs_f64());
        println!(
            "  round {round}: {how} killed under {runs} runs of {processes} processes; ready {ready:.1} s after its start"
        );
        Ok(differences)
    }

    /// Waits until so many runs have living agents.
    fn wait_for_flight(&self) -> anyhow::Result<()> {
        let in_flight = || {
            let workers = process::workers(&self.mark)?;
            let agents = workers.iter().filter(|worker| !worker.is_shim());
            Ok(agents.map(|worker| &worker.run).collect::<BTreeSet<_>>().len() >= RUNS)
        };
        let is_full = clock::until(PATIENCE, in_flight)?.is_some();
        ensure!(
            is_full,
            "fewer than {RUNS} runs came to be in flight\n{}",
            self.gateway.log_tail()
        );
        Ok(())
    }

    /// Kills and returns who worked at that moment.
    fn kill(&mut self, how: How) -> anyhow::Result<Vec<Worker>> {
        let mut workers = process::workers(&self.mark)?;
        let shims = |workers: &[Worker]| {
            for shim in workers.iter().filter(|worker| worker.is_shim()) {
                process::send(shim.life.pid, Signal::SIGKILL);
            }
        };
        if how == How::ShimsAndGateway {
            shims(&workers);
        }
        self.gateway.kill()?;
        if how == How::GatewayAndShims {
            shims(&workers);
        }
        // Who was started between the look and the kill.
        let late = process::workers(&self.mark)?;
        let known: BTreeSet<_> = workers.iter().map(|worker| worker.life).collect();
        workers.extend(late.into_iter().filter(|worker| !known.contains(&worker.life)));
        Ok(workers)
    }

    /// Nobody of the dead gateway is alive a grace period later.
    fn survivors(&self, before: &[Worker]) -> anyhow::Result<Vec<String>> {
        let dead: BTreeSet<&str> = before.iter().map(|worker| worker.run.as_str()).collect();
        let all_gone = || {
            let alive = process::workers(&self.mark)?;
            Ok(!alive.iter().any(|worker| dead.contains(worker.run.as_str())))
        };
        if clock::until(GRACE + Duration::from_secs(4), all_gone)?.is_some() {
            return Ok(Vec::new());
        }
        let alive = process::workers(&self.mark)?;
        let alive = alive.iter().filter(|worker| dead.contains(worker.run.as_str()));
        Ok(alive
            .map(|it| format!("{} {} of dead run {} lives", it.name, it.life.pid, it.run))
            .collect())
    }

    /// The promises, by what the gateway and the agents say.
    fn audit(&self, dead: &BTreeSet<&str>) -> anyhow::Result<Vec<String>> {
        let client = self.gateway.client()?;
        let mut standing: Option<BTreeSet<String>> = None;
        for _ in 0..LOOKS {
            let books = Books::read(client)?;
            let mut differences = books.differences();
            differences.extend(doubles(&books));
            let running = status(client)?.running;
            let undead = running.iter().filter(|run| dead.contains(run.id.as_str()));
            differences
                .extend(undead.map(|run| format!("run {} of a dead life is running", run.id)));
            let now: BTreeSet<String> = differences.into_iter().collect();
            let both = match standing {
                Some(before) => before.intersection(&now).cloned().collect(),
                None => now,
            };
            if both.is_empty() {
                standing = Some(both);
                break;
            }
            standing = Some(both);
            clock::sleep(Duration::from_millis(300));
        }
        let mut found: Vec<String> = standing.unwrap_or_default().into_iter().collect();
        found.extend(self.clashes()?);
        Ok(found)
    }

    /// What agents saw of each other: two of a slot alive at once, or one run that began twice.
    fn clashes(&self) -> anyhow::Result<Vec<String>> {
        let path = self.notes.join("notes");
        let notes =
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut begun: BTreeMap<&str, u32> = BTreeMap::new();
        let mut found = Vec::new();
        for line in notes.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["start", run, _pid, _slot] => *begun.entry(run).or_default() += 1,
                ["clash", run, _pid, slot] => {
                    found.push(format!("run {run} began while another of {slot} was alive"));
                }
                _ => bail!("an agent wrote {line:?}"),
            }
        }
        let twice = begun.iter().filter(|(_, count)| **count > 1);
        found.extend(twice.map(|(run, count)| format!("run {run} was executed {count} times")));
        Ok(found)
    }
}

/// Attempts of a slot that have more than one record.
fn doubles(books: &Books) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for run in &books.runs {
        if let (Some(job), Some(slot)) = (&run.job_key, run.slot)
            && !seen.insert((job, slot, run.attempt))
        {
            found.push(format!("slot {slot} of {job} has attempt {} twice", run.attempt));
        }
    }
    found
}

/// Who gets SIGKILL, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Gateway,
    GatewayAndShims,
    ShimsAndGateway,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "the gateway",
            Self::GatewayAndShims => "gateway, then shims",
            Self::ShimsAndGateway => "shims, then gateway",
        })
    }
}

/// A small generator for choices that need no quality (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// How an agent of the rounds lives on after its beginning, by the number of its job.
const LIVES: [&str; 5] = [
    // Waits as one should.
    "sleep 300",
    // Has a child in a session of its own.
    "setsid sleep 300 & wait",
    // Ignores TERM, and so do its children.
    "trap '' TERM; sleep 300 & sleep 300; sleep 300",
    // Leaves by a double fork and ends; the run goes on until what it left is dead.
    "(setsid sh -c 'sleep 0.2; sleep 300' > /dev/null 2>&1 &) ; sleep 0.5; sleep 300",
    // All of it.
    "trap '' TERM; (setsid sh -c \"trap '' TERM; sleep 300; :\" &) ; sleep 300; sleep 300",
];

/// Each agent takes the lock of its slot and lets its children inherit it: whoever comes while one
/// of them is alive writes down a clash.
fn config(mark: &str, notes: &Path) -> String {
    let (name, value) = mark.split_once('=').unwrap_or((mark, ""));
    let places = RUNS + RETRIES;
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[limits]\nruns = {places}\nruns_per_agent = {places}\n\n"
    );
    for (index, life) in LIVES.iter().enumerate() {
        let notes = notes.display();
        text += &format!(
            r#"[agents.life{index}]
executor = "process"
command = ["sh", "-c", '''
cat > /dev/null
slot="$SEXTON_JOB_ID-$SEXTON_SLOT"
word=start
exec 9>>"{notes}/$slot.lock"
flock -n 9 || word=clash
echo "$word $SEXTON_RUN_ID $$ $slot" >> "{notes}/notes"
{life}
''']
grace = "{}s"
env = {{ {name} = "{value}" }}

"#,
            GRACE.as_secs()
        );
    }
    for index in 0..RUNS + RETRIES {
        let agent = index % LIVES.len();
        let wish = if index < RUNS { "fail" } else { "retry" };
        text += &format!(
            "[jobs.job{index}]\nagent = \"life{agent}\"\nevery = \"2s\"\non_interrupt = \"{wish}\"\n\
             timeout = \"5m\"\nbackoff = [\"1s\"]\n\n"
        );
    }
    text
}
