//! The config in force as people are shown it: with its defaults and without its secrets.

use std::collections::BTreeMap;

use serde::Serialize;
use sexton_domain::name::{AgentName, HookName, JobKey};
use sexton_server::api::JobSpec;

use super::{File, file};

/// What stands where a secret is.
const HIDDEN: &str = "(hidden)";

/// A file with its defaults and without its secrets.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub server: file::Server,
    pub store: file::Store,
    pub limits: file::Limits,
    pub retention: file::Retention,
    pub reset: file::Reset,
    pub lease: file::Lease,
    pub drain: file::Drain,
    pub agents: BTreeMap<AgentName, file::Agent>,
    pub jobs: BTreeMap<JobKey, JobSpec>,
    pub hooks: BTreeMap<HookName, file::Hook>,
}

impl File {
    /// For `config show`.
    pub fn shown(&self) -> Shown {
        let file = self.clone();
        let mut agents = file.agents;
        for agent in agents.values_mut() {
            agent.env.values_mut().for_each(|value| HIDDEN.clone_into(value));
        }
        let mut hooks = file.hooks;
        for hook in hooks.values_mut() {
            hook.secret = hook.secret.as_ref().map(|_| HIDDEN.to_owned());
        }
        let jobs = file.jobs.into_iter().map(|(key, job)| {
            let renamed_from = job.renamed_from.map(String::from);
            (key, JobSpec { renamed_from, ..job.spec })
        });
        Shown {
            server: file.server,
            store: file.store,
            limits: file.limits,
            retention: file.retention,
            reset: file.reset,
            lease: file.lease,
            drain: file.drain,
            agents,
            jobs: jobs.collect(),
            hooks,
        }
    }
}
