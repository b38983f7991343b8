//! `Idempotency-Key`: repeated writes are answered as the first one was, and made once.

use serde_json::{Value, json};
use sexton_domain::access::IdempotencyKey;
use sexton_engine::handle::JobRef;
use sexton_engine::once::{Once, Standing};
use sexton_server::api::{Code, Job, Page, Run};
use sha2::{Digest, Sha256};

use crate::client::Answer;
use crate::world::World;

async fn post(world: &World, target: &str, key: &str, body: &Value) -> Answer {
    world.call("POST", target).header("idempotency-key", key).json(body).send().await
}

async fn runs(world: &World, job: &str) -> Vec<Run> {
    world.get(&format!("/v1/runs?job={job}")).await.is::<Page<Run>>(200).items
}

fn job(key: &str, prompt: &str) -> Value {
    json!({ "key": key, "agent": "echo", "at": "2100-01-01T00:00:00Z", "prompt": prompt })
}

/// The retry of a client that did not get its answer.
#[tokio::test]
async fn a_repeated_call_is_answered_as_the_first_one_and_not_made_again() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    let first = post(&world, "/v1/jobs/talk/run", "k", &json!({})).await;
    let run: Run = first.is(201);
    world.run_becomes(&run, sexton_server::api::RunState::Ended).await;
    let second = post(&world, "/v1/jobs/talk/run", "k", &json!({})).await;
    assert_eq!((second.status, &second.body), (201, &first.body));
    for header in ["location", "content-type"] {
        assert_eq!(second.header(header), first.header(header));
    }
    assert_eq!(runs(&world, "talk").await.len(), 1);
    post(&world, "/v1/jobs/talk/run", "other", &json!({})).await.is::<Run>(201);
    assert_eq!(runs(&world, "talk").await.len(), 2);

    // With everything else that a caller may rely on.
    let added = post(&world, "/v1/jobs", "k", &job("new", "hi")).await;
    assert_eq!((added.status, added.header("etag").is_empty()), (201, false));
    let again = post(&world, "/v1/jobs", "k", &job("new", "hi")).await;
    assert_eq!((again.status, again.header("etag")), (201, added.header("etag")));
}

/// P5: however many ask at once, it is made once.
#[tokio::test]
async fn twins_that_ask_at_the_same_time_get_the_same_run() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    for round in ["one", "two", "three"] {
        let (body, before) = (json!({}), runs(&world, "talk").await.len());
        let twins = (0..8).map(|_| post(&world, "/v1/jobs/talk/run", round, &body));
        let answers = futures_util::future::join_all(twins).await;
        let ids: std::collections::BTreeSet<String> = answers
            .iter()
            .map(|answer| {
                assert!((200..300).contains(&answer.status), "{answer:?}");
                serde_json::from_str::<Run>(&answer.body).unwrap().id.to_string()
            })
            .collect();
        assert_eq!((ids.len(), runs(&world, "talk").await.len()), (1, before + 1));
    }
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_with_another_route_it_is_another_key() {
    let world = World::new().await;
    world.job("one", "echo").await;
    world.job("two", "echo").await;
    post(&world, "/v1/jobs", "k", &job("new", "hi")).await.is::<Job>(201);
    let other = post(&world, "/v1/jobs", "k", &job("new", "changed")).await;
    let problem = other.problem(Code::IdempotencyKeyReused);
    assert_eq!((problem.status, problem.value.as_deref()), (422, Some("k")));
    let query = post(&world, "/v1/jobs?dry_run=true", "k", &job("new", "hi")).await;
    query.problem(Code::IdempotencyKeyReused);
    let kept: Job = world.get("/v1/jobs/new").await.is(200);
    assert_eq!(kept.spec.prompt.as_deref(), Some("hi"));
    // What changes nothing is told apart, too.
    post(&world, "/v1/jobs", "same", &job("new", "hi")).await.is::<Job>(200);
    post(&world, "/v1/jobs", "same", &job("new", "x")).await.problem(Code::IdempotencyKeyReused);
    for name in ["one", "two"] {
        post(&world, &format!("/v1/jobs/{name}/run"), "k", &json!({})).await.is::<Run>(201);
        assert_eq!(runs(&world, name).await.len(), 1);
    }
}

/// What was not made may be asked for again under the same key.
#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let world = World::new().await;
    post(&world, "/v1/jobs/late/run", "k", &json!({})).await.problem(Code::NotFound);
    world.job("late", "echo").await;
    post(&world, "/v1/jobs/late/run", "k", &json!({})).await.is::<Run>(201);
    assert_eq!(runs(&world, "late").await.len(), 1);
}

/// P5: the process dies, or the caller goes, after the commit and before the answer.
#[tokio::test]
async fn a_call_that_died_before_its_answer_is_answered_with_what_it_made() {
    let world = World::new().await;
    let added = world.job("talk", "echo").await;
    let made = |route: &str, body: &str| {
        let id = IdempotencyKey { token: None, route: route.to_owned(), key: "k".to_owned() };
        let hash = Sha256::digest([&b"\0"[..], body.as_bytes()].concat());
        let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Once::new(id, hash, world.handle.now())
    };
    let once = made("POST /v1/jobs/talk/run", "{}");
    let run = once.scope(world.handle.run_job(&JobRef::Id(added.id))).await.unwrap();
    assert_eq!(once.standing(), Standing::Made);
    let answer = post(&world, "/v1/jobs/talk/run", "k", &json!({})).await;
    assert_eq!(answer.is::<Run>(200).id, run.id);
    assert_eq!(runs(&world, "talk").await.len(), 1);
    post(&world, "/v1/jobs/talk/run", "k", &json!({ "x": 1 }))
        .await
        .problem(Code::IdempotencyKeyReused);

    let once = made("POST /v1/jobs/talk/disable", "{}");
    once.scope(world.handle.disable_job(&JobRef::Id(added.id))).await.unwrap();
    let answer = post(&world, "/v1/jobs/talk/disable", "k", &json!({})).await;
    assert!(answer.is::<Job>(200).suspension.is_some());
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_and_reads_do_not_care() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    for key in ["a b", &"x".repeat(256), "\u{fc}"] {
        let refused = post(&world, "/v1/jobs/talk/run", key, &json!({})).await;
        assert_eq!(refused.problem(Code::InvalidHeader).field.as_deref(), Some("idempotency-key"));
    }
    assert_eq!(runs(&world, "talk").await.len(), 0);
    for _ in 0..2 {
        let list = world.call("GET", "/v1/runs").header("idempotency-key", "k").send().await;
        list.is::<Page<Run>>(200);
        world.job(&format!("j{}", world.handle.now().as_nanosecond()), "echo").await;
    }
}
