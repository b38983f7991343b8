//! Logs: to stderr, for people on a terminal and as JSON lines for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::panic;

use tracing_subscriber::EnvFilter;

use crate::args::Globals;
use crate::failure::{Exit, Failure};

/// Names what is logged: `info`, or `sexton=debug,sexton_engine=trace`.
pub const FILTER: &str = "SEXTON_LOG";

/// Starts logging. The daemon tells what it does; other commands only what went wrong.
pub fn start(globals: &Globals, daemon: bool) -> Result<(), Failure> {
    let level = match (daemon, globals.quiet, globals.verbose) {
        (_, true, _) => "error",
        (true, _, 0) => "info",
        (false, _, 0) => "warn",
        (true, _, 1) | (false, _, 2) => "debug",
        (false, _, 1) => "info",
        _ => "trace",
    };
    let filter = match std::env::var(FILTER) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map_err(|error| {
            Failure::new(Exit::Usage, format!("failed to read {FILTER}={filter:?}: {error}"))
                .hint("write for example info, or sexton=debug")
        })?,
        _ => EnvFilter::new(level),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        logs.with_target(false).init();
    } else {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
    Ok(())
}

/// Says what panicked: it is a bug, wherever it happened. The daemon logs it and lives on if it can.
pub fn panics(daemon: bool) {
    let version = env!("CARGO_PKG_VERSION");
    panic::set_hook(Box::new(move |panic| {
        if daemon {
            tracing::error!(%panic, version, "this is a bug in Sexton");
        } else {
            let mut stderr = io::stderr().lock();
            let _ = writeln!(stderr, "error: this is a bug in Sexton {version}: {panic}");
            let _ = writeln!(stderr, "hint: please report it with what you did");
        }
    }));
}
