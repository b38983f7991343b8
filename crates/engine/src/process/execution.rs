//! One running shim as seen from the node: its output, its prompt, its end.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use rustix::net::{Shutdown, shutdown};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use uuid::Uuid;

use super::output::Lines;
use super::survivors::{self, DeadShim};
use super::wire::{FRAME_BYTES, Frame};
use crate::executor::{Execution, Exit, ProcessId, Progress};

/// Work done by a process behind a shim.
pub struct ProcessExecution {
    run: Uuid,
    /// The shim, whose life is the life of the work.
    process: ProcessId,
    agent: Option<ProcessId>,
    control: Control,
    prompt: Option<Prompt>,
    /// stdout and stderr.
    outputs: [Lines; 2],
    /// Which of them is asked first next time, so that neither starves the other.
    first: usize,
    /// Until the shim is reaped, or left to the search for survivors.
    shim: Option<Child>,
    /// How the agent ended, as soon as the shim said so.
    ended: Option<Exit>,
    state: State,
    /// How long the shim has to prove its tree dead once it is asked to.
    patience: Duration,
    /// Runs from `stop` on. A shim that outlasts it does not answer (its agent may have sent it
    /// SIGSTOP) and is killed; its tree is then searched for.
    give_up: Option<Pin<Box<Sleep>>>,
}

/// What a shim has to prove its tree dead beside the grace.
const MARGIN: Duration = Duration::from_secs(30);

/// How far this work has come.
enum State {
    /// The shim lives.
    Working,
    /// The shim died without a proof: its tree is searched for and killed.
    Burying(JoinHandle<u32>),
    /// The tree is proven dead; what it wrote is still to be read.
    Dead(Exit),
}

impl ProcessExecution {
    /// Follows `shim` over `control`.
    pub fn new(
        run: Uuid,
        control: UnixStream,
        shim: Child,
        process: ProcessId,
        outputs: [Lines; 2],
        prompt: Option<Prompt>,
        grace: Duration,
    ) -> ProcessExecution {
        ProcessExecution {
            run,
            process,
            agent: None,
            control: Control { socket: control, bytes: [0; FRAME_BYTES], have: 0 },
            prompt,
            outputs,
            first: 0,
            shim: Some(shim),
            ended: None,
            state: State::Working,
            patience: grace + MARGIN,
            give_up: None,
        }
    }

    /// What the shim says first; `None` if it died before it could.
    pub async fn first_frame(&mut self) -> Option<Frame> {
        let first = self.control.frame().await;
        if let Some(Frame::Started(agent)) = first {
            self.agent = Some(agent);
        }
        first
    }

    /// Waits for the end of a shim that has nothing more to do.
    pub async fn reap(&mut self) {
        if let Some(shim) = &mut self.shim {
            // It fails only if somebody else reaped it, and then it is reaped.
            let _ = shim.wait().await;
        }
    }

    /// Kills the tree of a shim that died; returns how many processes that were.
    pub async fn bury(&mut self) -> u32 {
        survivors::joined(self.search()).await
    }

    /// A task, because nothing may cut it short: neither a dropped future nor a dropped `self`.
    fn search(&mut self) -> JoinHandle<u32> {
        tokio::spawn(survivors::bury_tree(DeadShim {
            run: self.run,
            process: self.process,
            agent: self.agent,
            child: self.shim.take(),
        }))
    }

    fn hear(&mut self, frame: Option<Frame>) {
        match frame {
            Some(Frame::Ended(exit)) => {
                self.ended = Some(exit);
                self.prompt = None;
            }
            Some(Frame::Dead(leftovers)) => {
                if leftovers > 0 {
                    tracing::info!(run = %self.run, leftovers, "the agent left processes behind");
                }
                self.die(0);
            }
            Some(Frame::Started(_) | Frame::Failed(..)) | None => {
                tracing::warn!(run = %self.run, shim = self.process.pid, "the shim was killed");
                self.state = State::Burying(self.search());
            }
        }
    }

