//! Reading: status, nodes, runs, sessions, transcripts, and pages of them.

use serde_json::json;
use sexton_domain::key::SessionKind;
use sexton_domain::run::{Cause, Outcome};
use sexton_domain::session::EndReason;
use sexton_server::api::{
    Code, Entry, Job, Node, Page, Phase, Run, RunState, Session, Status, StopReason, Stopping,
};

use crate::world::World;

#[tokio::test]
async fn a_run_its_session_and_its_transcript_tell_the_same_story() {
    let world = World::new().await;
    let job = world.job("talk", "echo").await;
    let detail = world.run("talk", RunState::Ended).await;
    let run = &detail.run;
    assert_eq!((run.outcome, run.cause), (Some(Outcome::Ok), Cause::Manual));
    assert_eq!((run.job_id, run.attempt), (Some(job.id), 1));
    assert_eq!(detail.prompt.as_deref(), Some("hi"));
    assert_eq!(detail.output.as_deref(), Some("hi"));
    assert!(detail.timeline.is_sorted_by_key(|entry| entry.at));
    let story: Vec<&str> = detail.timeline.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(story, ["attempt 1 was made (manual)", "it was started", "it ended ok (exit)"]);

    let id = run.session_id.unwrap();
    let session: Session = world.get(&format!("/v1/sessions/{id}")).await.is(200);
    assert_eq!((session.run_id, session.kind), (Some(run.id), SessionKind::Run));
    assert_eq!((session.open, session.reason), (false, Some(EndReason::Completed)));
    assert_eq!(session.ended_at, run.ended_at);

    let all: Page<Entry> = world.get(&session.transcript).await.is(200);
    let texts: Vec<&str> = all.items.iter().map(|entry| entry.content.as_str()).collect();
    assert_eq!((texts, all.next), (vec!["hi", "hi"], None));
    let first: Page<Entry> = world.get(&format!("{}?limit=1", session.transcript)).await.is(200);
    assert_eq!((first.items[0].seq, first.next.as_deref()), (1, Some("1")));
    let second: Page<Entry> =
        world.get(&format!("{}?after=1&limit=1", session.transcript)).await.is(200);
    assert_eq!((second.items[0].seq, second.next), (2, None));
    world.get(&format!("{}?after=x", session.transcript)).await.problem(Code::InvalidParameter);
}

#[tokio::test]
async fn sessions_of_runs_show_only_where_they_are_asked_for() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    let run = world.run("talk", RunState::Ended).await.run;
    let count = async |query: &str| {
        world.get(&format!("/v1/sessions{query}")).await.is::<Page<Session>>(200).items.len()
    };
    assert_eq!(count("").await, 0);
    assert_eq!(count("?kind=main,chat").await, 0);
    let asked = ["?kind=run", "?kind=all", "?kind=main,run", "?job=talk", "?kind=all&open=false"];
    for query in asked {
        assert_eq!(count(query).await, 1, "{query}");
    }
    let key = run.session_key.as_str().replace(':', "%3A");
    assert_eq!(count(&format!("?key={key}")).await, 1);
    assert_eq!(count("?kind=all&reason=completed&agent=echo&since=1h").await, 1);
    assert_eq!(count("?kind=all&open=true").await, 0);
    assert_eq!(count("?kind=all&since=2100-01-01T00:00:00Z").await, 0);
}

#[tokio::test]
async fn lists_are_newest_first_and_their_pages_join_without_loss() {
    let world = World::new().await;
    for index in 0..7 {
        world.job(&format!("job-{index}"), "echo").await;
        world.run(&format!("job-{index}"), RunState::Ended).await;
    }
    let mut keys = Vec::new();
    let mut target = "/v1/jobs?limit=3".to_owned();
    loop {
        let page: Page<Job> = world.get(&target).await.is(200);
        assert!(page.items.iter().all(|job| job.spec.prompt.is_none()), "lists leave prompts out");
        keys.extend(page.items.iter().map(|job| job.key.to_string()));
        let Some(next) = page.next else { break };
        target = format!("/v1/jobs?limit=3&cursor={next}");
    }
    assert_eq!(keys, (0..7).rev().map(|index| format!("job-{index}")).collect::<Vec<_>>());

    let runs =
        async |query: &str| world.get(&format!("/v1/runs{query}")).await.is::<Page<Run>>(200);
    let first = runs("?limit=5").await;
    let rest = runs(&format!("?limit=5&cursor={}", first.next.unwrap())).await;
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (5, 2, None));
    assert_eq!(runs("?job=job-3&state=ended&outcome=ok&agent=echo&since=1h").await.items.len(), 1);
    assert_eq!(runs("?outcome=failed").await.items.len(), 0);
    assert_eq!(runs("?until=1h").await.items.len(), 0);
}

#[tokio::test]
async fn the_status_counts_what_there_is() {
    let world = World::new().await;
    world.job("later", "echo").await;
    world.job("long", "hang").await;
    let run = world.run("long", RunState::Running).await.run;
    let status: Status = world.get("/v1/status").await.is(200);
    assert_eq!((status.phase, status.jobs, status.ownerless), (Phase::Ready, 2, 0));
    assert_eq!(status.running.iter().map(|run| run.id).collect::<Vec<_>>(), [run.id]);
    assert_eq!((status.sessions[0].kind, status.sessions[0].open), (SessionKind::Run, 1));
    assert_eq!((status.runs[0].state, status.runs[0].count), (RunState::Running, 1));
    assert_eq!(status.next.len(), 2);
    let nodes: Page<Node> = world.get("/v1/nodes").await.is(200);
    assert_eq!(status.node.unwrap().id, nodes.items[0].id);
    assert_eq!((nodes.items.len(), nodes.items[0].pid), (1, 4711));
    world.stop().await;
}

#[tokio::test]
async fn a_stop_is_accepted_once_and_for_all_and_ends_what_runs() {
    let world = World::new().await;
    world.job("long", "hang").await;
    world.run("long", RunState::Running).await;
    let body = json!({ "reason": StopReason::Restart });
    let stopping: Stopping = world.post("/v1/stop", &body).await.is(202);
    assert_eq!(stopping.phase, Phase::Draining);
    world.post("/v1/stop", &body).await.is::<Stopping>(202);
    let problem = world.get("/readyz").await.problem(Code::NotReady);
    assert!(problem.detail.contains("draining") || problem.detail.contains("stopped"));
    let answer = world.post("/v1/jobs/long/run", &json!({})).await;
    assert_eq!(answer.problem(Code::NotReady).status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    world.stop().await;
}
