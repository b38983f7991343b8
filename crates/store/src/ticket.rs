//! Tickets: the answer to a commit reaches whoever awaits it, and the handle also when nobody does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::driver::{CommitError, Committed};

/// The answer to a commit, to be awaited where something depends on it.
#[derive(Debug)]
#[must_use = "drop it where nobody has to wait for the answer"]
pub struct Ticket {
    answer: oneshot::Receiver<Answer>,
    listener: Arc<Mutex<Listener>>,
}

/// What a driver answers a commit with. Dropped, it answers that the answer was lost.
#[derive(Debug)]
pub struct Promise {
    /// Some until it is kept.
    answer: Option<oneshot::Sender<Answer>>,
    listener: Arc<Mutex<Listener>>,
}

pub(crate) type Answer = Result<Committed, CommitError>;

/// Who is told the answer besides the holder of the ticket.
enum Listener {
    Nobody,
    Waits(Box<dyn FnOnce(Answer) -> Answer + Send>),
    /// It came before anybody asked.
    Came(Answer),
}

impl Ticket {
    /// A ticket, and the promise to answer it.
    pub fn promised() -> (Promise, Self) {
        let (sender, answer) = oneshot::channel();
        let listener = Arc::new(Mutex::new(Listener::Nobody));
        let promise = Promise { answer: Some(sender), listener: Arc::clone(&listener) };
        (promise, Self { answer, listener })
    }

    /// An answer that is known already.
    pub fn ready(answer: Answer) -> Self {
        let (promise, ticket) = Self::promised();
        promise.keep(answer);
        ticket
    }

    /// Has something done with the answer before the holder of the ticket has it, and also when nobody
    /// holds it any more. It is done by whoever gives the answer.
    pub(crate) fn by_way_of(self, pass: impl FnOnce(Answer) -> Answer + Send + 'static) -> Self {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Listener::Came(answer) = &*listener {
            return Self::ready(pass(answer.clone()));
        }
        *listener = Listener::Waits(Box::new(pass));
        drop(listener);
        self
    }
}

/// The answers to several commits, in order.
pub async fn answers(tickets: Vec<Ticket>) -> Vec<Result<Committed, CommitError>> {
    let mut answers = Vec::with_capacity(tickets.len());
    for ticket in tickets {
        answers.push(ticket.await);
    }
    answers
}

impl Promise {
    /// Answers.
    pub fn keep(mut self, answer: Answer) {
        self.settle(answer);
    }

    fn settle(&mut self, mut answer: Answer) {
        let Some(sender) = self.answer.take() else { return };
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = std::mem::replace(&mut *listener, Listener::Came(answer.clone()));
        drop(listener);
        if let Listener::Waits(pass) = waits {
            answer = pass(answer);
        }
        // Nobody may be waiting for it.
        let _ = sender.send(answer);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.settle(Err(CommitError::AnswerLost));
    }
}

impl Future for Ticket {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(CommitError::AnswerLost)))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Waits(_) => "Waits",
            Self::Came(_) => "Came",
        })
    }
}
