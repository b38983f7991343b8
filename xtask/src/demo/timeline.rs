//! The timeline: the event log of a gateway as it grows, in plain words.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;

use crate::books::{Event, events_after};
use crate::clock;
use crate::demo::ears::{Ears, HOOKS, Told};
use crate::gateway::Gateway;
use crate::paint::{Ink, WIDTH, paint, wrap};

/// How wide the column of job names is.
const NAME: usize = 8;
/// Time, name and the spaces around them.
const INDENT: usize = 2 + 8 + 2 + NAME + 2;

/// What was read of the event log so far, and what hooks heard of it.
#[derive(Debug)]
pub struct Timeline {
    seen: Seen,
    /// Why each session ended.
    reasons: BTreeMap<String, String>,
    /// The hooks.
    pub ears: Ears,
}

/// What has happened.
#[derive(Debug, Default)]
pub struct Seen {
    /// The event log.
    pub events: Vec<Event>,
    /// Sessions whose end both hooks know.
    pub told: Vec<Told>,
}

impl Timeline {
    /// A timeline in which nothing has happened.
    pub fn new(ears: Ears) -> Self {
        Self { seen: Seen::default(), reasons: BTreeMap::new(), ears }
    }

    /// Prints what happens until `is_so`, or fails after `limit` and says what did not happen.
    pub fn follow(
        &mut self,
        gateway: &Gateway,
        (what, limit): (&str, Duration),
        is_so: impl Fn(&Seen) -> bool,
    ) -> anyhow::Result<()> {
        let start = clock::monotonic();
        loop {
            let after = self.seen.events.last().map_or(0, |event| event.seq);
            for event in events_after(gateway.client()?, after)? {
                self.tell(&event);
                self.seen.events.push(event);
            }
            for told in self.ears.listen(|session| self.reasons.contains_key(session))? {
                say(clock::now(), &told.name, &heard(&told));
                self.seen.told.push(told);
            }
            if is_so(&self.seen) {
                return Ok(());
            }
            if start.elapsed() >= limit {
                bail!("this did not happen within {limit:?}: {what}\n{}", gateway.log_tail());
            }
            clock::sleep(Duration::from_millis(50));
        }
    }

    /// Whose run this is.
    pub fn job_of(&self, run: &str) -> &str {
        let mut events = self.seen.events.iter().map(|event| &event.data);
        let of_run = events.find(|data| data.run_id.as_deref() == Some(run));
        of_run.and_then(|data| data.job_key.as_deref()).unwrap_or("?")
    }

    /// What has happened.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    fn tell(&mut self, event: &Event) {
        let data = &event.data;
        if event.kind == "session.ended"
            && let (Some(session), Some(reason)) = (&data.session_id, &data.reason)
        {
            self.reasons.insert(session.clone(), reason.clone());
        }
        if let Some(words) = self.words(event) {
            say(event.at, &event.whose(), &words);
        }
    }

    fn words(&self, event: &Event) -> Option<(Ink, String)> {
        let data = &event.data;
        let reason = data.reason.as_deref().unwrap_or("");
        let attempt = data.attempt.unwrap_or(0);
        let (ink, words) = match event.kind.as_str() {
            "node.started" => {
                let pid = data.pid.unwrap_or(0);
                (Ink::Dim, format!("started as process {pid}"))
            }
            "node.lost" => {
                (Ink::Odd, "the one before this never said good-bye: recorded as crashed".into())
            }
            "node.stopped" => (Ink::Dim, format!("stopped: {reason}")),
            "run.queued" if self.is_known(data.run_id.as_deref()) => return None,
            "run.queued" => match (data.cause.as_deref(), data.not_before) {
                (Some("retry"), Some(_)) => {
                    (Ink::Dim, format!("attempt {attempt} follows after a pause"))
                }
                (Some("retry"), None) => (Ink::Dim, format!("attempt {attempt} follows at once")),
                (Some("catch_up"), _) => {
                    (Ink::Dim, "the newest slot that passed meanwhile runs late".into())
                }
                _ => return None,
            },
            "run.started" => (Ink::Dim, format!("started (attempt {attempt})")),
            "run.ended" => self.ending(event),
            "run.coalesced" | "run.skipped" | "run.missed" => {
                let slots = data.slots.unwrap_or(1);
                let fate = match event.kind.as_str() {
                    "run.coalesced" => "passed meanwhile: merged into the one that runs late",
                    "run.skipped" => "not started, on purpose:",
                    _ => "missed:",
                };
                let why = if event.kind == "run.coalesced" { "" } else { reason };
                (Ink::Odd, format!("{slots} slot{} {fate} {why}", plural(slots)))
            }
            "session.started" if data.previous_session_id.is_some() => {
                (Ink::Dim, "its new session continues the one before".into())
            }
            "alert.raised" => {
                (Ink::Bad, format!("alert: {}", data.message.as_deref().unwrap_or_default()))
            }
            "alert.cleared" => {
                let message = data.message.as_deref().unwrap_or_default();
                (Ink::Good, format!("no longer so: {message}"))
            }
            "job.disabled" => (Ink::Dim, "switched off".into()),
            _ => return None,
        };
        Some((ink, words))
    }

    fn is_known(&self, run: Option<&str>) -> bool {
        self.seen.events.iter().any(|event| event.data.run_id.as_deref() == run)
    }

    fn ending(&self, event: &Event) -> (Ink, String) {
        let data = &event.data;
        let outcome = data.outcome.as_deref().unwrap_or("?").replace('_', " ");
        let seconds = match (data.started_at, data.ended_at) {
            (Some(from), Some(to)) => to.duration_since(from).as_secs_f64(),
            _ => 0.0,
        };
        let ink = if outcome == "ok" { Ink::Good } else { Ink::Odd };
        let why = data.error.as_ref().map(|error| format!(" ({})", error.message));
        let session = data.session_id.as_ref().and_then(|session| self.reasons.get(session));
        let session = match session {
            Some(reason) => format!("; its session ended: {}", reason.replace('_', " ")),
            None => String::new(),
        };
        (ink, format!("{outcome} after {seconds:.1} s{}{session}", why.unwrap_or_default()))
    }
}

/// A line of the timeline.
fn say(at: jiff::Timestamp, name: &str, (ink, words): &(Ink, String)) {
    let at = paint(Ink::Dim, &clock::time_of_day(at));
    for (index, line) in wrap(words, WIDTH - INDENT).iter().enumerate() {
        match index {
            0 => println!("  {at}  {name:NAME$}  {}", paint(*ink, line)),
            _ => println!("{:INDENT$}{}", "", paint(*ink, line)),
        }
    }
}

fn heard(told: &Told) -> (Ink, String) {
    match &told.late[..] {
        [] => (Ink::Dim, "told: both hooks know".into()),
        late if late.len() == HOOKS.len() => (Ink::Odd, "told late: both hooks know".into()),
        late => (Ink::Odd, format!("told: both hooks know, the {} late", late.join(" and the "))),
    }
}

/// The `s` of more than one.
pub fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
