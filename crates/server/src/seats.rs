//! Seats: how many connections there are at once, and who goes when one more comes and all are taken.
//!
//! A connection with nothing to answer waits at the other side's pleasure, and there may be any number of
//! those: the one that has waited longest makes room. One with a request under way keeps its seat.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::HttpBody as _;
use axum::response::{IntoResponse, Response};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::api::{Code, Problem};
use crate::held::hold;

/// Up to so many bytes an answer is handed over at once, whether it is read or not.
const SHORT_BYTES: u64 = 64 * 1024;

/// All seats.
#[derive(Debug)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    /// Who reads a stream or a long answer decides how long it takes: they leave room for the others.
    long: Arc<Semaphore>,
    /// Seats whose connections wait for a request, the one that has waited longest first.
    waiting: Mutex<VecDeque<Arc<Notify>>>,
    /// One more waits.
    one_more: Notify,
    /// Who was told to leave has got a request.
    stays: Notify,
}

/// The seat of one connection; free with this value.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    leave: Arc<Notify>,
    busy: AtomicBool,
    _taken: OwnedSemaphorePermit,
}

/// A request under way.
#[derive(Debug)]
struct Busy(Arc<Seat>);

impl Seats {
    /// So many connections, and half as many streams and long answers.
    pub fn new(most: usize) -> Self {
        let [free, long] = [most, most.div_ceil(2)].map(|it| Arc::new(Semaphore::new(it)));
        Self {
            free,
            long,
            waiting: Mutex::default(),
            one_more: Notify::new(),
            stays: Notify::new(),
        }
    }

    /// A seat, as soon as there is one.
    pub async fn take(self: &Arc<Self>) -> Seat {
        let mut free = pin!(Arc::clone(&self.free).acquire_owned());
        let taken = tokio::select! {
            biased;
            taken = &mut free => taken,
            never = self.make_room() => match never {},
        };
        let _taken = taken.expect("nobody closes the semaphore");
        let (seats, leave, busy) = (Arc::clone(self), Arc::default(), AtomicBool::new(false));
        let seat = Seat { seats, leave, busy, _taken };
        seat.wait();
        seat
    }

