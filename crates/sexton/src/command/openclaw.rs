//! `openclaw`: for people who come from there.

mod heal;
mod import;
mod inspect;
mod port;
mod progress;
mod undo;

use sexton_domain::schedule::Zone;

use crate::args::Globals;
use crate::args::openclaw::Command;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Runs a command of `openclaw`. None of them asks the daemon.
pub fn main(command: Command, globals: &Globals, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Inspect(args) => inspect::main(&args, output),
        Command::Heal(args) => heal::main(&args, output),
        Command::Undo(args) => undo::main(&args, output),
        Command::Import(args) => import::main(&args, globals, output),
    }
}

/// The zone of the machine: OpenClaw takes it for cron expressions that name none.
fn zone() -> Zone {
    let system = jiff::tz::TimeZone::system();
    system.iana_name().and_then(|name| name.parse().ok()).unwrap_or(Zone::UTC)
}
