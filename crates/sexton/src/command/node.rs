//! `node …`

use sexton_server::api::{Node, Page};

use crate::args;
use crate::client::{Ask, Client};
use crate::clock::now;
use crate::command::{status, stop};
use crate::failure::{Exit, Failure};
use crate::output::{Output, relative, word};

/// Runs `node …`.
pub async fn main(
    command: args::Node,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    let args::Node::List { limit } = command;
    let answer = client.ask(Ask::get("/v1/nodes").with("limit", Some(limit))).await?;
    if output.json {
        output.document(&answer.0)?;
        return Ok(Exit::Ok);
    }
    let nodes: Page<Node> = answer.read()?;
    let header = ["epoch", "host", "pid", "version", "started", "heartbeat", "lease", "end"];
    output.table(&header, nodes.items.iter().map(row).collect(), "no node was ever here")?;
    if let Some(drained) = nodes.items.iter().find_map(|node| node.drained.as_ref()) {
        output.note(format_args!("the last stop: {}", stop::told(drained)));
    }
    for node in &nodes.items {
        if let Some(left) = node.left_behind {
            output.note(format_args!("epoch {} {}", node.epoch, status::left_behind(left)));
        }
    }
    Ok(Exit::Ok)
}

fn row(node: &Node) -> Vec<String> {
    let now = now();
    let lease = match node.ended_at {
        Some(_) => "-".to_owned(),
        None if node.lease_until < now => format!("over {}", relative(node.lease_until, now)),
        None => relative(node.lease_until, now),
    };
    let end = match node.ended_at {
        Some(at) => format!("{}, {}", word(&node.reason), relative(at, now)),
        None => "-".to_owned(),
    };
    vec![
        node.epoch.clone(),
        node.host.clone(),
        node.pid.to_string(),
        node.version.clone(),
        relative(node.started_at, now),
        relative(node.heartbeat_at, now),
        lease,
        end,
    ]
}
