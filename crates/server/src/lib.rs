//! HTTP: the API of a running engine, and of a store that is open for reading.
//!
//! Knows [`sexton_engine::handle::Handle`] and nothing behind it. [`api`] is what goes over the
//! wire, [`router`] answers it, [`serve()`] brings connections to the router.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use sexton_engine::handle::Handle;

pub mod api;
mod auth;
mod body;
mod cursor;
mod failure;
mod guard;
mod held;
mod large;
mod once;
mod openapi;
mod query;
mod route;
mod routes;
mod seats;
mod serve;
mod suggest;

pub use auth::{Access, token_sha256};
pub use serve::{Limits, serve};

/// Answers requests about this engine, from those who may ask.
pub fn router(handle: Handle, access: Access) -> Router {
    let room = large::Room::default();
    routes::all()
        .into_iter()
        .fold(Router::new(), |router, route| route.add_to(router, &room))
        .fallback(guard::no_route)
        .method_not_allowed_fallback(guard::wrong_method)
        .layer(DefaultBodyLimit::max(body::MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(handle.clone(), once::once))
        .layer(middleware::from_fn_with_state(access, auth::admit))
        .layer(middleware::from_fn(guard::guard))
        .with_state(handle)
}

/// The OpenAPI 3.1 document of the API.
pub fn openapi() -> &'static serde_json::Value {
    openapi::document()
}
