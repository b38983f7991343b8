//! `fuzz`: the properties of the tests with more inputs, round after round, each from its own seed.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::{Verdict, clock, gateway};

/// What the tests try is written down for this number of cases, proptest's own default.
const USUAL: u32 = 256;
/// Where properties are: in modules of this name.
const MODULE: &str = "fuzz::";

/// `fuzz`
#[derive(Debug, Args)]
pub struct Fuzz {
    /// No round begins after so many minutes; one round if it is left out
    #[arg(long)]
    minutes: Option<u64>,
    /// So many times as many inputs in a round as in the tests; a round of 128 has every change of clock
    /// of every zone
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    times: u32,
    /// The seed of the first round; the next has the next [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Only properties whose names have one of these in them
    names: Vec<String>,
}

/// Runs rounds until the time is over or one fails.
pub fn run(fuzz: &Fuzz) -> anyhow::Result<Verdict> {
    let seed = fuzz.seed.unwrap_or_else(|| clock::now().as_second().unsigned_abs());
    let start = clock::monotonic();
    let time = Duration::from_secs(60 * fuzz.minutes.unwrap_or(0));
    let runner = Runner::find();
    for round in 0_u64.. {
        if round > 0 && start.elapsed() >= time {
            println!(
                "{round} rounds, seeds {seed} to {}: nothing was found",
                seed.wrapping_add(round - 1)
            );
            break;
        }
        let seed = seed.wrapping_add(round);
        let Fuzz { times, names, .. } = fuzz;
        println!("round {}, seed {seed}, {times} times the inputs of the tests", round + 1);
        if !runner.passes(seed, *times, names)? {
            println!(
                "the smallest inputs that fail are above; `cargo xtask fuzz --times {times} --seed {seed} {}` \
                 finds them again. Each becomes a test that begins with its story.",
                names.join(" ")
            );
            return Ok(Verdict::No);
        }
    }
    Ok(Verdict::Yes)
}

/// What runs the tests: nextest where it is installed, else cargo's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    Nextest,
    Cargo,
}

impl Runner {
    fn find() -> Self {
        let mut version = Command::new(env!("CARGO"));
        version.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        match version.status().is_ok_and(|status| status.success()) {
            true => Self::Nextest,
            false => Self::Cargo,
        }
    }

    /// Whether every property holds for the inputs of a seed.
    fn passes(self, seed: u64, times: u32, names: &[String]) -> anyhow::Result<bool> {
        let mut command = Command::new(env!("CARGO"));
        command.args(self.arguments(names)).current_dir(gateway::root());
        command.env("PROPTEST_CASES", (times * USUAL).to_string());
        command.env("PROPTEST_RNG_SEED", seed.to_string());
        Ok(command.status().context("run cargo")?.success())
    }

    fn arguments(self, names: &[String]) -> Vec<String> {
        let crates =
            ["--workspace", "--exclude", "xtask", "--exclude", "sexton-sim", "--no-fail-fast"];
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match self {
            Self::Nextest => {
                let filter = own(&["--filterset", &filter(names)]);
                [own(&["nextest", "run"]), own(&crates), filter].concat()
            }
            Self::Cargo if names.is_empty() => {
                [own(&["test"]), own(&crates), own(&["--", MODULE])].concat()
            }
            Self::Cargo => [own(&["test"]), own(&crates), own(&["--"]), names.to_vec()].concat(),
        }
    }
}

/// The tests in modules of properties, as nextest asks for them.
fn filter(names: &[String]) -> String {
    if names.is_empty() {
        return format!("test({MODULE})");
    }
    let names: Vec<String> = names.iter().map(|name| format!("test({name})")).collect();
    format!("test({MODULE}) & ({})", names.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_those_in_modules_of_their_own_and_names_choose_among_them() {
        assert_eq!(filter(&[]), "test(fuzz::)");
        let names = ["cron".to_owned(), "http".to_owned()];
        assert_eq!(filter(&names), "test(fuzz::) & (test(cron) | test(http))");
        assert!(Runner::Cargo.arguments(&[]).ends_with(&["--".to_owned(), "fuzz::".to_owned()]));
    }
}
