//! What the tests of `process` need as a program of its own: a shim, and nodes to be killed.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use sexton_engine::executor::{Executor, Progress, Work};
use sexton_engine::process::{ProcessExecutor, RUN_ID, ShimCommand, shim};
use uuid::Uuid;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let command = args.next().and_then(|arg| arg.into_string().ok()).unwrap_or_default();
    match command.as_str() {
        "__shim" => shim::main(args),
        "node" => node(&args.map(text).collect::<Vec<_>>()),
        "bury" => bury(&args.map(text).collect::<Vec<_>>()),
        _ => ExitCode::from(64),
    }
}

fn text(arg: OsString) -> String {
    arg.into_string().expect("tests pass UTF-8")
}

/// `node <run> <grace ms> <command...>`: runs it and prints what it reports.
fn node(args: &[String]) -> ExitCode {
    let [run, grace_ms, command @ ..] = args else { return ExitCode::from(64) };
    let shim = ShimCommand::this_program(vec!["__shim".into()]).expect("this program exists");
    let work = Work {
        run: run.parse().expect("a run"),
        command: command.to_vec(),
        cwd: "/".into(),
        env: vec![("PATH".into(), std::env::var("PATH").unwrap_or_default())],
        prompt: String::new(),
        grace: Duration::from_millis(grace_ms.parse().expect("a number")),
        line_limit_bytes: 1 << 20,
    };
    runtime().block_on(async {
        let mut execution = ProcessExecutor::new(shim).start(work).await.expect("it starts");
        println!("shim {}", execution.process().expect("there is a process").pid);
        loop {
            match execution.progress().await {
                Progress::Stdout(line) => println!("{line}"),
                Progress::Stderr(line) => eprintln!("{line}"),
                Progress::Exited(_) => return ExitCode::SUCCESS,
            }
        }
    })
}

/// `bury <run>`: buries the run and prints how many processes that took.
fn bury(args: &[String]) -> ExitCode {
    let [run] = args else { return ExitCode::from(64) };
    let run: Uuid = run.parse().expect("a run");
    let marked = std::env::var(RUN_ID).is_ok();
    let shim = ShimCommand { program: "/nonexistent".into(), args: vec![] };
    let buried = runtime().block_on(ProcessExecutor::new(shim).bury(&|found| found == run));
    println!("buried {} marked {marked}", buried.expect("it buries").len());
    ExitCode::SUCCESS
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
