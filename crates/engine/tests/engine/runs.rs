//! One run at a time: what the end of a process means for its run, its session and its job.

use crate::support::{World, appears};
use sexton_domain::duration::Duration;
use sexton_domain::entry::Role;
use sexton_domain::job::Overlap;
use sexton_domain::node::EndReason;
use sexton_domain::run::{Outcome, Reason};
use sexton_domain::session;

/// P1, P2: run, session, transcript and events tell the same story.
#[tokio::test]
async fn a_run_that_succeeds_has_one_session_that_completed() {
    let world = World::new().agent("a", "cat; echo; echo done");
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.prompt = "hello".to_owned()).await;
    let run = node.run(&job).await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Ok), Some(Reason::Exit)));
    assert_eq!(run.output.as_deref(), Some("hello\ndone"));
    assert_eq!(node.transcript(&run).await, ["hello", "hello", "done"]);
    let session = node.handle.session(run.session.unwrap()).await.unwrap();
    assert_eq!(session.end_reason(), Some(session::EndReason::Completed));
    assert_eq!((session.entry_count, session.bytes), (3, 14));
    let story = node.story(&run).await;
    assert_eq!(
        story,
        ["run.queued", "run.started", "session.started", "session.ended", "run.ended"]
    );
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_failing_run_says_how_and_keeps_the_end_of_stderr() {
    let world = World::new().agent("a", "echo why >&2; exit 3");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let run = node.run(&job).await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Failed), Some(Reason::Exit)));
    let error = run.error.unwrap();
    assert_eq!((error.class.as_str(), error.message.as_str()), ("exit", "exit code 3"));
    assert_eq!(run.stderr.as_deref(), Some("why"));
    assert_eq!(node.runs(&job).await.len(), 1, "exit code 3 is not retried without `retries`");
    node.stop(EndReason::Shutdown).await;
}

/// Exit code 75 asks for a retry; the attempt's number grows and the session is another one.
#[tokio::test]
async fn exit_code_75_is_retried_until_it_succeeds() {
    let world = World::new().agent("a", "[ $SEXTON_ATTEMPT = 3 ] || exit 75");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let first = node.run(&job).await;
    assert_eq!(first.outcome(), Some(Outcome::Failed));
    let retry = |runs: Vec<sexton_domain::run::Run>, attempt| {
        runs.into_iter().find(|run| run.attempt == attempt).map(|run| run.id)
    };
    let second = retry(node.runs(&job).await, 2).unwrap();
    assert_eq!(node.ended(second).await.outcome(), Some(Outcome::Failed));
    let third = retry(node.runs(&job).await, 3).unwrap();
    let third = node.ended(third).await;
    assert_eq!((third.outcome(), third.failures), (Some(Outcome::Ok), 2));
    assert_ne!(third.session, first.session);
    assert_ne!(third.session_key, first.session_key);
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_started_ends_its_run_as_failed_and_the_job_rests() {
    let mut world = World::new();
    world.agents.insert("a".to_owned(), crate::support::agent(&["/no/such/program"]));
    let node = world.start().await;
    let minute = Duration::from_secs(60);
    let backoff = sexton_domain::retry::Backoff::new(vec![minute]).unwrap();
    let job = node.job("j", "a", |spec| spec.backoff = backoff).await;
    let run = node.run(&job).await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Failed), Some(Reason::StartFailed)));
    let message = run.error.unwrap().message;
    assert!(message.contains("/no/such/program"), "{message}");
    let session = node.handle.session(run.session.unwrap()).await.unwrap();
    assert_eq!(session.end_reason(), Some(session::EndReason::Failed));
    let job = node.handle.job(&job).await.unwrap();
    assert!(job.backoff_until.is_some());
    node.stop(EndReason::Shutdown).await;
}

/// P4: nothing runs for ever, not even what ignores TERM and hides in a session of its own.
#[tokio::test]
async fn a_run_that_hangs_is_killed_at_its_deadline_with_all_it_started() {
    let world = World::new()
        .agent("a", "setsid sh -c 'trap \"\" TERM; touch up; while :; do sleep 1; done' & trap '' TERM; wait; wait")
        .tuned("a", |agent| agent.grace = Duration::from_millis(100));
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.timeout = Some(Duration::from_secs(1))).await;
    let run = node.run(&job).await;
    assert!(world.file("up").exists());
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::TimedOut), Some(Reason::Deadline)));
    let session = node.handle.session(run.session.unwrap()).await.unwrap();
    assert_eq!(session.end_reason(), Some(session::EndReason::TimedOut));
    let marked = sexton_engine::process::survivors::scan().unwrap();
    assert!(marked.iter().all(|survivor| survivor.run != run.id.uuid()));
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_run_that_falls_silent_is_stopped_at_its_idle_limit() {
    let world = World::new().agent("a", "echo one; sleep 60");
    let node = world.start().await;
    let limit = Duration::from_millis(300);
    let job = node.job("j", "a", |spec| spec.idle_timeout = Some(limit)).await;
    let run = node.run(&job).await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::TimedOut), Some(Reason::IdleLimit)));
    assert_eq!(run.output.as_deref(), Some("one"));
    node.stop(EndReason::Shutdown).await;
}

/// Output is bounded, and the run still ends by itself.
#[tokio::test]
async fn output_beyond_the_limit_is_cut_with_a_mark() {
    let world = World::new()
        .agent("a", "yes | head -c 4000000")
        .tuned("a", |agent| agent.output_limit_bytes = 10);
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.prompt = "p".to_owned()).await;
    let run = node.run(&job).await;
    assert_eq!(run.outcome(), Some(Outcome::Ok));
    let mark = "[output truncated after 10 bytes]";
    assert_eq!(node.transcript(&run).await, ["p", "y", "y", "y", "y", "y", mark]);
    let entries = node.handle.entries(run.session.unwrap(), 6, 10).await.unwrap();
    assert_eq!(entries[0].role, Role::System);
    node.stop(EndReason::Shutdown).await;
}

