//! `stop`: asks the daemon to stop, and waits until it has.

use std::time::Duration;

use serde_json::json;

use crate::client::{Ask, Client};
use crate::clock::{Pace, now};
use crate::failure::{Exit, Failure};
use crate::output::{Output, rough};

/// How often is looked whether it still answers.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs `stop`.
pub async fn main(client: &mut Client, output: Output) -> Result<Exit, Failure> {
    let begun = now();
    let answer = client.ask(Ask::post("/v1/stop").body(json!({ "reason": "shutdown" }))).await?;
    let mut pace = Pace::up_to(LOOK_EVERY);
    while client.answers().await {
        pace.wait().await;
    }
    if output.json {
        output.document(&answer.0)?;
    } else {
        let took = sexton_domain::duration::Duration::between(begun, now());
        output.line(format_args!("stopped after {}", rough(took)))?;
    }
    Ok(Exit::Ok)
}
