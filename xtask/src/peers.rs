//! Programs of others that tests talk to, installed below `target/`: never skipped, named when missing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::{Verdict, gateway};

/// The published verifier of webhook signatures, in Python.
const VERIFIER: &str = "standardwebhooks==1.1.0";

/// Installs what is not there yet.
pub fn run() -> anyhow::Result<Verdict> {
    verifier()?;
    Ok(Verdict::Yes)
}

/// A Python of its own with the verifier of webhooks. What is half-installed is installed anew.
fn verifier() -> anyhow::Result<()> {
    let home = gateway::root().join("target/peers/standardwebhooks");
    let done = home.join(VERIFIER);
    if done.exists() {
        return Ok(());
    }
    if home.exists() {
        fs::remove_dir_all(&home).context("remove a half-installed verifier")?;
    }
    let venv = Command::new("python3").args(["-m", "venv"]).arg(&home).status();
    ensure!(
        venv.is_ok_and(|status| status.success()),
        "`python3 -m venv {}` does not work; on Debian: apt-get install python3-venv",
        home.display()
    );
    install(home.join("bin/python"))?;
    fs::write(&done, "").context("note that the verifier is installed")
}

fn install(python: PathBuf) -> anyhow::Result<()> {
    let args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", VERIFIER];
    let status = Command::new(&python).args(args).status().context("run pip")?;
    ensure!(
        status.success(),
        "the verifier of webhooks cannot be installed; try it yourself: {} {}",
        python.display(),
        args.join(" ")
    );
    Ok(())
}
