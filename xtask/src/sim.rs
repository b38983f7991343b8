//! `sim`: the simulation, in a release build because it has much to compute.

use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use crate::{Verdict, gateway};

/// `sim`
#[derive(Debug, Args)]
pub struct Sim {
    /// How many seeds, from the first one on
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long)]
    seed: Option<u64>,
    /// How much virtual time each of them gets
    #[arg(long)]
    minutes: Option<u64>,
}

/// Runs the simulation with the same options.
pub fn run(sim: &Sim) -> anyhow::Result<Verdict> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--release", "--package", "sexton-sim", "--"]);
    for (name, value) in [("--seeds", sim.seeds), ("--seed", sim.seed), ("--minutes", sim.minutes)]
    {
        if let Some(value) = value {
            command.arg(name).arg(value.to_string());
        }
    }
    let status = command.current_dir(gateway::root()).status().context("run cargo")?;
    Ok(if status.success() { Verdict::Yes } else { Verdict::No })
}
