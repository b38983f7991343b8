//! Over HTTP, to the daemon of this data folder or to one that was named.

use sexton_domain::errors::causes;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::{Ask, Raw};
use crate::args::Globals;
use crate::clock;
use crate::config::{Config, Surroundings};
use crate::failure::{Exit, Failure};
use crate::http;
use crate::place::{self, DataDir};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// No daemon wrote into the data folder where it is.
#[derive(Debug)]
struct Absent(PathBuf);

/// A daemon, whether or not it runs.
#[derive(Debug)]
pub struct Remote {
    http: reqwest::Client,
    url: Result<String, Absent>,
    token: Option<String>,
    local: bool,
}

impl Remote {
    /// `--url`, else what the daemon wrote into the data folder, else, if that was not named, what the config
    /// says: another user's may listen there.
    pub fn find(globals: &Globals) -> Result<Self, Failure> {
        let http = http::plain()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .build()
            .context("set up an HTTP client")?;
        let dir = DataDir::find(globals)?;
        let url = match &globals.url {
            Some(url) => Ok(checked(url)?),
            None => local_url(globals, &dir),
        };
        let token = globals.token.clone().or_else(|| {
            let token = fs::read_to_string(dir.token()).ok()?;
            Some(token.trim().to_owned())
        });
        Ok(Self { http, url, token, local: globals.url.is_none() })
    }

    /// Whether it is the daemon of this data folder.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Asks; an error is always that it cannot be reached.
    pub async fn ask(&self, ask: &Ask) -> Result<Raw, Failure> {
        let server = self.url.as_ref().map_err(|Absent(dir)| {
            Failure::new(Exit::Unreachable, format!("no daemon runs on {}", dir.display()))
                .hint("start it with `sexton serve`, or name another one with --url")
        })?;
        let url = format!("{server}{}", ask.target());
        let mut request = self.http.request(ask.method.clone(), url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(revision) = ask.revision {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        if let Some(body) = &ask.body {
            let kind = match ask.method.as_str() {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            request = request.header("content-type", kind).body(body.to_string());
        }
        let response = request.send().await.map_err(|error| unreachable(server, &error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| unreachable(server, &error))?;
        Ok(Raw { status, body: body.to_vec() })
    }
}

fn unreachable(server: &str, error: &reqwest::Error) -> Failure {
    if error.is_timeout() && !error.is_connect() {
        let message = format!("the daemon at {server} did not answer in time");
        return Failure::new(Exit::Unavailable, message).hint("try again");
    }
    let why = causes(error);
    Failure::new(Exit::Unreachable, format!("the daemon at {server} cannot be reached: {why}"))
        .hint("start it with `sexton serve`, or name another one with --url")
}

fn checked(url: &str) -> Result<String, Failure> {
    let url = url.trim_end_matches('/');
    if url.starts_with("http://") {
        return Ok(url.to_owned());
    }
    let hint = "write for example http://127.0.0.1:4747; https is not there yet";
    Err(Failure::new(Exit::Usage, format!("cannot use {url:?} as the daemon's URL")).hint(hint))
}

fn local_url(globals: &Globals, dir: &DataDir) -> Result<String, Absent> {
    if let Ok(address) = fs::read_to_string(dir.address()) {
        return Ok(address.trim().to_owned());
    }
    if globals.data_dir.is_some() {
        return Err(Absent(dir.path().to_owned()));
    }
    // A config that is wrong is not the business of a client.
    let config = place::config_file(globals).ok().and_then(|path| {
        let around = Surroundings { data_dir: dir.path(), now: clock::now() };
        Config::load(path.as_deref(), around).ok()
    });
    let listen = config.unwrap_or_default().file.server.listen;
    Ok(format!("http://{listen}"))
}
