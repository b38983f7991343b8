//! The demo: a real gateway with real processes and hooks, killed and stopped, and counts that must
//! agree.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use crate::books::{self, Books, Event};
use crate::dice::Dice;
use crate::gateway::{self, Gateway, Profile};
use crate::paint::{Ink, WIDTH, paint, wrap};
use crate::process::{self, Worker};
use crate::signature::Secret;
use crate::slots::History;
use crate::{Verdict, archive, clock};

mod config;
mod ears;
mod summary;
mod timeline;

use config::{CONVERSATION, CUES, GRACE, REPORT_EVERY};
use ears::Ears;
use summary::Counted;
use timeline::{Seen, Timeline};

/// What a machine that is busy with other things may add to any step.
const PATIENCE: Duration = Duration::from_secs(20);

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Exit after the summary instead of staying up for a look around
    #[arg(long)]
    pub once: bool,
}

/// Plays the demo; the answer is no if any count differs.
pub fn run(demo: &Demo) -> anyhow::Result<Verdict> {
    println!("{}", paint(Ink::Dim, "building sexton (the first time takes a minute or two) …"));
    let program = gateway::build(Profile::Dev)?;
    gateway::clean_up_on_signals()?;
    let mark = format!("DEMO={}", std::process::id());
    let now = clock::now();
    let mut dice = Dice(now.as_nanosecond() as u64);
    let mut ears = Ears::open(Secret::draw(&mut dice))?;
    let config = config::config(&mark, &ears.webhook(), now);
    let gateway = Gateway::new(&program, "demo", &config)?;
    ears.note_in(gateway.folder());
    let mut play = Play { gateway, mark, timeline: Timeline::new(ears) };
    println!("A throw-away gateway in {}, with jobs of real processes.", play.folder());
    println!("A command and a webhook are told of every session's start and end.");
    play.ring()?;
    play.fail()?;
    play.hang()?;
    play.talk()?;
    let mut differences = play.crash()?;
    play.recover()?;
    differences.extend(play.stop()?);
    let usage = play.sweep()?;
    differences.extend(play.count(usage)?);
    if !differences.is_empty() {
        println!("{}", paint(Ink::Bad, "What differs:"));
        for difference in &differences {
            println!("  {difference}");
        }
        println!("\n{}", play.gateway.log_tail());
        return Ok(Verdict::No);
    }
    println!(
        "{}",
        paint(
            Ink::Good,
            "Every session that started has ended, every end was told, and everything is archived."
        )
    );
    if !demo.once {
        play.stay()?;
    }
    Ok(Verdict::Yes)
}

struct Play {
    gateway: Gateway,
    mark: String,
    timeline: Timeline,
}

impl Play {
    fn folder(&self) -> String {
        self.gateway.folder().display().to_string()
    }

    fn ring(&mut self) -> anyhow::Result<()> {
        scene(
            "Jobs ring on time",
            "Each slot becomes one run with a session of its own; the session ends with the run, in \
             the same commit, and so does what hooks are to be told of it.",
        );
        self.gateway.start()?;
        let limit = REPORT_EVERY + PATIENCE;
        self.timeline.follow(&self.gateway, ("a first report", limit), |seen| {
            ended(&seen.events, "report", "ok") && told(seen, "report").count() > 0
        })
    }

    fn fail(&mut self) -> anyhow::Result<()> {
        scene(
            "A failure is tried again",
            "`flaky` exits with code 75, which says: try again. Every attempt is a run and a session \
             of its own.",
        );
        let limit = CUES.flaky + PATIENCE;
        self.timeline.follow(&self.gateway, ("a retry that succeeds", limit), |seen| {
            ended(&seen.events, "flaky", "failed")
                && ended(&seen.events, "flaky", "ok")
                && told(seen, "flaky").count() == 2
        })
    }

