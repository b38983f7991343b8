//! `[jobs.*]`: read as the forms that HTTP takes, and judged by the same judge.

use std::collections::{BTreeMap, BTreeSet};

use sexton_domain::name::JobKey;
use sexton_domain::plan::jobs::Declared;
use sexton_domain::schedule::Schedule;
use sexton_server::api::{Context, FieldError, JobSpec, Past};
use toml::Spanned;

use super::Surroundings;
use super::section::{Findings, Part, Section, joined};
use super::source::Problem;
use super::words::suggestion;
use crate::prompt;

/// A job as the file declares it, judged and found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its key.
    pub key: JobKey,
    /// The key it had before.
    pub renamed_from: Option<JobKey>,
    /// What it says, with its prompt read in.
    pub spec: JobSpec,
}

impl Job {
    /// What the engine takes. A grid begins where the stored one does, if there is one.
    ///
    /// # Errors
    ///
    /// None that reading the file has not found already.
    pub fn declared(
        &self,
        existing: Option<&Schedule>,
        around: Surroundings<'_>,
    ) -> Result<Declared, FieldError> {
        let context = Context { now: around.now, existing, past: Past::Allow };
        Ok(Declared {
            key: self.key.clone(),
            spec: self.spec.clone().into_spec(context)?,
            renamed_from: self.renamed_from.clone(),
        })
    }
}

/// Reads all jobs; those that are wrong are reported and left out.
pub fn read<'t>(
    tables: Vec<(Spanned<String>, Section<'t>)>,
    agents: &[String],
    around: Surroundings<'_>,
    findings: &mut Findings<'t>,
) -> BTreeMap<JobKey, Job> {
    let names: BTreeSet<String> = tables.iter().map(|(name, _)| name.get_ref().clone()).collect();
    let mut jobs = BTreeMap::new();
    for (name, section) in tables {
        let key = key(&name, &section, findings);
        let renamed_from = renamed_from(&section, &names, findings);
        let spec = spec(&section, agents, around, findings);
        if let (Some(key), Some(spec)) = (key, spec) {
            jobs.insert(key.clone(), Job { key, renamed_from, spec });
        }
    }
    jobs
}

fn key(
    name: &Spanned<String>,
    section: &Section<'_>,
    findings: &mut Findings<'_>,
) -> Option<JobKey> {
    match name.get_ref().parse() {
        Ok(key) => Some(key),
        Err(error) => {
            findings.add(Problem {
                at: name.span(),
                key: section.path.clone(),
                message: format!("cannot {error}"),
                hint: Some("for example [jobs.nightly-backup]".to_owned()),
            });
            None
        }
    }
}

fn renamed_from(
    section: &Section<'_>,
    names: &BTreeSet<String>,
    findings: &mut Findings<'_>,
) -> Option<JobKey> {
    // Whatever is no text is reported when the whole is read.
    let old = section.text("renamed_from")?;
    if names.contains(old) {
        let message = format!("a job `{old}` is still declared, so it was not renamed");
        let hint = "leave `renamed_from` out, or remove the old job".to_owned();
        findings.add_at(section, "renamed_from", &message, Some(hint));
        return None;
    }
    match old.parse() {
        Ok(old) => Some(old),
        Err(error) => {
            findings.add_at(section, "renamed_from", &format!("cannot {error}"), None);
            None
        }
    }
}

fn spec<'t>(
    section: &Section<'t>,
    agents: &[String],
    around: Surroundings<'_>,
    findings: &mut Findings<'t>,
) -> Option<JobSpec> {
    if section.has("key") {
        findings.add(Problem {
            at: section.span_of("key", Part::Key),
            key: joined(&section.path, "key"),
            message: "the key of a job is the name of its table".to_owned(),
            hint: Some(format!("leave `key` out, or rename [{}]", section.path)),
        });
    }
    if let Some(agent) = section.text("agent").filter(|agent| !agents.iter().any(|a| a == agent)) {
        let hint = match agents {
            [] => "declare it: [agents.NAME]".to_owned(),
            _ => suggestion(agent, agents.iter().map(String::as_str), "agents"),
        };
        findings.add_at(section, "agent", &format!("unknown agent `{agent}`"), Some(hint));
    }
    relative(section, findings);
    let (mut spec, left) = findings.read_with_rest::<JobSpec>(section)?;
    judge(section, left, around, findings);
    if let Some(text) = &spec.prompt {
        match prompt::of_text(text, around.data_dir) {
            Ok(text) => spec.prompt = Some(text),
            Err(error) => {
                let hint = "the path is relative to the data folder; for a prompt that begins with \
                            @ write @@";
                let message = format!("failed to {error:#}");
                findings.add_at(section, "prompt", &message, Some(hint.to_owned()));
            }
        }
    }
    Some(JobSpec { renamed_from: None, ..spec })
}

/// A time from now would be another one at each start.
fn relative(section: &Section<'_>, findings: &mut Findings<'_>) {
    if section.text("at").is_some_and(|at| at.trim_start().starts_with('+')) {
        let hint = "each start would move it; write for example \"2027-01-31T09:00:00Z\"";
        findings.add_at(section, "at", "a file cannot say when `now` is", Some(hint.to_owned()));
    }
}

/// Reports every field that cannot be used: the judge names one at a time, so it is asked again
/// without what it named, or with something in the place of what it missed.
fn judge<'t>(
    section: &Section<'t>,
    mut left: Section<'t>,
    around: Surroundings<'_>,
    findings: &mut Findings<'t>,
) {
    let context = Context { now: around.now, existing: None, past: Past::Allow };
    let mut missed = Vec::new();
    // What is left could be read, so it can be read again, with less of it, too.
    while let Some(spec) = findings.scratch().read::<JobSpec>(&left) {
        let Err(error) = filled(spec, &missed).into_spec(context) else { return };
        if left.take(error.field).is_some() {
            findings.add_at(section, error.field, &error.why, error.hint);
        } else if missed.contains(&error.field) {
            return;
        } else {
            missed.push(error.field);
            // What was reported and taken out is not missing.
            let is_there = match error.field {
                "cron" => SCHEDULES.into_iter().any(|field| section.has(field)),
                field => section.has(field),
            };
            if !is_there {
                missing(section, error, findings);
            }
        }
    }
}

/// The fields of which a job has exactly one; the judge misses the last.
const SCHEDULES: [&str; 3] = ["at", "every", "cron"];

/// The spec with something in the place of what is missing.
fn filled(mut spec: JobSpec, missed: &[&str]) -> JobSpec {
    if missed.contains(&"agent") {
        spec.agent.get_or_insert_with(|| "agent".to_owned());
    }
    if missed.contains(&"cron") && spec.at.is_none() && spec.every.is_none() {
        spec.cron.get_or_insert_with(|| "0 0 * * *".to_owned());
    }
    spec
}

fn missing(section: &Section<'_>, error: FieldError, findings: &mut Findings<'_>) {
    findings.add(Problem {
        at: section.span.clone(),
        key: section.path.clone(),
        message: format!("`{}` is missing", error.field),
        hint: error.hint,
    });
}