/// The transcript grows while the agent works.
#[tokio::test]
async fn lines_are_in_the_transcript_before_the_run_ends() {
    let world =
        World::new().agent("a", "echo early; while [ ! -e go ]; do sleep 0.01; done; echo late");
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.prompt = "p".to_owned()).await;
    let run = node.handle.run_job(&job).await.unwrap();
    let run = node.running(run.id).await;
    node.transcript_becomes(&run, &["p", "early"]).await;
    std::fs::write(world.file("go"), "").unwrap();
    let run = node.ended(run.id).await;
    assert_eq!(node.transcript(&run).await, ["p", "early", "late"]);
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_cancelled_run_ends_its_session_as_cancelled() {
    let world = World::new().agent("a", "touch up; sleep 60");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let run = node.handle.run_job(&job).await.unwrap();
    appears(&world.file("up")).await;
    node.handle.cancel_run(run.id).await.unwrap();
    let run = node.ended(run.id).await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Cancelled), Some(Reason::Operator)));
    let session = node.handle.session(run.session.unwrap()).await.unwrap();
    assert_eq!(session.end_reason(), Some(session::EndReason::Cancelled));
    assert!(node.handle.cancel_run(run.id).await.is_err(), "an ended run cannot be cancelled");
    node.stop(EndReason::Shutdown).await;
}

/// `replace`: the new run starts only after the old one's proven death.
#[tokio::test]
async fn a_replaced_run_is_dead_before_its_replacement_starts() {
    let script = "[ ! -e lock ] || touch overlap; touch lock; trap 'sleep 0.2; rm lock; exit' TERM; \
                  sleep 60 & wait";
    let world = World::new().agent("a", script);
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.overlap = Overlap::Replace).await;
    let old = node.handle.run_job(&job).await.unwrap();
    appears(&world.file("lock")).await;
    let new = node.handle.run_job(&job).await.unwrap();
    let old = node.ended(old.id).await;
    assert_eq!((old.outcome(), old.reason()), (Some(Outcome::Cancelled), Some(Reason::Replaced)));
    let new = node.running(new.id).await;
    assert!(new.started_at >= old.ended_at());
    appears(&world.file("lock")).await;
    assert!(!world.file("overlap").exists());
    node.stop(EndReason::Shutdown).await;
}

/// P2: a stop ends what runs, with the reason of the stop.
#[tokio::test]
async fn a_stop_interrupts_what_runs_and_names_its_reason() {
    let world = World::new().agent("a", "touch up; sleep 60");
    for (why, reason, end) in [
        (EndReason::Shutdown, Reason::Shutdown, session::EndReason::Shutdown),
        (EndReason::Restart, Reason::Restart, session::EndReason::Restart),
    ] {
        let node = world.start().await;
        let job = node.job("j", "a", |_| {}).await;
        let run = node.handle.run_job(&job).await.unwrap();
        appears(&world.file("up")).await;
        std::fs::remove_file(world.file("up")).unwrap();
        node.stop(why).await;
        let node = world.start().await;
        let run = node.handle.run(run.id).await.unwrap();
        assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Interrupted), Some(reason)));
        let session = node.handle.session(run.session.unwrap()).await.unwrap();
        assert_eq!(session.end_reason(), Some(end));
        let (starts, ends) = crate::support::starts_and_ends(&node.events().await);
        assert_eq!(starts, ends);
        node.stop(EndReason::Shutdown).await;
    }
}

#[tokio::test]
async fn a_process_that_closes_stdout_and_lives_on_is_still_waited_for() {
    let world = World::new().agent("a", "echo said; exec >&- 2>&-; sleep 0.3; touch finished");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let run = node.run(&job).await;
    assert_eq!(run.outcome(), Some(Outcome::Ok));
    assert!(world.file("finished").exists());
    node.stop(EndReason::Shutdown).await;
}

/// A line of bytes that are no UTF-8 grows threefold when they are replaced, and once grew past what
/// an entry takes: the store refused it again and again, and the run never ended.
#[tokio::test]
async fn a_long_line_of_invalid_utf8_does_not_keep_its_run_from_ending() {
    let world =
        World::new().agent("a", r"head -c 300000 /dev/zero | tr '\0' '\377'; echo; echo done");
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.prompt = "p".to_owned()).await;
    let run = node.run(&job).await;
    assert_eq!(run.outcome(), Some(Outcome::Ok));
    let transcript = node.transcript(&run).await;
    assert_eq!(transcript.last().map(String::as_str), Some("done"));
    let pieces = &transcript[1..transcript.len() - 1];
    assert_eq!(pieces.iter().map(|piece| piece.chars().count()).sum::<usize>(), 300_000);
    node.stop(EndReason::Shutdown).await;
}

/// A job may outlive its agent in the config: its runs fail and say so, they do not wait for ever.
#[tokio::test]
async fn a_run_whose_agent_is_gone_from_the_config_fails_and_names_it() {
    let mut world = World::new().agent("a", "true");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.stop(EndReason::Shutdown).await;
    world.agents.clear();
    let node = world.start().await;
    let run = node.run(&job).await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Failed), Some(Reason::StartFailed)));
    assert_eq!(run.error.unwrap().message, "find agent a in the config");
    node.stop(EndReason::Shutdown).await;
}
