//! The shim: the process between a node and one agent, which sees to it that nothing of the agent
//! is left when it itself is gone.
//!
//! It is the `sexton` binary under a hidden command, so it must start and stay cheap: no runtime,
//! no thread, no allocation to speak of. It is a subreaper: whatever the agent starts
//! stays below it, however often it forks or opens a session of its own. When the agent ends, or
//! when the control socket does (the node says so, or died), it sends TERM to all descendants,
//! waits the grace, and kills them again and again until `waitpid` says that there is none left.
//! That answer is the proof of death. Systems without subreapers kill the agent's group and prove
//! only the death of the agent itself.
//!
//! It cannot be hurried: every signal but KILL is blocked. It never writes to stdout or stderr,
//! which are the agent's.

use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as NixSignal, sigaction};
#[cfg(target_os = "linux")]
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process_group, setsid};
use rustix::time::{ClockId, clock_gettime};

use super::table;
use super::wire::{Frame, Stage};
use crate::executor::{Exit, ProcessId};

/// What an agent that ended by itself leaves behind gets at most this long to end, too.
const LEFTOVER_GRACE: Duration = Duration::from_secs(2);

/// The pause between two rounds of killing, at first and at most.
const KILL_PAUSE: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(500)];

/// How often the tree is looked at, at most, to send one signal to all of it.
const LOOKS: u32 = 4;

/// What a shim is started with: its arguments, in this order, after those that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// How long the tree may take to end after TERM.
    pub grace: Duration,
    /// Where the command starts.
    pub cwd: PathBuf,
    /// Program and arguments.
    pub command: Vec<OsString>,
}

impl Orders {
    /// As arguments of a shim.
    pub fn into_args(self) -> impl Iterator<Item = OsString> {
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        [grace_ms.to_string().into(), self.cwd.into()].into_iter().chain(self.command)
    }

    fn from_args(mut args: impl Iterator<Item = OsString>) -> Option<Orders> {
        let grace = Duration::from_millis(args.next()?.to_str()?.parse().ok()?);
        let cwd = args.next()?.into();
        let command: Vec<OsString> = args.collect();
        (!command.is_empty()).then_some(Orders { grace, cwd, command })
    }
}

/// Runs a shim to its end. `args` are [`Orders`]; stdin is the control socket, stdout and stderr
/// are the agent's. To be called before anything else: no thread may run yet.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(orders) = Orders::from_args(args) else {
        eprintln!("this command is for sexton itself");
        return ExitCode::from(64);
    };
    let control = io::stdin();
    match start(&control, &orders) {
        Ok((deaths, tree)) => supervise(&control, &deaths, tree, orders.grace),
        Err((stage, errno)) => tell(&control, Frame::Failed(stage, errno.raw_os_error())),
    }
    ExitCode::SUCCESS
}

/// Becomes a shim and starts the agent.
fn start(control: impl AsFd, orders: &Orders) -> Result<(Deaths, Tree), (Stage, Errno)> {
    let own = |errno| (Stage::Shim, errno);
    prepare().map_err(own)?;
    let deaths = Deaths::prepare().map_err(own)?;
    let stdin = receive_stdin(&control).map_err(own)?;
    std::env::set_current_dir(&orders.cwd).map_err(|error| (Stage::Cwd, io_errno(&error)))?;
    let agent = launch(&orders.command, stdin).map_err(|error| (Stage::Exec, errno(error)))?;
    let pid = agent.as_raw_pid().cast_unsigned();
    tell(&control, Frame::Started(ProcessId { pid, started: table::started(pid) }));
    Ok((deaths, Tree { agent, ended: None }))
}

/// Makes this process a shim: deaf, alone in its session, parent of all orphans below it.
fn prepare() -> Result<(), Errno> {
    SigSet::all().thread_block().map_err(errno)?;
    default_sigchld()?;
    // Fails only for the leader of a group, which the node does not make of us: a shell may.
    let _ = setsid();
    #[cfg(target_os = "linux")]
    {
        hide_inherited_files();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        // `CString` from a constant without NUL; the name is for `ps` and for the survivors' scan.
        let name = CString::new(table::SHIM_NAME).map_err(|_| Errno::INVAL)?;
        rustix::thread::set_name(&name)?;
    }
    Ok(())
}

/// An ignored SIGCHLD is inherited, and with it no process ever has an exit status.
fn default_sigchld() -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    #[expect(unsafe_code, reason = "sigaction is unsafe for its handlers; SIG_DFL is none")]
    let set = unsafe { sigaction(NixSignal::SIGCHLD, &default) };
    set.map(drop).map_err(errno)
}

/// Keeps files that leaked into the node (from its supervisor, say) away from the agent.
#[cfg(target_os = "linux")]
fn hide_inherited_files() {
    use nix::libc::{CLOSE_RANGE_CLOEXEC, SYS_close_range, syscall};

    #[expect(unsafe_code, reason = "has no safe wrapper; it sets flags and touches no memory")]
    // Before Linux 5.11 it is missing, and leaked files stay as leaked as they were.
    let _ = unsafe { syscall(SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC) };
}

