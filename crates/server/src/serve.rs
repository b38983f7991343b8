//! Serving: connections from a listener to the router, each of them bounded.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sexton_domain::plan::drain::ANSWERS;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
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
/// How long who connects waits for a seat before he is refused.
const SEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a refusal may take, and how many are told at once: more are closed without a word.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_REFUSALS: usize = 32;

/// What callers may take up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many connections there are at once.
    pub connections: usize,
    /// How long a caller may take to make room for more of an answer.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: MAX_CONNECTIONS, stall: STALL_TIMEOUT }
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
            Some(_) = connections.join_next() => continue,
            accepted = door.accept() => accepted,
        };
        match accepted {
            Ok((stream, Some(seat))) => {
                let stream = stalling(stream, limits.stall);
                connections.spawn(connect(stream, seat, router.clone(), closing.subscribe()));
            }
            Ok((stream, None)) => {
                if let Ok(permit) = Arc::clone(&door.refusals).try_acquire_owned() {
                    connections.spawn(async move {
                        let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refuse(stream)).await;
                        drop(permit);
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let Door { listener, .. } = door;
    drop(listener);
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
    /// Who came and has no seat yet.
    guest: Option<TcpStream>,
    seats: Arc<Seats>,
    /// Since when there is no seat: when this is over, who comes is refused until there is one.
    patience: Option<Pin<Box<Sleep>>>,
    refusals: Arc<Semaphore>,
}

impl Door {
    fn new(listener: TcpListener, limits: Limits) -> Self {
        let (seats, refusals) = (Seats::new(limits.connections), Semaphore::new(MAX_REFUSALS));
        Self { listener, guest: None, seats, patience: None, refusals: Arc::new(refusals) }
    }

    /// Who comes next, with a seat if there is one or will be soon. Nobody is lost when this is dropped.
    async fn accept(&mut self) -> io::Result<(TcpStream, Option<Seat>)> {
        // A seat is given up for somebody who is there, and not before.
        if self.guest.is_none() {
            let (stream, _) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            self.guest = Some(stream);
        }
        let patience =
            self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(SEAT_TIMEOUT)));
        let seat = tokio::select! {
            biased;
            seat = self.seats.take() => Some(seat),
            () = patience => None,
        };
        if seat.is_some() {
            self.patience = None;
        }
        let guest = self.guest.take().ok_or_else(|| io::Error::other("nobody came"))?;
        Ok((guest, seat))
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
    let (left, seat) = (seat.leave(), Arc::new(seat));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        Arc::clone(&seat).answer(router.call(request))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = left => return tracing::debug!("a connection made room for another"),
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
async fn refuse(stream: TcpStream) -> hyper::Result<()> {
    let answer = service_fn(|_: Request<Incoming>| async {
        Ok::<Response<Body>, std::convert::Infallible>(no_seat().into_response())
    });
    http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer).await
}
