//! `config …`

use serde_json::json;
use sexton_domain::plan::drain::SUPERVISOR;

use crate::args::{self, Globals};
use crate::clock;
use crate::config::{Config, Surroundings};
use crate::failure::{Exit, Failure};
use crate::output::{Output, count};
use crate::place::{self, DataDir};

/// Runs `config …`.
pub fn main(command: args::Config, globals: &Globals, output: Output) -> Result<Exit, Failure> {
    let path = place::config_file(globals)?;
    let data_dir = DataDir::find(globals)?;
    let around = Surroundings { data_dir: data_dir.path(), now: clock::now() };
    let config = match Config::parse(Config::source(path.as_deref())?, around) {
        Ok(config) => config,
        Err(invalid) => {
            if output.json {
                output.document(&invalid.document())?;
            }
            return Err(Failure::new(Exit::Usage, invalid.to_string()));
        }
    };
    let name = path.as_ref().map(|path| path.display().to_string());
    match command {
        args::Config::Check => check(&config, name.as_deref(), output)?,
        args::Config::Show => show(&config, name.as_deref(), output)?,
    }
    Ok(Exit::Ok)
}

fn check(config: &Config, name: Option<&str>, output: Output) -> Result<(), Failure> {
    let file = &config.file;
    let budget = config.settings().budget();
    if output.json {
        return output.document(&json!({
            "file": name,
            "ok": true,
            "agents": file.agents.len(),
            "jobs": file.jobs.len(),
            "hooks": file.hooks.len(),
            "stop_at_most_ms": budget.total().as_millis(),
        }));
    }
    let Some(name) = name else {
        return output.line("no config file: the defaults hold; `sexton init` writes one");
    };
    let agents = count(file.agents.len() as u64, "agent");
    let jobs = count(file.jobs.len() as u64, "job");
    let hooks = count(file.hooks.len() as u64, "hook");
    output.line(format_args!("{name} is right: {agents}, {jobs}, {hooks}"))?;
    output.line(format_args!("a stop takes at most {budget}"))?;
    if budget.total() > SUPERVISOR {
        output.line(format_args!(
            "warning: systemd waits {SUPERVISOR} unless it is told otherwise. It is told, where the unit has \
             Type=notify; other supervisors need a limit of at least {}",
            budget.total()
        ))?;
    }
    Ok(())
}

fn show(config: &Config, name: Option<&str>, output: Output) -> Result<(), Failure> {
    let shown = config.file.shown();
    if output.json {
        return output.document(&shown);
    }
    let text = toml::to_string_pretty(&shown)
        .map_err(|error| Failure::new(Exit::Bug, format!("failed to write the config: {error}")))?;
    output.line(format_args!("# from {}, with defaults", name.unwrap_or("no file")))?;
    output.line(text.trim_end())
}
