//! Who may call: the token, and whether a browser was tricked into calling.
//!
//! Every request has to come for a host name that is ours (DNS rebinding), from a page of ours if a
//! browser sends it (cross-site requests), and with a token. Liveness and readiness need none of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::api::{Code, Problem};
use crate::failure::Result;

/// Paths that anybody may read.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Who may call.
#[derive(Debug, Clone)]
pub struct Access(Arc<Rule>);

#[derive(Debug)]
enum Rule {
    InProcess,
    Remote(Remote),
}

#[derive(Debug)]
struct Remote {
    admin_token_sha256: [u8; 32],
    listen: IpAddr,
    hosts: Vec<String>,
}

/// The hash under which a token is known.
pub fn token_sha256(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Access {
    /// Everybody who holds the router, because it is used within one process and not served.
    pub fn in_process() -> Self {
        Self(Arc::new(Rule::InProcess))
    }

    /// Whoever shows the admin token, under the address that is listened on, the names of this
    /// machine for itself, or one of `hosts` (names without port).
    pub fn token(admin_token_sha256: [u8; 32], listen: SocketAddr, hosts: Vec<String>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Self(Arc::new(Rule::Remote(Remote { admin_token_sha256, listen: listen.ip(), hosts })))
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        let Rule::Remote(rule) = &*self.0 else { return Ok(()) };
        if OPEN.contains(&uri.path()) {
            return Ok(());
        }
        let host = rule.check_host(uri, headers)?;
        check_origin(&host, headers)?;
        rule.check_token(headers)
    }
}

/// Lets through who may call.
pub(crate) async fn admit(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

impl Remote {
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority> {
        let given = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = match uri.authority() {
            Some(authority) => Some(authority.clone()),
            None => given.and_then(|host| host.parse::<Authority>().ok()),
        };
        match authority {
            Some(authority) if self.knows(authority.host()) => Ok(authority),
            _ => {
                let given = given.unwrap_or_default();
                let detail = format!("answer for host {given:?}: it is not a name of this server");
                let hint = "call it by the address it listens on, or add the name to `hosts` under `[server]`";
                Err(Problem::new(Code::WrongHost, detail).about("host", given).hint(hint).into())
            }
        }
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            // Rebinding needs a name: an address is what it says.
            Ok(ip) => ip.is_loopback() || ip == self.listen || self.listen.is_unspecified(),
            Err(_) => {
                host == "localhost" || host.ends_with(".localhost") || self.hosts.contains(&host)
            }
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<()> {
        let unauthorized = |detail: &str| {
            Err(Problem::new(Code::Unauthorized, detail)
                .hint("the daemon keeps the token in its data folder; give it with `--token` or `SEXTON_TOKEN`, over HTTP as `Authorization: Bearer TOKEN`")
                .into())
        };
        let Some(given) = headers.get(header::AUTHORIZATION) else {
            return unauthorized("admit the caller: there is no token");
        };
        let token = given.to_str().ok().and_then(|given| given.split_once(' '));
        match token {
            Some((scheme, token))
                if scheme.eq_ignore_ascii_case("bearer")
                    && same(&token_sha256(token.trim()), &self.admin_token_sha256) =>
            {
                Ok(())
            }
            _ => unauthorized("admit the caller: the token is wrong"),
        }
    }
}

/// Whether two hashes are equal, in a time that does not tell where they differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

/// A browser says from which page a request comes: it has to be one of ours.
fn check_origin(host: &Authority, headers: &HeaderMap) -> Result<()> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("?");
    let ours = ["http://", "https://"].into_iter().any(|scheme| {
        origin.strip_prefix(scheme).is_some_and(|it| it.eq_ignore_ascii_case(host.as_str()))
    });
    if ours {
        return Ok(());
    }
    let detail = format!("answer a page of {origin:?}: it is another site");
    Err(Problem::new(Code::WrongOrigin, detail).about("origin", origin).into())
}
