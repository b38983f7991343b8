//! `[agents.*]`: from the file to what the engine takes.

use std::collections::BTreeMap;

use sexton_domain::agent::{self, Command};
use sexton_domain::name::AgentName;
use sexton_engine::settings::AgentSettings;
use toml::Spanned;

use super::file;
use super::section::{Findings, Section};
use super::source::Problem;

/// Variables that begin like this are Sexton's own.
const RESERVED: &str = "SEXTON_";

/// Reads all agents; those that are wrong are reported and left out.
pub fn read<'t>(
    tables: Vec<(Spanned<String>, Section<'t>)>,
    shown: &mut BTreeMap<AgentName, file::Agent>,
    findings: &mut Findings<'t>,
) -> BTreeMap<AgentName, AgentSettings> {
    let mut agents = BTreeMap::new();
    for (name, section) in tables {
        let parsed = name.get_ref().parse::<AgentName>();
        if let Err(error) = &parsed {
            findings.add(Problem {
                at: name.span(),
                key: section.path.clone(),
                message: format!("cannot {error}"),
                hint: Some("for example [agents.reviewer-2]".to_owned()),
            });
        }
        let Some(agent) = findings.read::<file::Agent>(&section) else { continue };
        check(&agent, &section, findings);
        if let Ok(name) = parsed {
            agents.insert(name.clone(), settings(&agent));
            shown.insert(name, agent);
        }
    }
    agents
}

fn settings(agent: &file::Agent) -> AgentSettings {
    let command = Command {
        argv: agent.command.clone(),
        cwd: agent.cwd.clone(),
        env_pass: agent.env_pass.clone(),
    };
    AgentSettings {
        agent: agent::Agent {
            executor: match agent.executor {
                file::Executor::Process => agent::Executor::Process(command),
            },
            timeout: agent.timeout,
            idle_timeout: agent.idle_timeout,
            grace: agent.grace,
            output_limit_bytes: agent.output_limit.0,
        },
        env: agent.env.clone(),
    }
}

fn check(agent: &file::Agent, section: &Section<'_>, findings: &mut Findings<'_>) {
    let mut wrong = |key: &str, message: &str, hint: &str| {
        findings.add_at(section, key, message, Some(hint.to_owned()));
    };
    if agent.command.first().is_none_or(String::is_empty) {
        wrong("command", "the command is empty", "for example [\"sh\", \"-c\", \"date\"]");
    }
    if agent.command.iter().any(|argument| argument.contains('\0')) {
        wrong("command", "the command contains a NUL character", "no program can get one");
    }
    if agent.timeout.is_zero() {
        wrong("timeout", "a deadline of zero would stop every run", "write for example \"10m\"");
    }
    if agent.idle_timeout.is_some_and(|idle| idle.is_zero()) {
        let hint = "write for example \"5m\", or leave it out for none";
        wrong("idle_timeout", "a limit of zero would stop every run", hint);
    }
    if agent.output_limit.0 == 0 {
        wrong("output_limit", "a run must keep some output", "write for example \"16MiB\"");
    }
    for name in agent.env.keys() {
        variable("env", name, &mut wrong);
    }
    for value in agent.env.values().filter(|value| value.contains('\0')) {
        let message = format!("a value of {} bytes contains a NUL character", value.len());
        wrong("env", &message, "no program can get one");
    }
    for name in &agent.env_pass {
        variable("env_pass", name, &mut wrong);
    }
}

fn variable(key: &str, name: &str, wrong: &mut impl FnMut(&str, &str, &str)) {
    if name.is_empty() || name.contains(['=', '\0']) {
        let hint = "a name is not empty and contains neither `=` nor NUL";
        wrong(key, &format!("{name:?} cannot be the name of a variable"), hint);
    } else if name.starts_with(RESERVED) {
        let hint = "Sexton itself tells the agent what begins with SEXTON_";
        wrong(key, &format!("the variable {name} is reserved"), hint);
    }
}
