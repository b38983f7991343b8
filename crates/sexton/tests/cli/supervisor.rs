//! A supervisor that speaks systemd's protocol: what the daemon tells it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use crate::support::{PATIENCE, Place};

/// More than any word of the daemon's.
const WORD_BYTES: usize = 4096;

/// The socket that a supervisor listens on.
pub struct Supervisor {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Supervisor {
    pub fn new(place: &Place) -> Self {
        let path = place.dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { path, socket }
    }

    /// How a daemon finds it.
    pub fn environment(&self) -> (&'static str, String) {
        ("NOTIFY_SOCKET", self.path.to_str().unwrap().to_owned())
    }

    /// What it is told next.
    pub fn hears(&self) -> String {
        let mut word = [0; WORD_BYTES];
        let length = self.socket.recv(&mut word).expect("the daemon tells it something");
        String::from_utf8(word[..length].to_vec()).unwrap()
    }

    /// What it was told and has not heard yet.
    pub fn heard(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut told = Vec::new();
        let mut word = [0; WORD_BYTES];
        while let Ok(length) = self.socket.recv(&mut word) {
            told.push(String::from_utf8(word[..length].to_vec()).unwrap());
        }
        self.socket.set_nonblocking(false).unwrap();
        told
    }
}