/// The agent's stdin, which the node sent before it started us.
fn receive_stdin(control: impl AsFd) -> Result<OwnedFd, Errno> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    recvmsg(control, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
    let stdin = ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        })
        .ok_or(Errno::BADF)?;
    rustix::io::fcntl_setfd(&stdin, rustix::io::FdFlags::CLOEXEC)?;
    Ok(stdin)
}

/// Starts the agent in a group of its own, with all signals as they are by default.
fn launch(command: &[OsString], stdin: OwnedFd) -> nix::Result<Pid> {
    let mut defaults = SigSet::all();
    // Nobody can change these two, and some systems refuse to hear of it.
    defaults.remove(NixSignal::SIGKILL);
    defaults.remove(NixSignal::SIGSTOP);
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    attributes.set_sigdefault(&defaults)?;
    attributes.set_sigmask(&SigSet::empty())?;
    let mut files = PosixSpawnFileActions::init()?;
    files.add_dup2(stdin.as_raw_fd(), 0)?;
    let command = command.iter().cloned().map(c_string).collect::<nix::Result<Vec<_>>>()?;
    let environment = std::env::vars_os()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect::<nix::Result<Vec<_>>>()?;
    let pid = posix_spawnp(&command[0], &files, &attributes, &command, &environment)?;
    Pid::from_raw(pid.as_raw()).ok_or(nix::Error::ECHILD)
}

/// How far the end of the tree has come. Times are of the monotonic clock.
#[derive(Clone, Copy)]
enum Phase {
    /// The agent works and the node wants it to.
    Working,
    /// The tree was asked to end, and is killed at `until`.
    Asked { until: Duration },
    /// The tree is killed, and again after the pause.
    Killing { pause: Duration },
}

/// Sees the agent to its end and its tree to its death.
fn supervise(control: impl AsFd, deaths: &Deaths, mut tree: Tree, grace: Duration) {
    let mut phase = Phase::Working;
    let mut leftovers = 0;
    loop {
        let ended_before = tree.ended.is_some();
        let anyone_left = tree.reap();
        if let Some(exit) = tree.ended
            && !ended_before
        {
            tell(&control, Frame::Ended(exit));
            if anyone_left {
                leftovers = descendants().len();
                phase = tree.end_leftovers(phase, now() + grace.min(LEFTOVER_GRACE));
            }
        }
        if !anyone_left {
            break;
        }
        phase = match phase {
            Phase::Working => match deaths.or_end_of(&control) {
                Event::Death => Phase::Working,
                Event::EndOfControl => {
                    tree.signal(Signal::TERM);
                    Phase::Asked { until: now() + grace }
                }
            },
            Phase::Asked { until } if now() < until => {
                deaths.within(until - now());
                Phase::Asked { until }
            }
            Phase::Asked { .. } => Phase::Killing { pause: KILL_PAUSE[0] },
            Phase::Killing { pause } => {
                tree.signal(Signal::KILL);
                deaths.within(pause);
                Phase::Killing { pause: (pause * 2).min(KILL_PAUSE[1]) }
            }
        };
    }
    tell(&control, Frame::Dead(u32::try_from(leftovers).unwrap_or(u32::MAX)));
}

/// The agent and all that is below it.
struct Tree {
    agent: Pid,
    /// How the agent ended, once it has.
    ended: Option<Exit>,
}

