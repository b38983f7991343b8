//! Alerts: what needs a look, as conditions over what is stored now, and what follows when one begins
//! or ends. Level-triggered: nothing has to be remembered by who caused it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::alert::{Alert, AlertCode, AlertKey};
use crate::change::{Decision, Version};
use crate::duration::Duration;
use crate::event::{EventType, Subject};
use crate::job::{FAILING_STREAK, Job, SuspendedBy};
use crate::name::HookName;
use crate::node::Epoch;
use crate::plan::Moment;
use crate::plan::admission::CatchUp;
use crate::plan::reconcile::{BOOT_LOOP, STABLE_AFTER, UNNOTICED_JUMP};
use crate::plan::slots::MAX_REPLACED;
use crate::sweep::Fault;

/// An alert that comes back this soon after it was cleared is active, but not told at once: only when it
/// has stayed for as long.
pub const COOLDOWN: Duration = Duration::from_secs(3600);
/// Less free disk than this is low, whatever the size of the store.
pub const LOW_DISK_BYTES: u64 = 1 << 30;
/// A store that is larger raises an alert where the config says nothing.
pub const STORE_ALARM_BYTES: u64 = 10 << 30;
/// A session is not overdue before the reaper had time for so many sweeps.
const SWEEPS: u64 = 2;

/// What the conditions look at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// This life of the node.
    pub epoch: Epoch,
    /// Jobs that are troubled.
    pub jobs: &'a [Job],
    /// Deliveries that were given up, by hook; hooks that were removed are left out.
    pub dead: &'a BTreeMap<HookName, u64>,
    /// Sessions that are overdue, none before [`has_swept`].
    pub overdue: u64,
    /// Until when nothing is deleted, if that is still to come.
    pub deletion_held_until: Option<Timestamp>,
    /// Whether this node's start was one of many.
    pub catch_up: CatchUp,
    /// The disk.
    pub space: Space,
    /// What is wrong with the archives.
    pub faults: &'a [Fault],
}

/// What the store occupies, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the database and its log.
    pub store_bytes: u64,
    /// Bytes of the log alone: they are written a second time when it is taken over.
    pub log_bytes: u64,
    /// Bytes free on its disk, where the system tells.
    pub free_bytes: Option<u64>,
    /// How large the store may become.
    pub alarm_bytes: u64,
}

impl Space {
    /// How much has to be free: a floor, or what taking over the log and a tenth of growth need.
    pub fn needed_bytes(&self) -> u64 {
        LOW_DISK_BYTES.max(self.log_bytes.saturating_add(self.store_bytes / 10))
    }
}

/// How long it takes at most until what is due is looked at.
pub fn sweeps(sweep_every: Duration) -> Duration {
    sweep_every.saturating_mul(SWEEPS)
}

/// Whether there was time for two sweeps, and for what a wall clock may say too much, while nothing kept
/// the reaper from its work for so long: what is due before that is not overdue.
pub fn has_swept(able_for: Duration, sweep_every: Duration) -> bool {
    able_for >= sweeps(sweep_every).saturating_add(UNNOTICED_JUMP)
}

/// Something that needs a look now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// For people: what it is and what to do.
    pub message: String,
    /// About what.
    pub subject: Subject,
}

/// Everything that needs a look at a moment.
pub type Conditions = BTreeMap<AlertKey, Condition>;

/// Everything that needs a look now.
pub fn conditions(snapshot: Snapshot<'_>) -> Conditions {
    let mut conditions = Conditions::new();
    for job in snapshot.jobs {
        conditions.extend(of_job(job));
    }
    conditions.extend(of_hooks(snapshot.dead));
    conditions.extend(of_node(snapshot));
    conditions.extend(of_space(snapshot.space));
    for Fault { segment, message } in snapshot.faults {
        let message = format!("archives: {message}; see `sexton archive verify`");
        conditions.extend([condition(AlertCode::Archives, segment, message, Subject::default())]);
    }
    conditions
}

fn condition(
    code: AlertCode,
    about: &str,
    message: String,
    subject: Subject,
) -> (AlertKey, Condition) {
    (AlertKey { code, about: about.to_owned() }, Condition { message, subject })
}

/// A job that an operator has taken off its schedule needs no look.
fn of_job(job: &Job) -> Vec<(AlertKey, Condition)> {
    let by = job.suspension.map(|suspension| suspension.by);
    if !job.spec.enabled || by == Some(SuspendedBy::Operator) || job.removed_at.is_some() {
        return Vec::new();
    }
    let (key, counters) = (&job.key, job.counters);
    let subject = Subject { job: Some(job.id), ..Subject::default() };
    let found = [
        (counters.failing_streak >= FAILING_STREAK).then(|| {
            let message = format!(
                "job {key} failed {} times in a row; see `sexton run list --job {key}`",
                counters.failing_streak
            );
            (AlertCode::JobFailing, message)
        }),
        (by == Some(SuspendedBy::AutoDisable)).then(|| {
            let message = format!(
                "job {key} failed so often that it was disabled; `sexton job enable {key}` brings it back"
            );
            (AlertCode::JobAutoDisabled, message)
        }),
        (counters.missed_streak > 0).then(|| {
            let message = format!(
                "job {key} missed {} since it last ended well; see `sexton run list --job {key} --outcome missed`",
                slots(counters.missed_streak)
            );
            (AlertCode::JobMissed, message)
        }),
        (counters.replaced_streak >= MAX_REPLACED).then(|| {
            let message = format!(
                "job {key} was replaced {} times in a row before it could finish; its slots are skipped \
                 until it has",
                counters.replaced_streak
            );
            (AlertCode::ReplaceLimit, message)
        }),
    ];
    let about = job.id.to_string();
    let found = found.into_iter().flatten();
    found.map(|(code, message)| condition(code, &about, message, subject)).collect()
}

