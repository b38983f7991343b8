//! Serving: what one caller does does not keep the server from others, or from its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream;
use sexton_server::api::{Health, Status};
use sexton_server::{Limits, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::world::{PATIENCE, World};

/// What the server says to these bytes.
async fn raw(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_not_http_or_has_too_large_a_head_is_refused_and_others_are_served() {
    let world = World::new().await;
    assert!(raw(&world, b"hello\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let many: String = (0..200).map(|index| format!("x-{index}: y\r\n")).collect();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    assert!(raw(&world, head.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let large = "y".repeat(100_000);
    for head in [format!("GET /healthz HTTP/1.1\r\nx: {large}"), format!("GET /healthz?{large}")] {
        // The server does not read all of it, so that its answer may not arrive.
        let answer = raw(&world, format!("{head}\r\n\r\n").as_bytes()).await;
        let refused = ["HTTP/1.1 431", "HTTP/1.1 414", "HTTP/1.1 400"];
        let refused = refused.iter().any(|status| answer.starts_with(status));
        assert!(refused || answer.is_empty(), "{answer}");
    }
    assert_eq!(world.get("/healthz").await.is::<Health>(200).status, "ok");
}

#[tokio::test]
async fn answers_are_kept_out_of_caches() {
    let world = World::new().await;
    let answer = world.get("/v1/status").await;
    answer.is::<Status>(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

/// P9: a caller that hangs cannot stretch a stop.
#[tokio::test]
async fn a_stop_of_the_server_waits_for_nobody_longer_than_its_grace() {
    let world = World::new().await;
    let _idle = TcpStream::connect(world.address).await.unwrap();
    let mut half = TcpStream::connect(world.address).await.unwrap();
    half.write_all(b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
    // A stream of a node that works on has no end of its own.
    let mut stream = world.call("GET", "/v1/events").follow().await;
    tokio::time::timeout(Duration::from_secs(15), world.close()).await.unwrap();
    assert_eq!(stream.next().await, None);
}

/// Serves these routes until the test ends.
async fn stage(routes: Router, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, routes, limits, std::future::pending()));
    address
}

/// Asks for this path over a connection of its own, and leaves it to others to read the answer.
async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The status of the answer that comes over a connection.
async fn status(stream: &mut TcpStream) -> String {
    let mut head = [0; 12];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut head)).await;
    read.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&head[9..]).into_owned()
}

/// A stalled reader used to hold its connection, and what was written for it, for as long as it liked.
#[tokio::test]
async fn a_reader_that_makes_no_room_is_cut_off() {
    let gone = Arc::new(Semaphore::new(0));
    let tells = Arc::clone(&gone);
    let flood = async move || {
        let told = Told(Arc::clone(&tells));
        Body::from_stream(stream::repeat_with(move || {
            let _ = &told;
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 65_536]))
        }))
    };
    let limits = Limits { stall: Duration::from_millis(200), ..Limits::default() };
    let address = stage(Router::new().route("/", get(flood)), limits).await;
    let mut reader = ask(address, "/").await;
    assert_eq!(status(&mut reader).await, "200");
    until_told(&gone).await;
    drop(reader);
}

/// A reader of a stream that goes is known by the end of what it sends, so that its place is free at once.
#[tokio::test]
async fn who_ends_his_side_of_the_connection_is_gone() {
    let (begun, gone) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let tells = (Arc::clone(&begun), Arc::clone(&gone));
    let never = async move || {
        let _told = Told(Arc::clone(&tells.1));
        tells.0.add_permits(1);
        std::future::pending::<()>().await;
    };
    let address = stage(Router::new().route("/", get(never)), Limits::default()).await;
    let mut caller = ask(address, "/").await;
    until_told(&begun).await;
    caller.shutdown().await.unwrap();
    until_told(&gone).await;
    let mut answer = Vec::new();
    let _ = caller.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
}

async fn until_told(what: &Semaphore) {
    tokio::time::timeout(PATIENCE, what.acquire()).await.expect("told in time").unwrap().forget();
}

/// Tells that it was dropped.
struct Told(Arc<Semaphore>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// Idle connections used to take every place there was, for half a minute each, and whoever came after
/// them waited.
#[tokio::test]
async fn idle_connections_make_room_and_who_finds_none_is_told_so() {
    let answers = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&answers);
    let wait = async move || waits.acquire().await.unwrap().forget();
    let quick = get(async || "quick");
    let routes = Router::new().route("/wait", get(wait)).route("/quick", quick);
    let wait = Duration::from_millis(200);
    let limits = Limits { connections: 4, wait, ..Limits::default() };
    let address = stage(routes, limits).await;

    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(address).await.unwrap());
        assert_eq!(status(&mut ask(address, "/quick").await).await, "200");
    }
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(ask(address, "/wait").await);
    }
    let mut refused = ask(address, "/quick").await;
    assert_eq!(status(&mut refused).await, "503");
    let mut rest = String::new();
    refused.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("\"code\":\"busy\"") && rest.contains("retry-after: 1"), "{rest}");
    answers.add_permits(4);
    for mut stream in waiting {
        assert_eq!(status(&mut stream).await, "200", "who is answered keeps its place");
    }
    assert_eq!(status(&mut ask(address, "/quick").await).await, "200");
}