impl Tree {
    /// Takes note of all deaths so far and tells whether anyone is left. That nobody is left, in
    /// the words of `waitpid`, is the proof everything rests on.
    #[cfg(target_os = "linux")]
    fn reap(&mut self) -> bool {
        use rustix::process::{WaitOptions, wait};

        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.agent => {
                    let code = status.exit_status().map(Exit::Code);
                    self.ended = code.or(status.terminating_signal().map(Exit::Signal));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                // ECHILD; there is no other error for these arguments.
                Err(_) => return false,
            }
        }
    }

    /// Without subreapers only the agent's group can be followed. The agent is left a zombie, so
    /// that the id of its group stays its own.
    #[cfg(not(target_os = "linux"))]
    fn reap(&mut self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, test_kill_process_group, waitid};

        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if let Ok(Some(status)) = waitid(WaitId::Pid(self.agent), options) {
            let code = status.exit_status().map(Exit::Code);
            self.ended = code.or(status.terminating_signal().map(Exit::Signal));
        }
        // A group of zombies refuses signals.
        self.ended.is_none() || test_kill_process_group(self.agent).is_ok()
    }

    /// What follows the end of an agent that left processes behind.
    fn end_leftovers(&self, phase: Phase, until: Duration) -> Phase {
        match phase {
            Phase::Working => {
                self.signal(Signal::TERM);
                Phase::Asked { until }
            }
            Phase::Asked { until: earlier } => Phase::Asked { until: until.min(earlier) },
            Phase::Killing { .. } => phase,
        }
    }

    /// Sends `signal` to every process of the tree: group by group, because that reaches also what
    /// is forked meanwhile, and one by one those that joined the group of the shim. Each gets it
    /// once; agents take a second TERM for impatience.
    fn signal(&self, signal: Signal) {
        let me = own_pid();
        let mut reached = BTreeSet::from([me]);
        // Known without a table, too; but once the agent was reaped the number may be another's.
        if self.ended.is_none() || cfg!(not(target_os = "linux")) {
            let group = self.agent.as_raw_pid().cast_unsigned();
            reached.insert(group);
            signal_group(group, signal);
        }
        let mut strays = BTreeSet::new();
        // Who changes its group in the moment between look and signal is missed once, not twice.
        for _ in 0..LOOKS {
            let before = (reached.len(), strays.len());
            for entry in descendants() {
                if entry.group == me && strays.insert(entry.id) {
                    let _ = table::send(entry.id, signal);
                } else if reached.insert(entry.group) {
                    signal_group(entry.group, signal);
                }
            }
            if (reached.len(), strays.len()) == before {
                break;
            }
        }
    }
}

fn signal_group(group: u32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group.cast_signed()) {
        let _ = kill_process_group(group, signal);
        // What is stopped hears nothing but KILL.
        if signal != Signal::KILL {
            let _ = kill_process_group(group, Signal::CONT);
        }
    }
}

/// Everything below this process that is not a zombie.
fn descendants() -> Vec<table::Entry> {
    table::read().map(|table| table::descendants(&table, own_pid())).unwrap_or_default()
}

fn own_pid() -> u32 {
    std::process::id()
}

enum Event {
    Death,
    EndOfControl,
}

/// Tells when a child died.
#[cfg(target_os = "linux")]
struct Deaths {
    signals: SignalFd,
}

#[cfg(target_os = "linux")]
impl Deaths {
    /// To be called before there is a child, with SIGCHLD blocked.
    fn prepare() -> Result<Deaths, Errno> {
        let mut only = SigSet::empty();
        only.add(NixSignal::SIGCHLD);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Deaths { signals: SignalFd::with_flags(&only, flags).map_err(errno)? })
    }

    /// Waits for a death or for the end of the control socket, whichever comes first.
    fn or_end_of(&self, control: impl AsFd) -> Event {
        let mut files = [
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
        ];
        let _ = poll(&mut files, None);
        let [_, control] = files;
        if control.revents().is_empty() {
            self.forget();
            Event::Death
        } else {
            Event::EndOfControl
        }
    }

    /// Waits for a death, but not longer than this; an early return makes the caller look early.
    fn within(&self, at_most: Duration) {
        let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], timespec(at_most).as_ref());
        self.forget();
    }

    fn forget(&self) {
        let _ = self.signals.read_signal();
    }
}

/// Without signalfd a process that is a shim looks every now and then.
#[cfg(not(target_os = "linux"))]
struct Deaths;

#[cfg(not(target_os = "linux"))]
impl Deaths {
    const LOOK: Duration = Duration::from_millis(20);

    fn prepare() -> Result<Deaths, Errno> {
        Ok(Deaths)
    }

    fn or_end_of(&self, control: impl AsFd) -> Event {
        let mut files = [PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)];
        let _ = poll(&mut files, timespec(Self::LOOK).as_ref());
        if files[0].revents().is_empty() { Event::Death } else { Event::EndOfControl }
    }

    fn within(&self, at_most: Duration) {
        let _ = poll(&mut [], timespec(at_most.min(Self::LOOK)).as_ref());
    }
}

/// `None`, which is for ever, only for times longer than that.
fn timespec(time: Duration) -> Option<Timespec> {
    Timespec::try_from(time).ok()
}

/// Tells the node, which may be dead: then nobody needs to know.
fn tell(control: impl AsFd, frame: Frame) {
    let _ = rustix::io::write(control, &frame.encode());
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn c_string(text: OsString) -> nix::Result<CString> {
    CString::new(text.into_vec()).map_err(|_| nix::Error::EINVAL)
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

fn io_errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_command_line() {
        let orders = Orders {
            grace: Duration::from_millis(1500),
            cwd: "/a folder".into(),
            command: vec!["agent".into(), "--".into(), "".into(), "-x y".into()],
        };
        assert_eq!(Orders::from_args(orders.clone().into_args()), Some(orders));
    }

    #[test]
    fn orders_without_a_command_are_none() {
        for args in [vec![], vec!["1"], vec!["1", "/"], vec!["x", "/", "true"]] {
            assert_eq!(Orders::from_args(args.into_iter().map(OsString::from)), None);
        }
    }
}
