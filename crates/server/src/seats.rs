//! Seats: how many connections there are at once, and who goes when one more comes and all are taken.
//!
//! A connection with nothing to answer waits at the other side's pleasure, and there may be any number of
//! those: the one that has waited longest makes room. One with a request under way keeps its seat.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::api::{Code, Problem};

/// All seats.
#[derive(Debug)]
pub(crate) struct Seats {
    most: usize,
    /// Streams have no end of their own: they leave room for requests that have one.
    streams: Arc<Semaphore>,
    floor: Mutex<Floor>,
    /// A seat is free, or its connection waits for a request again.
    changed: Notify,
}

/// Who sits where.
#[derive(Debug, Default)]
struct Floor {
    /// Numbers seats, and the order in which connections began to wait.
    next: u64,
    sitters: HashMap<u64, Sitter>,
    /// Seats whose connections wait for a request, the one that has waited longest first.
    waiting: BTreeMap<u64, u64>,
}

/// One connection.
#[derive(Debug)]
struct Sitter {
    /// Its place in the order of those that wait.
    waits: Option<u64>,
    leave: Arc<Notify>,
}

/// The seat of one connection; free with this value.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    leave: Arc<Notify>,
}

/// A request under way, until the last of its answer is handed over.
#[derive(Debug)]
struct Busy(Arc<Seats>, u64);

impl Seats {
    /// So many connections, and half as many streams.
    pub fn new(most: usize) -> Arc<Self> {
        let (streams, floor) = (Arc::new(Semaphore::new(most.div_ceil(2))), Mutex::default());
        Arc::new(Self { most, streams, floor, changed: Notify::new() })
    }

    /// A seat, as soon as there is one.
    pub async fn take(self: &Arc<Self>) -> Seat {
        loop {
            let changed = self.changed.notified();
            if let Some(seat) = self.try_take() {
                return seat;
            }
            changed.await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Seat> {
        let mut floor = self.floor();
        if floor.sitters.len() >= self.most {
            let (_, longest) = floor.waiting.pop_first()?;
            floor.sitters.remove(&longest)?.leave.notify_one();
        }
        let (number, leave) = (floor.number(), Arc::new(Notify::new()));
        floor.sitters.insert(number, Sitter { waits: None, leave: Arc::clone(&leave) });
        floor.wait(number);
        Some(Seat { seats: Arc::clone(self), number, leave })
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floor {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// From now on this seat's connection waits for a request.
    fn wait(&mut self, seat: u64) {
        let order = self.number();
        if let Some(sitter) = self.sitters.get_mut(&seat)
            && sitter.waits.is_none()
        {
            sitter.waits = Some(order);
            self.waiting.insert(order, seat);
        }
    }

    /// From now on it does not.
    fn stop_waiting(&mut self, seat: u64) {
        let waits = self.sitters.get_mut(&seat).and_then(|sitter| sitter.waits.take());
        if let Some(order) = waits {
            self.waiting.remove(&order);
        }
    }
}

impl Seat {
    /// Returns when somebody else gets this seat.
    pub fn leave(&self) -> impl Future<Output = ()> + use<> {
        let leave = Arc::clone(&self.leave);
        async move { leave.notified().await }
    }

    /// Answers a request. The seat is kept until the answer has been handed over.
    pub async fn answer(
        self: Arc<Self>,
        answer: impl Future<Output = Result<Response, std::convert::Infallible>>,
    ) -> Result<Response, std::convert::Infallible> {
        self.seats.floor().stop_waiting(self.number);
        let busy = Busy(Arc::clone(&self.seats), self.number);
        let response = answer.await?;
        let stream = match response.body().size_hint().exact() {
            Some(_) => None,
            None => match Arc::clone(&self.seats.streams).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return Ok(too_many_streams().into_response()),
            },
        };
        Ok(response.map(|body| Body::new(Held { body, _busy: busy, _stream: stream })))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut floor = self.seats.floor();
        floor.stop_waiting(self.number);
        floor.sitters.remove(&self.number);
        drop(floor);
        self.seats.changed.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.floor().wait(self.1);
        self.0.changed.notify_one();
    }
}

/// What a connection is told for which there is no seat.
pub(crate) fn no_seat() -> Problem {
    Problem::new(Code::Busy, "answer: every connection there may be has a request under way")
        .hint("try again in a moment")
}

fn too_many_streams() -> Problem {
    Problem::new(Code::Busy, "open a stream: as many are open as may")
        .hint("close streams that nobody reads, or read pages with `Accept: application/json`")
}

/// The body of an answer, and what is kept until it has been handed over.
struct Held {
    body: Body,
    _busy: Busy,
    _stream: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn response(body: Body) -> std::future::Ready<Result<Response, std::convert::Infallible>> {
        std::future::ready(Ok(Response::new(body)))
    }

    fn stream() -> Body {
        Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>())
    }

    #[tokio::test]
    async fn who_has_waited_longest_makes_room_and_who_is_answered_does_not() {
        let seats = Seats::new(3);
        let [first, second, third] = [seats.take().await, seats.take().await, seats.take().await];
        let first = Arc::new(first);
        let answer = Arc::clone(&first).answer(response("a".into())).await.unwrap();
        let fourth = seats.take().await;
        assert!(second.leave().now_or_never().is_some());
        assert!(third.leave().now_or_never().is_none());
        assert!(first.leave().now_or_never().is_none());
        drop(answer);
        let _fifth = seats.take().await;
        assert!(third.leave().now_or_never().is_some());
        let _sixth = seats.take().await;
        assert!(fourth.leave().now_or_never().is_some(), "the first began to wait after it");
        assert!(first.leave().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_seat_is_waited_for_while_all_are_answered() {
        let seats = Seats::new(1);
        let only = Arc::new(seats.take().await);
        let answer = Arc::clone(&only).answer(response("a".into())).await.unwrap();
        let mut next = Box::pin(seats.take());
        assert!(next.as_mut().now_or_never().is_none());
        drop(answer);
        assert!(next.now_or_never().is_some());
        assert!(only.leave().now_or_never().is_some());
    }

    #[tokio::test]
    async fn streams_take_half_of_the_seats_and_no_more() {
        let seats = Seats::new(4);
        let mut open = Vec::new();
        for expected in [200, 200, 503] {
            let seat = Arc::new(seats.take().await);
            let answer = Arc::clone(&seat).answer(response(stream())).await.unwrap();
            assert_eq!(answer.status().as_u16(), expected);
            open.push((seat, answer));
        }
        open.remove(0);
        let seat = Arc::new(seats.take().await);
        assert_eq!(seat.answer(response(stream())).await.unwrap().status().as_u16(), 200);
    }
}
