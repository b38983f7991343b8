//! Whatever a web server answers: a try ends with an answer that is within bounds, no more is read than
//! sockets hold, and what is a whole answer is taken for what its status says.

use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sexton_engine::courier::Webhook as Target;
use sexton_fuzz::{budget, bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// The engine gives a try up after the hook's timeout; here what goes on for ever after this.
const TIMEOUT: Duration = Duration::from_millis(400);
/// And what has to end by itself after this.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than all that two sockets and a reader hold between them.
const HELD_BYTES: usize = 16 * 1024 * 1024;

/// An answer, as it is sent.
#[derive(Debug, Clone)]
struct Script {
    head: Head,
    /// The bytes of all of it, if they are not what the head says.
    damaged: Option<Vec<u8>>,
    body: Body,
    /// So many bytes at once, with a pause between.
    pieces: Option<(usize, u64)>,
    end: End,
}

#[derive(Debug, Clone)]
struct Head {
    status: u16,
    lines: Vec<String>,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Exactly(usize),
    /// With a length that is another.
    Misstated(usize, String),
    Chunked(Vec<String>),
    Endless,
    EndlessHead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Hang,
}

fn status() -> impl Strategy<Value = u16> {
    let usual = vec![
        200, 201, 204, 206, 299, 301, 302, 304, 307, 308, 400, 401, 404, 410, 418, 429, 500, 503,
        599,
    ];
    prop_oneof![6 => select(usual), 1 => 100..1_000_u16, 1 => select(vec![100, 101, 102, 103])]
}

fn head() -> impl Strategy<Value = Head> {
    let line = select(vec![
        "retry-after: 120",
        "retry-after: -1",
        "retry-after: Fri, 31 Dec 9999 23:59:59 GMT",
        "retry-after: 99999999999999999999",
        "retry-after: soon",
        "location: /elsewhere",
        "location: http://127.0.0.1:1/",
        "location: \u{1}",
        "content-type: text/html; charset=utf-16",
        "content-encoding: gzip",
        "content-encoding: br",
        "connection: upgrade",
        "upgrade: websocket",
        "set-cookie: a=b",
        "x-empty:",
        "x: \u{fc}",
        "trailer: x",
        "date: never",
    ]);
    let long = (1..20_000_usize).prop_map(|length| format!("x-long: {}", "y".repeat(length)));
    let many = (1..200_usize).prop_map(|count| vec!["x-many: z"; count].join("\r\n"));
    let line = prop_oneof![8 => line.prop_map(str::to_owned), 1 => long, 1 => many];
    (status(), vec(line, 0..4)).prop_map(|(status, lines)| Head { status, lines })
}

fn body() -> impl Strategy<Value = Body> {
    let length = prop_oneof![3 => 0..400_usize, 1 => 0..300_000_usize];
    let lengths = select(vec![
        "-1",
        "x",
        "",
        "0",
        "1",
        "18446744073709551616",
        "99999999999",
        "5, 5",
        "5, 6",
    ]);
    let chunk = select(vec![
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "-1\r\n",
        "5;x=y\r\nhello\r\n",
        "5\r\nhe",
        "\r\n",
        "zz\r\n",
        "3\r\n\u{0}\u{1}\u{2}\r\n",
        "0\r\nx-trailer: y\r\n\r\n",
    ]);
    prop_oneof![
        2 => Just(Body::None),
        4 => length.clone().prop_map(Body::Exactly),
        2 => (length, lengths).prop_map(|(length, said)| Body::Misstated(length, said.to_owned())),
        2 => vec(chunk.prop_map(str::to_owned), 0..6).prop_map(Body::Chunked),
        1 => Just(Body::Endless),
        1 => Just(Body::EndlessHead),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let pieces = prop::option::weighted(0.3, (1..400_usize, 0..8_u64));
    let end = prop_oneof![4 => Just(End::Close), 1 => Just(End::Hang)];
    (head(), body(), pieces, end, prop::bool::weighted(0.4)).prop_flat_map(
        |(head, body, pieces, end, is_damaged)| {
            let script = Script { head, damaged: None, body, pieces, end };
            if !is_damaged {
                return Just(script).boxed();
            }
            let damaged = bytes::damaged(script.bytes());
            damaged.prop_map(move |bytes| Script { damaged: Some(bytes), ..script.clone() }).boxed()
        },
    )
}

impl Script {
    fn bytes(&self) -> Vec<u8> {
        if let Some(damaged) = &self.damaged {
            return damaged.clone();
        }
        let Head { status, lines } = &self.head;
        let mut text = format!("HTTP/1.1 {status} Whatever\r\n");
        for line in lines {
            text += &format!("{line}\r\n");
        }
        let words =
            |length: usize| "words and\u{7}words ".repeat(length / 10 + 1)[..length].to_owned();
        match &self.body {
            Body::None => text += "content-length: 0\r\n\r\n",
            Body::Exactly(length) => {
                text += &format!("content-length: {length}\r\n\r\n{}", words(*length));
            }
            Body::Misstated(length, said) => {
                text += &format!("content-length: {said}\r\n\r\n{}", words(*length));
            }
            Body::Chunked(chunks) => {
                text += &format!("transfer-encoding: chunked\r\n\r\n{}", chunks.concat());
            }
            Body::Endless => text += "\r\n",
            Body::EndlessHead => {}
        }
        text.into_bytes()
    }

    fn endless(&self) -> Option<&'static [u8]> {
        match self.body {
            Body::Endless => Some(b"and so on and so on and so on\n"),
            Body::EndlessHead => Some(b"x-more: and so on\r\n"),
            _ => None,
        }
    }

    /// What it has to be taken for; none where nobody can say.
    fn meaning(&self) -> Option<&'static str> {
        let is_odd = |line: &String| line.contains(['\u{1}', '\u{fc}']) || line.contains("upgrade");
        let length: usize = self.head.lines.iter().map(String::len).sum();
        if self.damaged.is_some() || length > 900 || self.head.lines.iter().any(is_odd) {
            return None;
        }
        let is_whole = matches!(self.body, Body::None | Body::Exactly(_) | Body::Endless);
        match self.head.status {
            200..300 if is_whole => Some("acknowledged"),
            410 if is_whole => Some("gone"),
            // A body that is broken off is judged by the status, and one that is not read, too.
            200..300 | 410 | ..200 => None,
            _ => Some("failed"),
        }
    }

    /// Whether it goes on until somebody hangs up, or may.
    fn is_slow(&self) -> bool {
        self.end == End::Hang || self.pieces.is_some() || self.endless().is_some()
    }

    /// Plays it on a connection; how many bytes the other side took.
    async fn play(&self, stream: &mut TcpStream) -> usize {
        let mut taken = 0;
        let bytes = self.bytes();
        let (size, pause) = self.pieces.unwrap_or((bytes.len().max(1), 0));
        for piece in bytes.chunks(size) {
            if stream.write_all(piece).await.is_err() {
                return taken;
            }
            taken += piece.len();
            if pause > 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        if let Some(more) = self.endless() {
            let more = more.repeat(1_000);
            while stream.write_all(&more).await.is_ok() {
                taken += more.len();
            }
        } else if self.end == End::Hang {
            // Until the other side hangs up.
            let _ = stream.read(&mut [0; 1]).await;
        }
        taken
    }
}

async fn request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    let mut buffer = [0; 4_096];
    while !read.ends_with(b"{}") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
}

