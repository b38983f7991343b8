//! Clients that mean ill, or do not know better: the daemon stays small, others are answered, hooks are
//! told, and no slot is lost.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::receiver::{Receiver, status};
use crate::support::{CONFIG, Daemon, PATIENCE, Place, until};

/// By how much the daemon may grow, in KiB.
const GROWTH: u64 = 128 * 1024;
/// Files that the daemon has open besides its connections, at most.
const OTHER_FILES: usize = 200;
/// The most connections that it keeps.
const CONNECTIONS: usize = 512;
/// Slots that come due under siege.
const SLOTS: usize = 2;
/// An agent whose transcript fills more than a page of the largest kind.
const LOUD: &str = r#"
[agents.loud]
executor = "process"
command = ["sh", "-c", "head -c 6000000 /dev/zero | tr '\\0' x | fold -w 100000"]

[jobs.loud]
agent = "loud"
every = "24h"
prompt = "say much"
"#;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const STREAM: &str = "accept: text/event-stream\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// A daemon with a job that is due every second and a webhook that is told of every run.
struct Siege {
    place: Place,
    daemon: Daemon,
    receiver: Receiver,
    /// Its memory before, in KiB.
    resident: u64,
}

impl Siege {
    fn begin() -> Self {
        let receiver = Receiver::new(|_, _| status("204 No Content"));
        let config = format!(
            "{CONFIG}{LOUD}\n[jobs.tick]\nagent = \"echo\"\nevery = \"1s\"\nprompt = \"tick\"\n\n\
             [hooks.told]\non = [\"run.ended\"]\nurl = \"{}\"\n\
             secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
            receiver.url
        );
        let place = Place::new(&config);
        let daemon = place.serve();
        let siege = Self { place, daemon, receiver, resident: 0 };
        siege.until_slots(SLOTS);
        Self { resident: siege.resident(), ..siege }
    }

    fn connect(&self) -> TcpStream {
        let address = self.daemon.url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection over which these bytes went, as far as they were taken.
    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        stream
    }

    /// The same from somebody who then shuts this side of the connection.
    fn half_closed(&self, bytes: &[u8]) -> TcpStream {
        let stream = self.send(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        stream
    }

    /// A session with a long transcript.
    fn loud(&self) -> String {
        let run = self.place.json(&["job", "run", "loud", "--wait"]);
        run["session_id"].as_str().unwrap().to_owned()
    }

    /// The head of a request of somebody who has the token.
    fn head(&self, request: &str, more: &str) -> Vec<u8> {
        let token = std::fs::read_to_string(self.place.data().join("token")).unwrap();
        let token = token.trim();
        format!(
            "{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{more}\r\n"
        )
        .into_bytes()
    }

    /// How many slots have a record: every one since the first, once, and none was missed.
    fn slots(&self) -> usize {
        let runs = self.place.json(&["run", "list", "--job", "tick", "--limit", "500"]);
        let second = |at: &serde_json::Value| {
            let at: jiff::Timestamp = at.as_str()?.parse().ok()?;
            Some(at.as_second())
        };
        let mut slots = Vec::new();
        for run in runs["items"].as_array().unwrap() {
            assert_ne!(run["outcome"], "missed", "{run}");
            let Some(from) = second(&run["slot"]) else { continue };
            slots.extend(from..=second(&run["range"]["to"]).unwrap_or(from));
        }
        slots.sort_unstable();
        let first = slots.first().copied().unwrap_or_default();
        let all: Vec<i64> = (first..).take(slots.len()).collect();
        assert_eq!(slots, all, "each slot has one record");
        slots.len()
    }

    fn until_slots(&self, more: usize) {
        let before = self.slots();
        until("slots", || (self.slots() >= before + more).then_some(()));
    }

    /// What must hold under siege: jobs go on, hooks are told, people are answered, nothing grows.
    fn holds(&self) {
        let told = self.receiver.heard().len();
        self.until_slots(SLOTS);
        until("the hook to be told", || (self.receiver.heard().len() > told).then_some(()));
        assert!(self.place.ok(&["status"]).contains("ready"));
        let files = std::fs::read_dir(self.proc().join("fd")).unwrap().count();
        assert!(files <= CONNECTIONS + OTHER_FILES, "{files} files are open");
        let (before, now) = (self.resident, self.resident());
        let slots = self.slots();
        println!("{before} KiB before, {now} KiB now, {files} files, {slots} slots");
        assert!(now <= before + GROWTH, "grew from {before} to {now} KiB");
    }

    fn resident(&self) -> u64 {
        let text = std::fs::read_to_string(self.proc().join("status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.daemon.pid().to_string())
    }
}

/// The status that comes over a connection; none when it is closed without.
fn answer(mut stream: TcpStream) -> String {
    let mut head = [0; 12];
    match stream.read_exact(&mut head) {
        Ok(()) => String::from_utf8_lossy(&head[9..]).into_owned(),
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "neither answered nor closed");
            String::new()
        }
    }
}

/// This process may open so many files, as far as the system lets it.
fn open_files(wanted: u64) -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let most = wanted.min(hard);
    if soft < most {
        setrlimit(Resource::RLIMIT_NOFILE, most, hard).unwrap();
    }
    usize::try_from(most).unwrap()
}

