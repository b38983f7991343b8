//! `sim`: the simulation, in a release build because it has much to compute.

use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use crate::{Verdict, gateway};

/// `sim`
#[derive(Debug, Args)]
pub struct Sim {
    /// How many seeds at most [default: 100, or as many as there is time for with --minutes]
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// How long, in minutes of this machine
    #[arg(long)]
    minutes: Option<u64>,
    /// Instead: plant each fault in the worlds of the fixed seeds, those in which the least happens first, and
    /// print the first seed that catches it, the promise that is broken there, and how
    #[arg(long, conflicts_with_all = ["seeds", "seed", "minutes", "days", "runs"])]
    planted: bool,
    /// Instead: leave a gateway alone for so many days of virtual time after the first retention
    /// periods, with 20 jobs every 15 minutes, and say whether anything grows
    #[arg(long, conflicts_with_all = ["seeds", "seed", "minutes"])]
    days: Option<u64>,
    /// Instead: leave it alone for about so many runs, and print its memory at every tenth of them
    #[arg(long, conflicts_with_all = ["seeds", "seed", "minutes", "days"])]
    runs: Option<u64>,
}

/// Runs the simulation with the same options.
pub fn run(sim: &Sim) -> anyhow::Result<Verdict> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--features", "sim"]);
    command.args(["--bin", "simulate", "--"]);
    let options = [
        ("--seeds", sim.seeds),
        ("--seed", sim.seed),
        ("--minutes", sim.minutes),
        ("--days", sim.days),
        ("--runs", sim.runs),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            command.arg(name).arg(value.to_string());
        }
    }
    if sim.planted {
        command.arg("--planted");
    }
    let status = command.current_dir(gateway::root()).status().context("run cargo")?;
    Ok(if status.success() { Verdict::Yes } else { Verdict::No })
}