async fn tried(script: Script) -> Result<(), TestCaseError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let played = script.clone();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        played.play(&mut stream).await
    });
    let webhooks = Webhooks::default();
    let (webhook, id) = (Target { url, secret: None }, uuid());
    let post = Post { id, at: Timestamp::UNIX_EPOCH, webhook: &webhook, body: "{}" };
    let patience = if script.is_slow() { TIMEOUT } else { PATIENCE };
    let reply = tokio::time::timeout(patience, webhooks.post(post)).await;
    // The connection is not kept for others.
    drop(webhooks);
    let taken = tokio::time::timeout(PATIENCE, server).await;
    let taken = taken.map_err(|_| TestCaseError::fail("the connection stays open"))?.unwrap();
    prop_assert!(taken <= HELD_BYTES, "{} bytes were read", taken);
    let Ok(reply) = reply else {
        // Too late is a failure, and nothing else may be made of it.
        prop_assert!(script.is_slow(), "it does not end: {:?}", script);
        return Ok(());
    };
    let said = match &reply.answer {
        Answer::Acknowledged => "acknowledged",
        Answer::Gone => "gone",
        Answer::Failed(why) => {
            prop_assert_eq!(why, &reply.said);
            "failed"
        }
    };
    if let Some(meaning) = script.meaning() {
        prop_assert_eq!(said, meaning, "{:?}: {}", script, reply.said);
    }
    let is_plain = !reply.said.chars().any(char::is_control) && !reply.said.is_empty();
    prop_assert!(is_plain && reply.said.len() < 1_024, "{:?}", reply.said);
    Ok(())
}

fn uuid() -> sexton_domain::id::DeliveryId {
    "018f4a3e-7b1c-7000-8000-0123456789ab".parse().unwrap()
}

proptest! {
    #![proptest_config(budget(60))]

    // P10: a bad hook cannot stop another one, nor fill the memory; P3: an answer is what its status says.
    #[test]
    fn whatever_a_web_server_answers_the_try_ends_within_bounds(script in script()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(tried(script))?;
    }
}
