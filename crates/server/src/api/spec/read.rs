//! From what people write to what the rules know: the one judge of a job's fields.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::errors::causes;
use sexton_domain::job::{
    self, MAX_PROMPT_BYTES, Misfire, OnInterrupt, Overlap, Retain, Retention, Spec, Target,
};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::retry::Backoff;
use sexton_domain::schedule::{CronExpr, Schedule, Zone};
use sexton_domain::when::{AtError, parse_at};

use super::{FieldError, JobSpec, Setting};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// What a spec is read against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Now, in whole milliseconds.
    pub now: Timestamp,
    /// The schedule of the job that is replaced. A grid of the same width keeps its first slot, and
    /// an instant that is over may stay: saying the same twice changes nothing.
    pub existing: Option<&'a Schedule>,
    /// What about a new `at` that is over.
    pub past: Past,
}

/// Whether `at` may name an instant that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// No: over HTTP and on the command line it is a mistake.
    Refuse,
    /// Yes: a config file is read again long after its one-shots have run. Such a job has no slot.
    Allow,
}

impl JobSpec {
    /// What the rules know of it. `key` and `renamed_from` are not part of it: they are the caller's.
    ///
    /// # Errors
    ///
    /// The first field that cannot be used.
    pub fn into_spec(self, context: Context<'_>) -> Result<Spec, FieldError> {
        let agent = match &self.agent {
            Some(agent) => parse("agent", agent)?,
            None => return Err(missing("agent", "name an agent of the config")),
        };
        Ok(Spec {
            agent,
            schedule: self.schedule(context)?,
            jitter: self.jitter()?,
            offset: self.offset()?,
            target: self.target()?,
            timeout: self.timeout()?,
            idle_timeout: self.idle_timeout()?,
            overlap: self.overlap()?,
            misfire: self.misfire()?,
            backoff: self.backoff()?,
            on_interrupt: self.on_interrupt()?,
            retention: self.retention()?,
            retries: self.retries,
            enabled: self.enabled.unwrap_or(true),
            name: bounded("name", self.name, MAX_NAME_BYTES)?,
            prompt: bounded("prompt", self.prompt, MAX_PROMPT_BYTES)?.unwrap_or_default(),
        })
    }

    fn schedule(&self, context: Context<'_>) -> Result<Schedule, FieldError> {
        let zone = match &self.tz {
            Some(tz) => Some(parse::<Zone>("tz", tz)?),
            None => None,
        };
        match (&self.at, &self.every, &self.cron) {
            (Some(at), None, None) => once(at, zone.as_ref(), context),
            (None, Some(_), None) if self.tz.is_some() => Err(refused(
                "tz",
                self.tz.as_deref().unwrap_or_default(),
                "`every` counts real time and knows no zone",
                "leave it out, or write the schedule as `cron`",
            )),
            (None, Some(every), None) => grid(every, context),
            (None, None, Some(cron)) => {
                let expr: CronExpr = parse("cron", cron)?;
                Ok(Schedule::Cron { expr, tz: zone.unwrap_or(Zone::UTC) })
            }
            (None, None, None) => {
                Err(missing("cron", "write exactly one of `at`, `every` and `cron`"))
            }
            _ => Err(self.several_schedules()),
        }
    }

    fn several_schedules(&self) -> FieldError {
        let given = [
            ("at", self.at.is_some()),
            ("every", self.every.is_some()),
            ("cron", self.cron.is_some()),
        ];
        let names: Vec<&str> = given.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        let names = names.join("`, `");
        let why = format!("`{names}` are different schedules, and a job has one");
        FieldError {
            field: given.iter().rfind(|(_, is)| *is).map_or("cron", |(name, _)| name),
            value: String::new(),
            why,
            hint: Some("write exactly one of `at`, `every` and `cron`".to_owned()),
        }
    }

    fn jitter(&self) -> Result<Duration, FieldError> {
        match &self.jitter {
            None | Some(Setting::Switch(false)) => Ok(Duration::ZERO),
            Some(jitter) => parse("jitter", &jitter.to_string()),
        }
    }

    fn offset(&self) -> Result<Duration, FieldError> {
        let given = match &self.offset {
            None | Some(Setting::Switch(false)) => return Ok(Duration::ZERO),
            Some(offset) => offset.to_string(),
        };
        job::offset(parse("offset", &given)?).map_err(|why| {
            refused("offset", &given, &why.to_string(), "for a later slot, change the schedule")
        })
    }

    fn target(&self) -> Result<Target, FieldError> {
        let Some(session) = self.session.as_deref() else { return Ok(Target::Isolated) };
        let key: SessionKey = match session {
            "isolated" => return Ok(Target::Isolated),
            "main" => return Ok(Target::Main),
            key => parse("session", key)?,
        };
        if key.kind() == SessionKind::Run {
            return Err(refused(
                "session",
                session,
                "it is the key of one run of a job, which has no next turn",
                "write `isolated`, `main`, or the key of a conversation",
            ));
        }
        Ok(Target::Key(key))
    }

    fn timeout(&self) -> Result<Option<Duration>, FieldError> {
        const WHY: &str = "every run has a deadline, so that nothing runs for ever";
        const HINT: &str = "write how long a run may take at most, for example `12h`";
        limit("timeout", self.timeout.as_ref(), WHY, HINT)
    }

    fn idle_timeout(&self) -> Result<Option<Duration>, FieldError> {
        const WHY: &str = "it is the longest silence, and cannot be none";
        const HINT: &str = "leave it out to follow the agent's, or write for example `10m`";
        limit("idle_timeout", self.idle_timeout.as_ref(), WHY, HINT)
    }

