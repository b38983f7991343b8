//! As much of an HTTP client as it takes to ask a gateway on this machine for JSON.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::de::DeserializeOwned;

/// How long an answer may take: a machine that is busy with other things takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where to ask, and as whom.
#[derive(Debug, Clone)]
pub struct Client {
    /// The gateway.
    pub address: SocketAddr,
    /// A bearer token.
    pub token: String,
}

impl Client {
    /// `GET`, and the answer read as JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let (status, body) = self.ask("GET", path, "")?;
        ensure!(status == 200, "GET {path}: status {status}: {}", body.trim());
        serde_json::from_str(&body).with_context(|| format!("read the answer to GET {path}"))
    }

    /// `POST` of JSON, and the answer read as JSON.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<T> {
        let (status, body) = self.ask("POST", path, &body.to_string())?;
        ensure!((200..300).contains(&status), "POST {path}: status {status}: {}", body.trim());
        serde_json::from_str(&body).with_context(|| format!("read the answer to POST {path}"))
    }

    /// `DELETE`: an answer that is none is an error.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        let (status, body) = self.ask("DELETE", path, "")?;
        ensure!((200..300).contains(&status), "DELETE {path}: status {status}: {}", body.trim());
        Ok(())
    }

    /// The status of a `GET`.
    pub fn status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(self.ask("GET", path, "")?.0)
    }

    /// One request in a connection of its own: in HTTP/1.0 the end of the answer is the end of the
    /// stream, and there is nothing to decode.
    fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
        let Self { address, token } = self;
        let doing = || format!("{method} {path} at {address}");
        let mut stream = TcpStream::connect_timeout(address, PATIENCE).with_context(doing)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {address}\r\naccept: application/json\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).with_context(doing)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(doing)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(doing)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.with_context(doing)?, body.to_owned()))
    }
}
