//! Metrics, for those who scrape them.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use sexton_engine::handle::Handle;
use sexton_engine::metrics::Form;

use crate::api::{Code, Problem};
use crate::failure::Result;
use crate::route::{Content, Route};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> Vec<Route> {
    let text = Content { media: "text/plain", schema: SchemaGenerator::subschema_for::<String> };
    vec![
        Route::get("/metrics", scrape)
            .summary("Metrics for Prometheus; OpenMetrics where `Accept` names it")
            .answers_with(200, text),
    ]
}

async fn scrape(State(handle): State<Handle>, headers: HeaderMap) -> Result<Response> {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (form, media) = match accepts.contains("application/openmetrics-text") {
        true => (Form::OpenMetrics, OPEN_METRICS),
        false => (Form::Prometheus, PROMETHEUS),
    };
    let text = handle
        .metrics()
        .await?
        .write(form)
        .map_err(|error| Problem::new(Code::Internal, format!("write the metrics: {error}")))?;
    Ok(([(CONTENT_TYPE, media)], text).into_response())
}
