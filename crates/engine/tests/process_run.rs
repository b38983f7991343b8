//! Agents that end by themselves: what they read, what they write, and how they ended.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "each test binary uses its part of this")]
mod process_support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use process_support::{alive_of, finish, next, run, sh, start, try_start, work};
use sexton_engine::executor::{Exit, Progress, StartError};

/// The plain case: lines in order, both streams apart, and the exit last.
#[tokio::test]
async fn a_run_that_succeeds_reports_its_output_and_its_exit() {
    let report = run(sh("echo one; echo two; echo oops >&2")).await;
    assert_eq!(report.stdout, ["one", "two"]);
    assert_eq!(report.stderr, ["oops"]);
    assert_eq!(report.exit, Exit::Code(0));
}

/// interface.md section 4: 75 is a failure worth retrying, so the code must arrive as it is.
#[tokio::test]
async fn an_exit_code_is_reported_as_it_is() {
    assert_eq!(run(sh("exit 75")).await.exit, Exit::Code(75));
}

/// A crash is not an exit code, signals beyond the classic ones included.
#[tokio::test]
async fn a_fatal_signal_is_reported_as_it_is() {
    assert_eq!(run(sh("kill -SEGV $$")).await.exit, Exit::Signal(11));
    assert_eq!(run(sh("kill -40 $$")).await.exit, Exit::Signal(40));
}

/// P10: reading and writing at once, far beyond what pipes hold, must not deadlock.
#[tokio::test]
async fn a_prompt_of_4_mb_is_echoed() {
    let mut echo = work(&["cat"]);
    echo.prompt = (0..40_000).map(|i| format!("{i:099}\n")).collect();
    let prompt = echo.prompt.clone();
    let report = run(echo).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(report.stdout.join("\n") + "\n" == prompt, "the echo differs");
}

/// P10: an agent that does not care for its prompt must not hang, fail or break the node.
#[tokio::test]
async fn an_agent_may_ignore_its_stdin() {
    for script in ["exit 0", "exec <&-; sleep 0.1", "sleep 0.1"] {
        for prompt_bytes in [0, 10, 4 << 20] {
            let mut ignorant = sh(script);
            ignorant.prompt = "x".repeat(prompt_bytes);
            assert_eq!(run(ignorant).await.exit, Exit::Code(0), "{script}, {prompt_bytes}");
        }
    }
}

/// Two of four real agents hang when their stdin stays open after the prompt.
#[tokio::test]
async fn stdin_ends_after_the_prompt() {
    let mut reader = sh("wc -c");
    reader.prompt = "twelve bytes".into();
    assert_eq!(run(reader).await.stdout, ["12"]);
    assert_eq!(run(sh("wc -c")).await.stdout, ["0"]);
}

/// What cannot be started is told apart, because each needs another fix by the operator.
#[tokio::test]
async fn a_start_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "text").unwrap();
    let plain = plain.to_str().unwrap();
    let no_interpreter = folder.path().join("script");
    std::fs::write(&no_interpreter, "#!/nonexistent/interpreter\n").unwrap();
    std::fs::set_permissions(&no_interpreter, std::fs::Permissions::from_mode(0o755)).unwrap();

    let error = |work| async { try_start(work).await.err().unwrap() };
    let is_not_found = |error: StartError| matches!(error, StartError::NotFound { .. });
    assert!(is_not_found(error(work(&["no-such-agent-anywhere"])).await));
    assert!(is_not_found(error(work(&["/no/such/agent"])).await));
    assert!(is_not_found(error(work(&[no_interpreter.to_str().unwrap()])).await));
    assert!(matches!(error(work(&[plain])).await, StartError::PermissionDenied { .. }));
    assert!(matches!(error(work(&["/"])).await, StartError::PermissionDenied { .. }));
    assert!(matches!(error(work(&[])).await, StartError::NoCommand));
    assert!(matches!(error(work(&["a\0b"])).await, StartError::Command { .. }));

    let mut lost = work(&["true"]);
    lost.cwd = "/no/such/folder".into();
    assert!(matches!(error(lost).await, StartError::Cwd { .. }));
    let mut too_long = work(&["true"]);
    too_long.command.push("x".repeat(4 << 20));
    assert!(matches!(error(too_long).await, StartError::Command { .. }));
}

/// A start that fails leaves nothing behind, not even a shim.
#[tokio::test]
async fn a_start_that_fails_leaves_no_process() {
    let missing = work(&["/no/such/agent"]);
    let run = missing.run;
    assert!(try_start(missing).await.is_err());
    assert_eq!(alive_of(run), []);
}

/// The command runs where the config says, and a name without a slash is found by the agent's
/// PATH, not by the node's.
#[tokio::test]
async fn the_command_is_found_by_its_own_path_and_starts_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("only-here");
    std::fs::write(&script, "#!/bin/sh\npwd -P\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut found = work(&["only-here"]);
    found.env = vec![("PATH".into(), format!("/bin:{}", folder.path().display()))];
    found.cwd = folder.path().into();
    let real = folder.path().canonicalize().unwrap();
    assert_eq!(run(found).await.stdout, [real.to_str().unwrap()]);
}

