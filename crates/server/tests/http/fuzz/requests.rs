//! Requests that are almost right, to every route: the answer is never a fault of the server's, a
//! refusal says what it refuses, and what was refused has changed nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use sexton_domain::event::EventType;
use sexton_domain::plan::jobs::Empty;
use sexton_engine::settings::Settings;
use sexton_fuzz::{budget, json as documents, text};
use sexton_server::api::{Archive, Code, Job, Page, Problem, RunState, Segments, Turn};

use super::block_on;
use super::inputs::{Operation, SEGMENTS, operations, values};
use crate::client::Answer;
use crate::world::{PATIENCE, World};

/// A request that is almost right.
#[derive(Debug, Clone)]
struct Draft {
    operation: Operation,
    /// In the place of the stored one.
    segment: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

fn draft() -> impl Strategy<Value = Draft> {
    select(operations()).prop_flat_map(|operation| {
        let body = match operation.body.clone() {
            Some(body) => documents::near(Just(body)).prop_map(Some).boxed(),
            None => prop_oneof![9 => Just(None), 1 => text::piece().prop_map(Some)].boxed(),
        };
        let segment =
            prop::option::weighted(0.4, text::near(select(SEGMENTS).prop_map(str::to_owned)));
        let query = parameters(operation.query.clone());
        let headers = parameters(operation.headers.clone());
        (segment, query, headers, body, Just(operation)).prop_map(
            |(segment, query, headers, body, operation)| {
                let plain = |(name, value): (String, String)| {
                    (name, value.replace(|c: char| !(' '..='~').contains(&c), "?"))
                };
                let headers = headers.into_iter().map(plain).collect();
                Draft { operation, segment, query, headers, body }
            },
        )
    })
}

/// Up to three parameters, nearly right; now and then one that nobody knows.
fn parameters(names: Vec<String>) -> impl Strategy<Value = Vec<(String, String)>> {
    if names.is_empty() {
        let unknown = vec((text::piece(), text::piece()), 1);
        return prop_oneof![19 => Just(Vec::new()), 1 => unknown].boxed();
    }
    let known = select(names).prop_flat_map(|name| {
        let value = text::near(select(values(&name)).prop_map(str::to_owned));
        (Just(name), value)
    });
    vec(prop_oneof![30 => known, 1 => (text::piece(), text::piece())], 0..4).boxed()
}

/// What is stored and can be named in a path.
struct Stored {
    job: String,
    run: String,
    session: String,
    delivery: String,
    archive: String,
    segment: String,
}

/// A world with something of everything.
async fn furnished() -> (World, Stored) {
    let world = World::lived_in().await;
    let job = world.job("talk", "echo").await;
    let old = world.run("talk", RunState::Ended).await.run;
    keep_runs(&world, "1ms").await;
    told(&world).await;
    let _: Value = world.post("/v1/sweep", &json!({})).await.is(200);
    keep_runs(&world, "24h").await;
    let run = world.run("talk", RunState::Ended).await.run;
    let message = json!({ "key": "agent:echo:main", "agent": "echo", "message": "hi" });
    let turn: Turn = world.post("/v1/messages", &message).await.is(202);
    let turn = world.run_becomes(&turn.run, RunState::Ended).await.run;
    let deliveries: Page<Value> = world.get("/v1/deliveries").await.is(200);
    let archives: Page<Archive> = world.get("/v1/archives").await.is(200);
    let segments: Segments = world.get("/v1/segments").await.is(200);
    assert_eq!(Some(archives.items[0].session_id), old.session_id);
    let stored = Stored {
        job: job.key.to_string(),
        run: run.id.to_string(),
        session: turn.session_id.unwrap().to_string(),
        delivery: deliveries.items[0]["id"].as_str().unwrap().to_owned(),
        archive: archives.items[0].session_id.to_string(),
        segment: segments.items[0].name.clone(),
    };
    (world, stored)
}

/// Waits until every hook was told: a session that is not told yet is held, and a sweep that came before
/// that found nothing to archive on a slow machine.
async fn told(world: &World) {
    let wait = async {
        loop {
            let pending: Page<Value> = world.get("/v1/deliveries?state=pending").await.is(200);
            if pending.items.is_empty() {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("every hook is told in time");
}

async fn keep_runs(world: &World, time: &str) {
    let mut settings = Settings::clone(&world.handle.settings().unwrap());
    settings.retention.sessions.run = time.parse().unwrap();
    world.handle.reload("main", &[], Empty::Allow, settings).await.unwrap();
}

impl Stored {
    fn segment(&self, path: &str) -> &str {
        let known = [
            ("/v1/jobs/", self.job.as_str()),
            ("/v1/runs/", &self.run),
            ("/v1/sessions/", &self.session),
            ("/v1/deliveries/", &self.delivery),
            ("/v1/archives/", &self.archive),
            ("/v1/segments/", &self.segment),
            ("/v1/hooks/", "takes"),
        ];
        let found = known.into_iter().find(|(prefix, _)| path.starts_with(prefix));
        found.unwrap_or_else(|| panic!("nothing of {path} is stored")).1
    }
}

impl Draft {
    async fn send(&self, world: &World, stored: &Stored) -> Answer {
        let mut target = self.operation.path.clone();
        if let Some((before, rest)) = self.operation.path.split_once('{') {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            let stored = || stored.segment(before).to_owned();
            let segment = self.segment.clone().unwrap_or_else(stored);
            target = format!("{before}{}{after}", encoded(&segment));
        }
        let pairs =
            self.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let pairs: Vec<String> = pairs.collect();
        if !pairs.is_empty() {
            target = format!("{target}?{}", pairs.join("&"));
        }
        // Without it the event log would be followed, which has no end.
        let mut request =
            world.call(&self.operation.method, &target).header("accept", "application/json");
        if let Some(body) = &self.body {
            request = request.text(body);
        }
        for (name, value) in &self.headers {
            if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
                && !name.is_empty()
            {
                request = request.header(name, value);
            }
        }
        request.send().await
    }

    /// Whether it would stop the node, which is not what is tried here.
    fn stops(&self) -> bool {
        let body = self.body.as_deref().and_then(|body| serde_json::from_str::<Value>(body).ok());
        let reason = body.as_ref().and_then(|body| body["reason"].as_str());
        self.operation.path == "/v1/stop" && matches!(reason, Some("restart" | "shutdown"))
    }

    fn reads(&self) -> bool {
        self.operation.method == "GET"
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// What a request that was refused must have left as it was.
async fn contents(world: &World) -> Vec<String> {
    let mut contents = Vec::new();
    for list in [
        "jobs?limit=500",
        "jobs?removed=true",
        "sessions?kind=all&limit=500",
        "runs?limit=500",
        "hooks",
        "archives",
    ] {
        let answer = world.get(&format!("/v1/{list}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        contents.push(answer.body);
    }
    let mut seq = 0;
    let mut events = 0;
    loop {
        let page = world.handle.events(seq, 500).await.unwrap();
        let Some(last) = page.last() else { break };
        seq = last.seq;
        // Alerts come and go by themselves.
        let alerts = [EventType::AlertRaised, EventType::AlertCleared];
        events += page.iter().filter(|event| !alerts.contains(&event.fact.kind)).count();
    }
    contents.push(events.to_string());
    contents
}

/// Waits until what was accepted has come to its end, and nothing happens by itself any more.
async fn settled(world: &World) -> Vec<String> {
    let jobs: Page<Job> = world.get("/v1/jobs?limit=500").await.is(200);
    for job in jobs.items.iter().filter(|job| job.next_slot.is_some() && job.key.as_str() != "talk")
    {
        let disable = format!("/v1/jobs/{}/disable", job.id);
        assert_eq!(world.call("POST", &disable).send().await.status, 200);
    }
    let quiet = async {
        let mut before = contents(world).await;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            let now = contents(world).await;
            let active = ["queued", "running", "waiting"]
                .iter()
                .any(|state| now[3].contains(&format!("\"state\":\"{state}\"")));
            if now == before && !active && !is_telling(world).await {
                return now;
            }
            before = now;
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.expect("what was accepted comes to its end")
}

/// Whether a hook that is on is still to be told something; one that is off is told nothing.
async fn is_telling(world: &World) -> bool {
    let hooks: Page<Value> = world.get("/v1/hooks").await.is(200);
    let pending: Page<Value> = world.get("/v1/deliveries?state=pending&limit=500").await.is(200);
    let is_on = |delivery: &Value| {
        let mut hooks = hooks.items.iter();
        hooks.any(|hook| hook["name"] == delivery["hook"] && hook["disabled_why"].is_null())
    };
    pending.items.iter().any(is_on)
}

/// A refusal looks as all do, and names what it refuses.
fn is_well_formed(draft: &Draft, answer: &Answer) -> Result<(), TestCaseError> {
    let media = answer.header("content-type");
    prop_assert!(media.contains("application/problem+json"), "{:?}", answer);
    let problem = serde_json::from_str::<Problem>(&answer.body);
    let problem = problem.map_err(|error| TestCaseError::fail(format!("{error}: {answer:?}")))?;
    prop_assert_eq!(problem.status, answer.status);
    prop_assert_eq!(problem.status, problem.code.status(), "{:?}", problem);
    prop_assert_eq!(&problem.title, problem.code.title());
    prop_assert_eq!(&problem.kind, &format!("urn:sexton:problem:{}", problem.code));
    prop_assert!(
        !problem.detail.is_empty() && !problem.detail.contains(char::is_control),
        "{:?}",
        problem
    );
    prop_assert!(problem.detail.len() <= 8_192, "{} bytes of detail", problem.detail.len());
    let is_named = match problem.code {
        Code::UnknownField | Code::InvalidParameter | Code::UnknownParameter => {
            problem.field.is_some()
        }
        Code::InvalidHeader | Code::InvalidCursor | Code::UnknownAgent => problem.field.is_some(),
        // What is wrong with all of a body is no field of it.
        Code::InvalidField => {
            problem.field.is_some() || is_no_object(draft) || problem.detail.contains('`')
        }
        _ => true,
    };
    prop_assert!(is_named, "{:?}", problem);
    Ok(())
}

fn is_no_object(draft: &Draft) -> bool {
    let body = draft.body.as_deref().and_then(|body| serde_json::from_str::<Value>(body).ok());
    body.is_none_or(|body| !body.is_object())
}

async fn try_all(drafts: Vec<Draft>) -> Result<(), TestCaseError> {
    let (world, stored) = furnished().await;
    let mut before = settled(&world).await;
    for draft in drafts.iter().filter(|draft| !draft.stops()) {
        let answer = draft.send(&world, &stored).await;
        let context = || format!("{draft:?}\n{} {}", answer.status, answer.body);
        let is_fault = answer.status >= 500 && !answer.body.contains("\"too_slow\"");
        prop_assert!(!is_fault, "{}", context());
        if answer.status >= 400 {
            is_well_formed(draft, &answer)?;
            let after = contents(&world).await;
            prop_assert_eq!(&before, &after, "{}", context());
        } else {
            let is_json = answer.header("content-type").starts_with("application/json");
            let is_readable = !is_json || serde_json::from_str::<Value>(&answer.body).is_ok();
            prop_assert!(is_readable, "{}", context());
            if !draft.reads() {
                before = settled(&world).await;
            }
        }
    }
    prop_assert_eq!(world.get("/readyz").await.status, 200);
    world.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(budget(6))]

    // Bad input gets a clear error and changes nothing.
    #[test]
    fn no_request_is_a_fault_and_one_that_is_refused_says_why_and_changes_nothing(
        drafts in vec(draft(), 1..40),
    ) {
        block_on(try_all(drafts))?;
    }
}
