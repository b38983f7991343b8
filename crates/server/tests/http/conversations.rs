//! Conversations over HTTP: messages, and what becomes of a session by command.

use serde_json::{Value, json};
use sexton_domain::plan::turns::MAX_QUEUED;
use sexton_domain::run::{Cause, Outcome};
use sexton_domain::session::{Discard, EndReason};
use sexton_server::api::{Code, Page, Run, RunState, Session, Turn};

use crate::world::World;

impl World {
    async fn say(&self, key: &str, message: &str) -> Turn {
        let body = json!({ "key": key, "message": message });
        self.post("/v1/messages", &body).await.is(202)
    }

    async fn session(&self, turn: &Run) -> Session {
        self.get(&format!("/v1/sessions/{}", turn.session_id.unwrap())).await.is(200)
    }

    /// A conversation between two turns.
    async fn talked(&self) -> Session {
        let turn = self.say("agent:echo:main", "hello").await;
        let turn = self.run_becomes(&turn.run, RunState::Ended).await.run;
        self.session(&turn).await
    }

    /// A conversation in the middle of a turn, and the turn.
    async fn talking(&self) -> (Session, Run) {
        let turn = self.say("agent:hang:main", "work").await;
        let turn = self.run_becomes(&turn.run, RunState::Running).await.run;
        (self.session(&turn).await, turn)
    }
}

fn path(session: &Session, verb: &str) -> String {
    format!("/v1/sessions/{}{verb}", session.id)
}

