//! SIGHUP: takes over the config anew, all of it or nothing.

use std::path::PathBuf;

use sexton_domain::plan::jobs::Empty;
use sexton_engine::handle::Handle;
use sexton_store::Store;

use super::{jobs, supervisor};
use crate::args::Globals;
use crate::clock;
use crate::config::{Config, JOBS_SOURCE, Surroundings};
use crate::failure::Failure;
use crate::place::{self, DataDir};

/// What a reload starts from.
#[derive(Debug)]
pub struct Reloader {
    pub(super) dir: DataDir,
    /// The file of the start; without one, the next reload looks for one again.
    pub(super) path: Option<PathBuf>,
    /// What is in force.
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) empty: Empty,
    pub(super) globals: Globals,
}

impl Reloader {
    /// Reads the config again. What is wrong or refused changes nothing.
    pub async fn reload(&mut self, handle: &Handle) {
        supervisor::reloading();
        match self.take_over(handle).await {
            Ok(config) => {
                let (agents, jobs) = (config.file.agents.len(), config.file.jobs.len());
                tracing::info!(agents, jobs, "config reloaded");
                self.config = config;
            }
            Err(failure) => {
                let Failure { message, hint, .. } = failure;
                let hint = hint.unwrap_or_else(|| "see `sexton config check`".to_owned());
                tracing::error!(
                    hint,
                    "config not reloaded, everything stays as it was: {}",
                    message.trim_end()
                );
            }
        }
        supervisor::ready();
    }

    async fn take_over(&mut self, handle: &Handle) -> Result<Config, Failure> {
        let path = match &self.path {
            Some(path) => Some(path.clone()),
            None => place::config_file(&self.globals)?,
        };
        let around = Surroundings { data_dir: self.dir.path(), now: clock::now() };
        let new = Config::load(path.as_deref(), around)?;
        let declared = jobs::declared(&new, &self.store, around).await?;
        let taken = handle.reload(JOBS_SOURCE, &declared, self.empty, new.settings()).await;
        taken.map_err(|error| jobs::failure(&error))?;
        let restart = new.needs_restart(&self.config);
        if !restart.is_empty() {
            let parts = restart.join(", ");
            tracing::warn!(parts, "these parts of the config changed and need a restart: {parts}");
        }
        self.path = path;
        Ok(self.config.with_reloaded(new))
    }
}
