//! Limits: what is allowed comes back as it was, what is too large is refused by name.

use jiff::Timestamp;
use serde_json::{Value, json};
use sexton_domain::change::{Change, RecordId};
use sexton_domain::entry::MAX_ENTRY_BYTES;
use sexton_domain::job::MAX_PROMPT_BYTES;
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::origin::{MAX_ORIGIN_BYTES, Origin};
use sexton_domain::run::{MAX_OUTPUT_BYTES, MAX_STDERR_BYTES, Run, State};
use sexton_domain::session::{self, Discard, EndReason, Hold, HoldReason, Session};
use sexton_domain::usage::Tokens;

use super::World;
use super::make::append;
use crate::driver::Error;
use crate::limits::MAX_EVENT_BYTES;

/// What agents write is theirs: byte for byte.
pub async fn texts_of_any_script_come_back_as_they_were(mut world: World) {
    let texts = [
        "",
        " \t\r\n leading and trailing \n",
        "\0a NUL\0 in the middle\0",
        "\u{1}\u{1b}[31mcontrol\u{7f}\u{85}\u{2028}\u{feff}",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u{301} \u{1f1e9}\u{1f1ea}",
        "שלום \u{202e}עולם\u{202c} مرحبا",
        "quotes \" ' \\ ; -- /* */ % _ {\"json\": [1]}",
        "\u{10ffff}\u{e000}\u{fffd}",
    ];
    let session = world.make.session("agent:main:Ünï 👋 \u{202e}key");
    let mut run = world.make.run("agent:main:main");
    let mut job = world.make.job("job");
    let mut fact = world.make.event();
    fact.data = json!({ "texts": texts, texts[4]: texts[2] });
    run.output = Some(texts.concat());
    run.stderr = Some(texts[3].to_owned());
    job.spec.prompt = texts.join("\0");
    let batch = vec![
        session.clone().into(),
        append(&session, 1, &texts),
        run.clone().into(),
        job.clone().into(),
        fact.clone().into(),
    ];
    world.store(batch).await;
    world.reopen().await;
    let entries = world.entries(&session).await;
    assert!(entries.iter().map(|entry| entry.content.as_str()).eq(texts));
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    assert_eq!(world.session(session.id).await.bytes, bytes as u64);
    assert_eq!(world.run(&run).await.output, run.output);
    assert_eq!(world.run(&run).await.stderr, run.stderr);
    assert_eq!(world.job(&job).await.spec.prompt, job.spec.prompt);
    assert_eq!(world.driver().events(0, 1).await.unwrap()[0].fact, fact);
    let open = world.driver().open_session(session.key.clone()).await.unwrap();
    assert_eq!(open.map(|open| open.id), Some(session.id));
}

/// P6: the limit itself is allowed.
pub async fn texts_up_to_the_limits_are_stored(mut world: World) {
    let session = world.make.session("agent:main:main");
    let mut job = world.make.job("job");
    job.spec.prompt = "p".repeat(MAX_PROMPT_BYTES);
    let mut run = world.make.run("agent:main:main");
    let input = run.input.as_mut().expect("it has an input");
    input.prompt = job.spec.prompt.clone();
    run.output = Some("o".repeat(MAX_OUTPUT_BYTES));
    run.stderr = Some("e".repeat(MAX_STDERR_BYTES));
    let line = "l".repeat(MAX_ENTRY_BYTES);
    let largest = largest(world.make.session("agent:main:largest"));
    let batch = vec![
        session.clone().into(),
        append(&session, 1, &[&line, &line]),
        run.clone().into(),
        job.clone().into(),
        largest.clone().into(),
    ];
    world.store(batch).await;
    world.reopen().await;
    assert_eq!(world.session(largest.id).await.key, largest.key);
    assert!(world.entries(&session).await.iter().all(|entry| entry.content == line));
    assert_eq!(world.run(&run).await.output, run.output);
    assert_eq!(world.job(&job).await.spec.prompt, job.spec.prompt);
}

/// The largest one there can be.
fn largest(session: Session) -> Session {
    let origin = Origin {
        system: "s".to_owned(),
        id: "i".to_owned(),
        source: "\u{1}".repeat(MAX_ORIGIN_BYTES),
        place: "p".to_owned(),
        data: Value::Null,
    };
    let origin = origin.within(MAX_ORIGIN_BYTES);
    Session {
        key: "\"".repeat(SessionKey::MAX_BYTES).parse().expect("it is a key"),
        agent: "a".repeat(AgentName::MAX_BYTES).parse().expect("it is an agent"),
        job: Some(session.id.uuid().into()),
        job_key: Some("k".repeat(JobKey::MAX_BYTES).parse().expect("it is a job key")),
        run: Some(session.id.uuid().into()),
        previous: Some(session.id),
        expires_at: Some(Timestamp::MAX),
        hold: Some(Hold { reason: HoldReason::DeliveryPending, until: Timestamp::MAX }),
        state: session::State::Ended { at: Timestamp::MIN, reason: EndReason::Compaction },
        next: Some(session.id),
        active_at: Some(Timestamp::MIN),
        closing: Some(EndReason::Compaction),
        discard: Some(Discard::Archive),
        usage: Some(Tokens {
            input: u64::MAX,
            output: u64::MAX,
            cached: u64::MAX,
            cost_micro_usd: u64::MAX,
        }),
        origin: Some(Box::new(origin)),
        imported_at: Some(Timestamp::MIN),
        ..session
    }
}