    fn hang(&mut self) -> anyhow::Result<()> {
        scene(
            "Nothing runs for ever",
            "`stuck` hangs, ignores TERM, and has a child in a process session of its own. Its \
             deadline is 2 s; the run ends once all of its processes are proven dead.",
        );
        let limit = CUES.stuck + PATIENCE;
        self.timeline.follow(&self.gateway, ("a deadline that ends a run", limit), |seen| {
            ended(&seen.events, "stuck", "timed_out") && told(seen, "stuck").count() > 0
        })?;
        let left = self.workers_by_job()?.remove("stuck").unwrap_or_default();
        ensure!(left.is_empty(), "`stuck` has ended and {left:?} are alive");
        note(&format!("none of its processes is alive, {GRACE:?} after TERM at the latest"));
        Ok(())
    }

    fn talk(&mut self) -> anyhow::Result<()> {
        scene(
            "A conversation is a session that stays",
            "Each message is a turn; the session ends when the conversation does, or its gateway.",
        );
        self.say("My name is Ada")?;
        self.timeline.follow(&self.gateway, ("an answer", PATIENCE), |seen| {
            ended(&seen.events, "friend", "ok")
        })
    }

    fn say(&self, message: &str) -> anyhow::Result<String> {
        println!("  {}", paint(Ink::Bold, &format!("sexton send {CONVERSATION} {message:?}")));
        let answer = self.gateway.sexton(&["send", CONVERSATION, message])?;
        note(answer.trim());
        Ok(answer)
    }

    /// The real thing: SIGKILL in the middle of runs.
    fn crash(&mut self) -> anyhow::Result<Vec<String>> {
        scene(
            "kill -9 leaves nothing behind",
            "Two runs are in flight and a conversation is open when the gateway is killed. No agent \
             outlives its gateway.",
        );
        self.gateway.sexton(&["job", "run", "digest"])?;
        let limit = CUES.backup + PATIENCE;
        self.timeline.follow(&self.gateway, ("two runs in flight", limit), |seen| {
            started(&seen.events, "backup") && started(&seen.events, "digest")
        })?;
        let tea = ["--key", "tea", "--agent", "report", "--every", "2s", "--misfire", "skip"];
        self.gateway.sexton(&[&["job", "add"], &tea[..]].concat())?;
        clock::sleep(Duration::from_millis(700));
        let workers = self.workers_by_job()?;
        for (job, workers) in &workers {
            let names: Vec<String> = workers.iter().map(|it| self.describe(it, workers)).collect();
            note(&format!("alive: {job}: {}", names.join(", ")));
        }
        let pid = self.gateway.pid()?;
        self.gateway.kill()?;
        println!("  {}", paint(Ink::Bad, &format!("kill -9 {pid}: the gateway is gone")));
        let differences = self.watch_die(&workers)?;
        let pause = REPORT_EVERY.mul_f32(2.2);
        note(&format!("nobody is there for {pause:.1?}; slots of `report` and `tea` pass"));
        clock::sleep(pause);
        Ok(differences)
    }

    fn watch_die(&self, workers: &BTreeMap<String, Vec<Worker>>) -> anyhow::Result<Vec<String>> {
        let mut alive: BTreeMap<&String, &Vec<Worker>> = workers.iter().collect();
        let start = clock::monotonic();
        let watch = || {
            alive.retain(|job, workers| {
                let lives = workers.iter().any(|worker| process::lives(worker.life));
                if !lives {
                    let (count, after) = (workers.len(), start.elapsed().as_secs_f64());
                    note(&format!("{job}: all {count} processes are dead {after:.1} s later"));
                }
                lives
            });
            Ok(alive.is_empty())
        };
        clock::until(GRACE + PATIENCE / 4, watch)?;
        let outlived = |job| format!("processes of {job} outlived the killed gateway");
        Ok(alive.keys().map(outlived).collect())
    }

