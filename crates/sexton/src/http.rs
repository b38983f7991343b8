//! HTTP clients: one for what speaks no TLS, one that trusts whom the system trusts.

use reqwest::{Client, ClientBuilder};

/// Speaks http. Reads no certificates, so that a command starts at once.
pub fn plain() -> ClientBuilder {
    base().tls_certs_only([])
}

/// Speaks http and https, and trusts whom the system trusts.
pub fn trusting() -> ClientBuilder {
    base()
}

fn base() -> ClientBuilder {
    // The first call of the process decides; another one finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().user_agent(concat!("sexton/", env!("CARGO_PKG_VERSION")))
}
