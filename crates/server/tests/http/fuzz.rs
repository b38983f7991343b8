//! What nobody means to send, sent to a real server on a real store.

mod inputs;
mod requests;
mod streams;

use std::future::Future;

/// Runs a case of a property in a runtime of its own.
fn block_on<T>(case: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(case)
}
