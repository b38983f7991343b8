//! The jobs of the config as the engine takes them.

use sexton_domain::job::{Job, Source};
use sexton_domain::name::JobKey;
use sexton_domain::plan::jobs::{Declared, Refused};
use sexton_engine::handle::Error;
use sexton_store::Store;

use crate::config::{Config, JOBS_SOURCE, Surroundings, jobs};
use crate::failure::{Exit, Failure};

/// What the config declares, in view of what is stored: a grid goes on where it began.
pub async fn declared(
    config: &Config,
    store: &Store,
    around: Surroundings<'_>,
) -> Result<Vec<Declared>, Failure> {
    let mut declared = Vec::new();
    for job in config.file.jobs.values() {
        let existing = existing(job, store).await?;
        let schedule = existing.as_ref().map(|job| &job.spec.schedule);
        let job = job.declared(schedule, around).map_err(|error| {
            Failure::new(Exit::Usage, format!("failed to declare job {}: {error}", job.key))
        })?;
        declared.push(job);
    }
    Ok(declared)
}

async fn existing(job: &jobs::Job, store: &Store) -> Result<Option<Job>, Failure> {
    let keys: [Option<&JobKey>; 2] = [Some(&job.key), job.renamed_from.as_ref()];
    for key in keys.into_iter().flatten() {
        let found = store.read().job_by_key(key.clone()).await;
        let found = found.map_err(|error| Failure::chain(Exit::Unavailable, &error))?;
        let ours = Source::Config(JOBS_SOURCE.to_owned());
        if let Some(job) = found.filter(|job| job.source == ours) {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// What an error of the engine means for who wrote the config.
pub fn failure(error: &Error) -> Failure {
    let exit = match error {
        Error::Refused(_) => Exit::Refused,
        Error::UnknownAgent { .. } => Exit::Usage,
        Error::Store(_) | Error::Unavailable(_) => Exit::Unavailable,
        _ => Exit::Bug,
    };
    let failure = Failure::chain(exit, error);
    match error {
        Error::Refused(Refused::KeyTaken { key, .. }) => failure.hint(format!(
            "rename the job in the config, or remove the other one: sexton job rm {key}"
        )),
        Error::Refused(Refused::WouldRemoveAll(_)) => {
            failure.hint("if that is what you want, start with: sexton serve --allow-empty")
        }
        _ => failure,
    }
}