fn slots(count: u64) -> String {
    if count == 1 { "a slot".to_owned() } else { format!("{count} slots") }
}

fn of_hooks(dead: &BTreeMap<HookName, u64>) -> impl Iterator<Item = (AlertKey, Condition)> {
    dead.iter().filter(|(_, count)| **count > 0).map(|(hook, count)| {
        let message = format!(
            "{count} deliveries to hook {hook} were given up; see `sexton hook deliveries --hook {hook} --state dead`"
        );
        condition(AlertCode::DeadLetters, hook.as_str(), message, Subject::default())
    })
}

fn of_node(snapshot: Snapshot<'_>) -> Vec<(AlertKey, Condition)> {
    let subject = Subject { epoch: Some(snapshot.epoch), ..Subject::default() };
    let found = [
        (snapshot.overdue > 0).then(|| {
            let message = format!(
                "{} sessions are overdue and nothing says why; see `sexton sweep --dry-run --explain`",
                snapshot.overdue
            );
            (AlertCode::Overdue, message)
        }),
        snapshot.deletion_held_until.map(|until| {
            let message =
                format!("the wall clock jumped: nothing is deleted before {until}; check the machine's time");
            (AlertCode::ClockJump, message)
        }),
        (snapshot.catch_up == CatchUp::Paused).then(|| {
            let message = format!(
                "the gateway died {BOOT_LOOP} times within a minute of its start; passed slots are made up \
                 for after it has been up for {STABLE_AFTER}"
            );
            (AlertCode::BootLoop, message)
        }),
    ];
    let found = found.into_iter().flatten();
    found.map(|(code, message)| condition(code, "", message, subject)).collect()
}

fn of_space(space: Space) -> Vec<(AlertKey, Condition)> {
    let needed = space.needed_bytes();
    let found = [
        (space.store_bytes > space.alarm_bytes).then(|| {
            let message = format!(
                "the store has {}, more than the {} of `[store] alarm`; keep less (`[retention]`), or raise it",
                gibibytes(space.store_bytes),
                gibibytes(space.alarm_bytes)
            );
            (AlertCode::StoreSize, message)
        }),
        space.free_bytes.filter(|free| *free < needed).map(|free| {
            let message = format!(
                "only {} free on the disk of the store, {} are needed; make room before writes fail",
                gibibytes(free),
                gibibytes(needed)
            );
            (AlertCode::LowDisk, message)
        }),
    ];
    let found = found.into_iter().flatten();
    found.map(|(code, message)| condition(code, "", message, Subject::default())).collect()
}

/// Coarse: a message that changes is stored anew.
fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// What follows from the conditions of now. `stored` holds the active alerts, and for each condition that
/// is not among them the alert of its key, if there ever was one. What stays as it was changes nothing.
pub fn follow(conditions: &Conditions, stored: &[Alert], moment: &mut Moment) -> Decision {
    let stored: BTreeMap<&AlertKey, &Alert> =
        stored.iter().map(|alert| (&alert.key, alert)).collect();
    let mut decision = Decision::default();
    for (key, condition) in conditions {
        decision.merge(holds(key, condition, stored.get(key).copied(), moment));
    }
    let over = |alert: &&&Alert| alert.is_active() && !conditions.contains_key(&alert.key);
    for alert in stored.values().filter(over) {
        let cleared = Alert { cleared_at: Some(moment.now), ..(*alert).clone() };
        if cleared.told {
            decision.change(moment.tell().alert(EventType::AlertCleared, &cleared));
        }
        decision.change(cleared);
    }
    decision
}

/// A condition holds: its alert is raised, told, or brought up to date.
fn holds(
    key: &AlertKey,
    condition: &Condition,
    stored: Option<&Alert>,
    moment: &mut Moment,
) -> Decision {
    let now = moment.now;
    let Condition { message, subject } = condition.clone();
    let active = stored.filter(|alert| alert.is_active());
    let rested = |since: Timestamp| COOLDOWN.after(since) <= now;
    let alert = Alert {
        key: key.clone(),
        message,
        subject,
        raised_at: active.map_or(now, |alert| alert.raised_at),
        cleared_at: None,
        told: match (active, stored.and_then(|alert| alert.cleared_at)) {
            (Some(alert), _) => alert.told || rested(alert.raised_at),
            (None, Some(cleared_at)) => rested(cleared_at),
            (None, None) => true,
        },
        version: stored.map_or(Version::NEW, |alert| alert.version),
    };
    let mut decision = Decision::default();
    if alert.told && !active.is_some_and(|alert| alert.told) {
        decision.change(moment.tell().alert(EventType::AlertRaised, &alert));
    }
    if active != Some(&alert) {
        decision.change(alert);
    }
    decision
}

#[cfg(test)]
mod tests;
