//! Everything that CI runs, in order, up to the first failure.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::crash::{self, Crash};
use crate::demo::{self, Demo};
use crate::paint::{Ink, paint};
use crate::power::{self, Power};
use crate::{Verdict, gateway, needs, peers};

/// How often the power is cut, of each kind of durability.
const CUTS: u64 = 100;

/// Runs all of it.
pub fn run() -> anyhow::Result<Verdict> {
    needs::meet()?;
    step("format", &["fmt", "--all", "--check"])?;
    let lints = ["--all-targets", "--all-features", "--", "-D", "warnings"];
    step("lints", &[&["clippy", "--workspace"], &lints[..]].concat())?;
    heading("what tests talk to");
    answer("what tests talk to", peers::run()?)?;
    tests()?;
    step("examples in the documentation", &["test", "--doc", "--workspace", "--all-features"])?;
    documentation()?;
    gateway::take_from_tests();
    heading("the demo");
    answer("the demo", demo::run(&Demo { once: true })?)?;
    heading("crash rounds");
    answer("crash rounds", crash::run(&Crash { rounds: crash::ROUNDS, seed: None })?)?;
    heading("power cuts, the short version of `cargo xtask power`");
    answer("power cuts", power::run(&Power::with_cuts(CUTS))?)?;
    println!("\n{}", paint(Ink::Good, "everything that CI runs is fine"));
    Ok(Verdict::Yes)
}

/// The runner of the tests is nextest where it is installed, else cargo's own; both run the same
/// tests.
fn tests() -> anyhow::Result<()> {
    let everything = ["--workspace", "--all-features"];
    let mut nextest = cargo(&["nextest", "--version"]);
    let is_there = nextest.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if is_there.is_ok_and(|status| status.success()) {
        return step("tests", &[&["nextest", "run", "--no-fail-fast"], &everything[..]].concat());
    }
    heading("tests (with cargo test: cargo-nextest is not installed, and takes minutes to build)");
    let mut command = cargo(&["test", "--all-targets", "--no-fail-fast"]);
    let mut child = command.args(everything).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("read what the tests print")?;
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result: ") {
            passed += count(result, "passed");
            failed += count(result, "failed");
        }
    }
    let status = child.wait()?;
    println!("{passed} passed, {failed} failed");
    ensure!(status.success() && failed == 0, "the tests fail");
    Ok(())
}

/// The number before a word, as in `ok. 3 passed; 0 failed; …`.
fn count(result: &str, word: &str) -> u64 {
    let before = result.split(word).next().unwrap_or("");
    before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn documentation() -> anyhow::Result<()> {
    heading("documentation");
    let mut command = cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--all-features"]);
    let status =
        command.arg("--document-private-items").env("RUSTDOCFLAGS", "-D warnings").status();
    ensure!(status.context("run cargo")?.success(), "the documentation has warnings");
    Ok(())
}

fn step(what: &str, args: &[&str]) -> anyhow::Result<()> {
    heading(&format!("{what}: cargo {}", args.join(" ")));
    let status = cargo(args).status().context("run cargo")?;
    ensure!(status.success(), "{what}: `cargo {}` fails", args.join(" "));
    Ok(())
}

fn answer(what: &str, verdict: Verdict) -> anyhow::Result<()> {
    ensure!(verdict == Verdict::Yes, "{what}: something differs, see above");
    Ok(())
}

fn heading(text: &str) {
    println!("\n{}", paint(Ink::Bold, &format!("── {text}")));
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(gateway::root());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_cargo_test_are_read() {
        let line =
            "ok. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!((count(line, "passed"), count(line, "failed")), (12, 3));
        assert_eq!(count("nothing of the kind", "passed"), 0);
    }
}
