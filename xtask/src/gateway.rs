//! A real gateway in a throw-away folder: started, asked, killed, stopped and started again.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::http::Client;
use crate::{clock, process};

/// How long a start may take until it counts as failed.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a stop may take until it counts as failed: far beyond what is promised.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How long it may take to remove a folder.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// What a signal to this command has to clean up.
static OPEN: Mutex<Vec<(PathBuf, Option<u32>)>> = Mutex::new(Vec::new());

/// Which build of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// Whether the tests were just built, and all programs with them.
static TESTS_ARE_BUILT: AtomicBool = AtomicBool::new(false);

/// From now on programs are those that were built with the tests. By themselves they would be compiled once more,
/// with fewer features of what they need.
pub fn take_from_tests() {
    TESTS_ARE_BUILT.store(true, Ordering::Relaxed);
}

/// A program that was built with the tests.
pub fn built_with_tests(name: &str) -> Option<PathBuf> {
    let program = target().join("debug").join(name);
    (TESTS_ARE_BUILT.load(Ordering::Relaxed) && program.exists()).then_some(program)
}

/// Builds the product and returns its program. `SEXTON_PROGRAM` names one that is there already.
pub fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    if let Some(program) = std::env::var_os("SEXTON_PROGRAM") {
        return std::path::absolute(program).context("find SEXTON_PROGRAM");
    }
    if profile == Profile::Dev
        && let Some(program) = built_with_tests("sexton")
    {
        return Ok(program);
    }
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", "sexton", "--bin", "sexton"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let status = command.current_dir(root()).status().context("run cargo")?;
    ensure!(status.success(), "sexton does not build");
    let folder = if profile == Profile::Release { "release" } else { "debug" };
    Ok(target().join(folder).join("sexton"))
}

/// The root of the repository.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(set.unwrap_or_else(|| "target".into()))
}

/// A gateway and its folder. Dropping it kills the gateway and removes the folder.
#[derive(Debug)]
pub struct Gateway {
    program: PathBuf,
    folder: PathBuf,
    /// Its own folder, or one below it.
    data: PathBuf,
    /// What its process finds in its environment besides.
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
    client: Option<Client>,
}

impl Gateway {
    /// A fresh folder with this config; the gateway does not run yet.
    pub fn new(program: &Path, name: &str, config: &str) -> anyhow::Result<Self> {
        Self::below(&std::env::temp_dir(), program, name, config)
    }

    /// The same with its folder below this one.
    pub fn below(below: &Path, program: &Path, name: &str, config: &str) -> anyhow::Result<Self> {
        let folder = below.join(format!("sexton-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        remove_on_signals(&folder);
        let (program, data, environment) = (program.to_owned(), folder.clone(), Vec::new());
        let gateway = Self { program, folder, data, environment, child: None, client: None };
        gateway.configure(config)?;
        Ok(gateway)
    }

    /// The same with its data in a folder below its own, which need not be there yet.
    pub fn with_data_in(mut self, name: &str) -> Self {
        self.data = self.folder.join(name);
        self
    }

    /// The same with more in the environment of its process.
    pub fn with_environment(
        mut self,
        more: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        self.environment.extend(more);
        self
    }

    /// Replaces its config, for its next start.
    pub fn configure(&self, config: &str) -> anyhow::Result<()> {
        fs::write(self.folder.join("sexton.toml"), config).context("write the config")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process while it runs.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.as_ref().map(Child::id).context("the gateway does not run")
    }

    /// Where it can be asked while it runs.
    pub fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the gateway does not run")
    }

    /// A command of the product for this gateway.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.join("sexton.toml"));
        command.arg("--data-dir").arg(&self.data).env_remove("SEXTON_URL");
        command.env_remove("SEXTON_TOKEN").env_remove("SEXTON_LOG").stdin(Stdio::null());
        command
    }

