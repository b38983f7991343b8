//! An HTTP client that sends exactly what a test says.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sexton_server::api::{Code, Problem};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request that was not sent yet.
#[derive(Debug, Clone)]
pub struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// The messages of a stream, as they arrive.
pub struct Stream(BufReader<TcpStream>);

/// One message of a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub event: String,
    pub data: String,
    pub comment: String,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { address, method, target, headers: Vec::new(), body: None }
            .header("host", &address.to_string())
    }

    /// Sets a header; an empty value leaves it out.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    pub fn text(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self.header("content-type", "application/json")
    }

    pub async fn send(self) -> Answer {
        let mut stream = self.header("connection", "close").start().await;
        let mut bytes = Vec::new();
        // A server that refuses a large body closes without having read all of it.
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { dechunk(body) } else { body.to_owned() };
        Answer { status: status(head), head: head.to_owned(), body }
    }

    /// Sends it and reads the head of an answer that has no end.
    pub async fn follow(self) -> Stream {
        let request = self.header("accept", "text/event-stream").header("connection", "close");
        let mut stream = BufReader::new(request.start().await);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "closed in {head:?}");
        }
        assert_eq!(status(&head), 200, "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        Stream(stream)
    }

    async fn start(self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            text += &format!("content-length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += self.body.as_deref().unwrap_or_default();
        let _ = stream.write_all(text.as_bytes()).await;
        stream
    }
}

impl Answer {
    pub fn is<T: DeserializeOwned>(&self, status: u16) -> T {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The problem, which has to be of this code and to look as problems do.
    pub fn problem(&self, code: Code) -> Problem {
        assert!(self.header("content-type").contains("application/problem+json"), "{self:?}");
        let problem: Problem = self.is(code.status());
        assert_eq!(problem.code, code, "{problem:?}");
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.kind, format!("urn:sexton:problem:{code}"));
        problem
    }

    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map_or("", |(_, value)| value)
    }
}

impl Stream {
    /// The next message that is not a mere comment; none at the end.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let message = self.any().await?;
            if !message.event.is_empty() {
                return Some(message);
            }
        }
    }

    async fn any(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap_or(0) == 0 {
                return None;
            }
            // Chunk sizes stand alone on lines of their own and are no fields.
            match line.trim_end().split_once(": ").or(line.trim_end().split_once(':')) {
                Some(("id", id)) => message.id = id.to_owned(),
                Some(("event", event)) => message.event = event.to_owned(),
                Some(("data", data)) => message.data = data.to_owned(),
                Some(("", comment)) => message.comment = comment.to_owned(),
                _ if line == "\n" => return Some(message),
                _ => {}
            }
        }
    }
}

impl Message {
    pub fn data<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}

fn dechunk(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text += &rest[..size];
        body = rest[size..].trim_start_matches("\r\n");
    }
    text
}