    fn recover(&mut self) -> anyhow::Result<()> {
        scene(
            "What a dead gateway left is ended before anything else",
            "`digest` ends as interrupted. `backup` asked for a new attempt (on_interrupt = \
             \"retry\"). Slots that passed are merged or missed, none in silence. Hooks hear of what \
             ended with the dead gateway late, and marked so.",
        );
        let took = self.gateway.start()?;
        self.timeline.follow(&self.gateway, ("a recovery", PATIENCE), |seen| {
            let events = &seen.events;
            ended(events, "digest", "interrupted")
                && ended(events, "backup", "interrupted")
                && ended(events, "backup", "ok")
                && fell(events, "report", "run.coalesced")
                && fell(events, "tea", "run.missed")
                && ["digest", "backup", "friend"].iter().all(|name| was_late(seen, name))
        })?;
        note(&format!("ready {:.1} s after its start", took.as_secs_f64()));
        self.gateway.sexton(&["job", "disable", "tea"])?;
        let answer = self.say("Who am I?")?;
        ensure!(answer.contains("Ada"), "the conversation was forgotten: {answer:?}");
        self.timeline.follow(&self.gateway, ("an answer", PATIENCE), |seen| {
            ending(&seen.events, "friend", "ok").count() == 2
        })
    }

    fn stop(&mut self) -> anyhow::Result<Vec<String>> {
        scene(
            "A stop is bounded and honest",
            "`digest` runs again and would for ten minutes; the webhook is down; then the gateway is \
             asked to stop (TERM). What cannot be told now is told after the next start.",
        );
        let known = self.timeline.seen().events.len();
        self.gateway.sexton(&["job", "run", "digest"])?;
        self.timeline.follow(&self.gateway, ("a run in flight", PATIENCE), |seen| {
            started(&seen.events[known..], "digest")
        })?;
        clock::sleep(Duration::from_millis(300));
        let pid = self.gateway.pid()?;
        self.timeline.ears.set_down(true);
        println!("  {}", paint(Ink::Odd, &format!("the webhook answers 503; kill -TERM {pid}")));
        let (took, status) = self.gateway.stop()?;
        let refused = self.timeline.ears.refused();
        note(&format!(
            "stopped after {:.1} s ({status}), with {refused} tellings refused; started again, and the \
             webhook is back:",
            took.as_secs_f64()
        ));
        let mut differences = Vec::new();
        if !status.success() {
            differences.push(format!("the gateway was asked to stop and ended with {status}"));
        }
        self.timeline.ears.set_down(false);
        self.gateway.start()?;
        self.timeline.follow(&self.gateway, ("a report after the stop", PATIENCE), |seen| {
            let stop = seen.events.iter().rposition(|event| event.kind == "node.stopped");
            stop.is_some_and(|stop| ended(&seen.events[stop..], "report", "ok"))
                && told(seen, "digest").filter(|told| !told.late.is_empty()).count() == 2
        })?;
        Ok(differences)
    }

    /// Lets everything come to an end, and sweeps; returns the usage before that.
    fn sweep(&mut self) -> anyhow::Result<books::Usage> {
        scene(
            "What is done is buried",
            "The jobs are switched off and the conversation is ended. Sessions are kept for 1 s here: a \
             sweep archives and deletes them, once every hook knows of their end.",
        );
        self.gateway.sexton(&["job", "disable", "report"])?;
        self.gateway.sexton(&["job", "disable", "digest"])?;
        let client = self.gateway.client()?;
        let open: Vec<books::Session> = books::list(client, "/v1/sessions?open=true&limit=500")?;
        for session in open.iter().filter(|session| session.key == CONVERSATION) {
            self.gateway.sexton(&["session", "end", &session.id])?;
        }
        let idle = || Ok(books::running(client)?.is_empty());
        ensure!(clock::until(PATIENCE, idle)?.is_some(), "runs are still running");
        let usage = books::usage(client)?;
        self.timeline.follow(&self.gateway, ("everything told", PATIENCE), |seen| {
            let ends = seen.events.iter().filter(|event| event.kind == "session.ended");
            seen.told.len() == ends.count()
        })?;
        clock::sleep(Duration::from_millis(1200));
        println!("  {}", paint(Ink::Bold, "sexton sweep"));
        self.gateway.sexton(&["sweep"])?.lines().for_each(note);
        println!("  {}", paint(Ink::Bold, "sexton archive verify"));
        self.gateway.sexton(&["archive", "verify"])?.lines().for_each(note);
        Ok(usage)
    }

