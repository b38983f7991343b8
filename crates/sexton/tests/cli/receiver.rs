//! A real HTTP server for webhooks: it answers as a test wants and remembers every request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// For a verifier in another language.
    pub fn document(&self) -> Value {
        let headers: serde_json::Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({ "headers": headers, "body": self.body })
    }
}

/// What is answered to the nth request, counted from 0: raw bytes, then the connection is closed.
type Answer = dyn Fn(usize, &Request) -> String + Send + Sync;

/// Listens on a port of the system's choice until the test ends.
pub struct Receiver {
    pub url: String,
    heard: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    pub fn new(answer: impl Fn(usize, &Request) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (books, answer): (_, Arc<Answer>) = (Arc::clone(&heard), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (books, answer) = (Arc::clone(&books), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &books, &*answer));
            }
        });
        Self { url, heard }
    }

    /// What arrived so far.
    pub fn heard(&self) -> Vec<Request> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, books: &Mutex<Vec<Request>>, answer: &Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some(request) = read(&mut reader) else { return };
    let nth = {
        let mut books = books.lock().unwrap();
        books.push(request.clone());
        books.len() - 1
    };
    // Who gave up waiting does not want to know.
    let _ = (&stream).write_all(answer(nth, &request).as_bytes());
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: String::from_utf8(body).ok()? })
}

/// An answer of this status.
pub fn status(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
