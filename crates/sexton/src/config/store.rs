//! What `[server]`, `[store]` and `[lease]` may say.

use std::path::{Path, PathBuf};

use sexton_domain::duration::Duration;

use super::Sections;
use super::file::{Lease, Server, Store};
use super::section::Findings;

/// A lease shorter than this would run out while a slow disk syncs.
const MIN_LEASE: Duration = Duration::from_secs(3);

/// Only this machine may connect as long as there is no TLS.
pub fn loopback(server: &Server, sections: &Sections<'_>, findings: &mut Findings<'_>) {
    let Some(section) = sections.get("server") else { return };
    if !server.listen.ip().is_loopback() {
        let message = format!("cannot listen on {}: only loopback addresses", server.listen);
        let hint = "tokens would cross the network in the clear and TLS is not there yet; listen on \
                    127.0.0.1 or [::1] and put a TLS proxy in front";
        findings.add_at(section, "listen", &message, Some(hint.to_owned()));
    }
}

/// The file behind `store.url`.
pub fn database(
    store: &Store,
    sections: &Sections<'_>,
    data_dir: &Path,
    findings: &mut Findings<'_>,
) -> PathBuf {
    let path = store.url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
    match path {
        Some(path) if !path.is_empty() => return data_dir.join(path),
        _ => {}
    }
    if let Some(section) = sections.get("store") {
        let (message, hint) = match store.url.split_once(':') {
            Some(("sqlite", _)) => ("expected a path after `sqlite:`", "for example"),
            Some(("postgres" | "postgresql", _)) => {
                ("PostgreSQL is not supported yet", "use the embedded store:")
            }
            _ => ("expected a store's URL", "for example"),
        };
        let hint = format!("{hint} \"sqlite:sexton.db\", relative to the data folder");
        findings.add_at(section, "url", message, Some(hint));
    }
    data_dir.join("sexton.db")
}

/// How long a node may be silent.
pub fn lease(lease: &Lease, sections: &Sections<'_>, findings: &mut Findings<'_>) {
    let Some(section) = sections.get("lease") else { return };
    if lease.length < MIN_LEASE {
        let message = format!("a lease of {} is too short", lease.length);
        let hint = format!("write at least \"{MIN_LEASE}\"; a slow disk needs the time");
        findings.add_at(section, "length", &message, Some(hint));
    }
}