    fn count(&mut self, usage: books::Usage) -> anyhow::Result<Vec<String>> {
        scene(
            "The count",
            "What was started must have ended, been told to both hooks and be in the archive; every slot \
             has one fate; no process is left.",
        );
        println!();
        let left = || process::workers(&self.mark).map(|workers| workers.is_empty());
        clock::until(GRACE, left)?;
        let client = self.gateway.client()?;
        let mut differences = summary::summary(&Counted {
            books: Books::read(client)?,
            history: History::read(client)?,
            told: self.timeline.ears.all()?,
            archived: archive::sessions(client)?,
            usage: [usage, books::usage(client)?],
            processes: process::workers(&self.mark)?.len(),
        })?;
        differences.extend(self.timeline.ears.complaints());
        Ok(differences)
    }

    fn stay(&self) -> anyhow::Result<()> {
        self.gateway.sexton(&["job", "enable", "report"])?;
        let client = self.gateway.client()?;
        let program = format!("{} --data-dir {}", self.program(), self.folder());
        println!(
            "\n`report` runs again. Look around in another terminal (Ctrl-C here ends it all):\n"
        );
        println!("  {program} status");
        println!("  {program} run list");
        println!("  {program} session list --kind all");
        println!("  {program} job next report --explain");
        println!("  {program} hook deliveries webhook");
        println!("  {program} archive list");
        println!("  {program} usage --by agent");
        println!("\nHTTP at http://{}, with the token in {}/token.", client.address, self.folder());
        loop {
            clock::sleep(Duration::from_secs(3600));
        }
    }

    fn program(&self) -> String {
        let command = self.gateway.command();
        command.get_program().to_string_lossy().into_owned()
    }

    fn workers_by_job(&self) -> anyhow::Result<BTreeMap<String, Vec<Worker>>> {
        let mut by_job: BTreeMap<String, Vec<Worker>> = BTreeMap::new();
        for worker in process::workers(&self.mark)?.into_iter().filter(|it| !it.is_of_hook) {
            let job = self.timeline.job_of(&worker.run).to_owned();
            by_job.entry(job).or_default().push(worker);
        }
        Ok(by_job)
    }

    fn describe(&self, worker: &Worker, others: &[Worker]) -> String {
        let shim = others.iter().find(|other| other.is_shim());
        let left = shim.is_some_and(|shim| shim.session != worker.session);
        let left = if left { " (left the session)" } else { "" };
        format!("{} {}{left}", worker.name, worker.life.pid)
    }
}

fn scene(promise: &str, how: &str) {
    println!("\n{}", paint(Ink::Bold, promise));
    for line in wrap(how, WIDTH - 2) {
        println!("{}", paint(Ink::Dim, &line));
    }
}

fn note(text: &str) {
    for line in wrap(text, WIDTH - 4) {
        println!("    {line}");
    }
}

fn ended(events: &[Event], job: &str, outcome: &str) -> bool {
    ending(events, job, outcome).next().is_some()
}

fn ending<'a>(
    events: &'a [Event],
    job: &'a str,
    outcome: &'a str,
) -> impl Iterator<Item = &'a Event> {
    events.iter().filter(move |event| {
        event.kind == "run.ended"
            && event.whose() == job
            && event.data.outcome.as_deref() == Some(outcome)
    })
}

/// Whether slots of a job had this fate, and a run of it ended well after that.
fn fell(events: &[Event], job: &str, fate: &str) -> bool {
    let fell = events.iter().position(|event| event.kind == fate && event.whose() == job);
    fell.is_some_and(|fell| ended(&events[fell..], job, "ok"))
}

fn started(events: &[Event], job: &str) -> bool {
    events.iter().any(|event| event.kind == "run.started" && event.whose() == job)
}

/// Ends of this job's or agent's sessions that both hooks know.
fn told<'a>(seen: &'a Seen, name: &'a str) -> impl Iterator<Item = &'a ears::Told> {
    seen.told.iter().filter(move |told| told.name == name)
}

fn was_late(seen: &Seen, name: &str) -> bool {
    told(seen, name).any(|told| !told.late.is_empty())
}
