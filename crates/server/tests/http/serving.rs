//! Serving: what one caller does does not keep the server from others, or from its end.

use std::time::Duration;

use sexton_server::api::{Health, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::World;

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
