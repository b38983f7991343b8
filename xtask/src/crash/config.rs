//! The config of the crash rounds: jobs whose agents are hard to kill, hooks of which some fail, a
//! short retention.

use std::path::Path;

use crate::books::Event;
use crate::crash::{GRACE, LEASE, RUNS};
use crate::hooks::script;

/// Jobs that ask for a new attempt after a crash, besides as many as there must be runs. Their slots
/// fail after three crashes, and after ten failures they are switched off: they come on top.
const RETRIES: usize = 10;
/// Jobs whose runs come to their end between two crashes.
const QUICK: usize = 4;
/// Jobs whose runs mostly last until their deadline.
const SHORT: usize = 4;
/// The jobs of which the command hook that fails is told.
const PICKED: [&str; 3] = ["job0", "job1", "quick0"];
/// What agents report of each run.
pub const TOKENS_PER_RUN: u64 = 7;
/// The agent behind the conversations.
pub const TALKER: &str = "talker";

/// What the config is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// In the environment of every agent and hook command (`NAME=value`).
    pub mark: &'a str,
    /// Where agents and hook commands write down what they do.
    pub notes: &'a Path,
    /// The keys of the webhook that acknowledges everything.
    pub good: &'a str,
    /// The keys of the one that fails half the time.
    pub shaky: &'a str,
}

/// Whether jobs ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// They do.
    Enabled,
    /// They do not.
    Disabled,
}

/// Whether the command hook that fails is told an event.
pub fn is_picked(event: &Event) -> bool {
    event.data.job_key.as_deref().is_some_and(|job| PICKED.contains(&job))
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

/// How the runs live that come to their end.
const QUICK_LIFE: &str = "sleep 0.$(($$ % 10)); echo done";

/// How the runs live whose deadline passes: one in two ends by itself, so that its job is not switched off.
const SHORT_LIFE: &str =
    r#"[ "$(od -An -N1 -tu1 /dev/urandom)" -lt 128 ] && exit 0; trap '' TERM; sleep 300"#;

/// How a turn of a conversation lives.
const TURN: &str = "sleep 0.1; echo \"answer after $(cat \"$SEXTON_HISTORY\" | wc -l) entries\"";

/// The config.
pub fn config(plan: &Plan<'_>, jobs: Jobs) -> String {
    let places = RUNS + RETRIES + QUICK + SHORT + 8;
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[limits]\nruns = {places}\nruns_per_agent = {places}\n\n\
         [retention]\nrun = \"2s\"\nmain = \"2s\"\nchat = \"2s\"\nsweep_every = \"1s\"\n\n\
         [drain]\nruns = \"1s\"\nhooks = \"2s\"\n\n[lease]\nlength = \"{}s\"\n\n",
        LEASE.as_secs()
    );
    for (index, life) in LIVES.iter().enumerate() {
        text += &agent(plan, &format!("life{index}"), life);
    }
    text += &agent(plan, "quick", QUICK_LIFE);
    text += &agent(plan, "short", SHORT_LIFE);
    text += &agent(plan, TALKER, TURN);
    let enabled = jobs == Jobs::Enabled;
    for index in 0..RUNS + RETRIES {
        let agent = index % LIVES.len();
        let wish = if index < RUNS { "fail" } else { "retry" };
        text += &format!(
            "[jobs.job{index}]\nagent = \"life{agent}\"\nevery = \"1s\"\non_interrupt = \"{wish}\"\n\
             timeout = \"5m\"\nbackoff = [\"1s\"]\nenabled = {enabled}\n\n"
        );
    }
    for index in 0..QUICK {
        text += &format!(
            "[jobs.quick{index}]\nagent = \"quick\"\nevery = \"1s\"\nenabled = {enabled}\n\n"
        );
    }
    for index in 0..SHORT {
        text += &format!(
            "[jobs.short{index}]\nagent = \"short\"\nevery = \"1s\"\ntimeout = \"2s\"\n\
             backoff = [\"1s\"]\nenabled = {enabled}\n\n"
        );
    }
    text + &hooks(plan)
}

/// Each agent takes the lock of its slot, or of its conversation, and lets its children inherit it:
/// whoever comes while one of them is alive writes down a clash. What it reports of its usage it writes
/// down after that.
fn agent(plan: &Plan<'_>, name: &str, life: &str) -> String {
    let notes = plan.notes.display();
    let (variable, value) = plan.mark.split_once('=').unwrap_or((plan.mark, ""));
    format!(
        r#"[agents.{name}]
executor = "process"
command = ["sh", "-c", '''
cat > /dev/null
place="${{SEXTON_JOB_ID:-turn}}-${{SEXTON_SLOT:-$SEXTON_SESSION_KEY}}"
word=start
exec 9>>"{notes}/$place.lock"
flock -n 9 || word=clash
echo "$word $SEXTON_RUN_ID $$ $place" >> "{notes}/notes"
echo '{{"usage": {{"model": "m", "input_tokens": {TOKENS_PER_RUN}, "output_tokens": 1}}}}' >> "$SEXTON_REPORT" &&
    echo "spent $SEXTON_RUN_ID" >> "{notes}/notes"
{life}
''']
grace = "{}s"
env = {{ {variable} = "{value}" }}

"#,
        GRACE.as_secs()
    )
}

fn hooks(plan: &Plan<'_>) -> String {
    let Plan { mark, notes, good, shaky } = plan;
    let table = |name: &str, rest: &str| {
        format!(
            "[hooks.{name}]\non = [\"session.started\", \"session.ended\"]\nmax_attempts = 100\n\
             backoff = [\"500ms\", \"1s\", \"2s\"]\n{rest}\n"
        )
    };
    let command = |file: &str, refuse: &str| {
        let script = script(&notes.join(file), refuse);
        format!("command = [\"env\", \"{mark}\", \"sh\", \"-c\", '''\n{script}''']\n")
    };
    let picked = format!("jobs = {PICKED:?}\n");
    table("good", &format!("{good}concurrency = 16\n"))
        + &table("shaky", &format!("{shaky}concurrency = 16\n"))
        + &table("note", &command("note", "false"))
        + &table("shaky-note", &(command("shaky-note", REFUSE) + &picked))
}

/// Says yes six times in ten, at the first two tries of a telling.
const REFUSE: &str = r#"case "$event" in *'"attempt":1}'|*'"attempt":2}') [ "$(od -An -N1 -tu1 /dev/urandom)" -lt 154 ] ;; *) false ;; esac"#;
