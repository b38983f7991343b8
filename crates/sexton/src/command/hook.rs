//! `hook …`

use sexton_server::api::{Delivery, Hook, HookAnswer, HookTest, Page};

use crate::args;
use crate::args::list;
use crate::client::{Ask, Client, encoded};
use crate::clock::now;
use crate::command::page;
use crate::failure::{Exit, Failure};
use crate::output::{Output, relative, relative_or_dash, rough_ms, word};

/// Runs `hook …`.
pub async fn main(
    command: args::Hook,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        args::Hook::List => list(client, output).await?,
        args::Hook::Test { name } => return test(&name, client, output).await,
        args::Hook::Enable { name } => switch(&name, "enable", client, output).await?,
        args::Hook::Disable { name } => switch(&name, "disable", client, output).await?,
        args::Hook::Deliveries(filter) => deliveries(filter, client, output).await?,
        args::Hook::Redeliver { id } => redeliver(&id, client, output).await?,
    }
    Ok(Exit::Ok)
}

async fn list(client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::get("/v1/hooks")).await?;
    if output.json {
        return output.document(&page::document(&answer));
    }
    let (hooks, now): (Page<Hook>, _) = (answer.read()?, now());
    let row = |hook: &Hook| {
        let state = match (&hook.disabled_why, hook.disabled_at) {
            (None, _) => "on".to_owned(),
            (Some(why), at) => format!("off: {why}, {}", relative_or_dash(at, now)),
        };
        let spec = hook.settings.as_ref();
        let dash = || "-".to_owned();
        vec![
            hook.name.to_string(),
            state,
            hook.pending.to_string(),
            hook.dead.to_string(),
            spec.map_or_else(dash, |spec| spec.on.iter().map(word).collect::<Vec<_>>().join(" ")),
            spec.map_or_else(dash, |spec| spec.target.clone()),
        ]
    };
    let header = ["hook", "state", "pending", "dead", "told of", "target"];
    output.table(&header, hooks.items.iter().map(row).collect(), "no hooks")
}

async fn test(name: &str, client: &mut Client, output: Output) -> Result<Exit, Failure> {
    let answer = client.ask(Ask::post(path(name, "test"))).await?;
    let test: HookTest = answer.read()?;
    let exit = if test.answer == HookAnswer::Acknowledged { Exit::Ok } else { Exit::No };
    if output.json {
        output.document(&answer.0)?;
    } else {
        let took = rough_ms(Some(test.took_ms));
        output.line(format_args!("{} after {took}: {}", word(&test.answer), test.said))?;
    }
    Ok(exit)
}

async fn switch(name: &str, way: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::post(path(name, way))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let hook: Hook = answer.read()?;
    let state = if hook.enabled { "on" } else { "off" };
    output.line(format_args!("hook {} is {state}", hook.name))
}

async fn deliveries(
    filter: list::Deliveries,
    client: &mut Client,
    output: Output,
) -> Result<(), Failure> {
    let ask = Ask::get("/v1/deliveries")
        .with("hook", filter.hook)
        .with("state", filter.state.map(list::DeliveryState::word))
        .with("session", filter.session)
        .with("limit", Some(filter.page.limit))
        .with("cursor", filter.page.cursor);
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&page::document(&answer));
    }
    let (deliveries, now): (Page<Delivery>, _) = (answer.read()?, now());
    let row = |delivery: &Delivery| {
        let why = delivery.why.map(|why| format!(": {}", word(&why))).unwrap_or_default();
        vec![
            delivery.id.to_string(),
            delivery.hook.to_string(),
            delivery.event_type.map_or_else(|| "-".to_owned(), |kind| word(&kind)),
            format!("{}{why}", delivery.state),
            delivery.attempts.to_string(),
            relative(delivery.created_at, now),
            relative_or_dash(delivery.next_at, now),
            delivery.last_error.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let header = ["delivery", "hook", "event", "state", "tries", "since", "next", "last error"];
    output.table(&header, deliveries.items.iter().map(row).collect(), "no deliveries")?;
    page::more(output, deliveries.next.as_deref());
    Ok(())
}

async fn redeliver(id: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::post(format!("/v1/deliveries/{}/redeliver", encoded(id)))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let delivery: Delivery = answer.read()?;
    output.line(format_args!("delivery {} goes out again to {}", delivery.id, delivery.hook))
}

fn path(name: &str, what: &str) -> String {
    format!("/v1/hooks/{}/{what}", encoded(name))
}
