//! `bench …`: what is measured, where, and how much of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sexton_domain::duration::Duration;

/// `bench`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Measures in a folder of its own, which is removed in the end, and touches no other \
    store. Every number is printed with its conditions. Exit code 6 when something was in the way."
)]
pub struct Bench {
    /// What to measure.
    #[command(subcommand)]
    pub measure: Measure,
    /// Where.
    #[command(flatten)]
    pub place: Place,
}

/// Where is measured.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Measure below this folder: name one on the disk of your store [default: /var/tmp]
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Copy this store, made by `bench fill`, where one of its size is to be filled
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub filled: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub enum Measure {
    /// Durable commits: how many a second, how long they take, how many share a wait for the disk
    Store(Store),
    /// How late slots are, how many runs there are in a minute, what one costs, and who has to wait
    Fire(Fire),
    /// How long a sweep takes, and what it costs whoever writes meanwhile
    Sweep(Sweep),
    /// What the size of the store does to an update, a list, a status and a claim
    List(List),
    /// Nothing but the conditions: the machine, its disk, and what else it has to do
    #[command(hide = true)]
    Conditions,
    /// Fill a store, for --filled
    #[command(hide = true)]
    Fill {
        /// The file; it must not exist
        file: PathBuf,
        /// How many sessions
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        sessions: u64,
    },
}

/// `bench store`
#[derive(Debug, Clone, Args)]
pub struct Store {
    /// Sessions that are in the store already
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub sessions: u64,
    /// How many write at once
    #[arg(long, value_delimiter = ',', value_parser = at_least_one, default_values_t = [1, 16, 256])]
    pub writers: Vec<usize>,
    /// Rounds; what is printed is their median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long each number of writers has its turn in a round
    #[arg(long, default_value = "1s")]
    pub slice: Duration,
}

/// `bench fire`
#[derive(Debug, Clone, Args)]
pub struct Fire {
    /// How many jobs are due in the same second
    #[arg(long, value_delimiter = ',', value_parser = at_least_one, default_values_t = [1, 100, 5_000])]
    pub jobs: Vec<usize>,
    /// How often a few jobs are due, one burst after the other, until a hundred slots were
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How many runs at once, as `[limits] runs`
    #[arg(long, default_value = "8", value_parser = at_least_one)]
    pub runs: usize,
    /// For how long thirty jobs want more than there is; 0s leaves that out
    #[arg(long, default_value = "20s")]
    pub contest: Duration,
}

/// `bench sweep`
#[derive(Debug, Clone, Args)]
pub struct Sweep {
    /// Sessions that stay
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub sessions: u64,
    /// Sessions that are archived and deleted
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub expired: u64,
    /// For how long is written before the sweep, to compare
    #[arg(long, default_value = "10s")]
    pub before: Duration,
}

/// `bench list`
#[derive(Debug, Clone, Args)]
pub struct List {
    /// The sizes of the stores that are compared
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u64).range(1..=10_000_000),
        default_values_t = [1_000, 10_000, 100_000]
    )]
    pub sessions: Vec<u64>,
    /// How often each thing is done
    #[arg(long, default_value = "500", value_parser = at_least_one)]
    pub looks: usize,
    /// How many write meanwhile, in the largest store
    #[arg(long, default_value = "256", value_parser = at_least_one)]
    pub writers: usize,
    /// For how long they write
    #[arg(long, default_value = "10s")]
    pub busy: Duration,
}

/// A number of things of which there is one at least, and no more than a machine could hold.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=100_000) => Ok(number),
        _ => Err("expected a number from 1 to 100000".to_owned()),
    }
}
