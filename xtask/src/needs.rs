//! What the tests need from the system besides a toolchain: found, installed as root on Debian, or named.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::paint::{Ink, paint};

/// Something that tests call and that is not built here.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// A command that succeeds where it is there.
    pub probe: &'static [&'static str],
    /// The package of Debian that brings it.
    pub package: &'static str,
    /// What for.
    pub why: &'static str,
}

/// Everything that is needed.
pub const NEEDS: &[Need] = &[
    Need {
        probe: &["promtool", "--version"],
        package: "prometheus",
        why: "to check what `/metrics` says",
    },
    Need {
        probe: &["python3", "-c", "import ensurepip, venv"],
        package: "python3-venv",
        why: "to verify signatures of webhooks with the library that receivers use",
    },
];

/// Sees to it that everything is there.
///
/// # Errors
///
/// When something is missing and may not or cannot be installed; the message names the command to run.
pub fn meet() -> anyhow::Result<()> {
    let missing: Vec<Need> = NEEDS.iter().copied().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("{} is missing: it is needed {}", need.probe[0], need.why);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    let may = nix::unistd::geteuid().is_root() && Path::new("/etc/debian_version").exists();
    ensure!(may, "something is missing; on Debian run as root: {install}");
    println!("\n{}", paint(Ink::Bold, &format!("── {install}")));
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-qy", "--no-install-recommends"], &packages[..]].concat())?;
    let still: Vec<&str> =
        missing.iter().filter(|need| !need.is_met()).map(|need| need.probe[0]).collect();
    ensure!(still.is_empty(), "{} cannot be called although it was installed", still.join(", "));
    Ok(())
}

impl Need {
    fn is_met(self) -> bool {
        let mut probe = Command::new(self.probe[0]);
        probe.args(&self.probe[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

fn apt_get(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    // In runlevel 1 no package starts its service: tools are wanted, not servers.
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    let status = command.status().context("run apt-get")?;
    ensure!(status.success(), "`apt-get {}` fails", args.join(" "));
    Ok(())
}
