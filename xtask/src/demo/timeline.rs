//! The timeline: the event log of a gateway as it grows, in plain words.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;

use crate::books::{Event, events_after};
use crate::clock;
use crate::gateway::Gateway;
use crate::paint::{Ink, WIDTH, paint, wrap};

/// How wide the column of job names is.
const NAME: usize = 8;
/// Time, name and the spaces around them.
const INDENT: usize = 2 + 8 + 2 + NAME + 2;

/// What was read of the event log so far.
#[derive(Debug, Default)]
pub struct Timeline {
    events: Vec<Event>,
    /// Why each session ended.
    reasons: BTreeMap<String, String>,
}

impl Timeline {
    /// Prints what happens until `is_so`, or fails after `limit` and says what did not happen.
    pub fn follow(
        &mut self,
        gateway: &Gateway,
        (what, limit): (&str, Duration),
        is_so: impl Fn(&[Event]) -> bool,
    ) -> anyhow::Result<()> {
        let start = clock::monotonic();
        loop {
            let after = self.events.last().map_or(0, |event| event.seq);
            for event in events_after(gateway.client()?, after)? {
                self.tell(&event);
                self.events.push(event);
            }
            if is_so(&self.events) {
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
        let mut events = self.events.iter().map(|event| &event.data);
        let of_run = events.find(|data| data.run_id.as_deref() == Some(run));
        of_run.and_then(|data| data.job_key.as_deref()).unwrap_or("?")
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    fn tell(&mut self, event: &Event) {
        let data = &event.data;
        if event.kind == "session.ended"
            && let (Some(session), Some(reason)) = (&data.session_id, &data.reason)
        {
            self.reasons.insert(session.clone(), reason.clone());
        }
        let Some((ink, words)) = self.words(event) else { return };
        let name = data.job_key.as_deref().unwrap_or("gateway");
        let at = paint(Ink::Dim, &clock::time_of_day(event.at));
        for (index, line) in wrap(&words, WIDTH - INDENT).iter().enumerate() {
            match index {
                0 => println!("  {at}  {name:NAME$}  {}", paint(ink, line)),
                _ => println!("{:INDENT$}{}", "", paint(ink, line)),
            }
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
            "alert.raised" => (Ink::Bad, data.message.clone().unwrap_or_default()),
            "job.disabled" => (Ink::Dim, "switched off".into()),
            _ => return None,
        };
        Some((ink, words))
    }

    fn is_known(&self, run: Option<&str>) -> bool {
        self.events.iter().any(|event| event.data.run_id.as_deref() == run)
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

/// The `s` of more than one.
pub fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
