//! What the tests of the binary share: a folder, commands that run in it, a daemon.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sexton_engine::clock::{Clock as _, SystemClock};
use tempfile::TempDir;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A config with an agent that echoes its prompt, on a port of the system's choice.
pub const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"

[agents.echo]
executor = "process"
command = ["sh", "-c", "cat"]
grace = "1s"

[agents.fail]
executor = "process"
command = ["sh", "-c", "echo oh no >&2; exit 3"]

[agents.hang]
executor = "process"
command = ["sh", "-c", "echo begun; exec sleep 600"]
grace = "1s"
"#;

/// A folder with a config and a data folder.
pub struct Place {
    pub dir: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A daemon in a place. Dropping it kills it.
pub struct Daemon {
    child: Child,
    pub url: String,
}

impl Place {
    pub fn new(config: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.write(config);
        place
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("sexton.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn write(&self, config: &str) {
        fs::write(self.config(), config).unwrap();
    }

    /// A command in this place that knows nothing of the machine's own Sexton.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
        command.current_dir(self.dir.path()).args(args).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("SEXTON_DATA_DIR", self.data());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::from(self.command(args).output().unwrap())
    }

    /// Runs a command that must do what it is asked to.
    pub fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "sexton {args:?}: {}{}", ended.out, ended.err);
        ended.out
    }

    /// The same with its JSON document.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Starts a daemon and waits until it says that it is ready.
    pub fn serve(&self) -> Daemon {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, args: &[&str]) -> Daemon {
        self.ready(self.spawn(args, &[]))
    }

    /// Starts a daemon with more in its environment, and does not wait.
    pub fn spawn(&self, args: &[&str], environment: &[(&str, String)]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = self.command(&[&["serve"], args].concat());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    /// Waits until a daemon says that it is ready.
    pub fn ready(&self, mut child: Child) -> Daemon {
        let out = BufReader::new(child.stdout.take().unwrap());
        let (said, line) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let line = line.recv_timeout(PATIENCE).unwrap_or_default();
        let Some(url) = line.strip_prefix("sexton is ready on ") else {
            let _ = child.kill();
            panic!("not ready: {line:?}, {:?}\n{}", child.wait(), self.log());
        };
        Daemon { child, url: url.to_owned() }
    }

    /// Waits until the daemon has logged a text more often than before.
    pub fn logged(&self, text: &str, before: usize) {
        until(&format!("a log line {text:?}"), || {
            (self.log().matches(text).count() > before).then_some(())
        });
    }
}

impl From<std::process::Output> for Ended {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ended {
    /// The document that was printed.
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Daemon {
    /// One that has not said yet that it is ready.
    pub fn starting(child: Child) -> Self {
        Self { child, url: String::new() }
    }

    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the end of the daemon", || self.child.try_wait().unwrap())
    }

    /// Waits for its end, no longer than `bound`; returns how long that took.
    pub fn ends_within(&mut self, bound: Duration) -> Duration {
        let clock = SystemClock::new();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status:?}");
                return clock.monotonic();
            }
            assert!(clock.monotonic() <= bound, "the daemon is still there after {bound:?}");
            pause();
        }
    }

    /// Asks it to stop and waits.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until there is an answer.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looks = PATIENCE.as_millis() / PAUSE.as_millis();
    for _ in 0..looks {
        if let Some(answer) = look() {
            return answer;
        }
        pause();
    }
    panic!("waited in vain for {what}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks; nothing is assumed of its length"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;

    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