/// P10
#[test]
fn ten_thousand_idle_connections_keep_nobody_out() {
    let siege = Siege::begin();
    let many = 10_000.min(open_files(10_500) - 300);
    let mut idle = Vec::new();
    while idle.len() < many {
        idle.extend((0..250).map(|_| siege.connect()));
        assert_eq!(answer(siege.send(HEALTH)), "200", "after {} idle ones", idle.len());
    }
    siege.holds();
    drop(idle);
}

/// P10
#[test]
fn requests_that_never_end_keep_nobody_out() {
    let siege = Siege::begin();
    open_files(4_096);
    let mut slow: Vec<TcpStream> = (0..600).map(|_| siege.send(b"GET / HT")).collect();
    let endless = siege
        .head("POST /v1/messages", "content-type: application/json\r\ncontent-length: 2000000\r\n");
    slow.extend((0..50).map(|_| siege.send(&endless)));
    for round in 0..50 {
        for stream in slow.iter_mut().skip(round).step_by(50) {
            // The server may have closed it.
            let _ = stream.write_all(b" ");
        }
    }
    siege.holds();
    drop(slow);
}

/// P10
#[test]
fn what_is_no_request_or_too_large_a_one_keeps_nobody_out() {
    let siege = Siege::begin();
    let json = "content-type: application/json\r\n";
    let mut large = siege.head("POST /v1/messages", &format!("{json}content-length: 9000000\r\n"));
    large.extend(vec![b' '; 3_000_000]);
    let mut chunks = siege.head("POST /v1/messages", &format!("{json}{CHUNKED}"));
    chunks.extend(format!("{:x}\r\n", 3_000_000).bytes().chain(vec![b' '; 3_000_000]));
    let noise = |it: u32| (it.wrapping_mul(2_654_435_761) >> 24) as u8;
    let garbage: Vec<u8> = (0..100_000).map(noise).collect();
    let headers: String = (0..500).map(|it| format!("x-{it}: y\r\n")).collect();
    let long = format!("GET /{} ", "y".repeat(100_000)).into_bytes();
    let piped = siege.head("GET /healthz", "").repeat(1_000);
    for _ in 0..50 {
        // What the server does not read may keep its answer from arriving.
        assert!(["413", ""].contains(&&*answer(siege.send(&large))));
        assert!(["413", ""].contains(&&*answer(siege.send(&chunks))));
        assert!(["400", ""].contains(&&*answer(siege.send(&garbage))));
        assert!(["400", "414", "431", ""].contains(&&*answer(siege.send(&long))));
        assert_eq!(answer(siege.send(&siege.head("GET /healthz", &headers))), "431");
        assert_eq!(answer(siege.send(&piped)), "200");
        assert_eq!(answer(siege.half_closed(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")), "");
        assert!(
            ["200", ""].contains(&&*answer(siege.half_closed(&siege.head("GET /v1/jobs", ""))))
        );
    }
    siege.holds();
}

/// P10
#[test]
fn readers_that_never_read_and_readers_that_come_again_and_again_keep_nobody_out() {
    let siege = Siege::begin();
    open_files(4_096);
    let page = format!("GET /v1/sessions/{}/transcript?limit=500", siege.loud());
    let page = siege.head(&page, "");
    let stream = siege.head("GET /v1/events?after=0", STREAM);
    let list = siege.head("GET /v1/events?after=0&limit=500", "accept: application/json\r\n");
    let mut readers = Vec::new();
    for _ in 0..300 {
        readers.extend([&stream, &list, &page].map(|request| siege.send(request)));
    }
    for id in ["0", "1", "1-1", "7-7", "18446744073709551615", "-", "x", "", "\u{fc}"] {
        for _ in 0..20 {
            let request = siege.head("GET /v1/events", &format!("{STREAM}last-event-id: {id}\r\n"));
            let status = answer(siege.send(&request));
            assert!(["200", "400", "503", ""].contains(&&*status), "{id:?}: {status}");
        }
    }
    siege.holds();
    drop(readers);
}

/// P10
#[test]
fn thousands_of_requests_at_once_are_answered_or_told_that_there_is_no_room() {
    let siege = Siege::begin();
    open_files(4_096);
    let first = siege.head("GET /v1/status", "");
    let second = siege.head("GET /v1/status", "connection: close\r\n");
    let ask = |_| siege.send(&[&*first, &*second].concat());
    let asked: Vec<TcpStream> = (0..1_200).map(ask).collect();
    let mut answered = 0;
    for mut stream in asked {
        let mut answers = String::new();
        let closed = stream.read_to_string(&mut answers);
        let good = answers.matches("HTTP/1.1 200 OK").count();
        let refused = answers.contains("\"code\":\"busy\"") || answers.is_empty();
        assert!(good == 2 || refused, "{closed:?}: {answers}");
        answered += good / 2;
    }
    assert!(answered >= CONNECTIONS, "only {answered} were answered");
    siege.holds();
}
