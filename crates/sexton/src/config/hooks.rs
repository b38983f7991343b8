//! `[hooks.*]`: checked as strictly as the rest, so that a file that is right today stays right when
//! hooks are told.

use std::collections::BTreeMap;

use sexton_domain::name::HookName;
use toml::Spanned;

use super::file::Hook;
use super::section::{Findings, Section};
use super::source::Problem;
use super::words::suggestion;

/// Reads all hooks; those that are wrong are reported and left out.
pub fn read<'t>(
    tables: Vec<(Spanned<String>, Section<'t>)>,
    agents: &[String],
    hooks: &mut BTreeMap<HookName, Hook>,
    findings: &mut Findings<'t>,
) {
    for (name, section) in tables {
        let parsed = name.get_ref().parse::<HookName>();
        if let Err(error) = &parsed {
            findings.add(Problem {
                at: name.span(),
                key: section.path.clone(),
                message: format!("cannot {error}"),
                hint: Some("for example [hooks.memory]".to_owned()),
            });
        }
        let Some(hook) = findings.read::<Hook>(&section) else { continue };
        check(&hook, &section, findings);
        for agent in hook.agents.iter().filter(|agent| !agents.iter().any(|a| a == agent.as_str()))
        {
            let hint = suggestion(agent.as_str(), agents.iter().map(String::as_str), "agents");
            findings.add_at(&section, "agents", &format!("unknown agent `{agent}`"), Some(hint));
        }
        hooks.extend(parsed.ok().map(|name| (name, hook)));
    }
}

fn check(hook: &Hook, section: &Section<'_>, findings: &mut Findings<'_>) {
    let mut wrong = |key: &str, message: &str, hint: &str| {
        findings.add_at(section, key, message, Some(hint.to_owned()));
    };
    if hook.on.is_empty() {
        wrong("on", "the hook is told nothing", "for example on = [\"session.ended\"]");
    }
    match (&hook.command, &hook.url) {
        (Some(_), Some(_)) => {
            wrong("url", "a hook is a command or a webhook, not both", "leave one of them out");
        }
        (None, None) if !section.has("command") && !section.has("url") => {
            let hint = "add `command = [\"/path/to/program\"]` or `url = \"https://…\"`";
            wrong("command", "the hook has neither `command` nor `url`", hint);
        }
        (Some(command), None) if command.first().is_none_or(String::is_empty) => {
            wrong("command", "the command is empty", "for example [\"/usr/local/bin/remember\"]");
        }
        (None, Some(url)) if !url.starts_with("https://") && !url.starts_with("http://") => {
            wrong(
                "url",
                "expected an http or https URL",
                "for example \"https://example.org/hook\"",
            );
        }
        _ => {}
    }
    if hook.url.is_none() && (hook.secret.is_some() || hook.secret_file.is_some()) {
        let key = if hook.secret.is_some() { "secret" } else { "secret_file" };
        wrong(key, "only webhooks are signed", "leave it out, or use `url`");
    }
    if hook.secret.is_some() && hook.secret_file.is_some() {
        wrong("secret_file", "there are two secrets", "leave one of them out");
    }
    if hook.secret.as_ref().is_some_and(|secret| !secret.starts_with("whsec_")) {
        wrong("secret", "the secret does not begin with whsec_", "see standardwebhooks.com");
    }
    for (key, value) in [("timeout", hook.timeout), ("max_age", hook.max_age)] {
        if value.is_zero() {
            wrong(key, "zero is no time at all", "write for example \"5s\"");
        }
    }
}
