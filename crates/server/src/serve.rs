//! Serving: connections from a listener to the router, each of them bounded.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sexton_domain::plan::drain::ANSWERS;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_io_timeout::TimeoutStream;

use crate::seats::{Seat, Seats, no_seat};

/// How many connections there are at once, where nobody says another number.
const MAX_CONNECTIONS: usize = 512;
/// How long a caller may take to send the head of a request, and how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a caller may take to make room for more of an answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How large the head of a request may be, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How many headers a request may have.
const MAX_HEADERS: usize = 100;
/// The pause after an accept that failed: mostly there are too many open files, and time helps.
const PAUSE: Duration = Duration::from_millis(100);
/// How long callers wait for a seat before they are refused.
const SEAT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a refusal may take, and how many are told at once: more are closed without a word.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REFUSALS: usize = 64;

/// What callers may take up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many connections there are at once.
    pub connections: usize,
    /// How long callers wait for a connection to make room before they are refused.
    pub wait: Duration,
    /// How long a caller may take to make room for more of an answer.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: MAX_CONNECTIONS, wait: SEAT_TIMEOUT, stall: STALL_TIMEOUT }
    }
}

impl Limits {
    /// Connections that leave three in four of the files that this process may open to everything else.
    #[must_use]
    pub fn within_files(files: u64) -> Self {
        let share = usize::try_from(files / 4).unwrap_or(usize::MAX);
        Self { connections: share.clamp(16, MAX_CONNECTIONS), ..Self::default() }
    }
}

/// Serves until `shutdown` resolves, then lets answers finish, for at most [`ANSWERS`].
///
/// # Errors
///
/// None for now: an accept that fails is logged and tried again.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut door = Door::new(listener, limits);
    let closing = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = door.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, Some(seat))) => {
                let stream = stalling(stream, limits.stall);
                connections.spawn(connect(stream, seat, router.clone(), closing.subscribe()));
            }
            Ok((stream, None)) => {
                if let Ok(permit) = Arc::clone(&door.refusals).try_acquire_owned() {
                    connections.spawn(refuse(stream, permit));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(door);
    closing.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(ANSWERS.to_std(), finished).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off connections that did not finish");
        connections.shutdown().await;
    }
    Ok(())
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    seats: Arc<Seats>,
    wait: Duration,
    /// Runs from when there is no seat: when it is over, who comes is refused until there is one.
    patience: Option<Pin<Box<Sleep>>>,
    refusals: Arc<Semaphore>,
}

impl Door {
    fn new(listener: TcpListener, limits: Limits) -> Self {
        let seats = Arc::new(Seats::new(limits.connections));
        let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
        Self { listener, seats, wait: limits.wait, patience: None, refusals }
    }

    /// Who comes next, with a seat if there is one or will be soon. A seat is given up for somebody who is
    /// there, and not before.
    async fn accept(&mut self) -> io::Result<(TcpStream, Option<Seat>)> {
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.wait)));
        let seat = tokio::select! {
            biased;
            seat = self.seats.take() => Some(seat),
            () = patience => None,
        };
        if seat.is_some() {
            self.patience = None;
        }
        Ok((stream, seat))
    }
}

/// A connection that fails when its other side makes no room for so long.
fn stalling(stream: TcpStream, stall: Duration) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall));
    Box::pin(stream)
}

/// One connection, until either side is done with it or somebody else gets its seat.
async fn connect(
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    seat: Seat,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let seat = Arc::new(seat);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| seat.answer(router.call(request)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = seat.leave() => return tracing::debug!("a connection made room for another"),
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Tells who came that there is no seat for him.
async fn refuse(stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let answer =
        service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(no_seat().into_response()) });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
    // Who does not ask or does not listen is not told.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, connection).await;
}
