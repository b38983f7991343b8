//! A load: a recorded gateway that works, is written to, killed, stopped and started again. Whoever writes
//! marks what was acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Durability;
use super::config::{self, Jobs, NOTES};
use super::disk::Disk;
use super::image::{Image, Kind};
use super::mark::Mark;
use super::trace::{Recording, Trace};
use super::writers::Writers;
use crate::clock;
use crate::dice::Dice;
use crate::gateway::Gateway;
use crate::hooks::Envelope;
use crate::signature::Secret;
use crate::webhook::Webhook;

/// The recorded folder, below that of the gateway.
const DISK: &str = "disk";
/// The data folder, which the gateway itself makes.
const DATA: &str = "disk/data";
/// How much longer every wait for the disk takes, in milliseconds: far longer than an answer is on its way.
const DISK_MS: u64 = 50;
/// How long archives may take to go once their time is over.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The program.
    pub program: &'a Path,
    /// Where the trace is left.
    pub place: &'a Path,
    /// What the gateway is asked to survive.
    pub durability: Durability,
    /// Chooses what is written and when the gateway is killed.
    pub seed: u64,
    /// How often it is killed and stopped again.
    pub rounds: u32,
}

/// Records lives of a gateway, and returns the trace.
///
/// # Errors
///
/// When the gateway does not work, or the trace is not what happened to the folder.
pub fn record(plan: Plan<'_>) -> anyhow::Result<PathBuf> {
    let mut load = Load::new(plan)?;
    let recorded = load.lives().with_context(|| load.gateway.log_tail());
    load.writers.end();
    recorded?;
    load.compare()?;
    Ok(load.recording.path().to_owned())
}

struct Load<'a> {
    plan: Plan<'a>,
    gateway: Gateway,
    recording: Arc<Recording>,
    webhook: Webhook,
    writers: Writers,
    dice: Dice,
}

impl<'a> Load<'a> {
    fn new(plan: Plan<'a>) -> anyhow::Result<Self> {
        let mut dice = Dice(plan.seed);
        let gateway = Gateway::new(plan.program, &format!("power-{}", plan.durability), "")?;
        fs::create_dir_all(plan.place).context("make a place for the trace")?;
        let recording = Recording::begin(plan.place, &gateway.folder().join(DISK))?;
        let recording = Arc::new(recording);
        let gateway = gateway.with_data_in(DATA).with_environment(recording.environment());
        let gateway = gateway.with_environment([("SEXTON_FSYNC_MS", DISK_MS.to_string())]);
        let told = Arc::clone(&recording);
        let webhook = Webhook::open(Secret::draw(&mut dice), move |envelope: &Envelope| {
            let Envelope { event, .. } = envelope;
            let told = told.mark(&Mark::Told { event: event.id.clone(), seq: event.seq });
            if told.is_ok() { 204 } else { 500 }
        })?;
        let notes = gateway.folder().join(NOTES);
        let writers = Writers::begin(&recording, notes, dice.below(u64::MAX));
        Ok(Self { plan, gateway, recording, webhook, writers, dice })
    }

    fn lives(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.plan.rounds {
            self.start(Jobs::Enabled)?;
            self.work(2500);
            self.kill()?;
            self.start(Jobs::Enabled)?;
            self.work(1500);
            self.stop()?;
            self.start(Jobs::Disabled)?;
            self.wait_for_archives_to_go()?;
            self.kill()?;
        }
        self.start(Jobs::Enabled)?;
        self.work(1500);
        self.stop()
    }

    fn start(&mut self, jobs: Jobs) -> anyhow::Result<()> {
        let webhook = self.webhook.config();
        self.gateway.configure(&config::config(
            &self.gateway,
            self.plan.durability,
            jobs,
            &webhook,
        ))?;
        self.gateway.start()?;
        self.writers.turn_to(Some(self.gateway.client()?.clone()));
        Ok(())
    }

    fn work(&mut self, about_ms: u64) {
        clock::sleep(Duration::from_millis(about_ms / 2 + self.dice.below(about_ms)));
    }

    /// SIGKILL between two calls: what was done is recorded, to the last byte.
    fn kill(&mut self) -> anyhow::Result<()> {
        let gateway = &mut self.gateway;
        self.recording.still(|_| gateway.kill())?;
        self.writers.turn_to(None);
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let (_, status) = self.gateway.stop()?;
        self.writers.turn_to(None);
        ensure!(status.success(), "the gateway was asked to stop and ended with {status}");
        Ok(())
    }

    /// Without jobs and messages nothing new is archived: after a while segments go. The gateway is killed at
    /// once then, as it happened once between the removal of a file and the wait for its folder: the next
    /// life found no file, noted that it was gone for good, and after a power cut it was there again, a
    /// stranger for ever.
    fn wait_for_archives_to_go(&mut self) -> anyhow::Result<()> {
        self.writers.be_quiet(true);
        let folder = self.gateway.folder().join(DATA).join("archives");
        let count = || fs::read_dir(&folder).map_or(0, Iterator::count);
        let gone = clock::until(PATIENCE, || Ok(count() == 0))?;
        self.writers.be_quiet(false);
        ensure!(gone.is_some(), "archives do not go:\n{}", self.gateway.log_tail());
        Ok(())
    }

    /// The trace tells of every byte and every name that is there: nothing has slipped through.
    fn compare(&self) -> anyhow::Result<()> {
        let trace = Trace::read(self.recording.path())?;
        let mut disk = Disk::new(None);
        trace.calls.iter().try_for_each(|call| disk.apply(call))?;
        let seen = Image::draw(&disk, Kind::Everything, &mut self::Dice(0));
        // The index of the log is mapped, and agents write reports without being recorded.
        let is_left_out = |name: &str| name.ends_with("-shm") || name.contains("/runs/");
        seen.compare(self.recording.root(), is_left_out).context("the trace is not what happened")
    }
}