    /// The tree is proven dead, if necessary after `killed` processes were killed by the node.
    fn die(&mut self, killed: u32) {
        self.outputs.iter_mut().for_each(Lines::writers_are_dead);
        self.state = State::Dead(self.ended.unwrap_or(Exit::Lost { killed }));
    }

    fn pop(&mut self) -> Option<Progress> {
        for which in [self.first, 1 - self.first] {
            if let Some(line) = self.outputs[which].pop() {
                self.first = 1 - which;
                return Some(if which == 0 {
                    Progress::Stdout(line)
                } else {
                    Progress::Stderr(line)
                });
            }
        }
        None
    }
}

#[async_trait]
impl Execution for ProcessExecution {
    async fn progress(&mut self) -> Progress {
        loop {
            if let Some(line) = self.pop() {
                return line;
            }
            match &mut self.state {
                State::Working => {
                    let [stdout, stderr] = &mut self.outputs;
                    // `select` polls in random order: none of the four starves another.
                    tokio::select! {
                        () = stdout.fill() => {}
                        () = stderr.fill() => {}
                        done = pump(&mut self.prompt) => if done { self.prompt = None },
                        frame = self.control.frame() => self.hear(frame),
                        () = over(&mut self.give_up) => {
                            tracing::warn!(run = %self.run, shim = self.process.pid,
                                "the shim does not answer; it is killed");
                            self.give_up = None;
                            if let Some(shim) = &mut self.shim {
                                // It fails only for a shim that is dead, and then its socket says so.
                                let _ = shim.start_kill();
                            }
                        }
                    }
                }
                State::Burying(search) => {
                    let killed = survivors::joined(search).await;
                    self.die(killed);
                }
                State::Dead(exit) => {
                    let exit = *exit;
                    let read = self.outputs.each_mut().map(Lines::drain);
                    if read == [false, false] {
                        self.reap().await;
                        return Progress::Exited(exit);
                    }
                }
            }
        }
    }

    fn stop(&mut self) {
        // The end of the control socket is the order to end. A dead shim needs none.
        let _ = shutdown(&self.control.socket, Shutdown::Write);
        if self.give_up.is_none() {
            self.give_up = Some(Box::pin(tokio::time::sleep(self.patience)));
        }
    }

    fn process(&self) -> Option<ProcessId> {
        Some(self.process)
    }
}

async fn over(give_up: &mut Option<Pin<Box<Sleep>>>) {
    match give_up {
        Some(sleep) => sleep.await,
        None => pending().await,
    }
}

/// The control socket, and the part of a frame that was read from it.
struct Control {
    socket: UnixStream,
    bytes: [u8; FRAME_BYTES],
    have: usize,
}

impl Control {
    /// The next frame; `None` when the shim is gone or talks gibberish. Cancel-safe.
    async fn frame(&mut self) -> Option<Frame> {
        while self.have < FRAME_BYTES {
            self.socket.readable().await.ok()?;
            match self.socket.try_read(&mut self.bytes[self.have..]) {
                Ok(0) => return None,
                Ok(read) => self.have += read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
        self.have = 0;
        Frame::decode(self.bytes)
    }
}

/// What is left of a prompt that did not fit into its pipe at once.
pub struct Prompt {
    pipe: pipe::Sender,
    bytes: Vec<u8>,
    sent: usize,
}

impl Prompt {
    /// All but the first `sent` bytes are still to be written.
    pub fn new(pipe: pipe::Sender, bytes: Vec<u8>, sent: usize) -> Prompt {
        Prompt { pipe, bytes, sent }
    }
}

/// Writes a part of the prompt; true when there is nothing more to do, because all of it is
/// written or because the agent closed its stdin, as it may. Cancel-safe.
async fn pump(prompt: &mut Option<Prompt>) -> bool {
    let Some(prompt) = prompt else { return pending().await };
    if prompt.pipe.writable().await.is_err() {
        return true;
    }
    match prompt.pipe.try_write(&prompt.bytes[prompt.sent..]) {
        Ok(written) => prompt.sent += written,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(_) => return true,
    }
    prompt.sent == prompt.bytes.len()
}
