//! Sexton, the keeper of AI agents' sessions: the one binary.
//!
//! Knows every other crate and puts them together: arguments, config, wiring, output.

use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser as _;
use sexton_domain::plan::drain::EXIT;
use sexton_engine::process::shim;

mod args;
mod atomic;
mod bench;
mod client;
mod clock;
mod command;
mod config;
mod failure;
mod http;
mod log;
mod output;
mod place;
mod prompt;
mod serve;
mod store;

use args::{Cli, Command};
use client::Client;
use command::stop::Ask;
use failure::{Exit, Failure};
use output::Output;

/// The hidden command under which this binary is the shim of an agent.
const SHIM: &str = "__shim";

fn main() -> ExitCode {
    // First of all: a shim is single-threaded and has no time for anything else.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == SHIM) {
        return shim::main(words);
    }
    let cli = Cli::parse();
    log::panics(matches!(cli.command, Command::Serve(_)));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| run(cli)));
    match ended {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => {
            if failure.exit != Exit::Ok {
                // Whoever closed stderr does not want to know.
                let _ = writeln!(std::io::stderr().lock(), "{failure}");
            }
            failure.exit.into()
        }
        Err(_) => Exit::Bug.into(),
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { globals, command } = cli;
    let output = Output::new(&globals);
    log::start(&globals, matches!(command, Command::Serve(_)))?;
    match command {
        Command::Init { dir } => command::init::main(dir, output),
        Command::Config(command) => command::config::main(command, &globals, output),
        Command::Bench(bench) => command::bench::main(bench, output),
        Command::Openclaw(command) => command::openclaw::main(command, &globals, output),
        Command::Serve(serve) => {
            let runtime = runtime(tokio::runtime::Builder::new_multi_thread())?;
            let ended = runtime.block_on(serve::main(serve, &globals));
            // A disk that does not answer must not keep the process.
            runtime.shutdown_timeout(EXIT.to_std());
            ended
        }
        command => {
            let client = Client::new(&globals, output)?;
            runtime(tokio::runtime::Builder::new_current_thread())?
                .block_on(talk(command, client, output))
        }
    }
}

/// The commands that ask the daemon.
async fn talk(command: Command, mut client: Client, output: Output) -> Result<Exit, Failure> {
    let client = &mut client;
    match command {
        Command::Stop(args) => command::stop::main(Ask::stop(args), client, output).await,
        Command::Restart(args) => command::stop::main(Ask::restart(args), client, output).await,
        Command::Drain(args) => command::stop::main(Ask::drain(args), client, output).await,
        Command::Alerts(args) => command::alerts::main(args, client, output).await,
        Command::Node(command) => command::node::main(command, client, output).await,
        Command::Status => command::status::main(client, output).await,
        Command::Job(command) => command::job::main(command, client, output).await,
        Command::Run(command) => command::run::main(command, client, output).await,
        Command::Hook(command) => command::hook::main(command, client, output).await,
        Command::Send(send) => command::send::main(send, client, output).await,
        Command::Session(command) => command::session::main(command, client, output).await,
        Command::Sweep(asked) => command::sweep::main(asked, client, output).await,
        Command::Archive(command) => command::archive::main(command, client, output).await,
        Command::Usage(asked) => command::usage::main(asked, client, output).await,
        Command::Init { .. }
        | Command::Config(_)
        | Command::Bench(_)
        | Command::Openclaw(_)
        | Command::Serve(_) => Err(Failure::new(Exit::Bug, "this command does not ask the daemon")),
    }
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Unavailable, format!("failed to start: {error}")))
}
