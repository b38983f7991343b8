//! Bad input gets an error that names what is wrong, what it was and what is accepted, and it
//! changes nothing.

use serde_json::{Value, json};
use sexton_server::api::{Code, Job, Page, Problem};

use crate::world::World;

/// The problem with a job that is fine but for these fields.
async fn refused(world: &World, fields: Value) -> Problem {
    let mut body = json!({ "key": "odd", "agent": "echo" });
    let given = fields.as_object().unwrap();
    if !["at", "every", "cron"].iter().any(|sort| given.contains_key(*sort)) {
        body["cron"] = json!("0 7 * * *");
    }
    body.as_object_mut().unwrap().extend(given.clone());
    let problem = world.post("/v1/jobs", &body).await.problem(Code::InvalidField);
    assert!(world.get("/v1/jobs").await.is::<Page<Job>>(200).items.is_empty());
    problem
}

#[tokio::test]
async fn a_field_without_a_usable_value_is_named_with_its_value() {
    let world = World::new().await;
    let cases = [
        (json!({ "agent": "No Agent" }), "agent", "not allowed"),
        (json!({ "key": "a b" }), "key", "not allowed"),
        (json!({ "cron": "0 25 * * *" }), "cron", "0 25 * * *"),
        (json!({ "cron": "0 0 31 2 *" }), "cron", "31 2"),
        (json!({ "tz": "Europe/Berln" }), "tz", "Europe/Berlin"),
        (json!({ "at": "2027-02-30T09:00:00Z" }), "at", "2027-02-30"),
        (json!({ "at": "2027-02-03 09:00" }), "at", "needs a zone"),
        (json!({ "at": "2020-01-01T00:00:00Z" }), "at", "ago"),
        (json!({ "at": "20m" }), "at", "+20m"),
        (json!({ "every": "0s" }), "every", "longer than zero"),
        (json!({ "every": 15 }), "every", "needs a unit"),
        (json!({ "every": "1h", "tz": "Europe/Berlin" }), "tz", "knows no zone"),
        (json!({ "jitter": "-5m" }), "jitter", "negative"),
        (json!({ "offset": "-5m" }), "offset", "negative"),
        (json!({ "offset": "24h" }), "offset", "shorter than a day"),
        (json!({ "offset": 30 }), "offset", "needs a unit"),
        (json!({ "session": "agent:x:cron:job:run:1" }), "session", "no next turn"),
        (json!({ "session": "a\nb" }), "session", "control character"),
        (json!({ "session": "" }), "session", "empty"),
        (json!({ "timeout": false }), "timeout", "nothing runs for ever"),
        (json!({ "timeout": 0 }), "timeout", "nothing runs for ever"),
        (json!({ "timeout": "0s" }), "timeout", "nothing runs for ever"),
        (json!({ "timeout": 600 }), "timeout", "needs a unit"),
        (json!({ "timeout": "1.5h" }), "timeout", "1h30m"),
        (json!({ "idle_timeout": false }), "idle_timeout", "cannot be none"),
        (json!({ "overlap": "skp" }), "overlap", "`skip`, `queue`"),
        (json!({ "misfire": "within:soon" }), "misfire", "soon"),
        (json!({ "misfire": { "within": "0s" } }), "misfire", "no slot is that new"),
        (json!({ "backoff": [] }), "backoff", "0 waits"),
        (json!({ "backoff": "30s,never" }), "backoff", "never"),
        (json!({ "on_interrupt": "again" }), "on_interrupt", "`fail`, `retry`"),
        (json!({ "retain": "0s" }), "retain", "two things"),
        (json!({ "retain": 0 }), "retain", "two things"),
        (json!({ "retain": true }), "retain", "how long"),
        (json!({ "renamed_from": "old" }), "renamed_from", "config file"),
        (json!({ "prompt": "x".repeat(1024 * 1024 + 1) }), "prompt", "1048576"),
        (json!({ "retries": -1 }), "retries", "-1"),
        (json!({ "enabled": "yes" }), "enabled", "boolean"),
        (json!({ "prompt": 5 }), "prompt", "integer `5`"),
        (json!({ "misfire": 7 }), "misfire", "within:2h"),
        (json!({ "timeout": ["1h"] }), "timeout", "a text such as"),
    ];
    for (fields, field, says) in cases {
        let problem = refused(&world, fields).await;
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
        assert!(problem.detail.contains(says), "{says:?} in {problem:?}");
    }
}

