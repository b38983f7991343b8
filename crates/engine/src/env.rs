//! What the engine stands on: clock, entropy, tasks, executor and the machine it runs on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sexton_domain::node::ProcessId;
use sexton_domain::plan::Moment;

use crate::archive::files::Files;
use crate::clock::Clock;
use crate::courier::Courier;
use crate::entropy::Entropy;
use crate::executor::Executor;
use crate::run_files::RunFiles;
use crate::tasks::Tasks;

/// What the engine stands on. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<Entropy>,
    /// How long-lived tasks are started.
    pub tasks: Tasks,
    /// How processes are started.
    pub executor: Arc<dyn Executor>,
    /// Where the files of runs lie.
    pub run_files: RunFiles,
    /// How webhooks are posted.
    pub courier: Arc<dyn Courier>,
    /// Where archives lie.
    pub archives: Arc<dyn Files>,
    /// Where this is.
    pub host: Arc<Host>,
}

/// The gateway's own process and machine.
#[derive(Debug, Clone)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// The gateway's process.
    pub process: ProcessId,
    /// Sexton's version.
    pub software: String,
    /// The gateway's own environment, from which agents get what the config names.
    pub environment: BTreeMap<String, String>,
}

impl Host {
    /// What every program needs of the gateway's own environment.
    pub fn clean_environment(&self) -> BTreeMap<String, String> {
        self.variables(["PATH", "HOME", "LANG", "TZ"])
    }

    /// Those of these variables that the gateway has.
    pub fn variables<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> BTreeMap<String, String> {
        let value = |name: &str| Some((name.to_owned(), self.environment.get(name)?.clone()));
        names.into_iter().filter_map(value).collect()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("host", &self.host.name).finish_non_exhaustive()
    }
}

impl Env {
    /// The moment of a decision that is taken now.
    pub fn moment(&self) -> Moment {
        let now = self.clock.now();
        Moment { now, ids: self.entropy.ids(now) }
    }
}