/// design.md section 9: a small clean environment; nothing of the node's leaks.
#[tokio::test]
async fn the_environment_is_exactly_what_was_passed() {
    let mut env = work(&["/usr/bin/env"]);
    env.env = vec![("PATH".into(), "/bin".into()), ("A".into(), "b=c d\u{e9}".into())];
    let expected = BTreeSet::from([
        "PATH=/bin".to_owned(),
        "A=b=c d\u{e9}".to_owned(),
        format!("SEXTON_RUN_ID={}", env.run),
    ]);
    let report = run(env).await;
    assert_eq!(report.stdout.len(), expected.len());
    assert_eq!(report.stdout.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// The shim blocks signals and Rust ignores SIGPIPE; an agent that inherited that would not die
/// when it should.
#[tokio::test]
async fn the_agent_starts_with_default_signals() {
    let report = run(work(&["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])).await;
    assert_eq!(report.stdout.len(), 2, "{report:?}");
    for line in report.stdout {
        let signals = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        // glibc ignores 32 and 33 in whatever it spawns: they are its own.
        assert_eq!(signals & !(0b11 << 31), 0, "{line}");
    }
}

/// A file that leaked into the node must not keep a lock or a socket alive in every agent.
#[tokio::test]
async fn the_agent_inherits_no_files_but_its_stdio() {
    let leak = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    // The fourth is the folder being listed.
    let report = run(work(&["ls", "/proc/self/fd"])).await;
    assert_eq!(report.stdout, ["0", "1", "2", "3"]);
}

/// A Ctrl-C in the gateway's terminal must reach neither shim nor agent.
#[tokio::test]
async fn the_agent_leads_a_group_of_its_own_in_the_session_of_the_shim() {
    let mut execution = start(sh("read -r stat < /proc/self/stat; echo $stat")).await;
    let shim = execution.process().unwrap().pid.to_string();
    let report = finish(&mut *execution).await;
    let fields: Vec<&str> = report.stdout[0].split(' ').collect();
    let [pid, _name, _state, parent, group, session, terminal, ..] = fields[..] else {
        panic!("{report:?}");
    };
    assert_eq!((parent, group, session, terminal), (shim.as_str(), pid, shim.as_str(), "0"));
}

/// Nothing that was written is lost, a last line without newline included.
#[tokio::test]
async fn a_last_line_without_newline_is_a_line() {
    let report = run(sh("printf 'a\\nb'; printf 'c' >&2")).await;
    assert_eq!(report.stdout, ["a", "b"]);
    assert_eq!(report.stderr, ["c"]);
}

/// P10: bytes that are no text are replaced, not fatal.
#[tokio::test]
async fn invalid_utf8_is_replaced() {
    let report = run(sh("printf 'a\\377b\\nc\\n'")).await;
    assert_eq!(report.stdout, ["a\u{fffd}b", "c"]);
}

/// A line beyond the limit arrives in pieces that add up to it.
#[tokio::test]
async fn a_line_beyond_the_limit_is_split_without_loss() {
    let mut long = work(&["cat"]);
    long.prompt = format!("short\n{}\nshort\n", "0123456789é".repeat(30_000));
    long.line_limit_bytes = 10_000;
    let expected = long.prompt.replace('\n', "");
    let report = run(long).await;
    assert!(report.stdout.iter().all(|piece| piece.len() <= 10_000));
    assert_eq!(report.stdout.len(), 2 + 36);
    assert!(report.stdout.concat() == expected, "the pieces differ");
}

/// P10: an agent that prints without end costs a constant amount of memory. (The reader pulls, so
/// the agent waits in its pipe; nothing is queued.)
#[tokio::test]
async fn a_flood_of_output_streams_at_constant_memory() {
    const BYTES: usize = 200_000_000;
    let line = "x".repeat(999);
    let mut flood = start(sh(&format!("yes {line} | head -c {BYTES}"))).await;
    let before = peak_memory_kib();
    let mut bytes = 0;
    loop {
        match next(&mut *flood).await {
            Progress::Stdout(line) => bytes += line.len() + 1,
            Progress::Stderr(line) => panic!("{line}"),
            Progress::Exited(exit) => break assert_eq!(exit, Exit::Code(0)),
        }
    }
    assert_eq!(bytes, BYTES);
    // Other tests may run in this process.
    assert!(peak_memory_kib() - before < 64 * 1024, "{before} grew to {}", peak_memory_kib());
}

/// P10: a flood on one stream does not hide what comes on the other.
#[tokio::test]
async fn a_flood_on_stdout_does_not_starve_stderr() {
    let mut flood = start(sh("yes & sleep 0.1; echo here >&2; wait")).await;
    while next(&mut *flood).await != Progress::Stderr("here".into()) {}
    flood.stop();
    while !matches!(next(&mut *flood).await, Progress::Exited(_)) {}
}

/// The runner waits for several things at once, so it drops futures of `progress` all the time.
#[tokio::test]
async fn dropping_a_progress_future_loses_nothing() {
    let mut counter = start(sh("i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done")).await;
    let mut lines = Vec::new();
    let exit = loop {
        let progress = tokio::select! {
            biased;
            progress = counter.progress() => progress,
            () = tokio::task::yield_now() => continue,
        };
        match progress {
            Progress::Stdout(line) => lines.push(line),
            Progress::Stderr(line) => panic!("{line}"),
            Progress::Exited(exit) => break exit,
        }
    };
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(lines, (0..2000).map(|i| i.to_string()).collect::<Vec<_>>());
}

fn peak_memory_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
