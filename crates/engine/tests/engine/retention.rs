//! What a whole node keeps and for how long, from the run to the last record of its job.

use std::time::Duration;

use sexton_domain::change::RecordId;
use sexton_domain::duration::Keep;
use sexton_domain::job::{Retain, Retention};
use sexton_domain::node::EndReason;
use sexton_domain::run::Outcome;
use sexton_domain::session::Session;

use crate::support::{Node, PATIENCE, World, appears};

const DAY: u64 = 24 * 3600;

async fn sweep(node: &Node) {
    let swept = async { while node.handle.sweep().await.unwrap().is_none() {} };
    tokio::time::timeout(PATIENCE, swept).await.expect("a sweep comes to its end");
}

async fn has(node: &Node, id: RecordId) -> bool {
    node.store.read().get(id).await.unwrap().is_some()
}

/// P6: a job that is removed while its run runs keeps its word until the last of its sessions is gone: the run
/// ends by itself, its session stays for as long as the job said, and then the job's tombstone goes, too.
#[tokio::test]
async fn a_job_that_is_removed_under_its_run_is_remembered_until_its_session_is_gone() {
    let world = World::new()
        .agent("a", "touch up; while [ ! -e go ]; do sleep 0.02; done; echo done")
        .agent("b", "true");
    let node = world.start().await;
    let longer = Retention {
        retain: Some(Retain::Keep(Keep::For("40d".parse().unwrap()))),
        ..Retention::default()
    };
    let job = node.job("j", "a", |spec| spec.retention = longer).await;
    let other = node.job("other", "b", |_| {}).await;
    let run = node.handle.run_job(&job).await.unwrap();
    appears(&world.file("up")).await;
    let removed = node.handle.remove_job(&job, None).await.unwrap();
    assert!(removed.removed_at.is_some());
    assert!(node.handle.run(run.id).await.unwrap().owner().is_some(), "it runs on");
    std::fs::write(world.file("go"), "").unwrap();
    let run = node.ended(run.id).await;
    assert_eq!(run.outcome(), Some(Outcome::Ok));
    let session: Session = node.session_of(&run).await;
    assert!(!session.is_open());
    let of_other = node.run(&other).await.session.unwrap();

    // By the policy of its kind it would have gone after a day.
    world.clock.forward(Duration::from_secs(2 * DAY));
    sweep(&node).await;
    assert!(!has(&node, RecordId::Session(of_other)).await);
    assert!(has(&node, RecordId::Session(session.id)).await);
    // Tombstones go after 30 days, but not before the last session that is judged by them.
    world.clock.forward(Duration::from_secs(33 * DAY));
    sweep(&node).await;
    assert!(has(&node, RecordId::Session(session.id)).await);
    assert!(has(&node, RecordId::Job(removed.id)).await);
    world.clock.forward(Duration::from_secs(6 * DAY));
    sweep(&node).await;
    assert!(!has(&node, RecordId::Session(session.id)).await);
    assert!(!has(&node, RecordId::Job(removed.id)).await);
    let archived = node.handle.archived_entries(session.id, 0, 10).await.unwrap();
    assert!(archived.iter().any(|entry| entry.content.contains("done")), "{archived:?}");
    node.stop(EndReason::Shutdown).await;
}
