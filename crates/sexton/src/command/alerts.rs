//! `alerts`: what needs a look.

use sexton_server::api::{Alert, Page};

use crate::args;
use crate::client::{Ask, Client};
use crate::clock::now;
use crate::failure::{Exit, Failure};
use crate::output::{Output, relative, relative_or_dash};

/// Runs `alerts`.
pub async fn main(
    args: args::Alerts,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    let ask = Ask::get("/v1/alerts").with("limit", Some(args.limit));
    let mut alerts: Page<Alert> = client.fetch(ask).await?;
    if !args.all {
        alerts.items.retain(|alert| alert.cleared_at.is_none());
    }
    if output.json {
        output.document(&alerts)?;
        return Ok(Exit::Ok);
    }
    let now = now();
    let row = |alert: &Alert| {
        let mut row = vec![alert.code.clone(), relative(alert.raised_at, now)];
        row.extend(args.all.then(|| relative_or_dash(alert.cleared_at, now)));
        row.push(alert.message.clone());
        row
    };
    let header: &[&str] = match args.all {
        true => &["alert", "since", "cleared", "what"],
        false => &["alert", "since", "what"],
    };
    output.table(header, alerts.items.iter().map(row).collect(), "nothing needs a look")?;
    Ok(Exit::Ok)
}
