//! What became of each agent: a section for the config, which only a person can complete.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sexton_domain::agent::DEFAULT_TIMEOUT;
use sexton_domain::duration::Duration;
use sexton_domain::errors::on_one_line;
use sexton_domain::name::AgentName;
use sexton_openclaw::import::gather::Agent;

use crate::config::{Config, file};
use crate::failure::Failure;
use crate::output::Output;

/// An agent of the folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Its name here.
    name: AgentName,
    /// Its id there.
    id: String,
    /// Where it works there.
    workspace: Option<String>,
    /// The model that it works with there.
    model: Option<String>,
    /// Whether the config has it.
    declared: bool,
    /// What the config lacks.
    section: Option<String>,
}

/// `[agents.NAME]`, as far as the folder tells.
#[derive(Debug, Serialize)]
struct Section<'a> {
    executor: file::Executor,
    command: [&'a str; 3],
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Duration>,
}

impl Shown {
    /// An agent as it is shown.
    pub fn of(agent: Agent, config: &Config) -> Self {
        let declared = config.file.agents.contains_key(&agent.name);
        let section = (!declared).then(|| section(&agent));
        let Agent { name, id, workspace, model, .. } = agent;
        Self { name, id, workspace, model, declared, section }
    }
}

/// Shows the sections, to be pasted into the config.
pub fn show(agents: &[Shown], config: &Path, output: Output) -> Result<(), Failure> {
    let sections: Vec<&str> = agents.iter().filter_map(|agent| agent.section.as_deref()).collect();
    if sections.is_empty() {
        return Ok(());
    }
    let config = on_one_line(&config.display().to_string());
    output.line(format_args!(
        "\n# agents that are to be added to {config}, each with the command that does its work:"
    ))?;
    sections.iter().try_for_each(|section| output.line(format_args!("\n{}", section.trim_end())))
}

/// The section of an agent. Its command is for a person to name; until then its runs fail and say so.
fn section(agent: &Agent) -> String {
    let Agent { name, workspace, model, timeout, .. } = agent;
    let placeholder =
        format!("echo 'in the config, [agents.{name}] has yet to name its command' >&2; exit 1");
    let section = Section {
        executor: file::Executor::Process,
        command: ["sh", "-c", &placeholder],
        cwd: workspace.as_deref(),
        timeout: timeout.filter(|timeout| !timeout.is_zero()),
    };
    let sections = BTreeMap::from([("agents", BTreeMap::from([(name, section)]))]);
    let mut text = toml::to_string(&sections).expect("a table of texts can be written");
    if timeout.is_some_and(Duration::is_zero) {
        text.push_str(&format!("# no timeout there; here it is {DEFAULT_TIMEOUT} unless named\n"));
    }
    if let Some(model) = model {
        text.push_str(&format!("# model there: {}\n", on_one_line(model)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, Surroundings};

    #[test]
    fn a_section_is_one_agent_for_the_config_whatever_its_texts_hold() {
        let workspace = "/srv/\"a\" 'b' \\ # c\n[hooks.x]\u{7f}\u{1}";
        let agent = Agent {
            name: "main".parse().unwrap(),
            id: "main".to_owned(),
            workspace: Some(workspace.to_owned()),
            model: Some("a\"\n[agents.other]\r#\u{0}\u{7f}".to_owned()),
            timeout: Some(Duration::from_secs(5_400)),
        };
        let read = |agent: &Agent| {
            let source = Source { name: "pasted".to_owned(), text: section(agent) };
            let now = "2026-11-20T18:00:00Z".parse().unwrap();
            let around = Surroundings { data_dir: Path::new("/data"), now };
            let config = Config::parse(source, around).map_err(|invalid| invalid.to_string());
            let mut file = config.unwrap().file;
            assert_eq!((file.agents.len(), file.hooks.len()), (1, 0));
            file.agents.remove(&agent.name).unwrap()
        };
        let whole = read(&agent);
        assert_eq!((whole.cwd.as_str(), whole.timeout), (workspace, Duration::from_secs(5_400)));
        assert!(whole.command[2].contains("[agents.main]"), "{:?}", whole.command);

        let unlimited = Agent { workspace: None, timeout: Some(Duration::ZERO), ..agent };
        let whole = read(&unlimited);
        assert_eq!((whole.cwd.as_str(), whole.timeout), (".", DEFAULT_TIMEOUT));
        assert!(section(&unlimited).contains("# no timeout there"));
    }
}
