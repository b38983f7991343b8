//! Valid input for every route of the document, from which the near misses are made.

use serde_json::{Value, json};
use sexton_server::openapi;

/// One method of one path, as the document has it.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: String,
    pub path: String,
    /// The names of the parameters in its query and of its headers.
    pub query: Vec<String>,
    pub headers: Vec<String>,
    /// What it reads, if it reads anything.
    pub body: Option<Value>,
}

/// Every operation of the document.
pub fn operations() -> Vec<Operation> {
    let paths = openapi()["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(|(method, described)| operation(method, path, described))
    });
    operations.collect()
}

fn operation(method: &str, path: &str, described: &Value) -> Operation {
    let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
    let within = |place: &str| {
        let found = parameters.iter().filter(|parameter| parameter["in"] == place);
        found.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    Operation {
        method: method.to_uppercase(),
        path: path.to_owned(),
        query: within("query"),
        headers: within("header"),
        body: described.get("requestBody").map(|_| body(method, path)),
    }
}

/// A body that a route takes.
fn body(method: &str, path: &str) -> Value {
    let job = json!({
        "key": "odd", "agent": "echo", "cron": "0 7 * * MON-FRI", "tz": "Europe/Berlin", "prompt": "hi",
        "name": "An odd one", "jitter": "30s", "offset": "7s", "session": "isolated", "timeout": "10m", "idle_timeout": "1m",
        "overlap": "queue", "misfire": { "within": "2h" }, "retries": 2, "backoff": ["30s", "5m"],
        "on_interrupt": "fail", "retain": "7d", "keep_last": 3, "keep_last_failures": 5,
        "max_sessions": 10, "enabled": false,
    });
    match (method, path) {
        ("post", "/v1/jobs") => job,
        ("put", "/v1/jobs/{id}") => json!({ "agent": "echo", "every": "1h", "enabled": false }),
        ("patch", "/v1/jobs/{id}") => {
            json!({ "prompt": "ho", "retain": false, "tz": null, "at": "2100-01-01T00:00:00Z" })
        }
        ("post", "/v1/messages") => {
            json!({ "key": "agent:echo:main", "agent": "echo", "message": "hi", "new": false })
        }
        ("post", "/v1/stop") => json!({ "reason": "restart", "patience": "cancel" }),
        ("post", "/v1/sweep") => {
            json!({ "dry_run": true, "explain": true, "cursor": "1s00000000000070008000000000000000", "limit": 3 })
        }
        _ => panic!("{method} {path} reads a body, and there is none to try it with"),
    }
}

/// Values that a parameter takes.
pub fn values(name: &str) -> &'static [&'static str] {
    match name {
        "limit" | "count" => &["1", "100", "500"],
        "cursor" => &[
            "1j00000000000070008000000000000000",
            "1r00000000000070008000000000000000",
            "1sffffffffffffffffffffffffffffffff",
            "1d018f4a3e7b1c70008000000123456789",
        ],
        "after" => &["0", "1", "1-1", "9223372036854775807"],
        "types" => &["session.ended", "run.queued,run.ended"],
        "agent" => &["echo", "hang"],
        "source" => &["api", "config"],
        "removed" | "open" | "explain" | "purge" => &["true", "false"],
        // A change that is only looked at would not be seen to change nothing.
        "dry_run" => &["true"],
        "job" => &["talk", "018f4a3e-7b1c-7000-8000-0123456789ab"],
        "state" => &["queued", "ended", "pending", "dead", "delivered"],
        "outcome" => &["ok", "failed", "timed_out"],
        "reason" => &["completed", "new", "unknown"],
        "kind" => &["run", "main,chat", "all"],
        "key" => &["agent:echo:main", "agent:echo:cron:talk:run:1"],
        "hook" => &["takes", "refuses"],
        "session" => &["018f4a3e-7b1c-7000-8000-0123456789ab"],
        "since" | "until" => &["2026-01-01T00:00:00Z", "24h", "2026-01-01T00:00:00.5+02:00"],
        "by" => &["job", "agent", "model", "day"],
        "if-match" => &["\"1\"", "\"7\""],
        "idempotency-key" => &["4d9c9c6e-0d4f-4d55-8f2e-6a3b1f0a9a11", "once"],
        "last-event-id" => &["1-1", "0"],
        _ => panic!("there is no value to try the parameter `{name}` with"),
    }
}

/// What stands for `{…}` in a path, where it is none of what is stored.
pub const SEGMENTS: &[&str] = &[
    "018f4a3e-7b1c-7000-8000-0123456789ab",
    "00000000000000000000000000000000",
    "talk",
    "takes",
    "2026-12-25.001.zst",
];

/// No route can be forgotten: what reads a body has one to try it with, and so has every parameter.
#[test]
fn every_route_of_the_document_has_input_to_try_it_with() {
    let operations = operations();
    assert!(operations.len() > 40, "{}", operations.len());
    for Operation { query, headers, .. } in operations {
        for name in query.iter().chain(&headers) {
            assert!(!values(name).is_empty());
        }
    }
}
