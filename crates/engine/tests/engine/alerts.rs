//! Alerts of a whole node: raised once, cleared once, told to hooks, and still there after a restart.

use std::time::Duration;

use sexton_domain::alert::AlertCode;
use sexton_domain::duration;
use sexton_domain::event::EventType::{self, AlertCleared, AlertRaised, SessionEnded};
use sexton_domain::job::{AUTO_DISABLE_AFTER, Misfire, Overlap, Spec};
use sexton_domain::node::EndReason;
use sexton_domain::plan::jobs::Empty;
use sexton_domain::schedule::Schedule;
use sexton_engine::settings::{Settings, Way};

use crate::mailbox::Then;
use crate::support::{Node, World};

const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
}

async fn told(node: &Node, kind: EventType) -> usize {
    node.events().await.iter().filter(|event| event.fact.kind == kind).count()
}

async fn active(node: &Node) -> Vec<AlertCode> {
    node.handle.status().await.unwrap().alerts.iter().map(|alert| alert.key.code).collect()
}

#[tokio::test]
async fn a_failing_job_raises_one_alert_and_clears_it_when_it_ends_well() {
    let keep = ["sh", "-c", "cat >> heard; echo >> heard"];
    let world = World::new()
        .agent("a", "[ -e well ]")
        .hook("h", &[AlertRaised, AlertCleared])
        .tell("h", |hook| hook.way = Way::Command(keep.map(str::to_owned).to_vec()));
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    assert_eq!(active(&node).await, []);
    node.run(&job).await;
    eventually("the alert is raised", async || told(&node, AlertRaised).await == 1).await;
    assert_eq!(active(&node).await, [AlertCode::JobFailing]);

    // It is stored: the next life goes on with it and does not tell it again.
    node.stop(EndReason::Restart).await;
    let node = world.start().await;
    assert_eq!(active(&node).await, [AlertCode::JobFailing]);
    node.run(&job).await;
    let message = async || node.handle.alerts(1).await.unwrap().remove(0).message;
    eventually("the next look", async || message().await.contains("failed 3 times")).await;
    assert_eq!(told(&node, AlertRaised).await, 1);

    std::fs::write(world.file("well"), "").unwrap();
    node.run(&job).await;
    eventually("the alert is cleared", async || told(&node, AlertCleared).await == 1).await;
    assert_eq!(active(&node).await, []);

    // Back within the cooldown: it is there, and nobody is told again.
    std::fs::remove_file(world.file("well")).unwrap();
    node.run(&job).await;
    node.run(&job).await;
    eventually("the alert is back", async || active(&node).await.len() == 1).await;
    assert_eq!((told(&node, AlertRaised).await, told(&node, AlertCleared).await), (1, 1));

    let heard = async || std::fs::read_to_string(world.file("heard")).unwrap_or_default();
    eventually("the hook hears both", async || heard().await.lines().count() == 2).await;
    let heard = heard().await;
    assert!(
        heard.contains("\"code\":\"job_failing\"") && heard.contains("alert.cleared"),
        "{heard}"
    );
    node.stop(EndReason::Shutdown).await;
}

/// Waits until an alert is active and its event is in the log, and returns its message.
async fn raised(node: &Node, code: AlertCode) -> String {
    eventually(&format!("{code:?} is raised"), async || active(node).await.contains(&code)).await;
    assert_eq!(told_of(node, AlertRaised, code).await, 1, "{code:?}");
    let alerts = node.handle.status().await.unwrap().alerts;
    alerts.into_iter().find(|alert| alert.key.code == code).unwrap().message
}

/// Waits until an alert is over, and its event is in the log.
async fn cleared(node: &Node, code: AlertCode) {
    eventually(&format!("{code:?} is cleared"), async || !active(node).await.contains(&code)).await;
    assert_eq!(told_of(node, AlertCleared, code).await, 1, "{code:?}");
}

async fn told_of(node: &Node, kind: EventType, code: AlertCode) -> usize {
    let code = serde_json::to_value(code).unwrap();
    let events = node.events().await;
    let told = events.iter().filter(|it| it.fact.kind == kind && it.fact.data["code"] == code);
    told.count()
}

#[tokio::test]
async fn dead_letters_are_an_alert_until_they_are_sent_again() {
    let world = World::new()
        .agent("a", "true")
        .hook("h", &[SessionEnded])
        .tell("h", |hook| hook.subscription.max_attempts = 1);
    world.mailbox.behave("h", |_| Then::Refuse);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let message = raised(&node, AlertCode::DeadLetters).await;
    assert!(message.contains("1 deliveries to hook h"), "{message}");
    world.mailbox.behave("h", |_| Then::Take);
    let dead = node.deliveries("h").await.remove(0);
    node.handle.redeliver(dead.id).await.unwrap();
    cleared(&node, AlertCode::DeadLetters).await;
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_job_that_fails_ten_times_is_disabled_and_an_alert_until_it_is_enabled() {
    let world = World::new().agent("a", "false");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    for _ in 0..AUTO_DISABLE_AFTER {
        node.run(&job).await;
    }
    let message = raised(&node, AlertCode::JobAutoDisabled).await;
    assert!(message.contains("`sexton job enable j`"), "{message}");
    node.handle.enable_job(&job).await.unwrap();
    cleared(&node, AlertCode::JobAutoDisabled).await;
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn slots_that_were_missed_are_an_alert_until_the_job_ends_well() {
    let world = World::new().agent("a", "true");
    let node = world.start().await;
    let hourly = |spec: &mut Spec| {
        let every = duration::Duration::from_secs(3600);
        let anchor = "2026-01-01T00:00:00Z".parse().unwrap();
        (spec.schedule, spec.misfire) = (Schedule::Every { every, anchor }, Misfire::Skip);
    };
    let job = node.job("j", "a", hourly).await;
    node.stop(EndReason::Shutdown).await;
    world.clock.forward(Duration::from_secs(2 * 3600 + 600));
    let node = world.start().await;
    let message = raised(&node, AlertCode::JobMissed).await;
    assert!(message.contains("job j missed "), "{message}");
    node.run(&job).await;
    cleared(&node, AlertCode::JobMissed).await;
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_job_that_is_replaced_again_and_again_is_an_alert() {
    let world = World::new().agent("a", "exec sleep 600");
    let node = world.start().await;
    let busy = |spec: &mut Spec| {
        let anchor = "2026-01-01T00:00:00Z".parse().unwrap();
        spec.schedule = Schedule::Every { every: duration::Duration::from_secs(1), anchor };
        spec.overlap = Overlap::Replace;
    };
    node.job("j", "a", busy).await;
    let message = raised(&node, AlertCode::ReplaceLimit).await;
    assert!(message.contains("job j was replaced 3 times in a row"), "{message}");
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_store_beyond_its_threshold_is_an_alert_until_that_is_raised() {
    let world = World::new().agent("a", "true");
    let node = world.start().await;
    let alarm = async |store_alarm_bytes| {
        let settings = (*node.handle.settings().unwrap()).clone();
        let settings = Settings { store_alarm_bytes, ..settings };
        node.handle.reload("config", &[], Empty::Allow, settings).await.unwrap();
        // The next look, without a minute's wait.
        world.clock.forward(Duration::from_secs(60));
    };
    alarm(1).await;
    let message = raised(&node, AlertCode::StoreSize).await;
    assert!(message.contains("`[store] alarm`"), "{message}");
    alarm(u64::MAX).await;
    cleared(&node, AlertCode::StoreSize).await;
    node.stop(EndReason::Shutdown).await;
}