#[tokio::test]
async fn a_message_is_a_turn_on_the_session_behind_its_key() {
    let world = World::new().await;
    let turn = world.say("agent:echo:main", "hello").await;
    assert_eq!((turn.run.cause, turn.run.job_id), (Cause::Message, None));
    assert_eq!(turn.run.session_key.as_str(), "agent:echo:main");
    let ended = world.run_becomes(&turn.run, RunState::Ended).await;
    assert_eq!((ended.run.outcome, ended.output.as_deref()), (Some(Outcome::Ok), Some("hello")));
    let session = world.session(&ended.run).await;
    assert_eq!((session.open, session.run_id, session.entry_count), (true, None, 2));
    assert_eq!(session.active_at, ended.run.ended_at);

    // Spelled differently, it is the same key; and the agent may be another one.
    let body = json!({ "key": "Agent:Echo:Main", "agent": "echo", "message": "again" });
    let again: Turn = world.post("/v1/messages", &body).await.is(202);
    let again = world.run_becomes(&again.run, RunState::Ended).await.run;
    assert_eq!(again.session_id, ended.run.session_id);
    let open: Page<Session> = world.get("/v1/sessions?open=true").await.is(200);
    assert_eq!(open.items.len(), 1);

    let body = json!({ "key": "agent:echo:main", "message": "/new", "new": true });
    let fresh: Turn = world.post("/v1/messages", &body).await.is(202);
    let fresh = world.run_becomes(&fresh.run, RunState::Ended).await.run;
    assert_ne!(fresh.session_id, ended.run.session_id);
    assert_eq!(world.session(&ended.run).await.reason, Some(EndReason::New));
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_says_which_field_and_what_to_do() {
    let world = World::new().await;
    let message = |fields: Value| {
        let mut body = json!({ "key": "agent:echo:main", "message": "hello" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let long = "x".repeat(1024 * 1024 + 1);
    let cases = [
        (json!({ "key": "" }), Code::InvalidField, "key", "empty"),
        (json!({ "key": "a\nb" }), Code::InvalidField, "key", "control character"),
        (json!({ "key": "x".repeat(513) }), Code::InvalidField, "key", "513 bytes"),
        (
            json!({ "key": "agent:echo:cron:j:run:1" }),
            Code::InvalidField,
            "key",
            "one run of a job",
        ),
        (json!({ "key": "my chat" }), Code::InvalidField, "agent", "nobody is named"),
        (json!({ "key": "agent:ecko:main" }), Code::UnknownAgent, "agent", "ecko"),
        (json!({ "agent": "No Agent" }), Code::InvalidField, "agent", "not allowed"),
        (json!({ "agent": "nobody" }), Code::UnknownAgent, "agent", "nobody"),
        (json!({ "message": " \n" }), Code::InvalidField, "message", "empty"),
        (json!({ "message": long }), Code::InvalidField, "message", "1048577 bytes"),
        (json!({ "message": 7 }), Code::InvalidField, "message", "integer `7`"),
        (json!({ "new": "yes" }), Code::InvalidField, "new", "boolean"),
        (json!({ "mesage": "hello" }), Code::UnknownField, "mesage", "unknown field"),
    ];
    for (fields, code, field, says) in cases {
        let problem = world.post("/v1/messages", &message(fields)).await.problem(code);
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
        assert!(problem.detail.contains(says), "{says:?} in {problem:?}");
    }
    let problem = world.post("/v1/messages", &json!({ "key": "x" })).await;
    assert!(problem.problem(Code::InvalidField).detail.contains("missing field `message`"));
    assert_eq!(world.get("/v1/runs").await.is::<Page<Run>>(200).items, []);
}

/// P6: the queue of a key is bounded, and the refusal names it.
#[tokio::test]
async fn a_message_that_finds_the_queue_full_is_refused_for_now() {
    let world = World::new().await;
    let (_, running) = world.talking().await;
    for ahead in 1..=MAX_QUEUED {
        assert_eq!(world.say("agent:hang:main", "wait").await.ahead, ahead);
    }
    let body = json!({ "key": "agent:hang:main", "message": "one too many" });
    let answer = world.post("/v1/messages", &body).await;
    let problem = answer.problem(Code::QueueFull);
    assert_eq!((problem.status, answer.header("retry-after")), (429, "1"));
    assert_eq!(problem.value.as_deref(), Some("agent:hang:main"));
    assert!(problem.hint.unwrap().contains("sexton run cancel"));
    world.call("POST", &format!("/v1/runs/{}/cancel", running.id)).send().await.is::<Run>(202);
    world.run_becomes(&running, RunState::Ended).await;
    world.say("agent:echo:main", "elsewhere there is room all the time").await;
}

#[tokio::test]
async fn a_session_between_two_turns_ends_at_once_and_twice_is_once() {
    let world = World::new().await;
    for (verb, reason) in [("/end", EndReason::Completed), ("/reset", EndReason::Reset)] {
        let session = world.talked().await;
        for _ in 0..2 {
            let ended: Session = world.call("POST", &path(&session, verb)).send().await.is(200);
            assert_eq!((ended.reason, ended.open), (Some(reason), false));
        }
    }
    let unknown = "/v1/sessions/01890a5d-ac96-774b-bcce-b302099a8057";
    for (method, verb) in [("POST", "/end"), ("POST", "/reset"), ("POST", "/pin"), ("DELETE", "")] {
        let target = format!("{unknown}{verb}");
        let hint = world.call(method, &target).send().await.problem(Code::NotFound).hint;
        assert!(hint.unwrap().contains("session list"));
    }
}

/// P2: the turn in flight is cancelled first.
#[tokio::test]
async fn a_session_in_the_middle_of_a_turn_ends_with_it() {
    let world = World::new().await;
    let cases = [
        ("POST", "/end", EndReason::Completed),
        ("POST", "/reset", EndReason::Reset),
        ("DELETE", "", EndReason::Deleted),
    ];
    for (method, verb, reason) in cases {
        let (session, turn) = world.talking().await;
        let closing: Session = world.call(method, &path(&session, verb)).send().await.is(202);
        assert!(closing.closing == Some(reason) || closing.reason == Some(reason), "{closing:?}");
        let turn = world.run_becomes(&turn, RunState::Ended).await.run;
        assert_eq!(turn.outcome, Some(Outcome::Cancelled));
        let ended = world.session(&turn).await;
        assert_eq!((ended.reason, ended.ended_at), (Some(reason), turn.ended_at));
    }
}

#[tokio::test]
async fn a_pinned_session_is_kept_until_it_is_unpinned() {
    let world = World::new().await;
    let session = world.talked().await;
    let post = async |verb| world.call("POST", &path(&session, verb)).send().await;
    for _ in 0..2 {
        assert!(post("/pin").await.is::<Session>(200).pinned);
    }
    let refused = world.call("DELETE", &path(&session, "")).send().await;
    let hint = refused.problem(Code::SessionPinned).hint.unwrap();
    assert!(hint.contains(&format!("sexton session unpin {}", session.id)), "{hint}");
    assert!(!post("/unpin").await.is::<Session>(200).pinned);
    let bad = world.call("DELETE", &path(&session, "?purge=perhaps")).send().await;
    bad.problem(Code::InvalidParameter);
    let deleted: Session = world.call("DELETE", &path(&session, "")).send().await.is(202);
    assert_eq!(
        (deleted.reason, deleted.discard),
        (Some(EndReason::Deleted), Some(Discard::Archive))
    );
}

#[tokio::test]
async fn the_session_of_an_isolated_run_is_ended_and_not_reset() {
    let world = World::new().await;
    world.job("long", "hang").await;
    let run = world.run("long", RunState::Running).await.run;
    let session = world.session(&run).await;
    let refused = world.call("POST", &path(&session, "/reset")).send().await;
    let hint = refused.problem(Code::SessionIsolated).hint.unwrap();
    assert!(hint.contains(&format!("sexton run cancel {}", run.id)), "{hint}");
    world.call("POST", &path(&session, "/end")).send().await.is::<Session>(202);
    world.run_becomes(&run, RunState::Ended).await;
    assert_eq!(world.session(&run).await.reason, Some(EndReason::Cancelled));
}

#[tokio::test]
async fn a_job_works_in_the_session_that_it_names() {
    let world = World::new().await;
    for (key, session, session_key) in [
        ("one", "main", "agent:echo:main"),
        ("two", "agent:echo:telegram:direct:anna", "agent:echo:telegram:direct:anna"),
    ] {
        let body = json!({ "key": key, "agent": "echo", "every": "1d", "session": session });
        let job: Value = world.post("/v1/jobs", &body).await.is(201);
        assert_eq!(job["spec"]["session"], session);
        let run = world.run(key, RunState::Ended).await.run;
        assert_eq!(run.session_key.as_str(), session_key);
        let said = world.say(session_key, "hello").await;
        let said = world.run_becomes(&said.run, RunState::Ended).await.run;
        assert_eq!(said.session_id, run.session_id);
    }
}
