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
pub struct Ticket {
    answer: oneshot::Receiver<Answer>,
    witness: Arc<Mutex<Witness>>,
}

/// What a driver answers a commit with. Dropped, it answers that the answer was lost.
#[derive(Debug)]
pub struct Promise {
    /// Some until it is kept.
    answer: Option<oneshot::Sender<Answer>>,
    witness: Arc<Mutex<Witness>>,
}

type Answer = Result<Committed, CommitError>;

/// Who is told the answer besides the holder of the ticket.
enum Witness {
    Nobody,
    Waits(Box<dyn FnOnce(&Answer) + Send>),
    /// Nobody waited for it when it came.
    TooLate(Answer),
}

impl Ticket {
    /// A ticket, and the promise to answer it.
    pub fn promised() -> (Promise, Self) {
        let (sender, answer) = oneshot::channel();
        let witness = Arc::new(Mutex::new(Witness::Nobody));
        let promise = Promise { answer: Some(sender), witness: Arc::clone(&witness) };
        (promise, Self { answer, witness })
    }

    /// An answer that is known already.
    pub fn ready(answer: Answer) -> Self {
        let (promise, ticket) = Self::promised();
        promise.keep(answer);
        ticket
    }

    /// Has something done with the answer before the holder of the ticket has it, and also when nobody
    /// holds it any more. It is done by whoever gives the answer.
    #[must_use]
    pub(crate) fn and_also(self, tell: impl FnOnce(&Answer) + Send + 'static) -> Self {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        if let Witness::TooLate(answer) = &*witness {
            tell(answer);
        } else {
            *witness = Witness::Waits(Box::new(tell));
        }
        drop(witness);
        self
    }
}

impl Promise {
    /// Answers.
    pub fn keep(mut self, answer: Answer) {
        self.settle(answer);
    }

    fn settle(&mut self, answer: Answer) {
        let Some(sender) = self.answer.take() else { return };
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = std::mem::replace(&mut *witness, Witness::TooLate(answer.clone()));
        drop(witness);
        if let Witness::Waits(tell) = waits {
            tell(&answer);
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

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Waits(_) => "Waits",
            Self::TooLate(_) => "TooLate",
        })
    }
}
