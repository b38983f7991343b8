//! `archive …`

use serde_json::{Value, json};
use sexton_server::api::{Archive, Checkup, Finding, Page, Segments, Session};

use crate::args;
use crate::args::list;
use crate::client::{Ask, Client, encoded};
use crate::clock::now;
use crate::command::{page, session};
use crate::failure::{Exit, Failure};
use crate::output::{Output, bytes, count, relative, relative_or_dash};

/// Runs `archive …`.
pub async fn main(
    command: args::Archive,
    client: &mut Client,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        args::Archive::List(page) => list(page, client, output).await?,
        args::Archive::Show { id, after } => {
            session::transcript(&path(&id), after, client, output).await?;
        }
        args::Archive::Verify => return verify(client, output).await,
        args::Archive::Restore { id } => restore(&id, client, output).await?,
    }
    Ok(Exit::Ok)
}

fn path(id: &str) -> String {
    format!("/v1/archives/{}", encoded(id))
}

async fn list(asked: list::Page, client: &mut Client, output: Output) -> Result<(), Failure> {
    let ask =
        Ask::get("/v1/archives").with("limit", Some(asked.limit)).with("cursor", asked.cursor);
    let answer = client.ask(ask).await?;
    if output.json {
        return output.document(&page::document(&answer));
    }
    let (archives, now): (Page<Archive>, _) = (answer.read()?, now());
    let row = |archive: &Archive| {
        let state = match (archive.deleted_at, archive.delete_after) {
            (Some(at), _) => format!("deleted {}", relative(at, now)),
            (None, None) => "for ever".to_owned(),
            (None, Some(until)) => format!("until {until}"),
        };
        vec![
            archive.session_id.to_string(),
            archive.session_key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            relative_or_dash(archive.ended_at, now),
            archive.entry_count.to_string(),
            bytes(archive.bytes),
            archive.segment.clone(),
            state,
        ]
    };
    let header = ["id", "key", "ended", "entries", "size", "segment", "kept"];
    output.table(&header, archives.items.iter().map(row).collect(), "no archives")?;
    page::more(output, archives.next.as_deref());
    Ok(())
}

/// Reads segment by segment; what is found is printed as it is found.
async fn verify(client: &mut Client, output: Output) -> Result<Exit, Failure> {
    let segments: Segments = client.fetch(Ask::get("/v1/segments")).await?;
    let (mut sound, mut all) = (0, Vec::new());
    for segment in segments.items.iter().filter(|segment| segment.deleted_at.is_none()) {
        let mut after = None;
        loop {
            let ask = Ask::get(format!("/v1/segments/{}/verify", encoded(&segment.name)));
            let checkup: Checkup = client.fetch(ask.with("after", after)).await?;
            sound += checkup.sound;
            for finding in &checkup.findings {
                all.push(found(&segment.name, finding, output)?);
            }
            after = checkup.next;
            if after.is_none() {
                break;
            }
        }
    }
    let unknown = &segments.unknown_files;
    if output.json {
        let document = json!({ "sound": sound, "findings": all, "unknown_files": unknown });
        output.document(&document)?;
    } else {
        for name in unknown {
            output.line(format_args!("file {name}: it is none of ours, and stays as it is"))?;
        }
        let damaged = count(all.len() as u64, "finding");
        output.line(format_args!("{} sound, {damaged}", count(sound, "archive")))?;
    }
    Ok(if all.is_empty() { Exit::Ok } else { Exit::No })
}

/// Says what is wrong, for people at once.
fn found(segment: &str, finding: &Finding, output: Output) -> Result<Value, Failure> {
    let session = finding.session_id.map(|id| id.to_string());
    if !output.json {
        let who = session.as_ref().map(|id| format!(", session {id}")).unwrap_or_default();
        let text = format!("segment {segment}{who}: {}", finding.what);
        output.line(output.alarming(&text))?;
    }
    Ok(json!({ "segment": segment, "session_id": session, "what": finding.what }))
}

async fn restore(id: &str, client: &mut Client, output: Output) -> Result<(), Failure> {
    let answer = client.ask(Ask::post(format!("{}/restore", path(id)))).await?;
    if output.json {
        return output.document(&answer.0);
    }
    let session: Session = answer.read()?;
    output.line(format_args!(
        "session {} is back with {}, pinned; `sexton session unpin {}` lets it go again",
        session.id,
        count(session.entry_count, "entry").replace("entrys", "entries"),
        session.id
    ))
}
