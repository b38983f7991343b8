//! Agents: what the config says of each that ours would have to know.

use std::collections::BTreeSet;

use sexton_domain::duration::Duration;
use sexton_domain::name::AgentName;

use super::Gather;
use crate::folder::{Folder, placed};
use crate::read::config::{agent_id, path_for};

/// An agent of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name here.
    pub name: AgentName,
    /// Its id there.
    pub id: String,
    /// Where it works, as an absolute path; none where that is not known.
    pub workspace: Option<String>,
    /// The model that it works with.
    pub model: Option<String>,
    /// How long a turn of it may take; zero is no limit.
    pub timeout: Option<Duration>,
}

impl Gather<'_, '_> {
    /// The agents of the config, and those that only new jobs name.
    pub(super) fn agents(&self) -> Vec<Agent> {
        let config = &self.folder.config;
        let named = config.agents.iter().map(|agent| agent.id.as_str());
        let named = named.chain([config.default_agent()]).map(|id| (self.agent(id), id));
        let of_jobs = self.found.jobs.iter().map(|new| {
            let name = &new.job.spec.agent;
            let renamed = self.options.agents.iter().find(|(_, ours)| *ours == name);
            (name.clone(), renamed.map_or(name.as_str(), |(theirs, _)| theirs))
        });
        let mut seen = BTreeSet::new();
        let first = named.chain(of_jobs).filter(|(name, _)| seen.insert(name.clone()));
        first.map(|(name, id)| self.told(name, id)).collect()
    }

    /// Finds which of the agents that are to be called otherwise here are none of the folder's.
    pub(super) fn find_who_is_none(&mut self) {
        let Folder { config, agents, .. } = &self.folder;
        let mut ids: BTreeSet<String> = agents.iter().map(|agent| agent.id.clone()).collect();
        ids.extend(config.agents.iter().map(|agent| agent.id.clone()));
        ids.insert(config.default_agent().to_owned());
        ids.extend(
            self.found.jobs.iter().filter_map(|new| new.record.agent.as_deref().map(agent_id)),
        );
        let none = self.options.agents.keys().filter(|id| !ids.contains(*id));
        let there = ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let said = none.map(|id| format!("no agent is called {id} there: the agents are {there}"));
        self.found.nobody = said.collect();
    }

    fn told(&self, name: AgentName, id: &str) -> Agent {
        let config = &self.folder.config;
        let own = config.agents.iter().find(|agent| agent.id == id);
        let model = own.and_then(|own| own.model.as_ref()).or(config.defaults.model.as_ref());
        Agent {
            name,
            id: id.to_owned(),
            workspace: self.workspace(own.and_then(|own| own.workspace.as_deref()), id),
            model: model.cloned(),
            timeout: config.defaults.timeout,
        }
    }

    /// Where an agent works: where it says itself, else where the defaults say, else in the state folder if
    /// there is a workspace for it. Only the default agent works in the folder of the defaults itself.
    fn workspace(&self, own: Option<&str>, id: &str) -> Option<String> {
        let Folder { root, config, .. } = &self.folder;
        // Where their gateway was started is not known.
        let absolute = |text: &str| {
            let is_absolute = path_for(text, id, root).is_absolute();
            is_absolute.then(|| root.join(placed(root, text, Some(id))))
        };
        let shared = || config.defaults.workspace.as_deref().map(absolute);
        let inside = |name: &str| Some(root.join(name)).filter(|path| path.is_dir());
        let path = match own {
            Some(own) => absolute(own),
            None if id == config.default_agent() => shared().unwrap_or_else(|| inside("workspace")),
            None => match shared() {
                Some(shared) => shared.map(|folder| folder.join(id)),
                None => inside(&format!("workspace-{id}")),
            },
        };
        path?.into_os_string().into_string().ok()
    }
}
