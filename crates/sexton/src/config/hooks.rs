//! `[hooks.*]`: from the file to what the engine takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reqwest::Url;
use sexton_domain::hook::Subscription;
use sexton_domain::name::HookName;
use sexton_engine::courier::{Secret, Webhook};
use sexton_engine::settings::{HookSettings, Way};
use toml::Spanned;

use super::file::Hook;
use super::section::{Findings, Section};
use super::source::Problem;
use super::words::suggestion;

/// What the hooks of a file depend on.
pub struct Around<'a> {
    /// Names of agents.
    pub agents: &'a [String],
    /// Where relative paths begin.
    pub data_dir: &'a Path,
}

/// Reads all hooks; those that are wrong are reported and left out.
pub fn read<'t>(
    tables: Vec<(Spanned<String>, Section<'t>)>,
    around: &Around<'_>,
    shown: &mut BTreeMap<HookName, Hook>,
    findings: &mut Findings<'t>,
) -> BTreeMap<HookName, HookSettings> {
    let agents = around.agents;
    let mut hooks = BTreeMap::new();
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
        let secret = secret(&hook, &section, around.data_dir, findings);
        if let Ok(name) = parsed {
            hooks.insert(name.clone(), settings(name.clone(), &hook, secret));
            shown.insert(name, hook);
        }
    }
    hooks
}

fn settings(name: HookName, hook: &Hook, secret: Option<Secret>) -> HookSettings {
    HookSettings {
        subscription: Subscription {
            hook: name,
            on: hook.on.iter().copied().collect(),
            agents: hook.agents.iter().cloned().collect(),
            jobs: hook.jobs.iter().cloned().collect(),
            kinds: hook.kinds.iter().copied().collect(),
            max_attempts: hook.max_attempts.get(),
            max_age: hook.max_age,
            backoff: hook.backoff.clone(),
        },
        way: match (&hook.url, &hook.command) {
            (Some(url), _) => Way::Webhook(Webhook { url: url.clone(), secret }),
            (None, command) => Way::Command(command.clone().unwrap_or_default()),
        },
        timeout: hook.timeout,
        concurrency: hook.concurrency.get(),
    }
}

/// The secret, from where it stands. It is read now, and never stored or shown.
fn secret(
    hook: &Hook,
    section: &Section<'_>,
    data_dir: &Path,
    findings: &mut Findings<'_>,
) -> Option<Secret> {
    let (key, secret) = match (&hook.secret, &hook.secret_file) {
        (Some(secret), _) => ("secret", secret.clone()),
        (None, Some(file)) => match fs::read_to_string(data_dir.join(file)) {
            Ok(text) => ("secret_file", text.trim().to_owned()),
            Err(error) => {
                let message = format!("cannot read {}: {error}", data_dir.join(file).display());
                let hint =
                    "write the secret into this file; relative paths begin in the data folder";
                findings.add_at(section, "secret_file", &message, Some(hint.to_owned()));
                return None;
            }
        },
        (None, None) => return None,
    };
    let wrong = match secret.strip_prefix("whsec_") {
        None => Some("the secret does not begin with whsec_"),
        Some("") => Some("the secret is empty"),
        Some(_) if standardwebhooks::Webhook::new(&secret).is_err() => {
            Some("the secret is not base64 after whsec_")
        }
        Some(_) => None,
    };
    if let Some(message) = wrong {
        let hint = "make one: echo whsec_$(openssl rand -base64 32); see standardwebhooks.com";
        findings.add_at(section, key, message, Some(hint.to_owned()));
    }
    Some(Secret(secret))
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
        (Some(command), None) if command.iter().any(|argument| argument.contains('\0')) => {
            wrong("command", "the command contains a NUL character", "no program can get one");
        }
        (None, Some(url)) if !is_web(url) => {
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
    for (key, value) in [("timeout", hook.timeout), ("max_age", hook.max_age)] {
        if value.is_zero() {
            wrong(key, "zero is no time at all", "write for example \"5s\"");
        }
    }
}

fn is_web(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