    /// Runs a command of the product to its end and returns what it printed.
    pub fn sexton(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.command().args(args).output().context("run sexton")?;
        let (out, err) = (output.stdout, output.stderr);
        let shown = String::from_utf8_lossy(&err).into_owned();
        ensure!(output.status.success(), "sexton {}: {}", args.join(" "), shown.trim());
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Starts it and waits until it says that it is ready; returns how long that took.
    pub fn start(&mut self) -> anyhow::Result<Duration> {
        let start = clock::monotonic();
        self.spawn()?;
        let address = self.address();
        let ready = clock::until(START_LIMIT, || {
            if let Some(status) = self.child.as_mut().and_then(|it| it.try_wait().ok()).flatten() {
                bail!("the gateway ended at its start ({status}):\n{}", self.log_tail());
            }
            self.client = self.read_client(&address);
            let ready = self.client.as_ref().map(|client| client.status("/readyz"));
            Ok(matches!(ready, Some(Ok(200))))
        })?;
        ensure!(ready.is_some(), "the gateway is not ready in time:\n{}", self.log_tail());
        Ok(start.elapsed())
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        // What a killed gateway left there is no address of this one.
        let _ = fs::remove_file(self.address());
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command();
        command.arg("serve").stdout(log.try_clone()?).stderr(log);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: Ctrl-C reaches this command, and this command ends it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("start the gateway")?;
        self.register(Some(child.id()));
        self.child = Some(child);
        Ok(())
    }

    fn address(&self) -> PathBuf {
        self.data.join("address")
    }

    fn read_client(&self, address: &Path) -> Option<Client> {
        let address = fs::read_to_string(address).ok()?;
        let address = address.trim().trim_start_matches("http://").trim_end_matches('/');
        let address: SocketAddr = address.parse().ok()?;
        let token = fs::read_to_string(self.data.join("token")).ok()?;
        Some(Client { address, token: token.trim().to_owned() })
    }

    /// SIGKILL: it gets to do nothing more.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the gateway does not run")?;
        child.kill().context("kill the gateway")?;
        child.wait().context("wait for the gateway")?;
        self.gone();
        Ok(())
    }

    /// SIGTERM; returns how long the stop took and how it ended.
    pub fn stop(&mut self) -> anyhow::Result<(Duration, ExitStatus)> {
        let mut child = self.child.take().context("the gateway does not run")?;
        process::send(child.id(), Signal::SIGTERM);
        let mut status = None;
        let took = clock::until(STOP_LIMIT, || {
            status = child.try_wait()?;
            Ok(status.is_some())
        })?;
        let (Some(took), Some(status)) = (took, status) else {
            child.kill()?;
            child.wait()?;
            bail!("the gateway did not stop within {STOP_LIMIT:?}:\n{}", self.log_tail());
        };
        self.gone();
        Ok((took, status))
    }

    fn gone(&mut self) {
        self.client = None;
        self.register(None);
    }

    fn register(&self, pid: Option<u32>) {
        if let Ok(mut open) = OPEN.lock() {
            open.iter_mut().filter(|it| it.0 == self.folder).for_each(|it| it.1 = pid);
        }
    }

    /// Where its log goes.
    pub fn log(&self) -> PathBuf {
        self.folder.join("serve.log")
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
        if let Ok(mut open) = OPEN.lock() {
            open.retain(|it| it.0 != self.folder);
        }
    }
}

/// A folder that [`clean_up_on_signals`] removes besides.
pub fn remove_on_signals(folder: &Path) {
    if let Ok(mut open) = OPEN.lock() {
        open.push((folder.to_owned(), None));
    }
}

/// From now on, Ctrl-C stops the gateways, removes their folders and ends this command.
pub fn clean_up_on_signals() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listen for signals")?;
    std::thread::spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        let open = OPEN.lock().map(|open| open.clone()).unwrap_or_default();
        for pid in open.iter().filter_map(|it| it.1) {
            process::send(pid, Signal::SIGTERM);
        }
        let is_gone = |pid: &u32| {
            nix::sys::wait::waitpid(
                nix::unistd::Pid::from_raw(pid.cast_signed()),
                Some(nix::sys::wait::WaitPidFlag::WNOHANG),
            ) != Ok(nix::sys::wait::WaitStatus::StillAlive)
        };
        let _ = clock::until(STOP_LIMIT, || {
            Ok(open.iter().filter_map(|it| it.1).all(|pid| is_gone(&pid)))
        });
        for (folder, pid) in open {
            if let Some(pid) = pid {
                process::send(pid, Signal::SIGKILL);
            }
            // Commands that were started from here end by themselves, and may write until they have.
            let is_removed = || Ok(fs::remove_dir_all(&folder).is_ok() || !folder.exists());
            let _ = clock::until(REMOVAL_LIMIT, is_removed);
        }
        std::process::exit(128 + signal);
    });
    Ok(())
}