    /// Tells the connection that has waited longest to leave, as soon as one waits; when it does not, the
    /// next one.
    async fn make_room(&self) -> Infallible {
        loop {
            let longest = self.waiting().pop_front();
            match longest {
                Some(leave) => {
                    leave.notify_one();
                    self.stays.notified().await;
                }
                None => self.one_more.notified().await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Returns when somebody else is to get this seat. To be polled after the connection.
    pub async fn leave(&self) {
        loop {
            self.leave.notified().await;
            // A request that is there already is seen when the connection is polled once more.
            tokio::task::yield_now().await;
            if !self.busy.load(Relaxed) {
                return;
            }
            self.seats.stays.notify_one();
        }
    }

    /// Answers a request. The seat is kept until the answer has been handed over.
    pub fn answer(
        self: &Arc<Self>,
        answer: impl Future<Output = Result<Response, Infallible>>,
    ) -> impl Future<Output = Result<Response, Infallible>> {
        let busy = Busy::new(Arc::clone(self));
        let long = Arc::clone(&self.seats.long);
        async move {
            let response = answer.await?;
            let bytes = response.body().size_hint().exact();
            if bytes.is_some_and(|bytes| bytes <= SHORT_BYTES) {
                return Ok(hold(response, busy));
            }
            Ok(match long.try_acquire_owned() {
                Ok(permit) => hold(response, (busy, permit)),
                Err(_) => hold(too_many().into_response(), busy),
            })
        }
    }

    /// From now on this connection waits for a request.
    fn wait(&self) {
        self.seats.waiting().push_back(Arc::clone(&self.leave));
        self.seats.one_more.notify_one();
    }

    /// From now on it does not.
    fn stop_waiting(&self) {
        self.seats.waiting().retain(|leave| !Arc::ptr_eq(leave, &self.leave));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

impl Busy {
    fn new(seat: Arc<Seat>) -> Self {
        seat.busy.store(true, Relaxed);
        seat.stop_waiting();
        Self(seat)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Relaxed);
        self.0.wait();
    }
}

/// What a connection is told for which there is no seat.
pub(crate) fn no_seat() -> Problem {
    Problem::new(Code::Busy, "answer: every connection there may be has a request under way")
        .hint("try again in a moment")
}

fn too_many() -> Problem {
    Problem::new(Code::Busy, "answer: as many streams and long answers are open as may")
        .hint("close streams that nobody reads, or ask for less at once with `limit`")
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use axum::body::{Body, Bytes};
    use futures_util::{FutureExt as _, stream};

    use super::*;

    async fn answer(seat: &Arc<Seat>, body: Body) -> Response {
        seat.answer(ready(Ok(Response::new(body)))).await.unwrap()
    }

    fn endless() -> Body {
        Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>())
    }

    fn leaves(seat: &Seat) -> bool {
        let mut leave = Box::pin(seat.leave());
        (0..3).any(|_| leave.as_mut().now_or_never().is_some())
    }

    /// Who comes next, and who leaves for it.
    async fn instead_of(seats: &Arc<Seats>, leaving: Arc<Seat>) -> Arc<Seat> {
        let mut next = Box::pin(seats.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(leaves(&leaving), "it has waited longest");
        drop(leaving);
        Arc::new(next.now_or_never().unwrap())
    }

    #[tokio::test]
    async fn who_has_waited_longest_makes_room_and_who_is_answered_does_not() {
        let seats = Arc::new(Seats::new(3));
        let first = Arc::new(seats.take().await);
        let [second, third] = [seats.take().await, seats.take().await].map(Arc::new);
        let answered = answer(&first, "a".into()).await;
        let fourth = instead_of(&seats, second).await;
        drop(answered);
        let fifth = instead_of(&seats, third).await;
        let sixth = instead_of(&seats, fourth).await;
        let _seventh = instead_of(&seats, first).await;
        assert!(![fifth, sixth].iter().any(|seat| leaves(seat)));
    }

    /// A connection whose request had come and was not read yet used to be closed like an idle one: in a
    /// flood of connections, callers got no answer.
    #[tokio::test]
    async fn who_is_told_to_leave_and_has_got_a_request_stays() {
        let seats = Arc::new(Seats::new(2));
        let [first, second] = [seats.take().await, seats.take().await].map(Arc::new);
        let mut next = Box::pin(seats.take());
        assert!(next.as_mut().now_or_never().is_none());
        let answered = answer(&first, "a".into()).await;
        assert!(!leaves(&first) && !leaves(&second));
        assert!(next.as_mut().now_or_never().is_none());
        assert!(leaves(&second), "it is told instead");
        drop((second, answered));
        assert!(next.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_seat_is_waited_for_while_all_are_answered() {
        let seats = Arc::new(Seats::new(1));
        let only = Arc::new(seats.take().await);
        let answered = answer(&only, "a".into()).await;
        let mut next = Box::pin(seats.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(!leaves(&only));
        drop(answered);
        assert!(next.as_mut().now_or_never().is_none());
        assert!(leaves(&only));
        drop(only);
        assert!(next.now_or_never().is_some());
    }

    #[tokio::test]
    async fn streams_and_long_answers_take_half_of_the_seats_and_no_more() {
        let long = || Body::from(vec![0; 100_000]);
        let seats = Arc::new(Seats::new(4));
        let mut open = Vec::new();
        for (body, status) in [(endless(), 200), (long(), 200), (endless(), 503), (long(), 503)] {
            let seat = Arc::new(seats.take().await);
            let answered = answer(&seat, body).await;
            assert_eq!(answered.status(), status);
            assert_eq!(answer(&seat, "short".into()).await.status(), 200);
            open.push((seat, answered));
        }
        open.remove(0);
        let seat = Arc::new(seats.take().await);
        assert_eq!(answer(&seat, endless()).await.status(), 200);
    }
}
