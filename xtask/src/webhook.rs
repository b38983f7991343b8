//! A webhook of our own: checks what it is told, writes it down, and answers as it was asked to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};

use crate::clock;
use crate::hooks::{Envelope, Telling};
use crate::signature::{Message, Secret};

/// How far the time of a message may be off, in seconds.
const TOLERANCE: i64 = 300;
/// The largest head of a request, in bytes.
const MAX_HEAD: u64 = 64 * 1024;

/// The status with which a telling is answered.
type Answer = Box<dyn Fn(&Envelope) -> u16 + Send + Sync>;

/// A server on this machine that is told events.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    notes: Arc<Notes>,
}

struct Notes {
    secret: Secret,
    answer: Answer,
    heard: Mutex<Heard>,
}

/// What came so far.
#[derive(Debug, Default)]
struct Heard {
    tellings: Vec<Telling>,
    complaints: Vec<String>,
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notes").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Listens from now on. `answer` is asked for the status of each answer.
    pub fn open(
        secret: Secret,
        answer: impl Fn(&Envelope) -> u16 + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("open a webhook")?;
        let address = listener.local_addr()?;
        let notes = Notes { secret, answer: Box::new(answer), heard: Mutex::default() };
        let notes = Arc::new(notes);
        let server = Arc::clone(&notes);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = Arc::clone(&server);
                std::thread::spawn(move || notes.serve(&stream));
            }
        });
        Ok(Self { address, notes })
    }

    /// Where it is and what it shares with its senders, as lines of a `[hooks.*]` table.
    pub fn config(&self) -> String {
        let Self { address, notes } = self;
        format!("url = \"http://{address}/hook\"\nsecret = \"{}\"\n", notes.secret.text())
    }

    /// What it was told from that one on, in the order in which it came.
    pub fn tellings(&self, from: usize) -> Vec<Telling> {
        self.notes.heard().tellings.get(from..).unwrap_or_default().to_vec()
    }

    /// How often it was told something.
    pub fn count(&self) -> usize {
        self.notes.heard().tellings.len()
    }

    /// What came and was no proper telling.
    pub fn complaints(&self) -> Vec<String> {
        self.notes.heard().complaints.clone()
    }
}

impl Notes {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what comes over a connection. One that breaks is no news: senders are killed here.
    fn serve(&self, stream: &TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = Request::read(&mut reader) {
            let status = match self.note(&request) {
                Ok(status) => status,
                Err(complaint) => {
                    self.heard().complaints.push(format!("{complaint:#}"));
                    400
                }
            };
            let answer = format!("HTTP/1.1 {status} As asked\r\ncontent-length: 0\r\n\r\n");
            let mut stream = stream;
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// What was told is written down before it is acknowledged.
    fn note(&self, request: &Request) -> anyhow::Result<u16> {
        let header = |name| request.header(name).with_context(|| format!("find {name}"));
        ensure!(request.method == "POST", "a webhook is posted to, not {}", request.method);
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        let message = Message { id, timestamp, body: &request.body };
        let is_right = self.secret.verify(message, header("webhook-signature")?);
        ensure!(is_right, "{id} does not have the signature that it must have");
        let at: i64 = timestamp.parse().context("read webhook-timestamp")?;
        let off = (clock::now().as_second() - at).abs();
        ensure!(off <= TOLERANCE, "{id} was sent {off} s from now");
        let envelope = serde_json::from_slice(&request.body).context("read an envelope")?;
        let status = (self.answer)(&envelope);
        let acknowledged = (200..300).contains(&status);
        let telling = Telling { delivery: Some(id.to_owned()), envelope, acknowledged };
        self.heard().tellings.push(telling);
        Ok(status)
    }
}

/// As much of a request as a webhook looks at.
struct Request {
    method: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; none at its end.
    fn read(reader: &mut BufReader<&TcpStream>) -> anyhow::Result<Option<Self>> {
        let mut head = reader.by_ref().take(MAX_HEAD);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            line.clear();
            ensure!(head.read_line(&mut line)? > 0, "the head of a request breaks off");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self { method, headers, body: Vec::new() };
        let length = request.header("content-length").unwrap_or("0").parse()?;
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.0 == name);
        found.map(|header| header.1.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const EVENT: &str = r#"{"id": "evt_1", "type": "session.ended", "at": "2026-11-20T18:00:00Z", "seq": 7,
        "data": {"session_id": "s"}, "late": true, "gap": false, "attempt": 2}"#;

    /// Posts two messages over one connection and returns the statuses.
    fn post(webhook: &Webhook, signature: &str, at: &str) -> Vec<String> {
        let stream = TcpStream::connect(webhook.address).unwrap();
        let mut reader = BufReader::new(&stream);
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let head = format!(
                "POST /hook HTTP/1.1\r\nWebhook-Id: d\r\nwebhook-timestamp: {at}\r\n\
                 webhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{EVENT}",
                EVENT.len()
            );
            (&stream).write_all(head.as_bytes()).unwrap();
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            statuses.push(line.split(' ').nth(1).unwrap().to_owned());
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
        }
        statuses
    }

    #[test]
    fn what_is_signed_is_noted_and_answered_as_asked() {
        let secret = Secret::draw(&mut Dice(7));
        let webhook = Webhook::open(secret.clone(), |_| 503).unwrap();
        let at = clock::now().as_second().to_string();
        let message = Message { id: "d", timestamp: &at, body: EVENT.as_bytes() };
        assert_eq!(post(&webhook, &secret.sign(message), &at), ["503", "503"]);
        let telling = &webhook.tellings(1)[0];
        assert_eq!(telling.delivery.as_deref(), Some("d"));
        assert!(telling.envelope.late && !telling.acknowledged);
        assert_eq!(telling.envelope.event.data.session_id.as_deref(), Some("s"));
        assert_eq!(webhook.complaints(), Vec::<String>::new());
    }

    #[test]
    fn what_is_signed_wrongly_or_long_ago_is_a_complaint() {
        let secret = Secret::draw(&mut Dice(7));
        let webhook = Webhook::open(secret.clone(), |_| 200).unwrap();
        let now = clock::now().as_second();
        assert_eq!(post(&webhook, "v1,AAAA", &now.to_string()), ["400", "400"]);
        let old = (now - 2 * TOLERANCE).to_string();
        let message = Message { id: "d", timestamp: &old, body: EVENT.as_bytes() };
        assert_eq!(post(&webhook, &secret.sign(message), &old), ["400", "400"]);
        assert_eq!((webhook.count(), webhook.complaints().len()), (0, 4));
    }
}
