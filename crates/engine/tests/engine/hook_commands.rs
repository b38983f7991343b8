//! Command hooks: real processes that acknowledge with their exit.

use std::process::Stdio;
use std::time::Duration;

use sexton_domain::duration;
use sexton_domain::event::EventType::{SessionEnded, SessionStarted};
use sexton_domain::node::EndReason;
use sexton_engine::handle::Switch;
use sexton_engine::settings::{HookSettings, Way};

use crate::mailbox::eventually;
use crate::support::{World, appears};

fn command(argv: &[&str]) -> impl FnOnce(&mut HookSettings) + use<> {
    let argv = argv.iter().map(ToString::to_string).collect();
    move |hook| hook.way = Way::Command(argv)
}

fn script(script: &str) -> impl FnOnce(&mut HookSettings) + use<> {
    command(&["sh", "-c", script])
}

/// P3: the same JSON as a webhook's body on stdin, a small clean environment, and exit 0 acknowledges.
#[tokio::test]
async fn a_command_gets_the_envelope_on_stdin_and_acknowledges_with_its_exit() {
    let keep = "cat >> heard; echo >> heard; echo $SEXTON_EVENT_TYPE >> kinds; env > env";
    let world = World::new()
        .agent("a", "true")
        .hook("h", &[SessionStarted, SessionEnded])
        .tell("h", script(keep));
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let told = node.told("h", 2).await;
    let read = |name: &str| std::fs::read_to_string(world.file(name)).unwrap();
    assert_eq!(read("kinds"), "session.started\nsession.ended\n");
    let heard = read("heard");
    let ended: serde_json::Value = serde_json::from_str(heard.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&ended["type"], &ended["data"]["reason"]),
        (&"session.ended".into(), &"completed".into())
    );
    let env = read("env");
    let event = ended["id"].as_str().unwrap();
    for wanted in [
        format!("SEXTON_EVENT_ID={event}"),
        "SEXTON_EVENT_TYPE=session.ended".to_owned(),
        format!("SEXTON_RUN_ID={}", told[1].id),
    ] {
        assert!(env.lines().any(|line| line == wanted), "{wanted} is not in {env}");
    }
    assert!(!env.contains("CARGO"), "nothing else of the gateway's environment: {env}");
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_command_that_fails_or_cannot_be_started_says_why() {
    let world = World::new()
        .agent("a", "true")
        .hook("fails", &[SessionEnded])
        .tell("fails", script("echo early >&2; echo no room >&2; exit 3"))
        .hook("missing", &[SessionEnded])
        .tell("missing", command(&["/no/such/hook"]))
        .hook("works", &[SessionEnded]);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.told("works", 1).await;
    let error = |hook: &'static str| {
        let node = &node;
        async move {
            let all = node.deliveries_become(hook, |all| all[0].attempts > 0).await;
            all[0].last_error.clone().unwrap()
        }
    };
    assert_eq!(error("fails").await, "exit code 3: early\nno room");
    let missing = error("missing").await;
    assert!(missing.contains("/no/such/hook"), "{missing}");
    node.stop(EndReason::Shutdown).await;
}

/// P4, P10: what hangs is stopped with everything it started, and what floods is drained.
#[tokio::test]
async fn a_command_that_hangs_is_stopped_and_its_tree_is_dead() {
    let hangs = "trap '' TERM; setsid sh -c 'echo $$ > pid; while :; do sleep 1000; done' &
        while :; do sleep 1000; done";
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", |hook| {
        script(hangs)(hook);
        hook.timeout = duration::Duration::from_millis(300);
        hook.subscription.max_attempts = 1;
    });
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let all = node.deliveries_become("h", |all| all[0].state.name() == "dead").await;
    assert_eq!(all[0].last_error.as_deref(), Some("no answer within 300ms"));
    let pid = std::fs::read_to_string(world.file("pid")).unwrap();
    let proc = std::path::Path::new("/proc").join(pid.trim());
    assert!(!proc.exists(), "{} lives", proc.display());
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_command_that_floods_its_output_is_drained_and_acknowledges() {
    let floods = "head -c 30000000 /dev/zero; yes garbage | head -c 1000000 | tee /dev/stderr";
    let world =
        World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", script(floods));
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.told("h", 1).await;
    node.stop(EndReason::Shutdown).await;
}

/// P4: what a killed gateway left of a hook's command is killed at the next start; nothing else is.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn survivors_of_a_hook_are_killed_at_the_next_start() {
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]);
    let node = world.start().await;
    node.handle.switch_hook(&"h".parse().unwrap(), Switch::Off).await.unwrap();
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let delivery = node.deliveries("h").await[0].id;
    node.stop(EndReason::Shutdown).await;
    let start = |run: String| {
        let mut command = std::process::Command::new("sleep");
        command.arg("1000").env("SEXTON_RUN_ID", run).stdout(Stdio::null()).spawn().unwrap()
    };
    let mut ours = start(delivery.to_string());
    let mut theirs = start(uuid::Uuid::from_u128(77).to_string());
    let node = world.start().await;
    assert!(ours.try_wait().unwrap().is_some(), "it is dead before anything is delivered");
    assert!(theirs.try_wait().unwrap().is_none(), "another store's is not ours to kill");
    theirs.kill().unwrap();
    theirs.wait().unwrap();
    node.stop(EndReason::Shutdown).await;
}

/// P9: a stop is not stretched by a command that never ends; its delivery is still pending after it.
#[tokio::test]
async fn a_stop_cuts_a_command_off_and_counts_no_try() {
    let world = World::new()
        .agent("a", "true")
        .hook("h", &[SessionEnded])
        .tell("h", script("touch up; while :; do sleep 1000; done"))
        .tell("h", |hook| hook.timeout = duration::Duration::from_secs(60));
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    appears(&world.file("up")).await;
    let handle = node.handle.clone();
    let stop = tokio::time::timeout(Duration::from_secs(15), node.stop(EndReason::Shutdown));
    stop.await.expect("the stop is bounded");
    drop(handle);
    std::fs::remove_file(world.file("up")).unwrap();
    let node = world.start().await;
    eventually("it is tried again", || world.file("up").exists()).await;
    assert_eq!(node.deliveries("h").await[0].attempts, 0);
    node.stop(EndReason::Shutdown).await;
}
