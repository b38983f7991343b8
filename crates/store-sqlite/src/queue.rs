//! The queue: batches that wait for the writer. Whoever finds no writer at work starts one on the
//! blocking pool; it takes group after group until nothing waits, and then it is gone. While it waits
//! for the disk the next group gathers: there is no timer and no thread that stands by.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use sexton_domain::change::{Append, Change, Record, Restore};
use sexton_store::{Error, Promise, Ticket};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::mutex::lock;
use crate::writer::Writer;

/// The most batches of a group.
const MAX_GROUP: usize = 1024;
/// A group ends with the batch that makes it this large.
const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// What a change counts beside the texts in it.
const CHANGE_BYTES: usize = 1024;

/// Batches in the order in which they were committed.
pub(crate) struct Queue {
    state: Mutex<State>,
    writer: Mutex<Option<Writer>>,
    runtime: Handle,
    idle: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Somebody drains the queue, or is about to.
    draining: bool,
    closed: bool,
}

struct Waiting {
    batch: Vec<Change>,
    bytes: usize,
    promise: Promise,
}

impl Queue {
    /// A queue in front of a writer.
    pub(crate) fn new(writer: Writer, runtime: Handle) -> Arc<Self> {
        let (state, writer) = (Mutex::default(), Mutex::new(Some(writer)));
        Arc::new(Self { state, writer, runtime, idle: Notify::new() })
    }

    /// Queues batches, none of others between them.
    pub(crate) fn push(self: &Arc<Self>, batches: Vec<Vec<Change>>) -> Vec<Ticket> {
        let mut tickets = Vec::with_capacity(batches.len());
        let mut state = lock(&self.state);
        for batch in batches {
            if state.closed {
                tickets.push(Ticket::ready(Err(Error::Closed.into())));
                continue;
            }
            let (promise, ticket) = Ticket::promised();
            let bytes = batch.iter().map(size).sum();
            state.waiting.push_back(Waiting { batch, bytes, promise });
            tickets.push(ticket);
        }
        let start = !state.waiting.is_empty() && !state.draining;
        state.draining |= start;
        drop(state);
        if start {
            self.start();
        }
        tickets
    }

    fn start(self: &Arc<Self>) {
        let turn = Turn { queue: Arc::clone(self), progress: Progress::Waiting };
        self.runtime.spawn_blocking(move || turn.drain());
    }

    /// Refuses new batches, waits for those that were accepted and hands out the writer.
    pub(crate) async fn close(&self) -> Option<Writer> {
        lock(&self.state).closed = true;
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if !lock(&self.state).draining {
                return lock(&self.writer).take();
            }
            idle.await;
        }
    }

    /// The next group; without one the queue is no longer drained.
    fn next_group(&self) -> Vec<Waiting> {
        let mut state = lock(&self.state);
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < MAX_GROUP
            && bytes < MAX_GROUP_BYTES
            && let Some(next) = state.waiting.pop_front()
        {
            bytes += next.bytes;
            group.push(next);
        }
        state.draining = !group.is_empty();
        group
    }

    fn is_empty(&self) -> bool {
        lock(&self.state).waiting.is_empty()
    }

    /// After a panic, which cost the group that it happened in its answers: the others go on.
    fn resume(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.draining = !state.waiting.is_empty();
        let start = state.draining;
        drop(state);
        if start {
            self.start();
        }
    }

    /// When the runtime has ended and does not run the writer: what waits was not applied.
    fn strand(&self) {
        let mut state = lock(&self.state);
        state.draining = false;
        let stranded = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in stranded {
            let why = "the writer stopped".to_owned();
            let error = Error::Unavailable { doing: "commit", why };
            waiting.promise.keep(Err(error.into()));
        }
    }
}

/// One pass over the queue. However it ends, somebody can start the next one.
struct Turn {
    queue: Arc<Queue>,
    progress: Progress,
}

/// How far a pass has come.
enum Progress {
    /// It has no thread yet.
    Waiting,
    /// It takes group after group.
    Draining,
    /// Nothing waited any more: from then on the queue may be another one's to drain.
    Finished,
}

impl Turn {
    fn drain(mut self) {
        let queue = Arc::clone(&self.queue);
        let mut writer = lock(&queue.writer);
        let Some(writer) = writer.as_mut() else { return };
        self.progress = Progress::Draining;
        loop {
            let mut group = queue.next_group();
            if group.is_empty() {
                self.progress = Progress::Finished;
                return;
            }
            let mut batches: Vec<Vec<Change>> =
                group.iter_mut().map(|waiting| std::mem::take(&mut waiting.batch)).collect();
            for (waiting, answer) in group.into_iter().zip(writer.apply(&mut batches)) {
                waiting.promise.keep(answer);
            }
            writer.tidy();
            if queue.is_empty() {
                writer.vacuum();
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.progress {
            Progress::Waiting => self.queue.strand(),
            Progress::Draining => self.queue.resume(),
            Progress::Finished => {}
        }
        self.queue.idle.notify_waiters();
    }
}

/// Roughly what a change weighs.
fn size(change: &Change) -> usize {
    let texts = match change {
        Change::Append(Append { entries, .. }) | Change::Restore(Restore { entries, .. }) => {
            entries.iter().map(|entry| entry.content.len()).sum()
        }
        Change::Put(Record::Run(run)) => {
            let prompt = run.input.as_ref().map_or(0, |input| input.prompt.len());
            prompt + run.output.as_ref().map_or(0, String::len)
        }
        Change::Put(Record::Job(job)) => job.spec.prompt.len(),
        _ => 0,
    };
    texts + CHANGE_BYTES
}
