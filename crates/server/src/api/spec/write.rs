//! From what the rules know back to what people write, with every default spelled out.

use sexton_domain::duration::{Duration, Keep};
use sexton_domain::job::{self, OnInterrupt, Overlap, Retain, Spec, Target};
use sexton_domain::schedule::Schedule;

use super::{Backoff, JobSpec, Misfire, Setting, Within};

impl From<&Spec> for JobSpec {
    /// Reading this again gives the same spec, against the same schedule.
    fn from(spec: &Spec) -> Self {
        let text = |duration: Duration| Setting::Text(duration.to_string());
        let mut form = Self {
            name: spec.name.clone(),
            agent: Some(spec.agent.to_string()),
            jitter: Some(spec.jitter).filter(|jitter| !jitter.is_zero()).map(text),
            offset: Some(spec.offset).filter(|offset| !offset.is_zero()).map(text),
            prompt: Some(spec.prompt.clone()),
            session: Some(target(&spec.target)),
            timeout: spec.timeout.map(text),
            idle_timeout: spec.idle_timeout.map(text),
            overlap: Some(overlap(spec.overlap).to_owned()),
            misfire: Some(misfire(spec.misfire)),
            retries: spec.retries,
            backoff: Some(Backoff::List(
                spec.backoff.waits().iter().map(Duration::to_string).collect(),
            )),
            on_interrupt: Some(on_interrupt(spec.on_interrupt).to_owned()),
            retain: spec.retention.retain.map(retain),
            keep_last: spec.retention.keep_last,
            keep_last_failures: spec.retention.keep_last_failures,
            max_sessions: spec.retention.max_sessions,
            enabled: Some(spec.enabled),
            ..Self::default()
        };
        match &spec.schedule {
            Schedule::At { at } => form.at = Some(at.to_string()),
            Schedule::Every { every, .. } => form.every = Some(text(*every)),
            Schedule::Cron { expr, tz } => {
                form.cron = Some(expr.to_string());
                form.tz = Some(tz.to_string());
            }
        }
        form
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Isolated => "isolated".to_owned(),
        Target::Main => "main".to_owned(),
        Target::Key(key) => key.to_string(),
    }
}

fn overlap(overlap: Overlap) -> &'static str {
    match overlap {
        Overlap::Skip => "skip",
        Overlap::Queue => "queue",
        Overlap::Replace => "replace",
        Overlap::Allow => "allow",
    }
}

fn misfire(misfire: job::Misfire) -> Misfire {
    match misfire {
        job::Misfire::Skip => Misfire::Text("skip".to_owned()),
        job::Misfire::Latest => Misfire::Text("latest".to_owned()),
        job::Misfire::All => Misfire::Text("all".to_owned()),
        job::Misfire::Within(within) => Misfire::Within(Within { within: within.to_string() }),
    }
}

fn on_interrupt(on_interrupt: OnInterrupt) -> &'static str {
    match on_interrupt {
        OnInterrupt::Fail => "fail",
        OnInterrupt::Retry => "retry",
    }
}

fn retain(retain: Retain) -> Setting {
    match retain {
        Retain::OnFailure => Setting::Text("on_failure".to_owned()),
        Retain::Keep(Keep::Forever) => Setting::Switch(false),
        Retain::Keep(keep) => Setting::Text(keep.to_string()),
    }
}
