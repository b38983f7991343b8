//! `send`

use serde_json::json;
use sexton_server::api::{NewMessage, Turn};

use crate::args;
use crate::client::{Ask, Client};
use crate::command::run;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::prompt;

/// Runs `send`.
pub async fn main(send: args::Send, client: &mut Client, output: Output) -> Result<Exit, Failure> {
    let args::Send { key, message, agent, new, no_wait } = send;
    let message = prompt::of_argument(&message)?;
    let said = NewMessage { key, agent: agent.map(|agent| agent.to_string()), message, new };
    let answer = client.ask(Ask::post("/v1/messages").body(json!(said))).await?;
    let turn: Turn = answer.read()?;
    if !no_wait {
        return run::follow(turn.run, client, output).await;
    }
    if output.json {
        output.document(&answer.0)?;
    } else {
        let before = match turn.ahead {
            0 => String::new(),
            1 => ", 1 turn is before it".to_owned(),
            ahead => format!(", {ahead} turns are before it"),
        };
        output.line(format_args!("run {} is queued{before}", turn.run.id))?;
    }
    Ok(Exit::Ok)
}
