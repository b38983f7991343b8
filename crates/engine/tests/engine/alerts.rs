//! Alerts of a whole node: raised once, cleared once, told to hooks, and still there after a restart.

use std::time::Duration;

use sexton_domain::alert::AlertCode;
use sexton_domain::event::EventType::{self, AlertCleared, AlertRaised};
use sexton_domain::node::EndReason;
use sexton_engine::settings::Way;

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
