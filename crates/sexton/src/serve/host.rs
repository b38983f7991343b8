//! The process and the machine that the daemon runs on.

use std::collections::BTreeMap;

use sexton_domain::node::ProcessId;
use sexton_engine::env::Host;

/// This process on this machine.
pub fn here() -> Host {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    Host {
        name: name.unwrap_or_else(|| "unknown".to_owned()),
        process: ProcessId { pid: std::process::id(), started: started() },
        software: env!("CARGO_PKG_VERSION").to_owned(),
        environment: environment(),
    }
}

/// What is no text cannot be passed on by name.
fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Clock ticks since boot: field 22 of `/proc/self/stat`, the 20th after the name; 0 where the
/// system does not tell.
fn started() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// How many files this process may have open at once.
pub fn open_files() -> u64 {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    limit.map_or(0, |(soft, _)| soft)
}