/// P6, P10: every input has a limit; one that is beyond it takes nothing with it.
pub async fn what_is_too_large_is_refused_by_name_and_leaves_no_trace(world: World) {
    let session = world.make.session("agent:main:main");
    world.put(session.clone()).await;
    let mut job = world.make.job("job");
    job.spec.prompt = "p".repeat(MAX_PROMPT_BYTES + 1);
    let run = world.make.run("agent:main:main");
    let mut prompted = run.clone();
    prompted.input.as_mut().expect("it has an input").prompt = job.spec.prompt.clone();
    let output = Run { output: Some("o".repeat(MAX_OUTPUT_BYTES + 1)), ..run.clone() };
    let stderr = Run { stderr: Some("e".repeat(MAX_STDERR_BYTES + 1)), ..run.clone() };
    let mut fact = world.make.event();
    fact.data = json!("d".repeat(MAX_EVENT_BYTES));
    let line = append(&session, 1, &["fits", &"l".repeat(MAX_ENTRY_BYTES + 1)]);
    let refused: [(Change, &str, usize); 6] = [
        (job.into(), "a prompt", MAX_PROMPT_BYTES),
        (prompted.into(), "a prompt", MAX_PROMPT_BYTES),
        (output.into(), "a run's output", MAX_OUTPUT_BYTES),
        (stderr.into(), "a run's stderr", MAX_STDERR_BYTES),
        (fact.into(), "an event", MAX_EVENT_BYTES),
        (line, "an entry", MAX_ENTRY_BYTES),
    ];
    for (change, name, most) in refused {
        let other = world.make.job("other");
        match world.fail(vec![other.clone().into(), change]).await {
            Error::TooLarge { what, bytes, limit } => {
                assert_eq!((what, limit), (name, most));
                assert!(bytes > limit);
            }
            error => panic!("{error}"),
        }
        assert_eq!(world.stored(other).await, None);
    }
    assert_eq!(world.session(session.id).await.entry_count, 0);
}

/// Extremes are values like others.
pub async fn the_largest_numbers_and_the_first_and_last_times_come_back(mut world: World) {
    let last = Timestamp::new(Timestamp::MAX.as_second(), 999_000_000).expect("it is in range");
    let first = Timestamp::MIN;
    let mut run = world.make.run("agent:main:main");
    run.state = State::Waiting { until: last };
    run.queued_at = first;
    run.attempt = u32::MAX;
    run.turn = i64::MAX as u64;
    run.usage = Some(sexton_domain::usage::Tokens {
        input: u64::MAX,
        output: u64::MAX,
        cached: u64::MAX,
        cost_micro_usd: u64::MAX,
    });
    let mut early = world.make.job("early");
    early.next_slot = Some(first);
    early.counters.ok = u64::MAX;
    let mut late = world.make.job("late");
    late.next_slot = Some(last);
    let session = world.make.session("agent:main:main");
    let mut line = super::make::entry(1, "line");
    line.at = first;
    let epoch = session.owner.epoch;
    let entries = vec![line.clone()];
    let append = sexton_domain::change::Append { session: session.id, epoch, entries };
    let mut fact = world.make.event();
    fact.at = last;
    let batch = vec![
        run.clone().into(),
        early.clone().into(),
        late.clone().into(),
        session.clone().into(),
        Change::Append(append),
        fact.clone().into(),
    ];
    world.store(batch).await;
    world.reopen().await;
    let next = run.version.next();
    assert_eq!(world.run(&run).await, Run { version: next, ..run });
    assert_eq!(world.driver().next_due().await.unwrap(), Some(first));
    let due = world.driver().due_jobs(last, 5).await.unwrap();
    assert_eq!(due.iter().map(|job| job.id).collect::<Vec<_>>(), [early.id, late.id]);
    assert_eq!(due[0].counters.ok, u64::MAX);
    assert_eq!(world.driver().next_rested().await.unwrap(), Some(last));
    assert_eq!(world.entries(&session).await, [line]);
    assert_eq!(world.driver().events(0, 5).await.unwrap()[0].fact, fact);
    assert_eq!(world.get(RecordId::Job(world.make.id())).await, None);
}