    fn overlap(&self) -> Result<Overlap, FieldError> {
        const WORDS: [(&str, Overlap); 4] = [
            ("skip", Overlap::Skip),
            ("queue", Overlap::Queue),
            ("replace", Overlap::Replace),
            ("allow", Overlap::Allow),
        ];
        one_of("overlap", self.overlap.as_deref(), &WORDS)
    }

    fn misfire(&self) -> Result<Misfire, FieldError> {
        const WORDS: [(&str, Misfire); 3] =
            [("skip", Misfire::Skip), ("latest", Misfire::Latest), ("all", Misfire::All)];
        let within = match &self.misfire {
            None => return Ok(Misfire::default()),
            Some(super::Misfire::Within(within)) => within.within.as_str(),
            Some(super::Misfire::Text(text)) => match text.strip_prefix("within:") {
                Some(within) => within,
                None => return one_of("misfire", Some(text), &WORDS),
            },
        };
        match parse("misfire", within)? {
            Duration::ZERO => {
                Err(refused("misfire", within, "no slot is that new", "write `skip`"))
            }
            within => Ok(Misfire::Within(within)),
        }
    }

    fn backoff(&self) -> Result<Backoff, FieldError> {
        match &self.backoff {
            None => Ok(Backoff::default()),
            Some(super::Backoff::Text(text)) => parse("backoff", text),
            Some(super::Backoff::List(waits)) if waits.is_empty() => {
                Backoff::new(Vec::new()).map_err(|error| because("backoff", "[]", &error))
            }
            Some(super::Backoff::List(waits)) => parse("backoff", &waits.join(",")),
        }
    }

    fn on_interrupt(&self) -> Result<OnInterrupt, FieldError> {
        const WORDS: [(&str, OnInterrupt); 2] =
            [("fail", OnInterrupt::Fail), ("retry", OnInterrupt::Retry)];
        one_of("on_interrupt", self.on_interrupt.as_deref(), &WORDS)
    }

    fn retention(&self) -> Result<Retention, FieldError> {
        let retain = match &self.retain {
            None => None,
            Some(Setting::Text(text)) if text == "on_failure" => Some(Retain::OnFailure),
            Some(keep) => Some(Retain::Keep(parse::<Keep>("retain", &keep.to_string())?)),
        };
        Ok(Retention {
            retain,
            keep_last: self.keep_last,
            keep_last_failures: self.keep_last_failures,
            max_sessions: self.max_sessions,
        })
    }
}

fn once(at: &str, zone: Option<&Zone>, context: Context<'_>) -> Result<Schedule, FieldError> {
    let at = match parse_at(at, zone, context.now) {
        Ok(at) => at,
        Err(AtError::Past { at, .. })
            if context.past == Past::Allow || context.existing == Some(&Schedule::At { at }) =>
        {
            at
        }
        Err(error) => return Err(because("at", at, &error)),
    };
    Ok(Schedule::At { at })
}

fn grid(every: &Setting, context: Context<'_>) -> Result<Schedule, FieldError> {
    let text = every.to_string();
    let every: Duration = parse("every", &text)?;
    let anchor = match context.existing {
        Some(Schedule::Every { every: before, anchor }) if *before == every => *anchor,
        _ => context.now,
    };
    Schedule::every(every, anchor).map_err(|error| because("every", &text, &error))
}

fn limit(
    field: &'static str,
    limit: Option<&Setting>,
    why: &str,
    hint: &str,
) -> Result<Option<Duration>, FieldError> {
    let Some(setting) = limit else { return Ok(None) };
    let text = setting.to_string();
    let none = matches!(setting, Setting::Switch(_) | Setting::Integer(0)) || text == "0";
    match if none { Duration::ZERO } else { parse(field, &text)? } {
        Duration::ZERO => Err(refused(field, &text, why, hint)),
        limit => Ok(Some(limit)),
    }
}

fn one_of<T: Copy + Default>(
    field: &'static str,
    text: Option<&str>,
    words: &[(&str, T)],
) -> Result<T, FieldError> {
    let Some(text) = text else { return Ok(T::default()) };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(FieldError {
        field,
        value: shown(text),
        why: format!("{:?} is none of `{}`", shown(text), names.join("`, `")),
        hint: crate::suggest::did_you_mean(text, names),
    })
}

fn bounded(
    field: &'static str,
    text: Option<String>,
    max_bytes: usize,
) -> Result<Option<String>, FieldError> {
    match text {
        Some(text) if text.len() > max_bytes => {
            let why = format!("it has {} bytes, at most {max_bytes} are allowed", text.len());
            Err(FieldError { field, value: shown(&text), why, hint: None })
        }
        text => Ok(text),
    }
}

fn parse<T: FromStr<Err: Error>>(field: &'static str, text: &str) -> Result<T, FieldError> {
    FieldError::parse(field, text)
}

impl FieldError {
    /// Reads the text of a field.
    pub(crate) fn parse<T: FromStr<Err: Error>>(
        field: &'static str,
        text: &str,
    ) -> Result<T, Self> {
        text.parse().map_err(|error| because(field, text, &error))
    }
}

fn because(field: &'static str, value: &str, error: &dyn Error) -> FieldError {
    FieldError { field, value: shown(value), why: causes(error), hint: None }
}

fn refused(field: &'static str, value: &str, why: &str, hint: &str) -> FieldError {
    FieldError { field, value: shown(value), why: why.to_owned(), hint: Some(hint.to_owned()) }
}

fn missing(field: &'static str, hint: &str) -> FieldError {
    refused(field, "", "it is missing", hint)
}

fn shown(text: impl Display) -> String {
    text.to_string().chars().take(80).collect()
}