#[tokio::test]
async fn a_job_has_an_agent_and_exactly_one_schedule() {
    let world = World::new().await;
    let problem = refused(&world, json!({ "cron": "0 7 * * *", "every": "1h" })).await;
    assert!(problem.detail.contains("`every`, `cron`"), "{problem:?}");
    let post = |body: Value| {
        let world = &world;
        async move { world.post("/v1/jobs", &body).await.problem(Code::InvalidField) }
    };
    let problem = post(json!({ "key": "a", "agent": "echo" })).await;
    assert!(problem.hint.unwrap().contains("exactly one of"));
    assert_eq!(post(json!({ "key": "a", "cron": "@daily" })).await.field.unwrap(), "agent");
    assert_eq!(post(json!({ "agent": "echo", "cron": "@daily" })).await.field.unwrap(), "key");
    let body = json!({ "key": "a", "agent": "ehco", "cron": "@daily" });
    let problem = world.post("/v1/jobs", &body).await.problem(Code::UnknownAgent);
    assert_eq!(problem.hint.as_deref(), Some("did you mean `echo`?"));
}

#[tokio::test]
async fn a_key_cannot_be_changed_by_an_edit() {
    let world = World::new().await;
    world.job("one", "echo").await;
    let body = json!({ "key": "two", "agent": "echo", "every": "1h" });
    for method in ["PUT", "PATCH"] {
        let answer = world.call(method, "/v1/jobs/one").json(&body).send().await;
        assert_eq!(answer.problem(Code::InvalidField).field.as_deref(), Some("key"));
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_with_line_and_column() {
    let world = World::new().await;
    let post = |text: &str| world.call("POST", "/v1/jobs").text(text);
    let problem = post("{\n  \"key\": \"a\",\n  oops }").send().await.problem(Code::InvalidJson);
    assert!(problem.detail.contains("line 3 column 3"), "{problem:?}");
    post("").send().await.problem(Code::InvalidJson);
    post("{} {}").send().await.problem(Code::InvalidJson);
    post(&"[".repeat(100_000)).send().await.problem(Code::InvalidField);
    post("{\"key\": \"a\", \"key\": \"b\"}").send().await.problem(Code::InvalidField);
    let nested = format!("{{\"timeout\": {}", "[".repeat(100_000));
    post(&nested).send().await.problem(Code::InvalidJson);
    let unknown = post("{\"key\": \"a\", \"idle-timeout\": \"1m\"}").send().await;
    let problem = unknown.problem(Code::UnknownField);
    assert_eq!(problem.field.as_deref(), Some("idle-timeout"));
    assert_eq!(problem.hint.as_deref(), Some("did you mean `idle_timeout`?"));
    for media in ["", "text/plain", "application/x-www-form-urlencoded"] {
        let answer = post("{}").header("content-type", media).send().await;
        answer.problem(Code::UnsupportedMediaType);
    }
    let answer = post("{}").header("content-type", "application/json; charset=utf-8").send().await;
    answer.problem(Code::InvalidField);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let world = World::new().await;
    let large = json!({ "key": "a", "prompt": "x".repeat(2 * 1024 * 1024) }).to_string();
    world.call("POST", "/v1/jobs").text(&large).send().await.problem(Code::BodyTooLarge);
}

/// A value of the wrong type was repeated whole: a body of two megabytes was answered with two megabytes.
#[tokio::test]
async fn a_problem_is_short_however_long_what_it_is_about() {
    let world = World::new().await;
    let long = "é".repeat(500_000);
    for body in [json!({ "key": "a", "retries": long }), json!({ long.as_str(): 1 })] {
        let answer = world.post("/v1/jobs", &body).await;
        assert!(answer.status == 400 && answer.body.len() < 4_096, "{}", answer.body.len());
        let problem: Problem = answer.is(400);
        assert!(
            problem.detail.contains("é…é") && problem.detail.contains("expected"),
            "{problem:?}"
        );
    }
}

/// The name of an unknown field or parameter was repeated as it came, and so the log and the terminal of
/// whoever read the problem got its line breaks and escape sequences.
#[tokio::test]
async fn a_problem_repeats_no_control_character() {
    let world = World::new().await;
    let field = world.post("/v1/jobs", &json!({ "a\n\u{1b}[31m": 1 })).await;
    let parameter = world.get("/v1/runs?a%0A%1B%5B31m=1").await;
    for (answer, code) in [(field, Code::UnknownField), (parameter, Code::UnknownParameter)] {
        let detail = answer.problem(code).detail;
        assert!(detail.contains("`a\\n\\u{1b}[31m`"), "{detail:?}");
        assert!(!detail.contains(char::is_control), "{detail:?}");
    }
}

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_named_with_what_is_accepted() {
    let world = World::new().await;
    let id = "00000000-0000-7000-8000-000000000000";
    let cases = [
        ("/v1/jobs?limit=0", "limit", "1 to 500"),
        ("/v1/jobs?limit=501", "limit", "1 to 500"),
        ("/v1/jobs?limit=many", "limit", "1 to 500"),
        ("/v1/jobs?limit=-1", "limit", "1 to 500"),
        ("/v1/jobs?agent=No%20Agent", "agent", "the name of an agent"),
        ("/v1/jobs?removed=yes", "removed", "true"),
        ("/v1/runs?state=runing", "state", "running"),
        ("/v1/runs?outcome=good", "outcome", "timed_out"),
        ("/v1/runs?since=yesterday", "since", "RFC 3339"),
        ("/v1/runs?until=2026-13-01T00:00:00Z", "until", "RFC 3339"),
        ("/v1/sessions?kind=rum", "kind", "subagent"),
        ("/v1/sessions?kind=run,", "kind", "subagent"),
        ("/v1/sessions?open=maybe", "open", "true"),
        ("/v1/sessions?reason=bored", "reason", "completed"),
        ("/v1/sessions?key=%09", "key", "session key"),
        ("/v1/events?types=session.exploded", "types", "event types"),
        ("/v1/events?after=soon", "after", "seq"),
        ("/v1/events?after=%2B1", "after", "seq"),
        ("/v1/nodes?limit=0", "limit", "1 to 500"),
        ("/v1/jobs?limit=1&limit=2", "limit", ""),
    ];
    for (target, field, hint) in cases {
        let problem = world.get(target).await.problem(Code::InvalidParameter);
        assert_eq!(problem.field.as_deref(), Some(field), "{target}");
        assert!(problem.hint.unwrap_or_default().contains(hint), "{target}");
    }
    world.job("a", "echo").await;
    for target in ["/v1/jobs/a/next?count=0", "/v1/jobs/a/next?count=101"] {
        world.get(target).await.problem(Code::InvalidParameter);
    }
    let target = format!("/v1/sessions/{id}/transcript?after=-1");
    world.get(&target).await.problem(Code::NotFound);
}

#[tokio::test]
async fn a_parameter_that_nobody_knows_is_refused_with_a_suggestion() {
    let world = World::new().await;
    let problem = world.get("/v1/runs?outcom=ok").await.problem(Code::UnknownParameter);
    assert_eq!(problem.hint.as_deref(), Some("did you mean `outcome`?"));
    let problem = world.get("/v1/runs?verbose=1").await.problem(Code::UnknownParameter);
    assert!(problem.hint.unwrap().contains("`since`"));
    let problem = world.get("/v1/status?verbose=1").await.problem(Code::UnknownParameter);
    assert_eq!(problem.hint.as_deref(), Some("it takes none"));
}

#[tokio::test]
async fn an_id_or_a_cursor_that_is_garbage_is_refused_and_one_that_is_unknown_is_not_found() {
    let world = World::new().await;
    let id = "00000000-0000-7000-8000-000000000000";
    let garbage = ["nonsense", "1", "%00", "%F0%9F%92%A9", "..%2F..%2Fetc"];
    for what in ["runs", "sessions"] {
        for bad in garbage {
            world.get(&format!("/v1/{what}/{bad}")).await.problem(Code::InvalidParameter);
        }
        let problem = world.get(&format!("/v1/{what}/{id}")).await.problem(Code::NotFound);
        assert!(problem.hint.unwrap().contains("list"));
    }
    world.get("/v1/jobs/%F0%9F%92%A9").await.problem(Code::InvalidParameter);
    world.get("/v1/jobs/%FF").await.problem(Code::InvalidParameter);
    world.get("/v1/jobs/nobody").await.problem(Code::NotFound);
    world.get(&format!("/v1/jobs/{id}")).await.problem(Code::NotFound);
    world.get("/v1/runs?job=nobody").await.problem(Code::NotFound);
    let bare = id.replace('-', "");
    let run = format!("1r{bare}");
    for bad in ["nonsense", "", id, "2r00000000000070008000000000000000", "1j%20", &run] {
        let problem =
            world.get(&format!("/v1/jobs?cursor={bad}")).await.problem(Code::InvalidCursor);
        assert!(problem.hint.unwrap().contains("first page"));
    }
    world.get(&format!("/v1/runs?cursor={run}")).await.is::<Page<Value>>(200);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_a_problem_too() {
    let world = World::new().await;
    for path in ["/", "/v2/jobs", "/v1/jobs/a/b/c", "/v1/jobs/"] {
        world.get(path).await.problem(Code::NotFound);
    }
    let answer = world.call("DELETE", "/v1/status").send().await;
    answer.problem(Code::MethodNotAllowed);
    assert!(answer.header("allow").contains("GET"), "{answer:?}");
}

#[tokio::test]
async fn a_stop_names_its_reason() {
    let world = World::new().await;
    for bad in [json!({}), json!({ "reason": "bored" }), json!({ "reason": 1 })] {
        world.post("/v1/stop", &bad).await.problem(Code::InvalidField);
    }
    let unknown = json!({ "reason": "shutdown", "now": true });
    world.post("/v1/stop", &unknown).await.problem(Code::UnknownField);
    world.get("/readyz").await.is::<Value>(200);
}
